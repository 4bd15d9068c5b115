//! The variables of the open frames, as bytes ready to be copied behind a step.
//!
//! Invariants:
//! - A frame's `block` is the `Value` events of its set slots in slot order, without gaps; slot i owns
//!   `block[bounds[i]..bounds[i + 1]]`, and is unset when that is empty.
//! - So a step costs one copy of the block, and a change costs its own size unless that size differs from the old one.
//! - Frames that are popped keep their buffers for the next call: calls allocate only while the stack reaches a new
//!   depth, and what an unusually deep or large frame took is given back.

use super::hash::{hash, mix};
use super::packed::Shown;
use super::words::{common_prefix, common_suffix};
use crate::pipeline::layout::Malformed;

/// A popped frame keeps at most so many bytes of variables; larger ones are rare and would pile up.
const KEPT_BLOCK: usize = 16 * 1024;
/// And at most so many slots.
const KEPT_SLOTS: usize = 1024;
/// So many popped frames are kept; a recursion that ends gives the rest back.
const KEPT_FRAMES: usize = 256;

/// More changes than this between two steps are not kept one by one: the next step is written anew.
const MAX_EDITS: usize = 64;

/// A slot whose event differs from the one in the frame's last step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edit {
    pub slot: u32,
    /// Length of the event in the last step.
    pub old_len: u32,
    /// At least so many bytes are the same at either end, as far as both are that long.
    pub prefix: u32,
    pub suffix: u32,
}

/// One call in progress.
#[derive(Debug)]
pub struct Frame {
    /// Position of the code object in the stream's definitions.
    pub code: u32,
    /// The path of the frame's steps.
    pub path_id: u32,
    /// Between `CALL` and `CALL_END`: the `Call` event is not written yet.
    pub opening: bool,
    /// Two slots of this frame may have the same name, so a step must look before it shows them.
    pub repeats_names: bool,
    /// Line of the frame's latest step, 0 before the first.
    pub line: u32,
    /// Variable ids of the slots behind the fixed ones, `None` for those not declared.
    pub dynamic: Vec<Option<u32>>,
    block: Vec<u8>,
    /// One more than there are slots; starts with 0.
    bounds: Vec<u32>,
    set_slots: usize,
    /// A hash of each slot's event, 0 for none, and their sum: two blocks with the same sum are the same.
    hashes: Vec<u64>,
    /// Length of the integer that is a slot's value, 0 if it is something else.
    int_lens: Vec<u8>,
    content: u64,
    /// The frame's last step, and what has changed since; kept by [`super::packed`].
    pub(super) shown: Shown,
    edits: Vec<Edit>,
}

impl Frame {
    fn new() -> Self {
        Self {
            code: 0,
            path_id: 0,
            opening: false,
            repeats_names: false,
            line: 0,
            dynamic: Vec::new(),
            block: Vec::new(),
            bounds: Vec::new(),
            set_slots: 0,
            hashes: Vec::new(),
            int_lens: Vec::new(),
            content: 0,
            shown: Shown::default(),
            edits: Vec::new(),
        }
    }

    /// Makes an empty frame of a retired one.
    fn open(&mut self, code: u32, path_id: u32, slots: usize) {
        self.code = code;
        self.path_id = path_id;
        self.line = 0;
        self.bounds.resize(slots + 1, 0);
        self.hashes.resize(slots, 0);
        self.int_lens.resize(slots, 0);
    }

    /// Forgets all variables, and the memory of more than usual.
    fn retire(&mut self) {
        self.set_slots = 0;
        self.block.clear();
        self.bounds.clear();
        self.dynamic.clear();
        self.hashes.clear();
        self.int_lens.clear();
        self.content = 0;
        self.shown.forget();
        self.edits.clear();
        self.block.shrink_to(KEPT_BLOCK);
        self.bounds.shrink_to(KEPT_SLOTS);
        self.dynamic.shrink_to(KEPT_SLOTS);
        self.hashes.shrink_to(KEPT_SLOTS);
        self.int_lens.shrink_to(KEPT_SLOTS);
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
            self.hashes.resize(slots, 0);
            self.int_lens.resize(slots, 0);
        }
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
    }

    /// Keeps the hash of the block.
    #[inline]
    fn rehash(&mut self, slot: usize, event_hash: Option<u64>) {
        // A slot's number goes into its hash: the same events in another order are another block.
        let hash = event_hash.map_or(0, |hash| mix(hash ^ (slot as u64) << 48));
        self.content = self.content.wrapping_sub(self.hashes[slot]).wrapping_add(hash);
        self.hashes[slot] = hash;
    }

    /// Notes that a slot's event is replaced by another that begins and ends with as many bytes of the old one, so that
    /// the next step can be written as a change of the last.
    #[inline]
    fn note(&mut self, slot: usize, old_len: usize, prefix: usize, suffix: usize) {
        let (prefix, suffix) = (prefix as u32, suffix as u32);
        if let Some(edit) = self.edits.iter_mut().find(|edit| edit.slot as usize == slot) {
            // What both changes leave as it is.
            edit.prefix = edit.prefix.min(prefix);
            edit.suffix = edit.suffix.min(suffix);
        } else if self.edits.len() < MAX_EDITS {
            self.edits.push(Edit { slot: slot as u32, old_len: old_len as u32, prefix, suffix });
        } else {
            self.shown.forget();
            self.edits.clear();
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

    /// Replaces the integer that is a slot's value by another of the same length; `behind` bytes of the event come after
    /// it. `false` if the slot's value is something else: then nothing has changed.
    #[inline]
    pub(super) fn replace_int(&mut self, slot: usize, new: &[u8], behind: usize) -> bool {
        if self.int_lens.get(slot).is_none_or(|len| usize::from(*len) != new.len()) {
            return false;
        }
        let (start, end) = (self.bounds[slot] as usize, self.bounds[slot + 1] as usize);
        let at = end - behind - new.len();
        if &self.block[at..end - behind] == new {
            return true;
        }
        if self.shown.is_known() {
            let same = common_prefix(&self.block[at..end - behind], new);
            self.note(slot, end - start, at - start + same, behind);
        }
        self.block[at..end - behind].copy_from_slice(new);
        self.rehash(slot, Some(hash(&self.block[start..end])));
        true
    }

    /// The slot's value is an integer of its own type, `len` bytes long in the event.
    #[inline]
    pub(super) fn is_int(&mut self, slot: usize, len: usize) {
        if let Some(kept) = self.int_lens.get_mut(slot) {
            *kept = len as u8;
        }
    }

    /// Gives a slot a new event; an empty one unsets it.
    #[inline]
    pub(super) fn replace(&mut self, slot: usize, fragment: &[u8]) -> Result<(), Malformed> {
        let (Some(&start), Some(&end)) = (self.bounds.get(slot), self.bounds.get(slot + 1)) else {
            return Err(Malformed);
        };
        let (start, end) = (start as usize, end as usize);
        self.int_lens[slot] = 0;
        self.rehash(slot, (!fragment.is_empty()).then(|| hash(fragment)));
        if self.shown.is_known() {
            let old = &self.block[start..end];
            let prefix = common_prefix(old, fragment);
            let suffix = common_suffix(&old[prefix..], &fragment[prefix..]);
            self.note(slot, end - start, prefix, suffix);
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

/// The open frames, innermost last.
#[derive(Debug, Default)]
pub(super) struct FrameStack {
    /// Open frames, then popped ones that wait to be used again.
    frames: Vec<Frame>,
    depth: usize,
}

impl FrameStack {
    pub(super) const fn depth(&self) -> usize {
        self.depth
    }

    #[inline]
    pub(super) fn top(&mut self) -> Result<&mut Frame, Malformed> {
        self.frames[..self.depth].last_mut().ok_or(Malformed)
    }

    /// All open frames, outermost first.
    pub(super) fn open(&self) -> &[Frame] {
        &self.frames[..self.depth]
    }

    /// The innermost frame, to look at.
    pub(super) fn peek(&self) -> Option<&Frame> {
        self.frames[..self.depth].last()
    }

    /// Opens a frame without variables.
    pub(super) fn push(&mut self, code: u32, path_id: u32, slots: usize) -> &mut Frame {
        if self.depth == self.frames.len() {
            self.frames.push(Frame::new());
        }
        let frame = &mut self.frames[self.depth];
        self.depth += 1;
        frame.open(code, path_id, slots);
        frame
    }

    /// Closes the innermost frame, if there is one.
    pub(super) fn pop(&mut self) {
        let Some(last) = self.depth.checked_sub(1) else { return };
        self.depth = last;
        self.frames[last].retire();
        if self.frames.len() - self.depth > KEPT_FRAMES {
            self.frames.pop();
        }
    }

    /// Closes all frames and gives their memory back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
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
                    prop_assert_eq!(frame.replace(slot, &fragment), Err(Malformed));
                    frame.grow(slot + 1);
                    model.resize(slot + 1, Vec::new());
                }
                frame.replace(slot, &fragment).unwrap();
                model[slot] = fragment;
                prop_assert_eq!(frame.block(), model.concat());
                prop_assert_eq!(frame.set_slots(), model.iter().filter(|fragment| !fragment.is_empty()).count());
                for (slot, fragment) in model.iter().enumerate() {
                    prop_assert_eq!(frame.fragment(slot), fragment);
                }
            }
        }
    }

    #[test]
    fn a_frame_is_empty_when_it_is_used_again() {
        let mut stack = FrameStack::default();
        stack.push(1, 2, 3).replace(1, b"old").unwrap();
        stack.pop();
        let frame = stack.push(4, 5, 2);
        assert_eq!((frame.block(), frame.set_slots(), frame.slots()), (&b""[..], 0, 2));
    }

    #[test]
    fn memory_of_large_and_deep_frames_is_given_back() {
        let mut stack = FrameStack::default();
        stack.push(0, 0, 1).replace(0, &vec![0; 1 << 20]).unwrap();
        for _ in 0..10_000 {
            stack.push(0, 0, 1);
        }
        for _ in 0..10_001 {
            stack.pop();
        }
        assert_eq!(stack.depth(), 0);
        assert!(stack.frames.len() <= KEPT_FRAMES);
        assert!(stack.frames[0].block.capacity() <= KEPT_BLOCK);
        assert_eq!(stack.top().err(), Some(Malformed));
    }
}
