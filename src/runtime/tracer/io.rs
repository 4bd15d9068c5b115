//! Output and input of the program: from whom, and into the calling thread's stream.
//!
//! Invariants:
//! - The origin is the nearest recorded frame of the calling thread, and the line that it executes *now* (its
//!   instruction, not its last line event): `print("x", g())` belongs to the line of `print`.
//! - While the recording is paused nothing is recorded.
//! - Where no frame is recorded the origin is unknown; the output is recorded all the same.

use super::filtering;
use crate::ffi;
use crate::ffi::frame::Frame;
use crate::monitoring::CodeObjectWrapper;
use crate::runtime::io_capture::Sink;
use crate::runtime::thread::with_recorder;
use crate::runtime::tracer::shared::Shared;

/// The nearest recorded frame, and the number of its code.
fn recorded_frame<'a>(shared: &Shared) -> Option<(Frame<'a>, u32)> {
    let mut next = ffi::current_frame();
    while let Some(frame) = next {
        let traced = frame
            .code()
            .and_then(|code| filtering::known_entry(shared, CodeObjectWrapper::new(code)))
            .and_then(|entry| entry.traced.as_deref());
        if let Some(traced) = traced {
            return Some((frame, traced.id));
        }
        next = frame.previous();
    }
    None
}

/// Records what went through a stream; `put` appends it and gives flags.
pub fn record(sink: &Sink, stream: u8, put: impl FnOnce(&mut String) -> u8) {
    if sink.shared.state.is_paused() {
        return;
    }
    let found = recorded_frame(&sink.shared);
    with_recorder(&sink.shared, |recorder| {
        recorder.take_copies();
        let origin = recorder.origin(stream, found);
        recorder.output(origin, put);
    });
}

/// The same for short text, which needs no preparation.
#[inline]
pub fn record_text(sink: &Sink, stream: u8, text: &str) {
    if text.is_empty() || sink.shared.state.is_paused() {
        return;
    }
    with_recorder(&sink.shared, |recorder| {
        recorder.take_copies();
        // Known of the latest write only where the frame that writes is itself recorded: then its line and all it was
        // called by are the same as long as no event came.
        let here = ffi::current_frame().and_then(|frame| Some((frame.id(), frame.instruction()?)));
        if let Some(origin) = here.and_then(|place| recorder.origin_at(stream, place)) {
            recorder.output_text(origin, text);
            return;
        }
        let found = recorded_frame(&sink.shared);
        let origin = recorder.origin(stream, found);
        recorder.output_text(origin, text);
        recorder.set_place(here.filter(|(frame, _)| found.is_some_and(|(found, _)| found.id() == *frame)));
    });
}

/// What this thread writes next is the first of a chunk, in the stream that has what others wrote, too.
#[cfg(target_os = "linux")]
pub fn begins_chunk(sink: &Sink) -> bool {
    !sink.shared.state.is_paused() && with_recorder(&sink.shared, |recorder| recorder.begins_chunk()).unwrap_or(false)
}

/// The program flushed a stream.
pub fn flush(sink: &Sink, stream: u8) {
    with_recorder(&sink.shared, |recorder| recorder.flush_output(stream));
}

/// Lines of instructions that wrote lately: finding a line in a code object's table takes as long as the table is.
#[derive(Debug, Default)]
pub struct LineCache {
    known: [(usize, u32, u32); 8],
}

impl LineCache {
    #[inline]
    pub fn line(&mut self, frame: Frame<'_>, code: u32) -> u32 {
        let Some(instruction) = frame.instruction() else { return frame.line() };
        // Instructions are two bytes, and a line has a few of them.
        let slot = (instruction >> 3) % self.known.len();
        let entry = &mut self.known[slot];
        if (entry.0, entry.1) != (instruction, code) {
            *entry = (instruction, code, frame.line());
        }
        entry.2
    }
}
