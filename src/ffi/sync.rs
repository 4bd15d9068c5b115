//! What the buffer between threads is synchronised by: the standard library's atomics. `tests/loom` builds the same
//! sources with loom's in this place, and tries every order in which threads can take their steps.

use std::ops::Range;
pub use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// Accesses to bytes that are not atomic, told to the checker; nothing otherwise.
#[derive(Debug)]
pub struct Accesses;

impl Accesses {
    #[inline]
    pub fn new(_bytes: usize) -> Self {
        Self
    }
    #[inline]
    pub fn write(&self, _bytes: Range<usize>) {}
    #[inline]
    pub fn read(&self, _bytes: Range<usize>) {}
}
