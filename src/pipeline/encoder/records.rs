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

use super::chunks::Chunk;
use super::codec::EventCodec;
use super::content_hashes::ContentHashes;
use super::counts::EventCounts;
use super::frame::Content;
use super::hash::{mix, short_hash};
use super::interning::{Code, Definitions};
use super::known_values::{KnownValues, MIN_VALUE};
use super::log_events::{GapMetadata, event_kind, metadata_text};
use super::packed::{Output, ValueAt};
use super::stack::FrameStack;
use super::turns::StreamTurns;
use super::values::encode_value;
use crate::pipeline::layout::{LossCause, Malformed, Take, output, record, value};
use crate::pipeline::tables::{Tables, types};

/// Name of the argument that shows what was thrown into a generator.
const THROWN: &str = "exception";

/// Encodes one stream with the codec `C`.
#[derive(Debug, Clone)]
pub(super) struct RecordEncoder<C> {
    pub(super) definitions: Definitions<C>,
    pub(super) frames: FrameStack,
    pub(super) counts: EventCounts,
    pub(super) progress: Progress,
    pub(super) turns: StreamTurns,
    /// Output that waits for more.
    pub(super) chunk: Chunk,
    /// Native id of the thread, shown with its output.
    pub(super) thread: u64,
    /// Holds the value or text of the current record.
    pub(super) scratch: Vec<u8>,
    known_values: KnownValues,
    hashes: ContentHashes,
    /// Where the values are in the call that is written.
    arguments: Vec<ValueAt>,
    /// By variable id, the last step that showed it; only for frames with repeated names.
    pub(super) shown_at: Vec<u64>,
    /// Events among the records so far.
    pub(super) taken: u64,
    /// [`RecordEncoder::encode`] stops when the part has so many steps.
    pub(super) step_limit: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
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
            turns: StreamTurns::default(),
            chunk: Chunk::default(),
            thread: 0,
            scratch: Vec::new(),
            known_values: KnownValues::default(),
            hashes: ContentHashes::default(),
            arguments: Vec::new(),
            shown_at: Vec::new(),
            taken: 0,
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
        if !matches!(records.first(), None | Some(&(record::TURN | record::SAMPLE_BEGIN | record::SAMPLE_END))) {
            self.turns.go_on(&self.counts);
        }
        let mut take = Take::new(records);
        while !take.is_empty() {
            if self.progress == Progress::Finished {
                return Err(Malformed);
            }
            // Marks of samples are for whoever feeds the encoder.
            if matches!(take.rest().first(), Some(&(record::SAMPLE_BEGIN | record::SAMPLE_END))) {
                break;
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

    #[inline]
    fn record<O: Output>(&mut self, take: &mut Take<'_>, to: &mut O) -> Result<(), Malformed> {
        let tag = take.u8()?;
        if self.chunk.is_open() && !matches!(tag, record::OUTPUT | record::OUTPUT_PART | record::TURN) {
            self.end_chunk(output::STEP_BOUNDARY, to.buffer());
            to.settle();
        }
        self.taken += u64::from(record::is_event(tag));
        if tag == record::STEP {
            return self.step(take, to);
        }
        let out = to.buffer();
        match tag {
            record::SET => self.set(take, out),
            record::UNSET => self.unset(take),
            record::CALL => self.call(take, out),
            record::CALL_END => self.call_end(to),
            record::RETURN => self.return_from_call(take, to),
            record::RESUME => self.resume(take, to),
            record::THROW => self.throw(take, out),
            record::DECLARE => self.declare(take, out),
            record::OUTPUT => self.output(take, true, out),
            record::OUTPUT_PART => self.output(take, false, out),
            record::LOST => self.lost(take, out),
            record::EVENT => self.event(take, out),
            record::TURN => self.turn(take),
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
        if ahead.u8() == Ok(value::INT) {
            let i = ahead.i64()?;
            if let Some((bytes, behind)) = C::int_in_place(i, self.definitions.type_id(types::INT, out)?) {
                int_len = bytes.as_slice().len();
                if frame.replace_int(slot, bytes.as_slice(), short_hash(value::INT, i as u64), behind) {
                    *take = ahead;
                    return Ok(());
                }
            }
        }
        let (number, compact) = take.known_value()?;
        let value = self.hashes.of(number, compact);
        if frame.holds(slot, variable_id, value) {
            return Ok(());
        }
        let fragment = &mut self.scratch;
        fragment.clear();
        fragment.extend_from_slice(C::VALUE_HEAD);
        C::begin_record(fragment, variable_id);
        let head = fragment.len();
        encode_compact(compact, value, &mut self.definitions, &mut self.known_values, fragment, out)?;
        let end = fragment.len();
        C::end_record(fragment);
        fragment.extend_from_slice(C::VALUE_TAIL);
        let tail = fragment.len() - end;
        let content = Content { variable_id, value, head: head as u8, tail: tail as u8, int_len: int_len as u8 };
        frame.replace(slot, fragment, content)
    }

    fn unset(&mut self, take: &mut Take<'_>) -> Result<(), Malformed> {
        let slot = usize::from(take.u16()?);
        self.frames.top()?.unset(slot)
    }

    fn declare(&mut self, take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let slot = usize::from(take.u16()?);
        let len = usize::from(take.u16()?);
        let name = std::str::from_utf8(take.bytes(len)?).map_err(|_| Malformed)?;
        let frame = self.frames.top()?;
        let code = self.definitions.code(frame.code);
        let dynamic = slot.checked_sub(code.fixed_slots()).ok_or(Malformed)?;
        if !frame.fragment(slot).is_empty() {
            // A thread that lost events names its variables again. A value must not change its name under way.
            let same = Some(self.definitions.variable(name, out));
            return if frame.dynamic.get(dynamic) == Some(&same) { Ok(()) } else { Err(Malformed) };
        }
        let fixed = self.definitions.code_info(code.id)?.variables.iter().enumerate();
        fixed.filter(|(_, fixed)| *fixed == name).for_each(|(other, _)| frame.add_twins(other, slot));
        let fixed_slots = code.fixed_slots();
        let variable_id = self.definitions.variable(name, out);
        for other in 0..frame.dynamic.len() {
            if other != dynamic && frame.dynamic[other] == Some(variable_id) {
                frame.add_twins(fixed_slots + other, slot);
            }
        }
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
        let (frame, base) = self.frames.top_and_base()?;
        if frame.opening {
            return Err(Malformed);
        }
        frame.line = line;
        self.counts.steps += 1;
        if frame.may_repeat_a_name() {
            C::step(out.buffer(), frame.path_id, line);
            return self.show_first_of_each_name(out.buffer());
        }
        self.counts.values += frame.set_slots() as u64;
        out.show::<C>(frame, base);
        Ok(())
    }

    /// The variables of a step whose frame may show several slots of one name: CodeTracer shows the first.
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

    fn call_end<O: Output>(&mut self, output: &mut O) -> Result<(), Malformed> {
        let frame = self.frames.top()?;
        if !frame.opening {
            return Err(Malformed);
        }
        let code = self.definitions.code(frame.code);
        let parameters = &self.definitions.code_info(code.id)?.parameters;
        let set = || parameters.iter().map(|&slot| usize::from(slot)).filter(|&slot| frame.event_hash(slot) != 0);
        let hash =
            set().fold(short_hash(record::CALL, frame.code.into()), |hash, slot| mix(hash ^ frame.event_hash(slot)));
        if !output.repeat(hash) {
            let out = output.buffer();
            let start = out.len();
            begin_call::<C>(out, code, set().count());
            self.arguments.clear();
            for (i, slot) in set().enumerate() {
                if i > 0 {
                    out.extend_from_slice(C::ITEM_SEPARATOR);
                }
                let (event, mut value) = (frame.fragment(slot), frame.value(slot as u32));
                value.start += (out.len() - start) as u32;
                value.start -= frame.range(slot as u32).start as u32 + C::VALUE_HEAD.len() as u32;
                self.arguments.push(value);
                out.extend_from_slice(&event[C::VALUE_HEAD.len()..event.len() - C::VALUE_TAIL.len()]);
            }
            C::end_call(out);
            output.settle_event(hash, &self.arguments);
        }
        frame.opening = false;
        self.count_call();
        Ok(())
    }

    fn resume<O: Output>(&mut self, take: &mut Take<'_>, output: &mut O) -> Result<(), Malformed> {
        let index = self.callee(take, output.buffer())?;
        output.settle();
        let hash = short_hash(record::RESUME, index.into());
        if !output.repeat(hash) {
            begin_call::<C>(output.buffer(), self.definitions.code(index), 0);
            C::end_call(output.buffer());
            output.settle_event(hash, &[]);
        }
        self.count_call();
        self.push_frame(index, false);
        Ok(())
    }

    fn throw(&mut self, take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let index = self.callee(take, out)?;
        let variable_id = self.definitions.variable(THROWN, out);
        self.scratch.clear();
        C::begin_record(&mut self.scratch, variable_id);
        encode_all(take.value()?, &mut self.definitions, &mut self.scratch, out)?;
        C::end_record(&mut self.scratch);
        begin_call::<C>(out, self.definitions.code(index), 1);
        out.extend_from_slice(&self.scratch);
        C::end_call(out);
        self.count_call();
        self.push_frame(index, false);
        Ok(())
    }

    fn return_from_call<O: Output>(&mut self, take: &mut Take<'_>, output: &mut O) -> Result<(), Malformed> {
        if self.frames.top()?.opening {
            return Err(Malformed);
        }
        let (number, compact) = take.known_value()?;
        let value = self.hashes.of(number, compact);
        let hash = mix(value ^ short_hash(record::RETURN, 0));
        if !output.repeat(hash) {
            let encoded = &mut self.scratch;
            encoded.clear();
            encode_compact(compact, value, &mut self.definitions, &mut self.known_values, encoded, output.buffer())?;
            output.settle();
            let out = output.buffer();
            let start = out.len();
            C::begin_return(out);
            let at = ValueAt { start: (out.len() - start) as u32, len: encoded.len() as u32, hash: value };
            out.extend_from_slice(encoded);
            C::end_return(out);
            output.settle_event(hash, &[at]);
        }
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

    fn lost(&mut self, take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let cause = LossCause::from_byte(take.u8()?).ok_or(Malformed)?;
        let count = take.u64()?;
        let gap = GapMetadata::new(cause, count);
        C::event(out, EventLogKind::TraceLogEvent, metadata_text(&gap, &mut self.scratch)?, &gap.content());
        self.counts.gaps += 1;
        self.counts.lost = self.counts.lost.saturating_add(count);
        Ok(())
    }

    #[cold]
    fn turn(&mut self, take: &mut Take<'_>) -> Result<(), Malformed> {
        let (number, nanos) = (take.u64()?, take.u64()?);
        self.turns.begin(number, nanos, &self.counts);
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
pub(super) fn begin_call<C: EventCodec>(out: &mut Vec<u8>, code: &Code, arg_count: usize) {
    C::step(out, code.path_id, code.first_line);
    C::begin_call(out, code.function_id, arg_count);
}

/// Appends a value's encoded form, found or made.
#[inline]
fn encode_compact<C: EventCodec>(
    compact: &[u8],
    hash: u64,
    definitions: &mut Definitions<C>,
    known: &mut KnownValues,
    value_out: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let has_parts = matches!(compact.first(), Some(&(value::SEQ | value::TUPLE | value::STRUCT)));
    if !has_parts || compact.len() < MIN_VALUE {
        return encode_all(compact, definitions, value_out, out);
    }
    if let Some(encoded) = known.find(hash, compact) {
        value_out.extend_from_slice(encoded);
        return Ok(());
    }
    let start = value_out.len();
    encode_all(compact, definitions, value_out, out)?;
    known.insert(hash, compact, &value_out[start..]);
    Ok(())
}

/// Encodes a value that is all of these bytes.
#[inline]
fn encode_all<C: EventCodec>(
    compact: &[u8],
    definitions: &mut Definitions<C>,
    value_out: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let mut take = Take::new(compact);
    encode_value(&mut take, definitions, value_out, out)?;
    if take.is_empty() { Ok(()) } else { Err(Malformed) }
}
