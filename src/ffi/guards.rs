//! Proofs that a value still reads as it did: machine words and what they were.
//!
//! Invariants:
//! - The words of a value stand in the order in which a walk meets them, and a word is read only after all words before
//!   it were found unchanged. Each lies in an object that one of these holds: in the value itself, in what an unchanged
//!   pointer refers to, or in what an unchanged state of a dict holds. So nothing is read that is not alive.
//! - If every word is what it was, a walk would write the same bytes: a word is left out only where the ones before it
//!   prove it (what an unchanged dict holds is the same object, and an immutable one then holds the same).
//! - What has no such words is refused, and so is the whole value; then it must be walked.
//! - A number may be renewed in place: another number where one was takes as many bytes.
//! - A container in the value is a part ([`parts`]): if one of its words is not what it was and all before it are, the part
//!   can be walked again alone.

use pyo3::ffi;

use super::layout;
use super::object::{Obj, Type};

mod kinds;
mod parts;

pub use parts::Broken;
use parts::Part;

/// A value with more words than this is walked.
const MAX_WORDS: usize = 4096;

/// No word holds the pointer to the object that was admitted last.
const NOWHERE: usize = usize::MAX;

/// What a word is to the number it belongs to, for `Guards::places`: nothing, …
const NO_NUMBER: u32 = 0;
/// … one of the words of the number itself; anything else: its pointer, and one more than where its bytes are.
const OF_NUMBER: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Word {
    address: usize,
    expected: u64,
}

impl Word {
    /// # Safety
    /// Eight bytes at the address are part of a live object.
    #[inline]
    unsafe fn is_unchanged(&self) -> bool {
        // SAFETY: caller's promise; any alignment.
        unsafe { (self.address as *const u64).read_unaligned() == self.expected }
    }
}

/// The first word that is not what it was. Four to a turn, one after the other: most checks are of unchanged words.
#[inline]
fn first_changed(words: &[Word]) -> Option<usize> {
    // SAFETY: all pointers are into the slice. The module's first invariant: a word is read only if the ones before it
    // are unchanged.
    unsafe {
        let first = words.as_ptr();
        let (end, last_turn) = (first.add(words.len()), first.add(words.len() & !3));
        let mut word = first;
        while word != last_turn
            && (*word).is_unchanged()
            && (*word.add(1)).is_unchanged()
            && (*word.add(2)).is_unchanged()
            && (*word.add(3)).is_unchanged()
        {
            word = word.add(4);
        }
        while word != end && (*word).is_unchanged() {
            word = word.add(1);
        }
        (word != end).then(|| word.offset_from_unsigned(first))
    }
}

/// A container whose items are being guarded.
#[derive(Debug, Clone, Copy)]
struct Open {
    object: usize,
    /// Its array of pointers and their number.
    base: usize,
    count: usize,
    /// It holds the very same objects as long as the words before are unchanged.
    fixed: bool,
}

/// See the module docs.
#[derive(Debug, Clone, Default)]
pub struct Guards {
    words: Vec<Word>,
    /// For each word, what it is to a number.
    places: Vec<u32>,
    /// Pointers that must not be null, whatever they are.
    present: Vec<usize>,
    open: Vec<Open>,
    /// The containers, outermost first, and those that are not over yet, with the class guarded before each.
    parts: Vec<Part>,
    unfinished: Vec<(usize, usize)>,
    /// The object whose words may come now: the words so far prove that it is alive.
    admitted: usize,
    /// It is the same object as long as the words so far are unchanged.
    pinned: bool,
    /// The word with the pointer to it.
    pointer: usize,
    /// The class whose state was guarded last.
    class: usize,
    refused: bool,
}

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Same,
    /// Numbers in it have changed, its bytes are renewed.
    Renewed,
    /// The word of this index is not what it was, and no number that can be renewed; some numbers before it may have been.
    Broken {
        at: usize,
        renewed: bool,
    },
}

impl Guards {
    /// Forgets everything and starts with a value that somebody else keeps alive whenever it is checked.
    #[inline]
    pub fn begin(&mut self, root: Obj<'_>) {
        self.words.clear();
        self.places.clear();
        self.present.clear();
        self.open.clear();
        self.parts.clear();
        self.unfinished.clear();
        self.admitted = root.address();
        self.pinned = false;
        self.pointer = NOWHERE;
        self.class = 0;
        self.refused = !layout::trusted();
    }

    /// No value was guarded with it yet, so it has no room.
    pub fn is_new(&self) -> bool {
        self.words.capacity() == 0 && self.parts.capacity() == 0
    }

    /// A copy that takes no more room than it needs.
    pub fn compact(&self) -> Self {
        if self.is_complete() { self.clone() } else { Self { refused: true, ..Self::default() } }
    }

    /// Whether the value was guarded completely.
    pub fn is_complete(&self) -> bool {
        !self.refused && self.open.is_empty() && self.words.len() <= MAX_WORDS
    }

    /// The value cannot be guarded.
    pub fn refuse(&mut self) {
        self.refused = true;
    }

    /// Bytes of memory in use.
    pub fn size(&self) -> usize {
        self.words.capacity() * size_of::<Word>()
            + self.places.capacity() * 4
            + self.present.capacity() * 8
            + self.parts.capacity() * size_of::<Part>()
    }

    /// Whether the value that [`Guards::begin`] was called with, alive and at the same address now, would be written as
    /// it was, as `bytes`. Numbers that changed are renewed there.
    #[inline]
    pub fn check(&mut self, root: Obj<'_>, bytes: &mut [u8]) -> Verdict {
        self.check_from(root, 0, bytes)
    }

    /// The same, of which the words before `at` were found unchanged just now.
    #[inline]
    pub fn check_from(&mut self, root: Obj<'_>, mut at: usize, bytes: &mut [u8]) -> Verdict {
        debug_assert!(self.is_complete() && root.address() != 0);
        let mut renewed = false;
        while let Some(found) = first_changed(&self.words[at..]) {
            match self.renew(at + found, bytes) {
                Some((next, changed)) => {
                    at = next;
                    renewed |= changed;
                }
                None => return Verdict::Broken { at: at + found, renewed },
            }
        }
        // SAFETY: every word is unchanged, so every object is alive that one of these pointers is in.
        if self.present.iter().any(|&address| unsafe { (address as *const usize).read() == 0 }) {
            return Verdict::Broken { at: self.words.len(), renewed };
        }
        if renewed { Verdict::Renewed } else { Verdict::Same }
    }

    /// Takes another number for the one to which a word belongs: the index of the word behind, and whether bytes changed.
    fn renew(&mut self, mut at: usize, bytes: &mut [u8]) -> Option<(usize, bool)> {
        while self.places[at] == OF_NUMBER {
            at -= 1;
        }
        let offset = self.places[at].checked_sub(1)? as usize;
        let target = bytes.get_mut(offset..offset + kinds::NUMBER_BYTES)?;
        // SAFETY: all words before the pointer are unchanged, so it is part of a live object, which holds the number.
        let object = unsafe { Obj::borrow((self.words[at].address as *const *mut ffi::PyObject).read())? };
        let number = kinds::number(object)?;
        self.words[at].expected = object.address() as u64;
        let start = at + 1;
        let old = self.places[start..].iter().take_while(|&&place| place == OF_NUMBER).count();
        let new = number.words();
        if old == new.len() {
            self.words[start..start + old].copy_from_slice(new);
        } else {
            self.words.splice(start..start + old, new.iter().copied());
            self.places.splice(start..start + old, new.iter().map(|_| OF_NUMBER));
            self.shift_parts(start + old, new.len() as isize - old as isize);
        }
        let changed = *target != number.bytes;
        target.copy_from_slice(&number.bytes);
        Some((start + new.len(), changed))
    }

    #[inline]
    fn push(&mut self, address: usize, expected: u64) {
        self.words.push(Word { address, expected });
        self.places.push(NO_NUMBER);
    }

    /// # Safety
    /// Eight bytes at the address are part of an object that the words so far prove to be alive.
    #[inline]
    unsafe fn guard(&mut self, address: usize) {
        // SAFETY: caller's promise.
        self.push(address, unsafe { (address as *const u64).read_unaligned() });
    }

    /// Whether words of `object` may come now.
    #[inline]
    fn admits(&mut self, object: Obj<'_>) -> bool {
        debug_assert!(self.refused || self.admitted == object.address(), "an object that nothing guarded holds");
        self.refused |= self.admitted != object.address() || self.words.len() > MAX_WORDS;
        !self.refused
    }

    /// The pointer at an address, guarded, admits what it refers to.
    ///
    /// # Safety
    /// As for [`Guards::guard`], aligned; the pointer is null or keeps an object alive.
    #[inline]
    unsafe fn follow(&mut self, address: usize) {
        // SAFETY: caller's promise.
        self.admitted = unsafe { (address as *const usize).read() };
        self.pinned = false;
        self.pointer = self.words.len();
        self.push(address, self.admitted as u64);
    }

    /// What an object is: its type, and the state of its type if that can change.
    pub fn type_of(&mut self, object: Obj<'_>) {
        if !self.admits(object) {
            return;
        }
        let ty = object.ty();
        // SAFETY: an admitted object; its type is alive and a valid type object.
        unsafe {
            let is_heap = ty.is_heap_type();
            // Only instances of classes can get another type.
            if !self.pinned || is_heap {
                self.guard(object.address() + std::mem::offset_of!(ffi::PyObject, ob_type));
            }
            if is_heap && self.class != ty.address() {
                self.state_of_type(ty);
            }
        }
    }

    /// # Safety
    /// The type is proved to be alive.
    unsafe fn state_of_type(&mut self, ty: Type<'_>) {
        if ty.version().is_none() {
            return self.refuse();
        }
        self.class = ty.address();
        // SAFETY: caller's promise. The tag is four bytes; the word ends with it.
        unsafe { self.guard(ty.address() + std::mem::offset_of!(ffi::PyTypeObject, tp_version_tag) - 4) }
    }

    /// The next item of the container opened last: the pointer at `index` of its array.
    #[inline]
    pub fn item(&mut self, index: usize) {
        if self.refused {
            return;
        }
        match self.open.last().copied() {
            Some(Open { base, count, fixed, .. }) if index < count => {
                let address = base + index * size_of::<usize>();
                if fixed {
                    // SAFETY: the array of an open container.
                    self.admitted = unsafe { (address as *const usize).read() };
                    self.pinned = true;
                    self.pointer = NOWHERE;
                } else {
                    // SAFETY: as above; a container keeps its items alive.
                    unsafe { self.follow(address) }
                }
            }
            _ => self.refuse(),
        }
    }

    /// An object that the container opened last holds, and keeps as long as the words so far are unchanged: a key or value
    /// of a dict, an element of a set.
    #[inline]
    pub fn held(&mut self, object: Obj<'_>) {
        match self.open.last() {
            Some(open) => {
                self.admitted = object.address();
                self.pinned = open.fixed;
                self.pointer = NOWHERE;
            }
            None => self.refuse(),
        }
    }

    /// The attribute in a `__slots__` slot of the instance opened last.
    pub fn slot(&mut self, offset: isize) {
        let Some(address) = self.slot_address(offset) else { return self.refuse() };
        // SAFETY: the slot is inside the instance.
        unsafe { self.follow(address) }
    }

    fn slot_address(&self, offset: isize) -> Option<usize> {
        let object = self.open.last().filter(|_| !self.refused)?.object;
        let offset = usize::try_from(offset).ok()?;
        // SAFETY: an open instance, which the words so far prove to be alive, and its type with it.
        let size = unsafe { (*ffi::Py_TYPE(object as *mut ffi::PyObject)).tp_basicsize };
        (offset % size_of::<usize>() == 0 && offset + size_of::<usize>() <= usize::try_from(size).ok()?)
            .then_some(object + offset)
    }

    /// The slot at an offset stays set, whatever is in it.
    pub fn slot_is_set(&mut self, offset: isize) {
        match self.slot_address(offset) {
            Some(address) => self.present.push(address),
            None => self.refuse(),
        }
    }

    /// The same of the pointer at `index` of the container opened last.
    pub fn item_is_set(&mut self, index: usize) {
        match self.open.last() {
            Some(open) if index < open.count => self.present.push(open.base + index * size_of::<usize>()),
            _ => self.refuse(),
        }
    }

    /// Notes what `work` guards, and goes on with the object that was admitted before.
    pub fn aside(&mut self, work: impl FnOnce(&mut Self)) {
        let before = (self.admitted, self.pinned, self.pointer);
        work(self);
        (self.admitted, self.pinned, self.pointer) = before;
    }

    /// The container opened last has no further items.
    #[inline]
    pub fn close(&mut self) {
        self.open.pop();
    }

    #[inline]
    fn opened(&mut self, object: usize, base: usize, count: usize, fixed: bool) {
        self.open.push(Open { object, base, count, fixed });
    }
}
