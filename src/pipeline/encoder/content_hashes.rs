//! The hashes of contents that have a number: a value that is sent again need not be hashed again.
//!
//! Invariants:
//! - A number stands for the same bytes wherever it comes in the streams of one process, so for the same hash.
//! - It is of fixed size: a content takes the place of another one now and then, and is hashed again.

use super::hash::value_hash;

const BITS: u32 = 10;

/// The contents met last.
#[derive(Debug, Default, Clone)]
pub(super) struct ContentHashes {
    /// By the last bits of the number: the number, and the hash. Nothing is there until a content comes that has one.
    table: Box<[(u64, u64)]>,
}

impl ContentHashes {
    /// The hash of a value's compact bytes, whose content has this number, 0 for none.
    #[inline]
    pub(super) fn of(&mut self, number: u64, compact: &[u8]) -> u64 {
        if number == 0 {
            return value_hash(compact);
        }
        let slot = number as usize & ((1 << BITS) - 1);
        match self.table.get(slot) {
            Some(&(known, hash)) if known == number => hash,
            _ => self.note(slot, number, compact),
        }
    }

    fn note(&mut self, slot: usize, number: u64, compact: &[u8]) -> u64 {
        let hash = value_hash(compact);
        if self.table.is_empty() {
            self.table = vec![(0, 0); 1 << BITS].into_boxed_slice();
        }
        self.table[slot] = (number, hash);
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_for_its_hash_until_another_takes_its_place_and_none_stands_for_nothing() {
        let mut hashes = ContentHashes::default();
        assert_eq!(hashes.of(0, b"a"), value_hash(b"a"));
        assert!(hashes.table.is_empty(), "a stream without such contents takes no memory");
        assert_eq!(hashes.of(1, b"a"), value_hash(b"a"));
        assert_eq!(hashes.of(1, b"not looked at"), value_hash(b"a"));
        assert_eq!(hashes.of(1 | 1 << BITS, b"b"), value_hash(b"b"), "the same place");
        assert_eq!(hashes.of(1, b"a"), value_hash(b"a"));
        assert_eq!(hashes.of(0, b"c"), value_hash(b"c"));
    }
}
