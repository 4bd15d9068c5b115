//! Whose turn it is: which thread records, and when another one takes over.
//!
//! Invariants:
//! - Only who holds the interpreter's lock pushes records, so at any time one thread has the turn. One that pushes while
//!   another has it puts a [`record::TURN`] before its records, in one piece with them. So the numbers of turns give the
//!   order of what all threads recorded, exactly, and not only as exactly as a clock.
//! - A turn is taken with its records: those that are not stored take none. Its number is then lost, and numbers have
//!   gaps.
//! - While one thread records, this costs a load and a comparison per event.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::layout::record;
use crate::ffi::clock::monotonic_nanos;

/// Nobody has the turn.
const NOBODY: u32 = u32::MAX;

/// Shared by the producers of a pipeline.
#[derive(Debug)]
pub struct Turns {
    holder: AtomicU32,
    next: AtomicU64,
}

impl Default for Turns {
    fn default() -> Self {
        Self { holder: AtomicU32::new(NOBODY), next: AtomicU64::new(0) }
    }
}

impl Turns {
    /// Whether this stream was the last one that recorded.
    #[inline]
    pub fn is_of(&self, stream: u32) -> bool {
        self.holder.load(Ordering::Relaxed) == stream
    }

    /// The record that begins a turn now.
    pub fn begin(&self) -> [u8; 17] {
        let mut bytes = [0; 17];
        bytes[0] = record::TURN;
        bytes[1..9].copy_from_slice(&self.next.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        bytes[9..].copy_from_slice(&monotonic_nanos().to_le_bytes());
        bytes
    }

    /// The turn that was begun is stored.
    pub fn take(&self, stream: u32) {
        self.holder.store(stream, Ordering::Relaxed);
    }

    /// Whoever records next says so, even if it was the last one: what was said may have been dropped.
    pub fn forget(&self) {
        self.holder.store(NOBODY, Ordering::Relaxed);
    }
}
