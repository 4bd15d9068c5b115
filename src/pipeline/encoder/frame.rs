//! The variables of the open frames, as bytes ready to be copied behind a step.
//!
//! Invariants:
//! - A frame's `block` is the `Value` events of its set slots in slot order, without gaps; slot i owns
//!   `block[bounds[i]..bounds[i + 1]]`, and is unset when that is empty.
//! - So a step costs one copy of the block, and a change costs its own size unless that size differs from the old one.
//! - A slot's event is known by a hash of the variable and of the value's compact form, a block by the sum of those.

use super::hash::mix;
use super::packed::{Shown, ValueAt};
use super::words::{common_prefix, common_suffix};
use crate::pipeline::layout::Malformed;

/// A popped frame keeps at most so many bytes of variables; larger ones are rare and would pile up.
pub(super) const KEPT_BLOCK: usize = 16 * 1024;
/// And at most so many slots.
const KEPT_SLOTS: usize = 1024;
/// More changes than this between two steps are not kept one by one: the next step is written anew.
const MAX_EDITS: usize = 64;

/// Frames with more slots of the same names than this are looked through at each step.
const MAX_TWINS: usize = 64;

/// A slot whose event differs from the one in the frame's last step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edit {
    pub slot: u32,
    /// Length of the event in the last step.
    pub old_len: u32,
    /// At least so many bytes are the same at either end, as far as both are that long.
    pub prefix: u32,
    pub suffix: u32,
    /// Where the event of the last step is kept, if it is worth a closer look.
    pub old: Option<u32>,
}

/// An event whose first and last difference are closer than this is not kept: what is between them is new.
const MIN_MIDDLE: usize = 12;

/// What a new event of a slot is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Content {
    pub variable_id: u32,
    /// Hash of the value's compact form.
    pub value: u64,
    /// Bytes of the event in front of the value, and behind it.
    pub head: u8,
    pub tail: u8,
    /// Length of the integer that is the value, 0 if it is something else.
    pub int_len: u8,
}

/// A slot's event, beside its bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Hash of the event, 0 if there is none.
    hash: u64,
    content: Content,
}

/// What a frame showed last, for the next one of the same code: a call often resembles the call before.
#[derive(Debug, Default, Clone)]
pub struct Base {
    pub(super) code: u32,
    pub(super) shown: Shown,
    block: Vec<u8>,
    bounds: Vec<u32>,
}

impl Base {
    /// The event of a slot, and where among the variables it is.
    pub(super) fn event(&self, slot: u32) -> (usize, &[u8]) {
        match self.bounds.get(slot as usize..slot as usize + 2) {
            Some(&[start, end]) => (start as usize, &self.block[start as usize..end as usize]),
            _ => (0, &[]),
        }
    }
}

/// One call in progress.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Position of the code object in the stream's definitions.
    pub code: u32,
    /// The path of the frame's steps.
    pub path_id: u32,
    /// Between `CALL` and `CALL_END`: the `Call` event is not written yet.
    pub opening: bool,
    /// Two slots of this frame may have the same name, whichever they are, so a step must look before it shows them.
    pub repeats_names: bool,
    /// Slots that have the same name as one that was there before: it matters while both are set.
    twins: Vec<(u32, u32)>,
    /// Line of the frame's latest step, 0 before the first.
    pub line: u32,
    /// Variable ids of the slots behind the fixed ones, `None` for those not declared.
    pub dynamic: Vec<Option<u32>>,
    block: Vec<u8>,
    /// One more than there are slots; starts with 0.
    bounds: Vec<u32>,
    set_slots: usize,
    info: Vec<Slot>,
    /// Sum of the slots' hashes: two blocks with the same sum are the same.
    content: u64,
    /// The frame's last step, and what has changed since; kept by [`super::packed`].
    pub(super) shown: Shown,
    edits: Vec<Edit>,
    /// Events of the last step that edits refer to.
    olds: Vec<u8>,
}

impl Frame {
    pub(super) fn new() -> Self {
        Self {
            code: 0,
            path_id: 0,
            opening: false,
            repeats_names: false,
            twins: Vec::new(),
            line: 0,
            dynamic: Vec::new(),
            block: Vec::new(),
            bounds: Vec::new(),
            set_slots: 0,
            info: Vec::new(),
            content: 0,
            shown: Shown::default(),
            edits: Vec::new(),
            olds: Vec::new(),
        }
    }

    /// Makes an empty frame of a retired one.
    pub(super) fn open(&mut self, code: u32, path_id: u32, slots: usize) {
        self.code = code;
        self.path_id = path_id;
        self.line = 0;
        self.bounds.resize(slots + 1, 0);
        self.info.resize(slots, Slot::default());
    }

    /// Forgets all variables, and the memory of more than usual.
    pub(super) fn retire(&mut self) {
        self.set_slots = 0;
        self.block.clear();
        self.bounds.clear();
        self.dynamic.clear();
        self.twins.clear();
        self.info.clear();
        self.content = 0;
        self.shown.forget();
        self.clear_edits();
        self.block.shrink_to(KEPT_BLOCK);
        self.bounds.shrink_to(KEPT_SLOTS);
        self.dynamic.shrink_to(KEPT_SLOTS);
        self.info.shrink_to(KEPT_SLOTS);
    }

    /// Bytes of memory for variables.
    #[cfg(test)]
    pub(super) const fn capacity(&self) -> usize {
        self.block.capacity()
    }

    /// The `Value` events of all set slots.
    #[inline]
    pub(super) fn block(&self) -> &[u8] {
        &self.block
    }

    /// How many events [`Self::block`] is.
    #[inline]
    pub(super) const fn set_slots(&self) -> usize {
        self.set_slots
    }

    pub(super) const fn slots(&self) -> usize {
        self.bounds.len() - 1
    }

    /// Makes room for slots up to this number.
    pub(super) fn grow(&mut self, slots: usize) {
        if self.slots() < slots {
            self.bounds.resize(slots + 1, self.block.len() as u32);
            self.info.resize(slots, Slot::default());
        }
    }

    /// Two slots have the same name.
    pub(super) fn add_twins(&mut self, first: usize, second: usize) {
        if self.twins.len() < MAX_TWINS {
            self.twins.push((first as u32, second as u32));
        } else {
            self.repeats_names = true;
        }
    }

    /// Whether the block may show a name twice.
    #[inline]
    pub(super) fn may_repeat_a_name(&self) -> bool {
        let is_set = |slot: u32| !self.fragment(slot as usize).is_empty();
        self.repeats_names || self.twins.iter().any(|&(first, second)| is_set(first) && is_set(second))
    }

    /// Hash of the block.
    #[inline]
    pub(super) const fn content(&self) -> u64 {
        self.content
    }

    /// Where a slot's event is in the block.
    #[inline]
    pub(super) fn range(&self, slot: u32) -> std::ops::Range<usize> {
        self.bounds[slot as usize] as usize..self.bounds[slot as usize + 1] as usize
    }

    /// What has changed since the step that is `shown`, in slot order once sorted.
    #[inline]
    pub(super) fn edits(&self) -> &[Edit] {
        &self.edits
    }

    #[inline]
    pub(super) fn sort_edits(&mut self) {
        if self.edits.len() > 1 {
            self.edits.sort_unstable_by_key(|edit| edit.slot);
        }
    }

    #[inline]
    pub(super) fn clear_edits(&mut self) {
        self.edits.clear();
        self.olds.clear();
        self.olds.shrink_to(KEPT_BLOCK);
    }

    /// The event of an edit's slot as it was in the last step, if it is kept.
    #[inline]
    pub(super) fn old(&self, edit: &Edit) -> Option<&[u8]> {
        let at = edit.old? as usize;
        self.olds.get(at..at + edit.old_len as usize)
    }

    /// A slot's value in the block.
    #[inline]
    pub(super) fn value(&self, slot: u32) -> ValueAt {
        let Content { value, head, tail, .. } = self.info[slot as usize].content;
        let std::ops::Range { start, end } = self.range(slot);
        let (start, end) = (start + usize::from(head), end - usize::from(tail).min(end));
        ValueAt { start: start as u32, len: end.saturating_sub(start) as u32, hash: value }
    }

    /// All of them, in their order.
    pub(super) fn values(&self) -> impl Iterator<Item = ValueAt> + use<'_> {
        (0..self.slots() as u32).map(|slot| self.value(slot))
    }

    /// Hash of a slot's event, 0 if it is not set.
    #[inline]
    pub(super) fn event_hash(&self, slot: usize) -> u64 {
        self.info.get(slot).map_or(0, |slot| slot.hash)
    }

    /// Whether the slot's event is this one already.
    #[inline]
    pub(super) fn holds(&self, slot: usize, variable_id: u32, value: u64) -> bool {
        self.event_hash(slot) == event_hash(slot, variable_id, value)
    }

    /// Keeps the hash of the block.
    #[inline]
    fn rehash(&mut self, slot: usize, hash: u64) {
        let info = &mut self.info[slot];
        self.content = self.content.wrapping_sub(info.hash).wrapping_add(hash);
        info.hash = hash;
    }

    /// Whether its variables are those of the step it showed last.
    pub(super) fn shows_its_variables(&self) -> bool {
        self.shown.is_known() && self.edits.is_empty()
    }

    /// Leaves what it showed last to the next frame of the same code.
    pub(super) fn leave(&mut self, base: &mut Base) {
        (base.code, base.shown) = (self.code, self.shown);
        std::mem::swap(&mut base.block, &mut self.block);
        std::mem::swap(&mut base.bounds, &mut self.bounds);
    }

    /// Takes the difference to what another frame of the same code showed last for the frame's edits. `false` if that would
    /// be too much, or this frame has slots of its own.
    pub(super) fn compare_with(&mut self, base: &Base) -> bool {
        if base.bounds.len() != self.bounds.len() || self.slots() > MAX_EDITS {
            return false;
        }
        self.clear_edits();
        for (slot, (old, new)) in base.bounds.windows(2).zip(self.bounds.windows(2)).enumerate() {
            let (&[start, end], &[new_start, new_end]) = (old, new) else { continue };
            let old = &base.block[start as usize..end as usize];
            let new = &self.block[new_start as usize..new_end as usize];
            let prefix = common_prefix(old, new);
            if prefix < old.len() || prefix < new.len() {
                let suffix = common_suffix(&old[prefix..], &new[prefix..]);
                let (old_len, slot) = (old.len() as u32, slot as u32);
                let kept = keep(&mut self.olds, old, new.len(), prefix + suffix);
                self.edits.push(Edit { slot, old_len, prefix: prefix as u32, suffix: suffix as u32, old: kept });
            }
        }
        true
    }

    /// Notes that a slot's event is replaced by another that begins and ends with as many bytes of the old one, so that
    /// the next step can be written as a change of the last.
    #[inline]
    fn note(&mut self, slot: usize, new_len: usize, prefix: usize, suffix: usize) {
        let (start, end) = (self.bounds[slot] as usize, self.bounds[slot + 1] as usize);
        let old_len = end - start;
        let same = prefix + suffix;
        let (prefix, suffix) = (prefix as u32, suffix as u32);
        if let Some(edit) = self.edits.iter_mut().find(|edit| edit.slot as usize == slot) {
            // What both changes leave as it is.
            edit.prefix = edit.prefix.min(prefix);
            edit.suffix = edit.suffix.min(suffix);
        } else if self.edits.len() < MAX_EDITS {
            let old = keep(&mut self.olds, &self.block[start..end], new_len, same);
            self.edits.push(Edit { slot: slot as u32, old_len: old_len as u32, prefix, suffix, old });
        } else {
            self.shown.forget();
            self.clear_edits();
        }
    }

    /// The `Value` event of a slot, empty when it is not set.
    #[inline]
    pub(super) fn fragment(&self, slot: usize) -> &[u8] {
        match (self.bounds.get(slot), self.bounds.get(slot + 1)) {
            (Some(&start), Some(&end)) => &self.block[start as usize..end as usize],
            _ => &[],
        }
    }

    /// Replaces the integer that is a slot's value by another of the same length, whose hash is `value`. `false` if the
    /// slot's value is something else: then nothing has changed.
    #[inline]
    pub(super) fn replace_int(&mut self, slot: usize, new: &[u8], value: u64, behind: usize) -> bool {
        let Some(info) = self.info.get_mut(slot) else { return false };
        if usize::from(info.content.int_len) != new.len() {
            return false;
        }
        let (start, end) = (self.bounds[slot] as usize, self.bounds[slot + 1] as usize);
        let at = end - behind - new.len();
        if &self.block[at..end - behind] == new {
            return true;
        }
        info.content.value = value;
        let hash = event_hash(slot, info.content.variable_id, value);
        if self.shown.is_known() {
            let same = common_prefix(&self.block[at..end - behind], new);
            self.note(slot, end - start, at - start + same, behind);
        }
        self.block[at..end - behind].copy_from_slice(new);
        self.rehash(slot, hash);
        true
    }

    /// Unsets a slot.
    pub(super) fn unset(&mut self, slot: usize) -> Result<(), Malformed> {
        self.replace(slot, &[], Content::default())
    }

    /// Gives a slot a new event; an empty one unsets it.
    #[inline]
    pub(super) fn replace(&mut self, slot: usize, fragment: &[u8], content: Content) -> Result<(), Malformed> {
        let (Some(&start), Some(&end)) = (self.bounds.get(slot), self.bounds.get(slot + 1)) else {
            return Err(Malformed);
        };
        let (start, end) = (start as usize, end as usize);
        self.info[slot].content = content;
        let hash = if fragment.is_empty() { 0 } else { event_hash(slot, content.variable_id, content.value) };
        self.rehash(slot, hash);
        if self.shown.is_known() {
            let old = &self.block[start..end];
            let prefix = common_prefix(old, fragment);
            let suffix = common_suffix(&old[prefix..], &fragment[prefix..]);
            self.note(slot, fragment.len(), prefix, suffix);
        }
        if end - start == fragment.len() {
            self.block[start..end].copy_from_slice(fragment);
            return Ok(());
        }
        self.replace_and_move(slot, start, end, fragment)
    }

    fn replace_and_move(&mut self, slot: usize, start: usize, end: usize, new: &[u8]) -> Result<(), Malformed> {
        let old_len = self.block.len();
        let new_len = old_len - (end - start) + new.len();
        u32::try_from(new_len).map_err(|_| Malformed)?;
        self.set_slots = self.set_slots + usize::from(start == end) - usize::from(new.is_empty());
        if end == old_len {
            self.block.truncate(start);
            self.block.extend_from_slice(new);
        } else {
            if new_len > old_len {
                self.block.resize(new_len, 0);
            }
            self.block.copy_within(end..old_len, start + new.len());
            self.block.truncate(new_len);
            self.block[start..start + new.len()].copy_from_slice(new);
        }
        // Modulo 2^32 the same step up or down; each bound stays within the block, so within u32.
        let shift = (new_len as u32).wrapping_sub(old_len as u32);
        for bound in &mut self.bounds[slot + 1..] {
            *bound = bound.wrapping_add(shift);
        }
        Ok(())
    }
}

/// Keeps a slot's old event if much of it lies between what the new one has in common with it at either end.
#[inline]
fn keep(olds: &mut Vec<u8>, old: &[u8], new_len: usize, same: usize) -> Option<u32> {
    if old.len().min(new_len) < same + MIN_MIDDLE {
        return None;
    }
    let at = olds.len() as u32;
    olds.extend_from_slice(old);
    Some(at)
}

/// Hash of the event that shows a value as a variable in a slot: the order of events counts.
#[inline]
const fn event_hash(slot: usize, variable_id: u32, value: u64) -> u64 {
    mix(value ^ (((variable_id as u64) << 20) ^ slot as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the obvious model: a list of byte strings, joined for every step.
        #[test]
        fn the_block_is_the_fragments_in_slot_order(
            changes in prop::collection::vec((0usize..9, prop::collection::vec(any::<u8>(), 0..5)), 0..60),
        ) {
            let mut frame = Frame::new();
            frame.open(0, 0, 6);
            let mut model: Vec<Vec<u8>> = vec![Vec::new(); 6];
            for (slot, fragment) in changes {
                if slot >= frame.slots() {
                    prop_assert_eq!(frame.replace(slot, &fragment, Content::default()), Err(Malformed));
                    frame.grow(slot + 1);
                    model.resize(slot + 1, Vec::new());
                }
                frame.replace(slot, &fragment, Content::default()).unwrap();
                model[slot] = fragment;
                prop_assert_eq!(frame.block(), model.concat());
                prop_assert_eq!(frame.set_slots(), model.iter().filter(|fragment| !fragment.is_empty()).count());
                for (slot, fragment) in model.iter().enumerate() {
                    prop_assert_eq!(frame.fragment(slot), fragment);
                }
            }
        }
    }
}
