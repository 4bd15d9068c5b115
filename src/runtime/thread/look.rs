//! Which variables of a frame are looked at at a line.
//!
//! Invariants:
//! - A variable is passed over only if it was found settled, nothing can have bound it since (see `stores`), and no line
//!   of its frame was missed: not by a closed gate, nor by a loss.

use super::ThreadRecorder;
use crate::errors::RecorderError;
use crate::ffi::frame::{FastFrame, Frame};
use crate::ffi::object::Obj;
use crate::runtime::code_entry::TracedCode;
use crate::runtime::inject::Stage;
use crate::runtime::slots::{SlotCache, update};
use crate::runtime::stores::{self, Slots, Stores};
use crate::trace_filter::{ValueAction, ValueKind};

/// What is to be looked at at the next line of a frame, besides what the line before can have bound.
#[derive(Debug)]
pub(super) struct Look {
    slots: Slots,
    /// The line that runs.
    line: u32,
    /// How often the gate had been opened.
    openings: usize,
}

impl Look {
    /// At everything.
    pub(super) fn around() -> Self {
        Self { slots: stores::ALL, line: 0, openings: 0 }
    }
}

impl ThreadRecorder {
    /// The value in a fast slot, its cell opened.
    #[inline]
    fn fixed_value<'f>(frame: Frame<'f>, code: &TracedCode, index: usize) -> Option<Obj<'f>> {
        let slot = &code.fixed[index];
        let found = frame.slot(index, slot.name)?;
        if slot.in_cell && found.is_cell() { found.cell_content() } else { Some(found) }
    }

    /// The most common case of [`Self::update_fixed`], in place: a number that is shown.
    #[inline(always)]
    pub(super) fn send_number(&mut self, frame: Frame<'_>, base: usize, index: usize, action: ValueAction) -> bool {
        // What is in a cell is no number, for that is the cell.
        if let Frame::Fast(fast) = frame
            && action == ValueAction::Allow
            && let Some(object) = fast.slot(index)
            && let Some(cache) = self.slots.get_mut(base + index)
        {
            return cache.set_number(index as u16, object, &mut self.out);
        }
        false
    }

    #[inline(never)]
    pub(super) fn update_fixed(
        &mut self,
        frame: Frame<'_>,
        code: &TracedCode,
        base: usize,
        index: usize,
        how: (ValueAction, ValueKind),
    ) {
        let (action, kind) = how;
        let value = Self::fixed_value(frame, code, index);
        let hidden = update(
            &mut self.slots[base + index],
            index as u16,
            value,
            action,
            &mut self.snapshotter,
            &mut self.decisions.of(code),
            &mut self.out,
        );
        if hidden {
            self.shared.stats.count(action, kind);
        }
    }

    /// Sends the fast slots that changed.
    #[inline]
    pub(super) fn update_fixed_slots(
        &mut self,
        frame: Frame<'_>,
        code: &TracedCode,
        base: usize,
        line: u32,
    ) -> Result<(), Box<RecorderError>> {
        if let Frame::Fast(fast) = frame
            && let Some(stores) = &code.stores
            && !fast.has_object()
        {
            return self.update_bound(fast, code, base, line, stores);
        }
        self.update_all_fixed(frame, code, base);
        if let Some(top) = self.stack.last_mut() {
            top.look = Look::around();
        }
        Ok(())
    }

    /// Looks at those that can have changed.
    #[inline]
    fn update_bound(
        &mut self,
        fast: FastFrame<'_>,
        code: &TracedCode,
        base: usize,
        line: u32,
        stores: &Stores,
    ) -> Result<(), Box<RecorderError>> {
        let openings = self.shared.gate.openings();
        let Some(top) = self.stack.last_mut() else { return Ok(()) };
        let all = stores::ALL >> (Slots::BITS as usize - code.fixed.len());
        let mut rest =
            if top.look.openings == openings { top.look.slots | stores.on(top.look.line) } else { stores::ALL };
        rest &= all;
        let passed_over = all & !rest;
        let mut next = stores.in_cells;
        while rest != 0 {
            let index = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let known = match self.slots.get(base + index) {
                Some(cache) => cache.has(fast.slot(index), &mut self.snapshotter),
                None => false,
            };
            if !known && !self.send_number(Frame::Fast(fast), base, index, code.fixed[index].action) {
                self.update_fixed(Frame::Fast(fast), code, base, index, (code.fixed[index].action, ValueKind::Local));
            }
            if !self.slots.get(base + index).is_some_and(SlotCache::is_settled) {
                next |= 1 << index;
            }
        }
        if let Some(top) = self.stack.last_mut() {
            top.look = Look { slots: next, line, openings };
        }
        if self.shared.injection.is(Stage::PassedOver) {
            return self.check_passed_over(fast, base, passed_over);
        }
        Ok(())
    }

    /// For tests: whatever was passed over is what it was.
    #[cold]
    fn check_passed_over(
        &mut self,
        fast: FastFrame<'_>,
        base: usize,
        mut slots: Slots,
    ) -> Result<(), Box<RecorderError>> {
        while slots != 0 {
            let index = slots.trailing_zeros() as usize;
            slots &= slots - 1;
            let cache = &self.slots[base + index];
            if !cache.is_hidden() && !cache.has(fast.slot(index), &mut self.snapshotter) {
                return Err(Box::new(crate::bug!(TraceIncomplete, "variable {index} changed and was passed over")));
            }
        }
        Ok(())
    }

    /// Looks at all of them.
    #[inline(never)]
    fn update_all_fixed(&mut self, frame: Frame<'_>, code: &TracedCode, base: usize) {
        let count = code.fixed.len();
        let mut index = 0;
        while index < count {
            // Most variables did not change.
            if let Frame::Fast(fast) = frame
                && let Some(caches) = self.slots.get(base + index..base + count)
            {
                let seen = &mut self.snapshotter;
                index += caches.iter().zip(index..).take_while(|(cache, at)| cache.has(fast.slot(*at), seen)).count();
                if index == count {
                    break;
                }
            }
            self.update_fixed(frame, code, base, index, (code.fixed[index].action, ValueKind::Local));
            index += 1;
        }
    }

    /// Nothing that is known of variables holds any more.
    #[cold]
    pub(super) fn look_around(&mut self) {
        for frame in &mut self.stack {
            frame.look = Look::around();
        }
    }
}
