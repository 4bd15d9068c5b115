//! The words of each kind of object.
//!
//! Invariants: as in [`super`]. What stands here says, for one kind, which words a walk depends on.

use pyo3::ffi;

use super::{Guards, NO_NUMBER, NOWHERE, OF_NUMBER, Word};
use crate::ffi::deque::{self, Place};
use crate::ffi::entries::InlineAttributes;
use crate::ffi::layout;
use crate::ffi::object::{HeapType, Kind, Obj, Text, Type};
use crate::pipeline::layout::value as tag;

/// Bytes of an `INT` or `FLOAT` value.
pub(super) const NUMBER_BYTES: usize = 9;

/// A text of more bytes than this is not guarded by its content.
const MAX_TEXT: usize = 512;

/// Sets with larger tables are walked.
const MAX_SET: usize = 128;

// Offsets in objects of CPython 3.12 and 3.13.
const TYPE: usize = 8;
const SIZE: usize = 16;
const INT_TAG: usize = 16;
const INT_DIGITS: usize = 24;
const FLOAT_BITS: usize = 16;
const LIST_ITEMS: usize = 24;
const TUPLE_ITEMS: usize = 24;
const TEXT_LENGTH: usize = 16;
/// The upper half of the hash, and the state.
const TEXT_STATE: usize = 28;
const BYTES_CONTENT: usize = 32;
const DICT_VERSION: usize = 24;
const DICT_VALUES: usize = 40;
const SET_USED: usize = 24;
const SET_MASK: usize = 32;
const SET_TABLE: usize = 40;
const FUNCTION_QUALNAME: usize = 40;
const BUILTIN_METHOD: usize = 16;
const MODULE_DICT: usize = 16;
const METHOD_FUNCTION: usize = 16;
const METHOD_OWNER: usize = 24;
const GENERATOR_QUALNAME: usize = 32;
/// The upper half of a pointer that does not change, and four bytes of state.
const GENERATOR_STATE: usize = 60;

/// An int or float of nine bytes in the layout.
pub(super) struct Number {
    words: [Word; 3],
    count: usize,
    pub(super) bytes: [u8; NUMBER_BYTES],
}

impl Number {
    #[inline]
    pub(super) fn words(&self) -> &[Word] {
        &self.words[..self.count]
    }
}

/// The words of a number, and its bytes; `None` if it is none of 60 bits at most.
#[inline]
pub(super) fn number(object: Obj<'_>) -> Option<Number> {
    let address = object.address();
    // SAFETY: an object has a type; offsets are those of its kind.
    let word = |offset: usize| unsafe {
        Word { address: address + offset, expected: ((address + offset) as *const u64).read_unaligned() }
    };
    let ty = word(TYPE);
    let (words, bits, tag) = match object.common_kind()? {
        Kind::Int => {
            let n = object.small_int()?;
            let tag = word(INT_TAG);
            // One digit is the last half of a word, two are a word.
            let digits = if tag.expected >> 3 > 1 { word(INT_DIGITS) } else { word(INT_DIGITS - 4) };
            ([ty, tag, digits], n as u64, tag::INT)
        }
        Kind::Float => ([ty, word(FLOAT_BITS), ty], object.float_value().to_bits(), tag::FLOAT),
        _ => return None,
    };
    let count = match tag {
        _ if object.is_immortal() => 0,
        tag::INT => 3,
        _ => 2,
    };
    let mut bytes = [tag; NUMBER_BYTES];
    bytes[1..].copy_from_slice(&bits.to_le_bytes());
    Some(Number { words, count, bytes })
}

impl Guards {
    /// An exact int or float, whose bytes are at `place` of the value's bytes.
    #[inline]
    pub fn number(&mut self, object: Obj<'_>, place: usize) {
        if self.refused || self.pinned {
            return;
        }
        if !self.admits(object) {
            return;
        }
        let Some(number) = number(object) else { return self.large_int(object) };
        if self.pointer == NOWHERE {
            number.words().iter().for_each(|word| self.push(word.address, word.expected));
            return;
        }
        self.places[self.pointer] = u32::try_from(place + 1).unwrap_or(NO_NUMBER);
        let mark = if self.places[self.pointer] == NO_NUMBER { NO_NUMBER } else { OF_NUMBER };
        for word in number.words() {
            self.words.push(*word);
            self.places.push(mark);
        }
    }

    #[cold]
    fn large_int(&mut self, object: Obj<'_>) {
        let digits = object.int_bits() / 30;
        if digits > MAX_TEXT / 4 {
            return self.refuse();
        }
        // SAFETY: an admitted int with that many digits of four bytes, more than one.
        unsafe {
            self.guard(object.address() + TYPE);
            self.guard(object.address() + INT_TAG);
            self.bytes_between(object.address() + INT_DIGITS, object.address() + INT_DIGITS + digits * 4);
        }
    }

    /// Guards memory in words, the last of which ends where it ends; there are at least eight bytes.
    ///
    /// # Safety
    /// As for [`Guards::guard`]; eight bytes before the end are part of the object.
    unsafe fn bytes_between(&mut self, start: usize, end: usize) {
        let mut at = start;
        // SAFETY: caller's promise.
        unsafe {
            while at + 8 <= end {
                self.guard(at);
                at += 8;
            }
            if at < end {
                self.guard(end - 8);
            }
        }
    }

    /// An exact str.
    #[inline]
    pub fn text(&mut self, object: Obj<'_>) {
        if self.refused || self.pinned || object.is_immortal() || !self.admits(object) {
            return;
        }
        let (start, length) = match object.text() {
            Text::Ascii(text) => (text.as_ptr() as usize, text.len()),
            Text::Latin1(units) => (units.as_ptr() as usize, units.len()),
            Text::Ucs2(units) => (units.as_ptr() as usize, units.len() * 2),
            Text::Ucs4(units) => (units.as_ptr() as usize, units.len() * 4),
        };
        if length > MAX_TEXT {
            return self.refuse();
        }
        let address = object.address();
        // SAFETY: an admitted str whose characters, being an exact str, follow its head of at least 40 bytes.
        unsafe {
            self.guard(address + TYPE);
            self.guard(address + TEXT_LENGTH);
            self.guard(address + TEXT_STATE);
            if start > address && start - address < 128 {
                self.bytes_between(start, start + length);
            } else {
                self.refuse();
            }
        }
    }

    /// Exact bytes, or an instance of a subclass.
    pub fn bytes(&mut self, object: Obj<'_>) {
        self.type_of(object);
        let length = object.bytes_value().len();
        if self.refused || self.pinned {
            return;
        }
        if length > MAX_TEXT {
            return self.refuse();
        }
        let start = object.address() + BYTES_CONTENT;
        // SAFETY: an admitted bytes object, its content follows the head.
        unsafe {
            self.guard(object.address() + SIZE);
            self.bytes_between(start, start + length);
        }
    }

    /// A list or tuple, or an instance of a subclass; [`Guards::item`] and [`Guards::close`] follow.
    #[inline]
    pub fn open_sequence(&mut self, kind: Kind, object: Obj<'_>) {
        self.type_of(object);
        let address = object.address();
        if self.refused {
            return self.opened(address, 0, 0, false);
        }
        let (pinned, count) = (self.pinned, object.items().len());
        // SAFETY: an admitted list or tuple.
        unsafe {
            if kind == Kind::List {
                self.guard(address + SIZE);
                self.guard(address + LIST_ITEMS);
                let items = ((address + LIST_ITEMS) as *const usize).read();
                self.opened(address, items, if items == 0 { 0 } else { count }, false);
            } else {
                if !pinned {
                    self.guard(address + SIZE);
                }
                self.opened(address, address + TUPLE_ITEMS, count, pinned);
            }
        }
    }

    /// A dict, or an instance of a subclass; [`Guards::held`] and [`Guards::close`] follow.
    #[inline]
    pub fn open_dict(&mut self, object: Obj<'_>) {
        self.type_of(object);
        self.state_of_dict(object);
        self.opened(object.address(), 0, 0, true);
    }

    /// A dict's state: a number that is never given twice. Where values are kept in the instance that the dict belongs to,
    /// CPython 3.13 changes them without changing it.
    fn state_of_dict(&mut self, object: Obj<'_>) {
        if self.refused {
            return;
        }
        // SAFETY: a dict that is alive, by the words so far.
        unsafe {
            if ((object.address() + DICT_VALUES) as *const usize).read() != 0 {
                return self.refuse();
            }
            self.guard(object.address() + DICT_VALUES);
            self.guard(object.address() + DICT_VERSION);
        }
    }

    /// A set or frozenset, or an instance of a subclass; [`Guards::held`] and [`Guards::close`] follow.
    pub fn open_set(&mut self, object: Obj<'_>) {
        self.type_of(object);
        if !self.refused {
            let address = object.address();
            // SAFETY: an admitted set; its table has one entry (key, hash) more than the mask says, and is in the set or
            // belongs to it.
            unsafe {
                self.guard(address + SET_USED);
                self.guard(address + SET_MASK);
                self.guard(address + SET_TABLE);
                let entries = ((address + SET_MASK) as *const usize).read() + 1;
                let table = ((address + SET_TABLE) as *const usize).read();
                if entries > MAX_SET {
                    self.refuse();
                } else {
                    (0..entries).for_each(|index| self.guard(table + index * 16));
                }
            }
        }
        self.opened(object.address(), 0, 0, false);
    }

    /// A deque; [`Guards::deque_item`] and [`Guards::close`] follow.
    pub fn open_deque(&mut self, object: Obj<'_>) {
        self.type_of(object);
        if !self.refused {
            // SAFETY: an admitted deque.
            deque::PLACE.into_iter().for_each(|offset| unsafe { self.guard(object.address() + offset) });
        }
        self.opened(object.address(), 0, 0, false);
    }

    /// The next item of the deque opened last.
    pub fn deque_item(&mut self, place: Place) {
        if self.refused {
            return;
        }
        // SAFETY: a deque of that many items, whose first block and index are unchanged, has this one where it was, if
        // the links between are unchanged; it keeps its items alive.
        unsafe {
            if let Some(link) = place.link {
                self.guard(link);
            }
            self.follow(place.pointer);
        }
    }

    /// The attributes of the instance opened last that lie in it; [`Guards::item`] for each follows.
    pub fn also_attributes(&mut self, attributes: InlineAttributes<'_>) {
        let Some(open) = self.open.last_mut().filter(|_| !self.refused) else { return self.refuse() };
        (open.base, open.count) = (attributes.values_at(), attributes.len());
        let object = open.object;
        self.keeps_attributes(object, attributes);
    }

    /// The `__dict__` of the instance opened last, which was made, or is not there at all; [`Guards::held`] for each of
    /// its values follows.
    pub fn also_dict(&mut self) {
        let Some(object) = self.open.last().filter(|_| !self.refused).map(|open| open.object) else {
            return self.refuse();
        };
        // SAFETY: an open instance, which the words so far prove to be alive, and its type with it.
        unsafe {
            let Some(place) = layout::dict_pointer(object as *mut ffi::PyObject) else { return self.refuse() };
            if place == 0 {
                return;
            }
            self.follow(place);
            if let Some(dict) = Obj::borrow(self.admitted as *mut ffi::PyObject) {
                if dict.kind().0 != Kind::Dict {
                    return self.refuse();
                }
                self.type_of(dict);
                self.state_of_dict(dict);
            }
        }
        if let Some(open) = self.open.last_mut() {
            open.fixed = true;
        }
    }

    /// An instance whose attributes are in the order of its type; [`Guards::item`] for each and [`Guards::close`] follow.
    pub fn open_attributes(&mut self, object: Obj<'_>, attributes: InlineAttributes<'_>) {
        self.type_of(object);
        if self.refused {
            return self.opened(object.address(), 0, 0, false);
        }
        self.keeps_attributes(object.address(), attributes);
        self.opened(object.address(), attributes.values_at(), attributes.len(), false);
    }

    fn keeps_attributes(&mut self, object: usize, attributes: InlineAttributes<'_>) {
        // How many are set, in the word before the values (3.12) or before their first (3.13).
        let count = if cfg!(Py_3_13) { object + 12 } else { attributes.values_at() - 8 };
        // SAFETY: a live instance of a type that keeps attributes so, by its version; see `layout::managed_dict`.
        unsafe {
            self.guard(object - layout::MANAGED_DICT_BEFORE);
            self.guard(count);
        }
    }

    /// An instance with `__slots__`; [`Guards::slot`] for each and [`Guards::close`] follow.
    pub fn open_slots(&mut self, object: Obj<'_>) {
        self.type_of(object);
        self.opened(object.address(), 0, 0, false);
    }

    /// Follows a pointer in an admitted object of a C type, and guards the str that is there.
    ///
    /// # Safety
    /// The object was admitted, a pointer to an object is at the offset.
    unsafe fn text_at(&mut self, address: usize) {
        // SAFETY: caller's promise; an object holds what it points to.
        unsafe {
            self.follow(address);
            match Obj::borrow(self.admitted as *mut ffi::PyObject) {
                Some(text) if text.common_kind() == Some(Kind::Str) => self.text(text),
                _ => self.refuse(),
            }
        }
    }

    /// A function, shown by its name.
    pub fn function(&mut self, object: Obj<'_>) {
        self.type_of(object);
        if self.refused {
            return;
        }
        let ty = object.ty().as_ptr();
        // SAFETY: an admitted object of exactly that type.
        unsafe {
            if std::ptr::eq(ty, &raw mut ffi::PyFunction_Type) {
                self.text_at(object.address() + FUNCTION_QUALNAME);
            } else if std::ptr::eq(ty, &raw mut ffi::PyCFunction_Type) {
                self.guard(object.address() + BUILTIN_METHOD);
            } else {
                self.refuse();
            }
        }
    }

    /// A class, shown by its name.
    pub fn class(&mut self, object: Obj<'_>) {
        self.type_of(object);
        if self.refused {
            return;
        }
        let ty = Type::of_type_object(object);
        // SAFETY: an admitted type object; classes made at run time have the larger struct. Others stay as they are.
        unsafe {
            if ty.is_heap_type() {
                self.state_of_type(ty);
                self.text_at(object.address() + HeapType::QUALNAME);
            }
        }
    }

    /// A module, shown by its name.
    pub fn module(&mut self, object: Obj<'_>) {
        self.type_of(object);
        if self.refused {
            return;
        }
        // SAFETY: an admitted module; it keeps its dict.
        unsafe {
            self.follow(object.address() + MODULE_DICT);
            match Obj::borrow(self.admitted as *mut ffi::PyObject) {
                Some(dict) if dict.kind().0 == Kind::Dict => self.state_of_dict(dict),
                _ => self.refuse(),
            }
        }
    }

    /// A bound method, shown by its function's name and its owner's type; the object is exactly one.
    pub fn method(&mut self, object: Obj<'_>) {
        self.type_of(object);
        if self.refused {
            return;
        }
        // SAFETY: an admitted method; it keeps function and owner.
        unsafe {
            self.follow(object.address() + METHOD_FUNCTION);
            match Obj::borrow(self.admitted as *mut ffi::PyObject) {
                Some(function) => self.function(function),
                None => self.refuse(),
            }
            if self.refused {
                return;
            }
            self.follow(object.address() + METHOD_OWNER);
            match Obj::borrow(self.admitted as *mut ffi::PyObject) {
                Some(owner) => self.type_of(owner),
                None => self.refuse(),
            }
        }
    }

    /// A generator, coroutine or async generator, shown by name and state; the object is exactly one.
    pub fn generator(&mut self, object: Obj<'_>) {
        self.type_of(object);
        if self.refused {
            return;
        }
        // SAFETY: an admitted object of that struct, the same for all three.
        unsafe {
            self.guard(object.address() + GENERATOR_STATE);
            self.text_at(object.address() + GENERATOR_QUALNAME);
        }
    }

    /// A member of an enumeration, shown by its `_name_`.
    pub fn enum_member(&mut self, object: Obj<'_>) {
        let Some(attributes) = InlineAttributes::of(object) else { return self.refuse() };
        self.open_attributes(object, attributes);
        for index in 0..attributes.len() {
            self.item(index);
            if let Some(value) = attributes.value(index)
                && value.common_kind() == Some(Kind::Str)
            {
                self.text(value);
            }
        }
        self.close();
    }
}
