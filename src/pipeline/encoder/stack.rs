//! The open frames, and what closed ones leave behind.
//!
//! Invariants:
//! - Frames that are popped keep their buffers for the next call: calls allocate only while the stack reaches a new
//!   depth, and what an unusually deep or large frame took is given back.
//! - What a frame showed last is kept for the next one of the same code, for a bounded number of codes.

use super::frame::{Base, Frame};
use crate::pipeline::layout::Malformed;

/// So many popped frames are kept; a recursion that ends gives the rest back.
const KEPT_FRAMES: usize = 256;

/// So many codes' last steps are kept, of so many bytes at most.
const BASES: usize = 32;
const KEPT_BASE: usize = 8 * 1024;

/// The open frames, innermost last.
#[derive(Debug, Default, Clone)]
pub(super) struct FrameStack {
    /// Open frames, then popped ones that wait to be used again.
    frames: Vec<Frame>,
    depth: usize,
    /// What frames of other calls showed last, by code; none until the first call has ended.
    bases: Vec<Base>,
}

impl FrameStack {
    pub(super) const fn depth(&self) -> usize {
        self.depth
    }

    /// The innermost frame, and what the last one of the same code showed.
    #[inline]
    pub(super) fn top_and_base(&mut self) -> Result<(&mut Frame, Option<&Base>), Malformed> {
        let frame = self.frames[..self.depth].last_mut().ok_or(Malformed)?;
        let base = self.bases.get(frame.code as usize % BASES);
        Ok((frame, base))
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
        let frame = &mut self.frames[last];
        if frame.shows_its_variables() && frame.block().len() <= KEPT_BASE {
            if self.bases.is_empty() {
                self.bases.resize_with(BASES, Base::default);
            }
            frame.leave(&mut self.bases[frame.code as usize % BASES]);
        }
        frame.retire();
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
    use super::super::frame::{Content, KEPT_BLOCK};
    use super::*;

    #[test]
    fn a_frame_is_empty_when_it_is_used_again() {
        let mut stack = FrameStack::default();
        stack.push(1, 2, 3).replace(1, b"old", Content::default()).unwrap();
        stack.pop();
        let frame = stack.push(4, 5, 2);
        assert_eq!((frame.block(), frame.set_slots(), frame.slots()), (&b""[..], 0, 2));
    }

    #[test]
    fn memory_of_large_and_deep_frames_is_given_back() {
        let mut stack = FrameStack::default();
        stack.push(0, 0, 1).replace(0, &vec![0; 1 << 20], Content::default()).unwrap();
        for _ in 0..10_000 {
            stack.push(0, 0, 1);
        }
        for _ in 0..10_001 {
            stack.pop();
        }
        assert_eq!(stack.depth(), 0);
        assert!(stack.frames.len() <= KEPT_FRAMES);
        assert!(stack.frames[0].capacity() <= KEPT_BLOCK);
        assert_eq!(stack.top().err(), Some(Malformed));
    }
}
