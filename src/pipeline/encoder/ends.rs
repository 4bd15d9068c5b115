//! How a stream, or a part of it, starts and ends.
//!
//! Invariants:
//! - What a part starts with makes it a whole trace: all definitions so far, the calls in progress, and what they showed.
//! - Ending a stream writes a `Return` for every `Call` that is open, and at least one `Step`.

use super::codec::EventCodec;
use super::counts::EventCounts;
use super::frame::Frame;
use super::packed::Output;
use super::records::{Progress, RecordEncoder, begin_call};
use crate::pipeline::layout::output;
use crate::pipeline::model::Exit;
use crate::pipeline::tables::types;

impl<C: EventCodec> RecordEncoder<C> {
    /// Writes what the stream or the part starts with, if that is still due.
    pub(super) fn start<O: Output>(&mut self, out: &mut O) {
        if self.progress == Progress::New {
            let mut counts = self.counts;
            self.prologue(out.buffer(), &mut counts);
            out.settle();
            self.counts = counts;
            self.progress = Progress::Running;
        }
    }

    /// Ends the part like [`Self::finish`], but the next records continue in a further part.
    pub(super) fn end_part<O: Output>(&mut self, out: &mut O) {
        if self.progress == Progress::Finished {
            return;
        }
        let mut counts = self.counts;
        self.close(Exit::Unknown, out.buffer(), &mut counts);
        out.settle();
        self.counts = counts;
        self.chunk.forget();
        self.progress = Progress::New;
    }

    /// The calls in progress are over; their ends were written with that of the part.
    pub(super) fn forget_calls(&mut self) {
        while self.frames.depth() > 0 {
            self.frames.pop();
        }
    }

    /// Returns from all calls in progress; the stream goes on without any.
    pub(super) fn end_calls<O: Output>(&mut self, out: &mut O) {
        if self.progress == Progress::Running {
            self.end_chunk(output::STEP_BOUNDARY, out.buffer());
            out.settle();
            let mut counts = self.counts;
            self.close_calls(out.buffer(), &mut counts);
            out.settle();
            self.counts = counts;
        }
        self.forget_calls();
    }

    /// Output that waits for more has waited long enough.
    pub(super) fn end_waiting_output<O: Output>(&mut self, out: &mut O) {
        self.end_chunk(output::TIME_SPLIT, out.buffer());
        out.settle();
    }

    /// Counts from zero: the next part begins.
    pub(super) fn begin_part(&mut self) {
        self.counts = EventCounts::default();
        self.shown_at.clear();
        self.turns.begin_part();
    }

    pub(super) fn finish<O: Output>(&mut self, exit: Exit, out: &mut O) {
        let mut counts = self.counts;
        self.close(exit, out.buffer(), &mut counts);
        out.settle();
        self.counts = counts;
        self.frames.clear();
        self.chunk.forget();
        self.progress = Progress::Finished;
    }

    /// Writes all that is missing to a complete stream, and counts it.
    pub(super) fn close(&self, exit: Exit, out: &mut Vec<u8>, counts: &mut EventCounts) {
        match self.progress {
            Progress::New => {
                self.prologue(out, counts);
            }
            Progress::Running => {}
            Progress::Finished => return,
        }
        self.show_chunk(out, counts);
        if counts.steps == 0 {
            // A trace without any step does not load.
            C::step(out, 0, 0);
            counts.steps += 1;
        }
        self.close_calls(out, counts);
        let type_id = self.definitions.provisional_type_id(
            match exit {
                Exit::Code(_) => types::INT,
                Exit::Unknown => types::STRING,
            },
            out,
        );
        C::begin_return(out);
        match exit {
            Exit::Code(code) => C::int(out, code, type_id),
            Exit::Unknown => C::string(out, "<exit>", type_id),
        }
        C::end_return(out);
        counts.returns += 1;
    }

    fn close_calls(&self, out: &mut Vec<u8>, counts: &mut EventCounts) {
        let unwritten = self.frames.peek().is_some_and(|frame| frame.opening);
        for _ in 0..self.frames.depth() - usize::from(unwritten) {
            C::begin_return(out);
            C::none(out, 0);
            C::end_return(out);
            counts.returns += 1;
        }
    }

    /// What every part of a stream starts with; the first event has nothing to be separated from.
    fn prologue(&self, out: &mut Vec<u8>, counts: &mut EventCounts) {
        let start = out.len();
        self.definitions.write_program(out);
        out.drain(start..start + C::SEPARATOR.len());
        C::begin_call(out, 0, 0);
        C::end_call(out);
        self.definitions.write_none_type(out);
        counts.calls += 1;
        self.definitions.write_the_rest(out);
        for frame in self.frames.open().iter().filter(|frame| !frame.opening) {
            begin_call::<C>(out, self.definitions.code(frame.code), 0);
            C::end_call(out);
            counts.calls += 1;
            counts.continued += 1;
            counts.steps += 1;
            if frame.line > 0 {
                C::step(out, frame.path_id, frame.line);
                counts.steps += 1;
                counts.values += self.show_again(frame, out);
            }
        }
    }

    /// The variables of a frame's latest step; how many they are.
    fn show_again(&self, frame: &Frame, out: &mut Vec<u8>) -> u64 {
        if !frame.may_repeat_a_name() {
            out.extend_from_slice(frame.block());
            return frame.set_slots() as u64;
        }
        let code = self.definitions.code(frame.code);
        let mut shown = Vec::new();
        for slot in 0..frame.slots() {
            let variable_id = match slot.checked_sub(code.fixed_slots()) {
                None => code.variable(slot),
                Some(dynamic) => frame.dynamic.get(dynamic).copied().flatten(),
            };
            if !frame.fragment(slot).is_empty() && !shown.contains(&variable_id) {
                shown.push(variable_id);
                out.extend_from_slice(frame.fragment(slot));
            }
        }
        shown.len() as u64
    }
}
