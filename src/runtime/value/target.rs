//! Where a walk over a value goes: into a buffer, or against the bytes that an earlier walk left there.
//!
//! Invariants:
//! - Both kinds are driven by the same walk, so comparing is exactly as strict as writing again and comparing bytes:
//!   [`Compare::is_same`] is true if and only if writing would have produced these bytes.
//! - Writing can note on the way what the bytes depend on ([`Guarded`]); it writes the same.
//! - Comparing writes nothing. After the first difference it refuses everything, and the walk ends early.

use crate::ffi::guards::Guards;
use crate::pipeline::layout::Put;

/// See the module docs.
pub trait Target: Put {
    /// What is put here is recorded; else it is only compared.
    const WRITES: bool;
    /// Length of the output so far, as if all of it had been written.
    fn position(&self) -> usize;
    /// Leaves room for a `u32` that is known later; the result is for [`Target::fill_u32`].
    fn reserve_u32(&mut self) -> usize;
    fn fill_u32(&mut self, at: usize, n: u32);
    /// False: what follows does not matter any more.
    fn goes_on(&self) -> bool;
    /// Notes what the walk depends on here, where that is wanted; the number is how much of the value was written.
    #[inline]
    fn guard(&mut self, note: impl FnOnce(&mut Guards, usize)) {
        let _ = note;
    }
}

/// A buffer, and the guards of what is written into it.
#[derive(Debug)]
pub struct Guarded<'a> {
    out: &'a mut Vec<u8>,
    guards: &'a mut Guards,
    start: usize,
}

impl<'a> Guarded<'a> {
    pub fn new(out: &'a mut Vec<u8>, guards: &'a mut Guards) -> Self {
        let start = out.len();
        Self { out, guards, start }
    }
}

impl Put for Guarded<'_> {
    #[inline]
    fn put_array<const N: usize>(&mut self, bytes: [u8; N]) {
        self.out.put_array(bytes);
    }
    #[inline]
    fn put_u8(&mut self, n: u8) {
        self.out.push(n);
    }
    #[inline]
    fn put_bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}

impl Target for Guarded<'_> {
    const WRITES: bool = true;

    #[inline]
    fn position(&self) -> usize {
        self.out.len()
    }
    #[inline]
    fn reserve_u32(&mut self) -> usize {
        self.out.reserve_u32()
    }
    #[inline]
    fn fill_u32(&mut self, at: usize, n: u32) {
        self.out.fill_u32(at, n);
    }
    #[inline]
    fn goes_on(&self) -> bool {
        true
    }
    #[inline]
    fn guard(&mut self, note: impl FnOnce(&mut Guards, usize)) {
        note(self.guards, self.out.len() - self.start);
    }
}

impl Target for Vec<u8> {
    const WRITES: bool = true;

    #[inline]
    fn position(&self) -> usize {
        self.len()
    }
    #[inline]
    fn reserve_u32(&mut self) -> usize {
        let at = self.len();
        self.put_u32(0);
        at
    }
    #[inline]
    fn fill_u32(&mut self, at: usize, n: u32) {
        self[at..at + 4].copy_from_slice(&n.to_le_bytes());
    }
    #[inline]
    fn goes_on(&self) -> bool {
        true
    }
}

/// A target that compares.
#[derive(Debug)]
pub struct Compare<'a> {
    expected: &'a [u8],
    at: usize,
    /// Where the bytes would have been written.
    base: usize,
    differs: bool,
}

impl<'a> Compare<'a> {
    /// Compares with `expected`, as if writing from position `base` on.
    #[inline]
    pub fn new(expected: &'a [u8], base: usize) -> Self {
        Self { expected, at: 0, base, differs: false }
    }

    /// The walk is over: whether it would have produced just the expected bytes.
    #[inline]
    pub fn is_same(&self) -> bool {
        !self.differs && self.at == self.expected.len()
    }

    #[cold]
    fn differ(&mut self) {
        self.differs = true;
        self.expected = &[];
        self.at = 0;
    }
}

impl Put for Compare<'_> {
    #[inline]
    fn put_array<const N: usize>(&mut self, bytes: [u8; N]) {
        match self.expected.get(self.at..).and_then(<[u8]>::first_chunk::<N>) {
            Some(known) if *known == bytes => self.at += N,
            _ => self.differ(),
        }
    }
    #[inline]
    fn put_u8(&mut self, n: u8) {
        self.put_array([n]);
    }
    #[inline]
    fn put_bytes(&mut self, bytes: &[u8]) {
        match self.expected.get(self.at..self.at + bytes.len()) {
            Some(known) if known == bytes => self.at += bytes.len(),
            _ => self.differ(),
        }
    }
    #[inline]
    fn put_u16(&mut self, n: u16) {
        self.put_array(n.to_le_bytes());
    }
    #[inline]
    fn put_u32(&mut self, n: u32) {
        self.put_array(n.to_le_bytes());
    }
    #[inline]
    fn put_u64(&mut self, n: u64) {
        self.put_array(n.to_le_bytes());
    }
}

impl Target for Compare<'_> {
    const WRITES: bool = false;

    #[inline]
    fn position(&self) -> usize {
        self.base + self.at
    }
    #[inline]
    fn reserve_u32(&mut self) -> usize {
        let at = self.at;
        if self.expected.len() - at >= 4 {
            self.at += 4;
        } else {
            self.differ();
        }
        at
    }
    #[inline]
    fn fill_u32(&mut self, at: usize, n: u32) {
        if self.expected.get(at..).and_then(<[u8]>::first_chunk) != Some(&n.to_le_bytes()) {
            self.differ();
        }
    }
    #[inline]
    fn goes_on(&self) -> bool {
        !self.differs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(target: &mut impl Target, count: u32, text: &str) {
        target.put_u8(1);
        let at = target.reserve_u32();
        target.put_bytes(text.as_bytes());
        target.put_u64(u64::MAX);
        target.fill_u32(at, count);
    }

    #[test]
    fn the_same_walk_compares_equal_and_any_other_does_not() {
        let mut written = Vec::new();
        walk(&mut written, 7, "text");
        for (count, text, same) in
            [(7, "text", true), (8, "text", false), (7, "test", false), (7, "tex", false), (7, "texts", false)]
        {
            let mut compare = Compare::new(&written, 100);
            walk(&mut compare, count, text);
            assert_eq!(compare.is_same(), same, "{count} {text}");
        }
        for length in 0..written.len() {
            let mut compare = Compare::new(&written[..length], 0);
            walk(&mut compare, 7, "text");
            assert!(!compare.is_same(), "{length} bytes are a prefix only");
        }
    }

    #[test]
    fn less_than_expected_is_a_difference_and_so_is_anything_after_one() {
        let mut compare = Compare::new(&[1, 2], 10);
        compare.put_u8(1);
        assert_eq!((compare.position(), compare.is_same(), compare.goes_on()), (11, false, true));
        compare.put_u8(3);
        compare.put_bytes(&[]);
        assert!(!compare.goes_on() && !compare.is_same());
    }
}
