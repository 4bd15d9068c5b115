//! What stands for `src/ffi`.

pub mod clock {
    pub fn monotonic_nanos() -> u64 {
        0
    }
}

/// Loom's in the place of `src/ffi/sync.rs`.
pub mod sync {
    use std::ops::Range;

    use loom::cell::UnsafeCell;
    pub use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

    /// The tests' records end where these blocks do.
    pub const BLOCK: usize = 4096;

    /// Tells loom of accesses, block by block: one that another thread makes without being ordered is a failure.
    #[derive(Debug)]
    pub struct Accesses(Vec<UnsafeCell<()>>);

    impl Accesses {
        pub fn new(bytes: usize) -> Self {
            Self((0..bytes.div_ceil(BLOCK)).map(|_| UnsafeCell::new(())).collect())
        }
        pub fn write(&self, bytes: Range<usize>) {
            self.blocks(bytes).iter().for_each(|cell| cell.with_mut(|_| ()));
        }
        pub fn read(&self, bytes: Range<usize>) {
            self.blocks(bytes).iter().for_each(|cell| cell.with(|_| ()));
        }
        fn blocks(&self, bytes: Range<usize>) -> &[UnsafeCell<()>] {
            &self.0[bytes.start / BLOCK..bytes.end.div_ceil(BLOCK)]
        }
    }
}

#[path = "../../../src/ffi/append.rs"]
pub mod append;
#[path = "../../../src/ffi/chunk.rs"]
pub mod chunk;
