//! What an encoder writes to: plain bytes, the content of a segment as [`Sequences`], or nothing at all.
//!
//! Invariants:
//! - The first two have the same content; `tests/encoder_oracle.rs` holds them to that.
//! - Packed content is found to repeat in four ways, from the cheapest: a whole event, or a step with all its variables,
//!   is the same as an earlier one (known by its 64-bit hash, which the frame keeps up to date as variables change); a
//!   step differs from the last one of its frame, or of a frame of the same code, in what changed since; a value stood
//!   somewhere (known by its hash, too); bytes stood somewhere among the literals.
//! - So a step costs by what changed, not by what is shown.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::codec::EventCodec;
use super::frame::{Base, Frame};
use super::hash::{hash, mix};
use super::places::{Pieces, Values};
use super::sequences::Sequences;
use super::words::{Words, common_prefix, common_suffix, word_at};

/// Where an encoder's events go.
pub trait Output: Sealed {}
impl<T: Sealed> Output for T {}

/// A value within other bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueAt {
    pub start: u32,
    pub len: u32,
    /// Hash of its compact form.
    pub hash: u64,
}

/// Values shorter than this are bytes like others.
const MIN_VALUE: usize = 40;

/// Most memory that the description of a segment takes: content that repeats goes on for long in it.
const MAX_STORED: usize = 2 << 20;

/// So many bytes that differ end a comparison: what comes then has little to do with what was there.
const MAX_DIFFERENCE: usize = 48;

mod sealed {
    use super::{Base, EventCodec, Frame, ValueAt};

    pub trait Sealed {
        /// Takes whole events; they count once [`Self::settle`] is called.
        fn buffer(&mut self) -> &mut Vec<u8>;
        /// What is in the buffer is complete.
        fn settle(&mut self);
        /// Appends the event with this hash again, if it was there; the buffer is settled.
        fn repeat(&mut self, hash: u64) -> bool;
        /// What is in the buffer is one event with this hash, and has these values in it.
        fn settle_event(&mut self, hash: u64, values: &[ValueAt]);
        /// Appends a step that shows the variables of a frame. `base` is what a frame of the same code showed last.
        fn show<C: EventCodec>(&mut self, frame: &mut Frame, base: Option<&Base>);
        /// Whether it holds `limit` bytes or takes as much memory as one may that does.
        fn is_full(&self, limit: usize) -> bool;
    }
}
pub(super) use sealed::Sealed;

impl Sealed for Vec<u8> {
    #[inline]
    fn buffer(&mut self) -> &mut Vec<u8> {
        self
    }

    #[inline]
    fn settle(&mut self) {}

    #[inline]
    fn repeat(&mut self, _: u64) -> bool {
        false
    }

    #[inline]
    fn settle_event(&mut self, _: u64, _: &[ValueAt]) {}

    #[inline]
    fn show<C: EventCodec>(&mut self, frame: &mut Frame, _: Option<&Base>) {
        C::step(self, frame.path_id, frame.line);
        self.extend_from_slice(frame.block());
    }

    #[inline]
    fn is_full(&self, limit: usize) -> bool {
        self.len() >= limit
    }
}

/// An output that keeps nothing: what the encoder learns from records, without their events.
#[derive(Debug, Default)]
pub struct Nowhere(Vec<u8>);

impl Sealed for Nowhere {
    #[inline]
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    #[inline]
    fn settle(&mut self) {
        self.0.clear();
    }

    #[inline]
    fn repeat(&mut self, _: u64) -> bool {
        true
    }

    #[inline]
    fn settle_event(&mut self, _: u64, _: &[ValueAt]) {
        self.0.clear();
    }

    #[inline]
    fn show<C: EventCodec>(&mut self, _: &mut Frame, _: Option<&Base>) {}

    #[inline]
    fn is_full(&self, _: usize) -> bool {
        false
    }
}

/// Gives every content a number of its own, so that a frame knows whether its last step is in this one.
static GENERATION: AtomicU64 = AtomicU64::new(1);

/// A step, and where it is.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Shown {
    /// The content it is in; 0 for none.
    generation: u64,
    position: usize,
    line: u32,
    /// Bytes in front of the variables.
    head: u32,
}

impl Shown {
    pub(super) const fn forget(&mut self) {
        self.generation = 0;
    }

    pub(super) const fn is_known(&self) -> bool {
        self.generation != 0
    }
}

/// A segment's content, packed as it is made.
#[derive(Debug)]
pub struct Packed {
    generation: u64,
    sequences: Sequences,
    buffer: Vec<u8>,
    /// Head of the step that a step is compared with.
    old_head: Vec<u8>,
    words: Words,
    pieces: Pieces,
    values: Values,
}

impl Default for Packed {
    fn default() -> Self {
        Self {
            generation: GENERATION.fetch_add(1, Ordering::Relaxed),
            sequences: Sequences::default(),
            buffer: Vec::new(),
            old_head: Vec::new(),
            words: Words::default(),
            pieces: Pieces::default(),
            values: Values::default(),
        }
    }
}

impl Packed {
    /// Forgets everything but its memory.
    pub fn clear(&mut self) {
        self.generation = GENERATION.fetch_add(1, Ordering::Relaxed);
        self.sequences.clear();
        self.buffer.clear();
        self.words.clear();
        self.pieces.clear();
        self.values.clear();
    }

    /// Bytes of content.
    pub fn len(&self) -> usize {
        self.sequences.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The content as zstd wants it.
    pub(in crate::pipeline) const fn sequences(&mut self) -> &mut Sequences {
        &mut self.sequences
    }

    /// Appends the content itself to `out`.
    pub fn expand(&self, out: &mut Vec<u8>) {
        self.sequences.expand(out);
    }

    /// Whether a segment of at most `limit` bytes ends here: it has so many, or they repeat so little that their
    /// description takes as much memory as a quarter of them, or more than a segment may.
    pub fn is_full(&self, limit: usize) -> bool {
        self.sequences.len() >= limit || self.stored() >= MAX_STORED.min(limit / 4)
    }

    fn stored(&self) -> usize {
        self.sequences.stored() + self.words.stored() + self.pieces.stored()
    }

    /// Bytes of memory it keeps.
    pub(in crate::pipeline) fn footprint(&self) -> usize {
        self.sequences.footprint() + self.words.footprint() + self.buffer.capacity() + self.pieces.footprint()
    }

    /// Appends bytes that may hold values: those that are somewhere are copied from there.
    fn append_with_values(&mut self, bytes: &[u8], values: impl Iterator<Item = ValueAt>) {
        let start = self.sequences.len();
        let mut done = 0;
        for ValueAt { start: at, len, hash } in values.filter(|value| value.len as usize >= MIN_VALUE) {
            let (at, end) = (at as usize, (at + len) as usize);
            if let Some(from) = self.values.find(hash) {
                self.words.append(&mut self.sequences, &bytes[done..at]);
                self.sequences.copy(from, &bytes[at..end]);
                done = end;
            }
            self.values.put(hash, start + at);
        }
        self.words.append(&mut self.sequences, &bytes[done..]);
    }

    /// A step that differs from an earlier one, at `old`, in the frame's edits; the step's head is in the buffer.
    fn show_changes(&mut self, frame: &Frame, mut old: usize, base: Option<&Base>) {
        let block = frame.block();
        let (old_head, head) = (&self.old_head[..], &self.buffer[..]);
        let prefix = common_prefix(old_head, head);
        let suffix = common_suffix(&old_head[prefix..], &head[prefix..]);
        self.sequences.copy(old, &head[..prefix]);
        self.words.append(&mut self.sequences, &head[prefix..head.len() - suffix]);
        self.sequences.copy(old + old_head.len() - suffix, &head[head.len() - suffix..]);
        old += old_head.len();
        let mut done = 0;
        for edit in frame.edits() {
            let range = frame.range(edit.slot);
            let same = range.start - done;
            let (old_len, new_len) = (edit.old_len as usize, range.len());
            let prefix = (edit.prefix as usize).min(old_len).min(new_len);
            let suffix = (edit.suffix as usize).min(old_len - prefix).min(new_len - prefix);
            // What is unchanged in front of it, and how far it is the same.
            self.sequences.copy(old, &block[range.start - same..range.start + prefix]);
            old += same;
            let before = match base {
                // What a variable looked like in the call before tells more than nothing.
                Some(base) if old_len == 0 => {
                    let (at, event) = base.event(edit.slot);
                    Some((base.shown.position + base.shown.head as usize + at, event))
                }
                _ => frame.old(edit).map(|before| (old + prefix, &before[prefix..old_len - suffix])),
            };
            self.replace(frame, edit.slot, range.start + prefix..range.end - suffix, before);
            old += old_len;
            self.sequences.copy(old - suffix, &block[range.end - suffix..range.end]);
            done = range.end;
        }
        self.sequences.copy(old, &block[done..]);
    }

    /// Appends the bytes of a slot that are new, as part of its value if that is somewhere, else as they differ from those
    /// of the last step, `before` and where they are.
    #[inline]
    fn replace(&mut self, frame: &Frame, slot: u32, new: Range<usize>, before: Option<(usize, &[u8])>) {
        let block = frame.block();
        let value = frame.value(slot);
        let (start, end) = (value.start as usize, (value.start + value.len) as usize);
        let is_value = value.len as usize >= MIN_VALUE;
        let position = self.sequences.len() + start;
        let known = if is_value && new.len() >= MIN_VALUE { self.values.find(value.hash) } else { None };
        match (known, before) {
            (Some(from), _) if new.start < end && new.end > start => {
                let same = new.start.max(start)..new.end.min(end);
                self.words.append(&mut self.sequences, &block[new.start..same.start]);
                self.sequences.copy(from + (same.start - start), &block[same.clone()]);
                self.words.append(&mut self.sequences, &block[same.end..new.end]);
            }
            (_, Some((from, before))) => self.append_difference(&block[new.clone()], from, before),
            _ => self.words.append(&mut self.sequences, &block[new.clone()]),
        }
        if is_value {
            self.values.put(value.hash, position - new.start);
        }
    }

    /// Appends bytes that resemble others, those at `from`: where they are the same in the same place, counted from the
    /// start or from the end, they are copied.
    fn append_difference(&mut self, bytes: &[u8], from: usize, before: &[u8]) {
        let (mut at, mut done) = (0, 0);
        while let Some(word) = word_at(bytes, at) {
            let is_there = |place: &usize| word_at(before, *place) == Some(word);
            let from_end = || (at + before.len()).checked_sub(bytes.len());
            let Some(place) = Some(at).filter(is_there).or_else(|| from_end().filter(is_there)) else {
                at += 1;
                if at - done > MAX_DIFFERENCE {
                    break;
                }
                continue;
            };
            self.words.append(&mut self.sequences, &bytes[done..at]);
            let len = common_prefix(&bytes[at..], &before[place..]);
            self.sequences.copy(from + place, &bytes[at..at + len]);
            at += len;
            done = at;
        }
        self.words.append(&mut self.sequences, &bytes[done..]);
    }
}

impl Sealed for Packed {
    #[inline]
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    fn settle(&mut self) {
        if !self.buffer.is_empty() {
            let hash = hash(&self.buffer);
            if self.repeat(hash) {
                self.buffer.clear();
            } else {
                self.settle_event(hash, &[]);
            }
        }
    }

    #[inline]
    fn repeat(&mut self, hash: u64) -> bool {
        let position = self.sequences.len();
        let Some(piece) = self.pieces.find(hash) else { return false };
        self.sequences.repeat(piece.position as usize, piece.len as usize);
        self.pieces.push(hash, position, piece.len as usize);
        true
    }

    fn settle_event(&mut self, hash: u64, values: &[ValueAt]) {
        let position = self.sequences.len();
        let buffer = std::mem::take(&mut self.buffer);
        self.append_with_values(&buffer, values.iter().copied());
        self.pieces.push(hash, position, buffer.len());
        self.buffer = buffer;
        self.buffer.clear();
    }

    fn show<C: EventCodec>(&mut self, frame: &mut Frame, base: Option<&Base>) {
        debug_assert!(self.buffer.is_empty());
        let position = self.sequences.len();
        let hash = mix(frame.content() ^ mix(u64::from(frame.path_id) << 32 | u64::from(frame.line)));
        if !self.repeat(hash) {
            C::step(&mut self.buffer, frame.path_id, frame.line);
            let mut last = frame.shown;
            let base = base.filter(|base| base.code == frame.code && base.shown.generation == self.generation);
            if last.generation != self.generation
                && let Some(base) = base
                && frame.compare_with(base)
            {
                last = base.shown;
            }
            if last.generation == self.generation {
                self.old_head.clear();
                C::step(&mut self.old_head, frame.path_id, last.line);
                frame.sort_edits();
                self.show_changes(frame, last.position, base);
            } else {
                self.words.append(&mut self.sequences, &self.buffer);
                self.append_with_values(frame.block(), frame.values());
            }
            self.pieces.push(hash, position, self.buffer.len() + frame.block().len());
            self.buffer.clear();
        }
        frame.clear_edits();
        let head = (self.sequences.len() - position - frame.block().len()) as u32;
        frame.shown = Shown { generation: self.generation, position, line: frame.line, head };
    }

    fn is_full(&self, limit: usize) -> bool {
        Packed::is_full(self, limit)
    }
}
