//! Samples of entries in a thread's stream.
//!
//! Invariants: outside samples nothing is pushed; a frame is of a sample if it was entered within one.

use super::{Entry, ThreadRecorder};
use crate::ffi::frame::Frame;
use crate::pipeline::layout::{Put, record};
use crate::runtime::entries::Entries;

impl ThreadRecorder {
    /// Calls of a sample are in progress where this frame runs.
    pub fn runs_within_calls(&mut self, frame: Frame<'_>) -> bool {
        self.follow_running(frame);
        self.is_within_calls()
    }

    /// Calls of a sample are in progress.
    pub fn is_within_calls(&self) -> bool {
        !self.is_void() && !self.stack.is_empty()
    }

    /// A sample begins with the thread's next records.
    pub fn begin_sample(&mut self, id: u64, about: &str) {
        if self.is_void() {
            self.start_afresh();
        }
        self.out.put_u8(record::SAMPLE_BEGIN);
        self.out.put_u64(id);
        self.out.put_text(about);
        self.publish();
    }

    /// A sample is over.
    pub fn end_sample(&mut self, id: u64) {
        if !self.is_void() {
            self.chunk.close();
            self.out.put_u8(record::SAMPLE_END);
            self.out.put_u64(id);
            self.publish();
        }
    }

    /// Whether a frame that is entered is of a sample. One that starts and is on the stack was entered when the sample
    /// began with it.
    pub fn enters_sample(&mut self, frame: Frame<'_>, entry: &Entry<'_>, entries: &Entries) -> bool {
        self.follow_entry(frame);
        if !self.is_within_calls() {
            return entries.holds(frame);
        }
        !(matches!(entry, Entry::Call) && self.stack.last().is_some_and(|top| top.id == frame.id()))
    }

    /// Whether this running frame is on the stack.
    pub fn has(&mut self, frame: Frame<'_>) -> bool {
        self.follow_running(frame);
        !self.is_void() && self.stack.iter().rev().any(|known| known.id == frame.id())
    }
}
