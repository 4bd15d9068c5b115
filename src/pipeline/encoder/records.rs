//! One stream's records, turned into events one by one.
//!
//! Invariants:
//! - Only whole events are appended to `out`, also when a record turns out malformed: what was written before stays a
//!   valid stream, which [`RecordEncoder::finish`] can still close.
//! - An id is defined before the event that uses it, and nothing comes between a definition step and its `Call`.
//! - A part that continues another ([`RecordEncoder::end_part`]) starts with all definitions made so far and the calls
//!   in progress, each with the variables it had, so it is a whole trace of its own.
//! - Every `Call` has its `Return` once the stream is finished. A call whose `CALL_END` has not come is not written
//!   yet, so it is not returned from either.

use std::sync::Arc;

use runtime_tracing::EventLogKind;

use super::codec::EventCodec;
use super::counts::EventCounts;
use super::frame::{Frame, FrameStack};
use super::interning::{Code, Definitions};
use super::log_events::{GapMetadata, OutputMetadata, event_kind, metadata_text, output_stream};
use super::packed::Output;
use super::values::encode_value;
use crate::pipeline::layout::{LossCause, Malformed, Take, output, record, value};
use crate::pipeline::model::Exit;
use crate::pipeline::tables::{Tables, types};

/// Name of the argument that shows what was thrown into a generator.
const THROWN: &str = "exception";

/// Encodes one stream with the codec `C`.
#[derive(Debug)]
pub(super) struct RecordEncoder<C> {
    definitions: Definitions<C>,
    frames: FrameStack,
    counts: EventCounts,
    progress: Progress,
    /// Native id of the thread, shown with its output.
    pub(super) thread: u64,
    /// Holds the value or text of the current record.
    scratch: Vec<u8>,
    /// By variable id, the last step that showed it; only for frames with repeated names.
    shown_at: Vec<u64>,
    /// [`RecordEncoder::encode`] stops when the part has so many steps.
    pub(super) step_limit: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The prologue is due.
    New,
    Running,
    Finished,
}

impl<C: EventCodec> RecordEncoder<C> {
    pub(super) fn new(tables: Arc<Tables>, program: &str) -> Self {
        Self {
            definitions: Definitions::new(tables, program),
            frames: FrameStack::default(),
            counts: EventCounts::default(),
            progress: Progress::New,
            thread: 0,
            scratch: Vec::new(),
            shown_at: Vec::new(),
            step_limit: u64::MAX,
        }
    }

    pub(super) fn paths(&self) -> &[String] {
        self.definitions.paths()
    }

    pub(super) const fn counts(&self) -> &EventCounts {
        &self.counts
    }

    pub(super) const fn depth(&self) -> usize {
        self.frames.depth()
    }

    pub(super) fn encode<O: Output>(&mut self, records: &[u8], out: &mut O, limit: usize) -> Result<usize, Malformed> {
        if self.progress == Progress::New {
            self.start(out);
        }
        let mut take = Take::new(records);
        while !take.is_empty() {
            if self.progress == Progress::Finished {
                return Err(Malformed);
            }
            let outcome = self.record(&mut take, out);
            // Also behind a malformed record: the definitions before it are whole.
            out.settle();
            outcome?;
            if out.is_full(limit) || self.counts.steps >= self.step_limit {
                break;
            }
        }
        Ok(records.len() - take.rest().len())
    }

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
        self.progress = Progress::New;
    }

    /// Counts from zero: the next part begins.
    pub(super) fn begin_part(&mut self) {
        self.counts = EventCounts::default();
        self.shown_at.clear();
    }

    pub(super) fn finish<O: Output>(&mut self, exit: Exit, out: &mut O) {
        let mut counts = self.counts;
        self.close(exit, out.buffer(), &mut counts);
        out.settle();
        self.counts = counts;
        self.frames.clear();
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
        if counts.steps == 0 {
            // A trace without any step does not load.
            C::step(out, 0, 0);
            counts.steps += 1;
        }
        let unwritten = self.frames.peek().is_some_and(|frame| frame.opening);
        for _ in 0..self.frames.depth() - usize::from(unwritten) {
            C::begin_return(out);
            C::none(out, 0);
            C::end_return(out);
            counts.returns += 1;
        }
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
        if !frame.repeats_names {
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

    #[inline]
    fn record<O: Output>(&mut self, take: &mut Take<'_>, output: &mut O) -> Result<(), Malformed> {
        let tag = take.u8()?;
        if tag == record::STEP {
            return self.step(take, output);
        }
        let out = output.buffer();
        match tag {
            record::SET => self.set(take, out),
            record::UNSET => self.unset(take),
            record::CALL => self.call(take, out),
            record::CALL_END => self.call_end(out),
            record::RETURN => self.return_from_call(take, out),
            record::RESUME => self.resume(take, out),
            record::THROW => self.throw(take, out),
            record::DECLARE => self.declare(take, out),
            record::OUTPUT => self.output(take, out),
            record::LOST => self.lost(take, out),
            record::EVENT => self.event(take, out),
            _ => Err(Malformed),
        }
    }

    #[inline]
    fn set(&mut self, take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let slot = usize::from(take.u16()?);
        let frame = self.frames.top()?;
        let fixed = self.definitions.code(frame.code).fixed_slots();
        let variable_id = match slot.checked_sub(fixed) {
            None => self.definitions.slot_variable(frame.code, slot, out)?,
            Some(dynamic) => frame.dynamic.get(dynamic).copied().flatten().ok_or(Malformed)?,
        };
        // An integer again: most changes are of that kind, and change a few bytes.
        let mut int_len = 0;
        let mut ahead = take.clone();
        if ahead.u8() == Ok(value::INT)
            && let Some((bytes, behind)) = C::int_in_place(ahead.i64()?, self.definitions.type_id(types::INT, out)?)
        {
            int_len = bytes.as_slice().len();
            if frame.replace_int(slot, bytes.as_slice(), behind) {
                *take = ahead;
                return Ok(());
            }
        }
        let fragment = &mut self.scratch;
        fragment.clear();
        fragment.extend_from_slice(C::VALUE_HEAD);
        C::begin_record(fragment, variable_id);
        encode_value(take, &mut self.definitions, fragment, out)?;
        C::end_record(fragment);
        fragment.extend_from_slice(C::VALUE_TAIL);
        frame.replace(slot, fragment)?;
        frame.is_int(slot, int_len);
        Ok(())
    }

    fn unset(&mut self, take: &mut Take<'_>) -> Result<(), Malformed> {
        let slot = usize::from(take.u16()?);
        self.frames.top()?.replace(slot, &[])
    }

    fn declare(&mut self, take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let slot = usize::from(take.u16()?);
        let len = usize::from(take.u16()?);
        let name = std::str::from_utf8(take.bytes(len)?).map_err(|_| Malformed)?;
        let frame = self.frames.top()?;
        let code = self.definitions.code(frame.code);
        let dynamic = slot.checked_sub(code.fixed_slots()).ok_or(Malformed)?;
        if !frame.fragment(slot).is_empty() {
            // A value must not change its name under way.
            return Err(Malformed);
        }
        let is_fixed_name = self.definitions.code_info(code.id)?.variables.iter().any(|fixed| fixed == name);
        let variable_id = self.definitions.variable(name, out);
        frame.repeats_names |= is_fixed_name || frame.dynamic.contains(&Some(variable_id));
        frame.grow(slot + 1);
        if frame.dynamic.len() <= dynamic {
            frame.dynamic.resize(dynamic + 1, None);
        }
        frame.dynamic[dynamic] = Some(variable_id);
        Ok(())
    }

    #[inline]
    fn step<O: Output>(&mut self, take: &mut Take<'_>, out: &mut O) -> Result<(), Malformed> {
        let line = take.u32()?;
        let frame = self.frames.top()?;
        if frame.opening {
            return Err(Malformed);
        }
        frame.line = line;
        C::step(out.buffer(), frame.path_id, line);
        self.counts.steps += 1;
        if frame.repeats_names {
            return self.show_first_of_each_name(out.buffer());
        }
        self.counts.values += frame.set_slots() as u64;
        out.show(frame);
        Ok(())
    }

    /// The variables of a step whose frame may have several slots of one name: CodeTracer shows the first.
    #[cold]
    fn show_first_of_each_name(&mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let frame = self.frames.top()?;
        let code = self.definitions.code(frame.code);
        let this_step = self.counts.steps;
        for slot in 0..frame.slots() {
            let fragment = frame.fragment(slot);
            if fragment.is_empty() {
                continue;
            }
            let variable_id = match slot.checked_sub(code.fixed_slots()) {
                None => code.variable(slot),
                Some(dynamic) => frame.dynamic.get(dynamic).copied().flatten(),
            };
            let variable_id = variable_id.ok_or(Malformed)? as usize;
            if self.shown_at.len() <= variable_id {
                self.shown_at.resize(variable_id + 1, 0);
            }
            if self.shown_at[variable_id] != this_step {
                self.shown_at[variable_id] = this_step;
                out.extend_from_slice(fragment);
                self.counts.values += 1;
            }
        }
        Ok(())
    }

    fn call(&mut self, take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let index = self.callee(take, out)?;
        self.push_frame(index, true);
        Ok(())
    }

    fn call_end(&mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let frame = self.frames.top()?;
        if !frame.opening {
            return Err(Malformed);
        }
        let code = self.definitions.code(frame.code);
        let parameters = &self.definitions.code_info(code.id)?.parameters;
        let set = || parameters.iter().map(|&slot| frame.fragment(slot.into())).filter(|event| !event.is_empty());
        begin_call::<C>(out, code, set().count());
        for (i, event) in set().enumerate() {
            if i > 0 {
                out.extend_from_slice(C::ITEM_SEPARATOR);
            }
            out.extend_from_slice(&event[C::VALUE_HEAD.len()..event.len() - C::VALUE_TAIL.len()]);
        }
        C::end_call(out);
        frame.opening = false;
        self.count_call();
        Ok(())
    }

    fn resume(&mut self, take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let index = self.callee(take, out)?;
        begin_call::<C>(out, self.definitions.code(index), 0);
        C::end_call(out);
        self.count_call();
        self.push_frame(index, false);
        Ok(())
    }

    fn throw(&mut self, take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let index = self.callee(take, out)?;
        let variable_id = self.definitions.variable(THROWN, out);
        self.scratch.clear();
        C::begin_record(&mut self.scratch, variable_id);
        encode_value(take, &mut self.definitions, &mut self.scratch, out)?;
        C::end_record(&mut self.scratch);
        begin_call::<C>(out, self.definitions.code(index), 1);
        out.extend_from_slice(&self.scratch);
        C::end_call(out);
        self.count_call();
        self.push_frame(index, false);
        Ok(())
    }

    fn return_from_call(&mut self, take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        if self.frames.top()?.opening {
            return Err(Malformed);
        }
        self.scratch.clear();
        encode_value(take, &mut self.definitions, &mut self.scratch, out)?;
        C::begin_return(out);
        out.extend_from_slice(&self.scratch);
        C::end_return(out);
        self.counts.returns += 1;
        self.frames.pop();
        Ok(())
    }

    /// The code object that is entered, defined; no call can be made by a frame whose own call is not complete.
    #[inline]
    fn callee(&mut self, take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<u32, Malformed> {
        if self.frames.peek().is_some_and(|frame| frame.opening) {
            return Err(Malformed);
        }
        self.definitions.code_index(take.u32()?, out)
    }

    fn push_frame(&mut self, index: u32, opening: bool) {
        let code = self.definitions.code(index);
        let frame = self.frames.push(index, code.path_id, code.fixed_slots());
        frame.opening = opening;
        frame.repeats_names = code.repeats_names;
    }

    const fn count_call(&mut self) {
        self.counts.steps += 1;
        self.counts.calls += 1;
    }

    fn output(&mut self, take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let (kind, stream) = output_stream(take.u8()?)?;
        let flags = take.u8()?;
        let code_id = take.u32()?;
        let (line, frame_id, content) = (take.u32()?, take.u64()?, take.text()?);
        let path_id = match code_id {
            output::NO_CODE => None,
            known => Some(self.definitions.path_of_code(known, out)?),
        };
        let metadata = OutputMetadata { stream, thread: self.thread, path_id, line, frame_id, flags };
        C::event(out, kind, metadata_text(&metadata, &mut self.scratch)?, content);
        self.counts.io += 1;
        Ok(())
    }

    fn lost(&mut self, take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let cause = LossCause::from_byte(take.u8()?).ok_or(Malformed)?;
        let count = take.u64()?;
        let gap = GapMetadata::new(cause, count);
        C::event(out, EventLogKind::TraceLogEvent, metadata_text(&gap, &mut self.scratch)?, &gap.content());
        self.counts.gaps += 1;
        self.counts.lost = self.counts.lost.saturating_add(count);
        Ok(())
    }

    fn event(&mut self, take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let kind = event_kind(take.u8()?)?;
        let metadata = take.text()?;
        C::event(out, kind, metadata, take.text()?);
        self.counts.other += 1;
        Ok(())
    }
}

/// The definition step, and at once the head of its call: that is how CodeTracer knows where the callee is.
#[inline]
fn begin_call<C: EventCodec>(out: &mut Vec<u8>, code: &Code, arg_count: usize) {
    C::step(out, code.path_id, code.first_line);
    C::begin_call(out, code.function_id, arg_count);
}
