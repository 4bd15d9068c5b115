//! The containers of a value, each of which can be walked again alone.
//!
//! Invariants:
//! - Parts stand in the order in which a walk enters them; a part lies in those around it, with its words, its bytes and
//!   its pointers that must not be null.
//! - What comes behind a part relies on nothing that is guarded in it, but on the class of the part's object itself: a part
//!   is replaced by one of an object of the same type only. So words behind it prove what they did.
//! - A part is walked with the same containers around it as before, so it means the same there.

use pyo3::ffi;

use super::{Guards, NO_NUMBER, OF_NUMBER};
use crate::ffi::object::Obj;

/// A container; the ends are exclusive. Bytes are counted from the start of the value's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    object: usize,
    ty: usize,
    word: Place,
    byte: Place,
    present: Place,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    start: usize,
    end: usize,
}

impl Place {
    fn shift(&mut self, by: isize) {
        self.start = self.start.wrapping_add_signed(by);
        self.end = self.end.wrapping_add_signed(by);
    }

    /// Puts `new` where this is. `Vec::splice` does it item by item.
    fn fill<T: Copy>(self, all: &mut Vec<T>, new: &[T]) {
        let (length, end) = (all.len(), self.start + new.len());
        if end > self.end {
            all.extend_from_slice(&new[..end - self.end]);
        }
        if end != self.end {
            all.copy_within(self.end..length, end);
            all.truncate(length - self.end + end);
        }
        all[self.start..end].copy_from_slice(new);
    }
}

impl Part {
    fn shift(&mut self, words: isize, bytes: isize, present: isize) {
        self.word.shift(words);
        self.byte.shift(bytes);
        self.present.shift(present);
    }
}

/// A part that must be walked again.
pub struct Broken<'a> {
    index: usize,
    pub object: Obj<'a>,
}

impl Guards {
    /// A container is entered: its words and bytes come now. [`Guards::end_part`] follows.
    #[inline]
    pub fn begin_part(&mut self, object: Obj<'_>, at: usize) {
        let open = |start| Place { start, end: usize::MAX };
        self.unfinished.push((self.parts.len(), self.class));
        self.parts.push(Part {
            object: object.address(),
            ty: object.ty().address(),
            word: open(self.words.len()),
            byte: open(at),
            present: open(self.present.len()),
        });
    }

    /// The container entered last is left; `at` is where its bytes end.
    #[inline]
    pub fn end_part(&mut self, object: Obj<'_>, at: usize) {
        let Some((index, class)) = self.unfinished.pop() else { return self.refuse() };
        let Some(part) = self.parts.get_mut(index) else { return self.refuse() };
        part.word.end = self.words.len();
        part.byte.end = at;
        part.present.end = self.present.len();
        self.class = if object.ty().is_heap_type() { object.ty().address() } else { class };
    }

    /// The innermost part that the word of this index is in, if it can be walked again alone; call it when
    /// [`Guards::check`] has just found that word changed. `enclosing` receives the containers around it.
    pub fn broken_part<'a>(&self, _root: Obj<'a>, at: usize, enclosing: &mut Vec<usize>) -> Option<Broken<'a>> {
        let behind = self.parts.partition_point(|part| part.word.start <= at);
        let index = self.parts[..behind].iter().rposition(|part| at < part.word.end)?;
        let part = &self.parts[index];
        // SAFETY: every word before the part is unchanged, so a live object, as old as these words, holds this one.
        let object = unsafe { Obj::borrow(part.object as *mut ffi::PyObject)? };
        if index == 0 || object.ty().address() != part.ty {
            return None;
        }
        let around = self.parts[..index].iter().filter(|outer| outer.byte.end >= part.byte.end);
        enclosing.extend(around.map(|outer| outer.object));
        Some(Broken { index, object })
    }

    /// Puts what a walk of its own guarded and wrote in the place of a part: whether the bytes differ, and the index of the
    /// word behind it. Nothing has changed since [`Guards::broken_part`].
    pub fn replace(
        &mut self,
        broken: &Broken<'_>,
        fresh: &Self,
        written: &[u8],
        bytes: &mut Vec<u8>,
    ) -> Option<(bool, usize)> {
        let old = *self.parts.get(broken.index)?;
        let first = fresh.parts.first()?;
        if first.object != old.object || first.word.start != 0 || first.byte.start != 0 {
            return None;
        }
        let grown = |new: usize, old: Place| new as isize - (old.end - old.start) as isize;
        let (by_words, by_bytes) = (grown(fresh.words.len(), old.word), grown(written.len(), old.byte));
        let by_present = grown(fresh.present.len(), old.present);

        let differs = bytes.get(old.byte.start..old.byte.end)? != written;
        if differs {
            old.byte.fill(bytes, written);
        }
        if by_bytes != 0 {
            for place in &mut self.places[old.word.end..] {
                if *place != NO_NUMBER && *place != OF_NUMBER {
                    *place = u32::try_from((*place as usize).wrapping_add_signed(by_bytes)).ok()?;
                }
            }
        }
        let moved = u32::try_from(old.byte.start).ok()?;
        old.word.fill(&mut self.words, &fresh.words);
        old.word.fill(&mut self.places, &fresh.places);
        for place in &mut self.places[old.word.start..old.word.start + fresh.places.len()] {
            if *place != NO_NUMBER && *place != OF_NUMBER {
                *place = place.checked_add(moved)?;
            }
        }
        old.present.fill(&mut self.present, &fresh.present);

        let inner = self.parts[broken.index..].iter().take_while(|part| part.byte.start < old.byte.end).count();
        for part in &mut self.parts[..broken.index] {
            if part.byte.end >= old.byte.end {
                part.word.end = part.word.end.wrapping_add_signed(by_words);
                part.byte.end = part.byte.end.wrapping_add_signed(by_bytes);
                part.present.end = part.present.end.wrapping_add_signed(by_present);
            }
        }
        if by_words != 0 || by_bytes != 0 || by_present != 0 {
            for part in &mut self.parts[broken.index + inner..] {
                part.shift(by_words, by_bytes, by_present);
            }
        }
        let place = Place { start: broken.index, end: broken.index + inner };
        place.fill(&mut self.parts, &fresh.parts);
        for part in &mut self.parts[broken.index..broken.index + fresh.parts.len()] {
            part.shift(old.word.start as isize, old.byte.start as isize, old.present.start as isize);
        }
        Some((differs, old.word.end.wrapping_add_signed(by_words)))
    }

    /// A number has got more words, or fewer: what ends or begins from `from` on moves.
    pub(super) fn shift_parts(&mut self, from: usize, by: isize) {
        for part in &mut self.parts {
            for place in [&mut part.word.start, &mut part.word.end] {
                if *place >= from {
                    *place = place.wrapping_add_signed(by);
                }
            }
        }
    }
}
