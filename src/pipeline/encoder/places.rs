//! What is where in a content: whole events, and values.
//!
//! Invariants:
//! - Both are known by a hash of 64 bits and not by their bytes, which are not kept; see [`super::hash`].
//! - A place in a table is taken by whatever comes last: near copies are cheap ones.
//! - Clearing costs by what was put in: a content may be small.

use super::hash::{PLACE, tag};

/// A whole event, or a step with all its variables.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    hash: u64,
    pub position: u32,
    pub len: u32,
}

const PIECE_BITS: u32 = 14;

/// The events of a content, by what they are.
#[derive(Debug)]
pub(super) struct Pieces {
    list: Vec<Piece>,
    /// The last piece of a hash, plus 1, with its [`tag`].
    table: Box<[u32]>,
    /// The piece that comes after the one that was found last: repetition goes on there.
    next: Option<usize>,
}

impl Default for Pieces {
    fn default() -> Self {
        Self { list: Vec::new(), table: vec![0; 1 << PIECE_BITS].into_boxed_slice(), next: None }
    }
}

const fn piece_slot(hash: u64) -> usize {
    (hash >> (u64::BITS - PIECE_BITS)) as usize
}

impl Pieces {
    pub(super) fn clear(&mut self) {
        if self.list.len() < self.table.len() / 8 {
            for piece in &self.list {
                self.table[piece_slot(piece.hash)] = 0;
            }
        } else {
            self.table.fill(0);
        }
        self.list.clear();
        self.next = None;
    }

    /// Bytes kept.
    pub(super) const fn stored(&self) -> usize {
        self.list.len() * size_of::<Piece>()
    }

    /// Bytes of memory.
    pub(super) const fn footprint(&self) -> usize {
        self.list.capacity() * size_of::<Piece>()
    }

    /// An earlier piece with this hash, if there is one.
    #[inline]
    pub(super) fn find(&mut self, hash: u64) -> Option<Piece> {
        let is_it = |index: &usize| self.list.get(*index).is_some_and(|piece| piece.hash == hash);
        let found = self.next.filter(is_it).or_else(|| {
            let entry = self.table[piece_slot(hash)];
            let last = ((entry & PLACE) as usize).checked_sub(1);
            last.filter(|_| entry & !PLACE == tag(hash, PIECE_BITS)).filter(is_it)
        });
        self.next = found.map(|index| index + 1);
        found.map(|index| self.list[index])
    }

    /// A piece was appended to the content.
    #[inline]
    pub(super) fn push(&mut self, hash: u64, position: usize, len: usize) {
        self.list.push(Piece { hash, position: position as u32, len: len as u32 });
        // No piece beyond is found.
        if self.list.len() <= PLACE as usize {
            self.table[piece_slot(hash)] = self.list.len() as u32 | tag(hash, PIECE_BITS);
        }
    }
}

const VALUE_BITS: u32 = 12;

/// Where values are in a content.
#[derive(Debug)]
pub(super) struct Values {
    /// Hash and position, by the hash.
    table: Box<[(u64, u32)]>,
    /// How many were put in, and where the first of them are.
    puts: usize,
    first: Vec<u16>,
}

/// So many places are remembered.
const FIRST: usize = 256;

impl Default for Values {
    fn default() -> Self {
        Self { table: vec![(0, 0); 1 << VALUE_BITS].into_boxed_slice(), puts: 0, first: Vec::new() }
    }
}

const fn value_slot(hash: u64) -> usize {
    (hash >> (u64::BITS - VALUE_BITS)) as usize
}

impl Values {
    pub(super) fn clear(&mut self) {
        if self.puts <= FIRST {
            for slot in &self.first {
                self.table[usize::from(*slot)] = (0, 0);
            }
        } else {
            self.table.fill((0, 0));
        }
        self.puts = 0;
        self.first.clear();
    }

    /// Where a value with this hash is. Hash 0 stands for none.
    #[inline]
    pub(super) fn find(&self, hash: u64) -> Option<usize> {
        let (found, position) = self.table[value_slot(hash)];
        (found == hash && hash != 0).then_some(position as usize)
    }

    #[inline]
    pub(super) fn put(&mut self, hash: u64, position: usize) {
        self.table[value_slot(hash)] = (hash, position as u32);
        self.puts += 1;
        if self.puts <= FIRST {
            self.first.push(value_slot(hash) as u16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_goes_on_behind_the_piece_found_last() {
        let mut pieces = Pieces::default();
        for (position, hash) in [1, 2, 1, 3].into_iter().enumerate() {
            pieces.push(hash << 60, position, 1);
        }
        assert_eq!(pieces.find(2 << 60).map(|piece| piece.position), Some(1));
        assert_eq!(pieces.find(1 << 60).map(|piece| piece.position), Some(2));
        assert!(pieces.find(4 << 60).is_none());
        pieces.clear();
        assert!(pieces.find(1 << 60).is_none());
        for count in [1, 100, 10_000] {
            let hash = |n: usize| (n as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            (0..count).for_each(|n| pieces.push(hash(n), n, 1));
            assert!(pieces.find(hash(count - 1)).is_some());
            pieces.clear();
            assert!((0..count).all(|n| pieces.find(hash(n)).is_none()), "{count}");
        }
    }

    #[test]
    fn a_value_is_where_it_was_put_last() {
        let mut values = Values::default();
        assert_eq!(values.find(0), None);
        values.put(5, 10);
        values.put(5, 20);
        assert_eq!((values.find(5), values.find(6)), (Some(20), None));
        values.clear();
        assert_eq!(values.find(5), None);
        for count in [1, FIRST, FIRST + 1, 10_000] {
            let hash = |n: usize| (n as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            (0..count).for_each(|n| values.put(hash(n), n));
            assert_eq!(values.find(hash(count - 1)), Some(count - 1));
            values.clear();
            assert!((0..count).all(|n| values.find(hash(n)).is_none()), "{count}");
        }
    }
}
