//! Values that were encoded before, by their compact form.
//!
//! Invariants:
//! - A value is found only if its compact bytes are the same, byte by byte: within one stream those say what the encoded
//!   bytes are, since the ids of types never change.
//! - Only values with parts are kept, and not huge ones: others are encoded as fast as they are found.
//! - It takes no more than [`MAX_BYTES`] and its table: when it is full it starts anew. A stream that never sets such a
//!   value takes nothing.

/// Compact values shorter than this are encoded at once.
pub(super) const MIN_VALUE: usize = 24;
/// Longer ones would push out too many others.
const MAX_VALUE: usize = 8 << 10;
const MAX_BYTES: usize = 192 << 10;
const TABLE_BITS: u32 = 10;

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    hash: u64,
    /// Where the compact bytes start; the encoded ones follow. Nothing is there if there are none.
    at: u32,
    compact: u32,
    encoded: u32,
}

/// The values met last.
#[derive(Debug, Default, Clone)]
pub(super) struct KnownValues {
    table: Box<[Entry]>,
    bytes: Vec<u8>,
}

const fn slot_of(hash: u64) -> usize {
    (hash >> (u64::BITS - TABLE_BITS)) as usize
}

impl KnownValues {
    /// The encoded form of the value with these compact bytes, and this hash of them.
    #[inline]
    pub(super) fn find(&self, hash: u64, compact: &[u8]) -> Option<&[u8]> {
        let entry = self.table.get(slot_of(hash))?;
        if entry.hash != hash {
            return None;
        }
        let (start, middle) = (entry.at as usize, entry.at as usize + entry.compact as usize);
        (self.bytes.get(start..middle)? == compact)
            .then(|| self.bytes.get(middle..middle + entry.encoded as usize))
            .flatten()
    }

    /// Remembers a value.
    pub(super) fn insert(&mut self, hash: u64, compact: &[u8], encoded: &[u8]) {
        let len = compact.len() + encoded.len();
        if len > MAX_VALUE {
            return;
        }
        if self.table.is_empty() {
            self.table = vec![Entry::default(); 1 << TABLE_BITS].into_boxed_slice();
        } else if self.bytes.len() + len > MAX_BYTES {
            self.bytes.clear();
            self.table.fill(Entry::default());
        }
        let at = self.bytes.len() as u32;
        self.table[slot_of(hash)] = Entry { hash, at, compact: compact.len() as u32, encoded: encoded.len() as u32 };
        self.bytes.extend_from_slice(compact);
        self.bytes.extend_from_slice(encoded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_bytes_and_not_by_its_hash_alone() {
        let mut known = KnownValues::default();
        assert_eq!(known.find(7, b""), None);
        known.insert(7, b"compact", b"encoded");
        assert_eq!(known.find(7, b"compact"), Some(&b"encoded"[..]));
        assert_eq!(known.find(7, b"another"), None);
        assert_eq!(known.find(8, b"compact"), None);
        known.insert(8, b"another", b"");
        assert_eq!(known.find(8, b"another"), Some(&b""[..]), "the same place in the table");
        assert_eq!(known.find(7, b"compact"), None);
    }

    #[test]
    fn memory_is_bounded_and_huge_values_are_not_kept() {
        let mut known = KnownValues::default();
        known.insert(1, &[1; MAX_VALUE], b"x");
        assert!(known.table.is_empty());
        for n in 0..10_000u64 {
            let hash = n << (u64::BITS - TABLE_BITS) | n;
            known.insert(hash, &n.to_le_bytes(), &[2; 100]);
            assert!(known.bytes.len() <= MAX_BYTES);
            assert_eq!(known.find(hash, &n.to_le_bytes()), Some(&[2; 100][..]));
        }
    }
}
