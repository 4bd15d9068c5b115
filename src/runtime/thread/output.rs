//! What a thread writes and reads, in its stream of records.
//!
//! Invariants:
//! - A chunk comes after the records of the step it belongs to and before those of the thread's next event.
//! - Output changes nothing of the shadow stack; losing it loses nothing else.

use std::sync::Arc;

use runtime_tracing::EventLogKind;

use super::ThreadRecorder;
use crate::ffi::{self, frame::Frame};
use crate::pipeline::layout::{Put, output, record};
use crate::runtime::io_capture::chunk::Origin;
use crate::runtime::io_capture::observe;
use crate::runtime::tracer::shared::Shared;

/// Memory for texts that is kept for the next.
const LARGEST_KEPT: usize = 256 * 1024;

impl ThreadRecorder {
    /// Adds to the chunk of output that this thread is writing.
    pub fn output(&mut self, origin: Origin, add: impl FnOnce(&mut String) -> u8) {
        if !self.begin_output() {
            return;
        }
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        let flags = add(&mut text);
        // Of bytes, nothing may be left but the beginning of a character.
        if !text.is_empty() {
            self.put_output(origin, flags, &text);
        }
        if text.capacity() <= LARGEST_KEPT {
            self.text = text;
        }
    }

    /// The same for text that is complete, and not empty.
    #[inline]
    pub fn output_text(&mut self, origin: Origin, text: &str) {
        if self.begin_output() {
            self.put_output(origin, 0, text);
        }
    }

    /// Whether output is recorded now.
    #[inline]
    fn begin_output(&mut self) -> bool {
        if self.is_void() {
            self.start_afresh();
        }
        if self.shared.entries.is_some() && self.stack.is_empty() {
            // Of no sample.
            return false;
        }
        if self.lost_events > 0 {
            self.send_stack_again();
        }
        true
    }

    /// Who writes: a recorded frame with the number of its code, if there is one.
    #[inline]
    pub fn origin(&mut self, stream: u8, found: Option<(Frame<'_>, u32)>) -> Origin {
        match found {
            Some((frame, code)) => {
                self.follow_running(frame);
                Origin { stream, code, line: self.lines.line(frame, code), frame: frame.id() as u64 }
            }
            None => Origin { stream, code: output::NO_CODE, line: 0, frame: 0 },
        }
    }

    /// See [`crate::runtime::io_capture::chunk::OpenChunk::origin_at`].
    #[inline]
    pub fn origin_at(&self, stream: u8, place: (usize, usize)) -> Option<Origin> {
        self.chunk.origin_at(stream, place)
    }

    /// See [`crate::runtime::io_capture::chunk::OpenChunk::set_place`].
    #[inline]
    pub fn set_place(&mut self, place: Option<(usize, usize)>) {
        self.chunk.set_place(place);
    }

    /// Adds to the chunk that is open, if that is all there is to do: nothing has come since the same instruction wrote to
    /// it, and nothing but this is to be recorded. Else false, and nothing is done.
    #[inline]
    pub fn continue_output(&mut self, stream: u8, text: &str) -> bool {
        let shared = &self.shared;
        if !shared.state.is_recording()
            || self.epoch != shared.state.epoch()
            || !shared.gate.is_open()
            || self.lost_events > 0
            || observe::copies_wait()
        {
            return false;
        }
        let Some(frame) = ffi::current_frame() else { return false };
        let Some(instruction) = frame.instruction() else { return false };
        if !self.chunk.is_at(stream, (frame.id(), instruction)) {
            return false;
        }
        let is_complete = text.ends_with('\n');
        let (tag, flags) = if is_complete { (record::OUTPUT, output::NEWLINE) } else { (record::OUTPUT_PART, 0) };
        if !self.producer.push_at_once(&self.chunk.next_head(tag, flags, text.len() as u32), text.as_bytes()) {
            return false;
        }
        self.chunk.extend(text.len(), is_complete);
        shared.stats.io.count(stream, false, text.len());
        if !is_complete {
            self.producer.output_waits();
        }
        true
    }

    #[inline]
    fn put_output(&mut self, origin: Origin, flags: u8, text: &str) {
        let newline = if text.ends_with('\n') { output::NEWLINE } else { 0 };
        let is_complete = newline != 0 || flags & output::MIRROR != 0;
        let begins = self.chunk.add(origin, text.len(), is_complete);
        self.shared.stats.io.count(origin.stream, begins, text.len());
        let tag = if is_complete { record::OUTPUT } else { record::OUTPUT_PART };
        self.put_chunk(tag, origin, flags | newline, text);
        self.publish();
        if !is_complete {
            self.producer.output_waits();
        }
    }

    #[inline]
    fn put_chunk(&mut self, tag: u8, origin: Origin, flags: u8, text: &str) {
        let head = self.chunk.new_head(tag, flags, origin, text.len() as u32);
        self.out.reserve(head.len() + text.len());
        self.out.put_array(head);
        self.out.put_bytes(text.as_bytes());
    }

    /// Whether this is a recorder of that session.
    pub fn belongs_to(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// No chunk is open, and this is the thread that is given the output that bypassed the streams.
    #[cfg(target_os = "linux")]
    pub fn begins_chunk(&self) -> bool {
        self.producer.shared().id == 0 && !self.chunk.is_open()
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
        self.put_output(origin, flags | output::MIRROR, text);
    }

    /// Marks where output was seen at a descriptor, but was too much to be recorded.
    pub fn output_missing(&mut self, stream: u8, count: u64) {
        self.chunk.close();
        let name = output::NAMES.get(usize::from(stream)).copied().unwrap_or_default();
        self.out.put_u8(record::EVENT);
        self.out.put_u8(EventLogKind::TraceLogEvent as u8);
        self.out.put_text(&format!(r#"{{"kind":"lost","cause":"mirror_full","stream":"{name}","bytes":{count}}}"#));
        self.out.put_text(&format!("{count} bytes of {name} are not recorded here: they came faster than that"));
        self.publish();
    }

    /// The program flushed this stream: its chunk is complete.
    pub fn flush_output(&mut self, stream: u8) {
        if let Some(origin) = self.chunk.take_of(stream) {
            self.put_chunk(record::OUTPUT, origin, output::FLUSH, "");
            self.publish();
        }
    }
}
