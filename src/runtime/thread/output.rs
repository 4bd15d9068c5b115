//! What a thread writes and reads, in its stream of records.
//!
//! Invariants:
//! - A chunk comes after the records of the step it belongs to and before those of the thread's next event.
//! - Output changes nothing of the shadow stack; losing it loses nothing else.

use std::sync::Arc;

use runtime_tracing::EventLogKind;

use super::ThreadRecorder;
use crate::pipeline::layout::{Put, output, record};
use crate::runtime::io_capture::batch::Origin;
use crate::runtime::io_capture::observe;
use crate::runtime::tracer::shared::Shared;

/// Bytes of output that are sent on without waiting for the end of the line.
const LONGEST_CHUNK: usize = 64 * 1024;

impl ThreadRecorder {
    /// Adds to the chunk of output that this thread is writing.
    pub fn output(&mut self, origin: Origin, add: impl FnOnce(&mut String) -> u8) {
        if self.is_void() {
            self.start_afresh();
        }
        if self.shared.entries.is_some() && self.stack.is_empty() {
            // Of no sample.
            return;
        }
        if self.lost_events > 0 {
            self.send_stack_again();
        }
        if let Some(reason) = self.batch.must_end_before(origin) {
            self.end_output(reason);
        }
        self.batch.add(origin, add);
        if self.batch.ends_with_newline() || self.batch.size() >= LONGEST_CHUNK {
            self.end_output(0);
        } else if self.batch.is_due() {
            self.end_output(output::TIME_SPLIT);
        }
    }

    /// Whether this is a recorder of that session.
    pub fn belongs_to(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// Output that bypassed the streams goes to the thread that started the recording, as soon as it has something to
    /// record.
    #[inline]
    pub fn take_copies(&mut self) {
        if observe::copies_wait() && self.producer.shared().id == 0 {
            observe::drain_copies(self);
        }
    }

    /// Adds a chunk that was seen at a descriptor only.
    pub fn output_copy(&mut self, origin: Origin, text: &str, flags: u8) {
        if self.shared.entries.is_some() && self.stack.is_empty() {
            return;
        }
        self.end_output(output::STEP_BOUNDARY);
        self.batch.add(origin, |out| {
            out.push_str(text);
            flags
        });
        self.end_output(output::MIRROR);
    }

    /// Marks where output was seen at a descriptor, but was too much to be recorded.
    pub fn output_missing(&mut self, stream: u8, count: u64) {
        self.end_output(output::STEP_BOUNDARY);
        let name = output::NAMES.get(usize::from(stream)).copied().unwrap_or_default();
        self.out.put_u8(record::EVENT);
        self.out.put_u8(EventLogKind::TraceLogEvent as u8);
        self.out.put_text(&format!(r#"{{"kind":"lost","cause":"mirror_full","stream":"{name}","bytes":{count}}}"#));
        self.out.put_text(&format!("{count} bytes of {name} are not recorded here: they came faster than that"));
        self.publish();
    }

    /// The program flushed this stream: its chunk is complete.
    pub fn flush_output(&mut self, stream: u8) {
        if self.batch.is_of(stream) {
            self.end_output(output::FLUSH);
        }
    }

    /// Sends the chunk of output that waits, if any.
    #[cold]
    pub(super) fn end_output(&mut self, reason: u8) {
        self.batch.end(reason, &self.shared.stats.io, &mut self.out);
        self.publish();
    }
}

impl Drop for ThreadRecorder {
    /// The thread ends: what it wrote last is still to be sent.
    fn drop(&mut self) {
        self.out.clear();
        self.batch.end(output::STEP_BOUNDARY, &self.shared.stats.io, &mut self.out);
        if !self.out.is_empty() {
            // There is nobody left to wait for room.
            let _ = self.producer.push(&self.out);
        }
    }
}
