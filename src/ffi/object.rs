//! Looking at Python objects without running Python code and without keeping them.
//!
//! Invariants:
//! - An [`Obj`] is a borrowed pointer that is valid for `'a`: its owner (a frame, a container) keeps it alive while
//!   the GIL is held and no Python code runs. None of the methods here runs Python code, gives up the GIL or
//!   changes a reference count, so an `Obj` stays valid between two of them.
//! - Nothing is materialised: no frame objects, no instance dicts, no cached string encodings.

use std::marker::PhantomData;
use std::ptr::NonNull;

use pyo3::ffi;

use super::entries::DictEntries;
use super::layout::{self, DictKeys, ManagedDict};

/// A borrowed Python object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Obj<'a> {
    pointer: NonNull<ffi::PyObject>,
    borrowed: PhantomData<&'a ()>,
}

/// A borrowed type object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Type<'a>(Obj<'a>);

/// What an object is, by its exact type or the built-in type it derives from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    None,
    Bool,
    Int,
    Float,
    Str,
    Bytes,
    List,
    Tuple,
    Dict,
    Set,
    FrozenSet,
    Function,
    Module,
    Type,
    Exception,
    /// Anything else.
    Other,
}

/// Marks a hint of [`Obj::dict_get`] that says where a name is not.
const MISSING: usize = 1 << 63;

/// The value of an int object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Int {
    Small(i64),
    /// Sign and big-endian magnitude without leading zeros.
    Big {
        negative: bool,
        magnitude: Vec<u8>,
    },
}

/// The characters of a str object, in CPython's own representation.
#[derive(Debug, Clone, Copy)]
pub enum Text<'a> {
    Ascii(&'a str),
    Latin1(&'a [u8]),
    Ucs2(&'a [u16]),
    Ucs4(&'a [u32]),
}

impl<'a> Obj<'a> {
    /// # Safety
    /// `pointer` is null or an object that stays alive for `'a`, and the GIL is held for `'a`.
    #[inline]
    pub(crate) unsafe fn borrow(pointer: *mut ffi::PyObject) -> Option<Self> {
        NonNull::new(pointer).map(|pointer| Self { pointer, borrowed: PhantomData })
    }

    #[inline]
    pub(crate) fn as_ptr(self) -> *mut ffi::PyObject {
        self.pointer.as_ptr()
    }

    /// An object at an address that was seen inside `self` a moment ago: nothing ran since, so it still is there.
    #[inline]
    pub(crate) fn kept_alive(self, address: usize) -> Obj<'a> {
        match NonNull::new(address as *mut ffi::PyObject) {
            Some(pointer) => Obj { pointer, borrowed: PhantomData },
            // Addresses come from `Obj::address`, which is never null.
            None => self,
        }
    }

    /// The identity, `id(obj)`.
    #[inline]
    pub fn address(self) -> usize {
        self.pointer.as_ptr() as usize
    }

    #[inline]
    pub fn ty(self) -> Type<'a> {
        // SAFETY: every object has a type, which the object keeps alive.
        unsafe {
            Type(Obj { pointer: NonNull::new_unchecked(ffi::Py_TYPE(self.as_ptr()).cast()), borrowed: PhantomData })
        }
    }

    /// What the object is, and whether its type is exactly that built-in type.
    #[inline]
    pub fn kind(self) -> (Kind, bool) {
        match self.common_kind() {
            Some(kind) => (kind, true),
            None => self.ty().kind_of_instances(),
        }
    }

    /// What the object is, if its type is exactly one of the commonest built-in types.
    #[inline]
    pub fn common_kind(self) -> Option<Kind> {
        let ty = self.ty().as_ptr();
        let exact = |builtin: *mut ffi::PyTypeObject| std::ptr::eq(ty, builtin);
        if exact(&raw mut ffi::PyLong_Type) {
            Some(Kind::Int)
        } else if exact(&raw mut ffi::PyUnicode_Type) {
            Some(Kind::Str)
        } else if exact(&raw mut ffi::PyFloat_Type) {
            Some(Kind::Float)
        } else if exact(&raw mut ffi::PyList_Type) {
            Some(Kind::List)
        } else if exact(&raw mut ffi::PyDict_Type) {
            Some(Kind::Dict)
        } else if exact(&raw mut ffi::PyTuple_Type) {
            Some(Kind::Tuple)
        } else if exact(&raw mut ffi::PyBool_Type) {
            Some(Kind::Bool)
        } else if exact(&raw mut ffi::PyFunction_Type) {
            Some(Kind::Function)
        } else if self.is_none() {
            Some(Kind::None)
        } else {
            None
        }
    }

    #[inline]
    pub fn is_none(self) -> bool {
        // SAFETY: `Py_None` is a static object.
        std::ptr::eq(self.as_ptr(), unsafe { ffi::Py_None() })
    }

    #[inline]
    pub fn is_true(self) -> bool {
        // SAFETY: `Py_True` is a static object.
        std::ptr::eq(self.as_ptr(), unsafe { ffi::Py_True() })
    }

    /// The value of an int (or an instance of a subclass): call it for [`Kind::Int`] only.
    #[inline]
    pub fn int_value(self) -> Int {
        // SAFETY: the caller saw `Kind::Int`; layout of 3.12+ (`lv_tag`, 30-bit digits), stable up to 3.14.
        unsafe {
            debug_assert!(ffi::PyLong_Check(self.as_ptr()) != 0);
            let long = self.as_ptr().cast::<LongObject>();
            let tag = (*long).tag;
            let digits = (&raw const (*long).digits).cast::<u32>();
            let negative = tag & 3 == 2;
            let count = tag >> 3;
            if count <= 1 {
                // A zero has no digits by its tag, but the first digit word always exists and is 0 then.
                let magnitude = i64::from(*digits);
                return Int::Small(if tag & 3 == 1 {
                    0
                } else if negative {
                    -magnitude
                } else {
                    magnitude
                });
            }
            big_int(std::slice::from_raw_parts(digits, count), negative)
        }
    }

    /// The value of an int of one or two of CPython's digits (60 bits); call it for [`Kind::Int`] only.
    #[inline]
    pub fn small_int(self) -> Option<i64> {
        // SAFETY: as in `int_value`; the second digit is read only if there are two.
        unsafe {
            let long = self.as_ptr().cast::<LongObject>();
            let tag = (*long).tag;
            let digits = (&raw const (*long).digits).cast::<u32>();
            let magnitude = match tag >> 3 {
                0 | 1 => i64::from(*digits),
                2 => i64::from(*digits) | i64::from(*digits.add(1)) << 30,
                _ => return None,
            };
            // The two lowest bits: 0 positive, 1 zero, 2 negative.
            Some(magnitude * (1 - (tag & 3) as i64))
        }
    }

    /// Number of bits of the magnitude, rounded up to whole digits of CPython; call it for [`Kind::Int`] only.
    #[inline]
    pub fn int_bits(self) -> usize {
        // SAFETY: as in `int_value`.
        unsafe { ((*self.as_ptr().cast::<LongObject>()).tag >> 3) * 30 }
    }

    /// Call it for [`Kind::Float`] only.
    #[inline]
    pub fn float_value(self) -> f64 {
        // SAFETY: the caller saw `Kind::Float`; the struct is `PyObject` plus one double.
        unsafe { self.as_ptr().add(1).cast::<f64>().read() }
    }

    /// Call it for [`Kind::Str`] only.
    #[inline]
    pub fn text(self) -> Text<'a> {
        let this = self.as_ptr();
        // SAFETY: the caller saw `Kind::Str`; since 3.12 every str is ready, its data is immutable while it is
        // referenced (a str is only resized in place by the interpreter when nobody else refers to it, and no
        // Python code runs during `'a`).
        unsafe {
            let length = ffi::PyUnicode_GET_LENGTH(this) as usize;
            let data = ffi::PyUnicode_DATA(this);
            match ffi::PyUnicode_KIND(this) {
                ffi::PyUnicode_1BYTE_KIND => {
                    let bytes = std::slice::from_raw_parts(data.cast::<u8>(), length);
                    if ffi::PyUnicode_IS_ASCII(this) != 0 {
                        Text::Ascii(std::str::from_utf8_unchecked(bytes))
                    } else {
                        Text::Latin1(bytes)
                    }
                }
                ffi::PyUnicode_2BYTE_KIND => Text::Ucs2(std::slice::from_raw_parts(data.cast(), length)),
                _ => Text::Ucs4(std::slice::from_raw_parts(data.cast(), length)),
            }
        }
    }

    /// The cached hash of a str, -1 if none was computed yet.
    #[inline]
    pub fn str_hash(self) -> isize {
        // SAFETY: the caller saw a str; `hash` follows the length in `PyASCIIObject`.
        unsafe { (*self.as_ptr().cast::<ffi::PyASCIIObject>()).hash }
    }

    /// The content of bytes; call it for [`Kind::Bytes`] only.
    pub fn bytes_value(self) -> &'a [u8] {
        // SAFETY: the caller saw `Kind::Bytes`; bytes are immutable.
        unsafe {
            let length = ffi::PyBytes_Size(self.as_ptr()).max(0) as usize;
            std::slice::from_raw_parts(ffi::PyBytes_AsString(self.as_ptr()).cast::<u8>(), length)
        }
    }

    /// The items of a list or tuple as they are now; call it for [`Kind::List`] and [`Kind::Tuple`] only.
    #[inline]
    pub fn items(self) -> impl ExactSizeIterator<Item = Option<Obj<'a>>> + use<'a> {
        let this = self.as_ptr();
        // SAFETY: the caller saw the kind; nothing can resize the list during `'a`. Items of a tuple or list that
        // is being built by C code may be null.
        let slice: &'a [*mut ffi::PyObject] = unsafe {
            let size = ffi::Py_SIZE(this).max(0) as usize;
            if (*ffi::Py_TYPE(this)).tp_flags & ffi::Py_TPFLAGS_LIST_SUBCLASS != 0 {
                let items = (*this.cast::<ListObject>()).items;
                if items.is_null() { &[] } else { std::slice::from_raw_parts(items, size) }
            } else {
                std::slice::from_raw_parts(this.cast::<TupleObject>().byte_add(size_of::<TupleObject>()).cast(), size)
            }
        };
        // SAFETY: the container keeps its items alive for `'a`.
        slice.iter().map(|&item| unsafe { Obj::borrow(item) })
    }

    /// Keys and values of a dict (or an instance of a subclass) in insertion order.
    #[inline]
    pub fn dict_entries(self) -> DictEntries<'a> {
        DictEntries::of(self)
    }

    /// Number of entries; call it for [`Kind::Dict`] only.
    pub fn dict_len(self) -> usize {
        // SAFETY: the caller saw `Kind::Dict`.
        unsafe { ffi::PyDict_Size(self.as_ptr()).max(0) as usize }
    }

    /// Changes whenever the dict's bindings change; call it for [`Kind::Dict`] only. `None` where it is not known.
    #[inline]
    pub fn dict_version(self) -> Option<u64> {
        if !layout::trusted() {
            return None;
        }
        // SAFETY: the caller saw `Kind::Dict` and the layout is trusted.
        Some(unsafe { (*self.as_ptr().cast::<layout::Dict>()).version_tag })
    }

    /// The value of a `str` key, found without calling `__eq__` or `__hash__`; `hint` remembers where it was, or that it
    /// was in none of the states of the keys that a version names.
    #[inline]
    pub fn dict_get(self, name: Obj<'_>, hint: &mut usize) -> Option<Obj<'a>> {
        if !layout::trusted() {
            return self.dict_scan(name);
        }
        // SAFETY: the caller saw `Kind::Dict`, the layout is trusted; entries are read in bounds. The lookup of a
        // str in a table of str keys compares characters only.
        unsafe {
            let dict = self.as_ptr().cast::<layout::Dict>();
            let keys = (*dict).keys;
            if (*keys).kind == 0 {
                return self.dict_scan(name);
            }
            // CPython gives a version to the keys of a namespace that code loads globals from, never twice, and takes it
            // away when a key is added: that is how it knows itself that a name is not there.
            let missing = MISSING | (*keys).version as usize;
            if *hint == missing && (*keys).version != 0 {
                return None;
            }
            if (*keys).kind == 1
                && let Some(entry) = DictKeys::unicode_entries(keys).get(*hint)
                && std::ptr::eq(entry.key, name.as_ptr())
            {
                return Obj::borrow(entry.value);
            }
            let value = ffi::PyDict_GetItemWithError(self.as_ptr(), name.as_ptr());
            if value.is_null() {
                *hint = if (*keys).version != 0 { missing } else { usize::MAX >> 1 };
                return None;
            }
            if (*keys).kind == 1 {
                let entries = DictKeys::unicode_entries(keys);
                if let Some(index) = entries.iter().position(|entry| std::ptr::eq(entry.key, name.as_ptr())) {
                    *hint = index;
                }
            }
            Obj::borrow(value)
        }
    }

    fn dict_scan(self, name: Obj<'_>) -> Option<Obj<'a>> {
        self.dict_entries()
            .find(|(key, _)| key.address() == name.address() || key.same_str(name))
            .map(|(_, value)| value)
    }

    /// Both are `str` with the same characters.
    pub fn same_str(self, other: Obj<'_>) -> bool {
        // SAFETY: `PyUnicode_Compare` of two exact or derived str objects compares characters and runs no code.
        unsafe {
            ffi::PyUnicode_Check(self.as_ptr()) != 0
                && ffi::PyUnicode_Check(other.as_ptr()) != 0
                && ffi::PyUnicode_Compare(self.as_ptr(), other.as_ptr()) == 0
        }
    }

    /// Elements of a set or frozenset, in its own order; call it for these kinds only.
    pub fn set_items(self) -> SetItems<'a> {
        SetItems { set: self, position: 0 }
    }

    /// Number of elements; call it for sets only.
    pub fn set_len(self) -> usize {
        // SAFETY: the caller saw `Kind::Set` or `Kind::FrozenSet`.
        unsafe { ffi::PySet_Size(self.as_ptr()).max(0) as usize }
    }

    /// What a cell holds, if it is bound; `None` too if this is no cell.
    #[inline]
    pub fn cell_content(self) -> Option<Obj<'a>> {
        // SAFETY: checked to be exactly a cell; its struct is `PyObject` plus one pointer.
        unsafe {
            if !std::ptr::eq(ffi::Py_TYPE(self.as_ptr()), &raw mut ffi::PyCell_Type) {
                return None;
            }
            Obj::borrow(self.as_ptr().add(1).cast::<*mut ffi::PyObject>().read())
        }
    }

    #[inline]
    pub fn is_cell(self) -> bool {
        std::ptr::eq(self.ty().as_ptr(), &raw mut ffi::PyCell_Type)
    }

    /// The attributes an instance holds itself (slots, then its `__dict__`, made or not), in order. Slow: the slots are
    /// looked up; see [`Type::slots`] for callers that remember them.
    pub fn instance_attributes(self, visit: &mut dyn FnMut(Obj<'a>, Obj<'a>)) {
        for (name, offset) in self.ty().slots() {
            if let Some(value) = self.slot_value(offset) {
                visit(self.kept_alive(name), value);
            }
        }
        self.dict_attributes(visit);
    }

    /// The value of a slot at an offset that [`Type::slots`] of this object's type gave.
    #[inline]
    pub fn slot_value(self, offset: isize) -> Option<Obj<'a>> {
        // SAFETY: member descriptors of the type lie inside the instance; null means unbound.
        unsafe { Obj::borrow(self.as_ptr().byte_offset(offset).cast::<*mut ffi::PyObject>().read()) }
    }

    /// The attributes in an instance's `__dict__`, made or not.
    pub fn dict_attributes(self, visit: &mut dyn FnMut(Obj<'a>, Obj<'a>)) {
        let this = self.as_ptr();
        // SAFETY: flags and offsets of a valid type; the branches check what they read.
        unsafe {
            let ty = ffi::Py_TYPE(this);
            let flags = ffi::PyType_GetFlags(ty) as u64;
            if flags & layout::MANAGED_DICT != 0 {
                if !layout::trusted() {
                    // The public API can only show the dict by making it.
                    let dict = ffi::PyObject_GenericGetDict(this, std::ptr::null_mut());
                    if dict.is_null() {
                        ffi::PyErr_Clear();
                    } else {
                        // The instance keeps its dict alive.
                        ffi::Py_DECREF(dict);
                        visit_dict(dict, visit);
                    }
                    return;
                }
                match layout::managed_dict(this) {
                    ManagedDict::Dict(dict) => visit_dict(dict, visit),
                    ManagedDict::Values(values) => {
                        let keys = (*ty.cast::<HeapType>()).cached_keys;
                        if keys.is_null() {
                            return;
                        }
                        let values = (&raw const (*values).values).cast::<*mut ffi::PyObject>();
                        for (index, entry) in DictKeys::unicode_entries(keys).iter().enumerate() {
                            if let (Some(key), Some(value)) = (Obj::borrow(entry.key), Obj::borrow(*values.add(index)))
                            {
                                visit(key, value);
                            }
                        }
                    }
                }
                return;
            }
            let offset = (*ty).tp_dictoffset;
            if offset > 0 {
                visit_dict(this.byte_offset(offset).cast::<*mut ffi::PyObject>().read(), visit);
            } else if offset < 0 {
                // Variable-size objects keep the dict behind their items; `_PyObject_GetDictPtr` only computes.
                let slot = _PyObject_GetDictPtr(this);
                if !slot.is_null() {
                    visit_dict(*slot, visit);
                }
            }
        }
    }

    /// The `args` of an exception; call it for [`Kind::Exception`] only.
    pub fn exception_args(self) -> Option<Obj<'a>> {
        // SAFETY: the caller saw `Kind::Exception`, whose instances start with `PyBaseExceptionObject`.
        unsafe { Obj::borrow((*self.as_ptr().cast::<ffi::PyBaseExceptionObject>()).args) }
    }

    /// The `__notes__` of an exception; call it for [`Kind::Exception`] only.
    pub fn exception_notes(self) -> Option<Obj<'a>> {
        let mut notes = None;
        self.dict_attributes(&mut |name, value| {
            if notes.is_none() && lossy(name) == "__notes__" {
                notes = Some(value);
            }
        });
        notes
    }

    /// The `__cause__` of an exception; call it for [`Kind::Exception`] only.
    pub fn exception_cause(self) -> Option<Obj<'a>> {
        // SAFETY: as in `exception_args`.
        unsafe { Obj::borrow((*self.as_ptr().cast::<ffi::PyBaseExceptionObject>()).cause) }
    }
}

/// # Safety
/// `dict` is null or a valid object that lives for `'a`.
unsafe fn visit_dict<'a>(dict: *mut ffi::PyObject, visit: &mut dyn FnMut(Obj<'a>, Obj<'a>)) {
    // SAFETY: see above; only real dicts are walked.
    unsafe {
        if let Some(dict) = Obj::borrow(dict)
            && ffi::PyDict_Check(dict.as_ptr()) != 0
        {
            for (key, value) in dict.dict_entries() {
                visit(key, value);
            }
        }
    }
}

fn big_int(digits: &[u32], negative: bool) -> Int {
    // Up to three 30-bit digits can still fit 64 bits.
    if digits.len() <= 3 {
        let magnitude = digits.iter().rev().fold(0u128, |sum, &digit| sum << 30 | u128::from(digit));
        let signed = if negative { -(magnitude as i128) } else { magnitude as i128 };
        if let Ok(small) = i64::try_from(signed) {
            return Int::Small(small);
        }
    }
    let mut bytes = Vec::with_capacity(digits.len() * 4);
    let (mut buffer, mut bits) = (0u64, 0u32);
    for &digit in digits {
        buffer |= u64::from(digit) << bits;
        bits += 30;
        while bits >= 8 {
            bytes.push(buffer as u8);
            buffer >>= 8;
            bits -= 8;
        }
    }
    bytes.push(buffer as u8);
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes.reverse();
    Int::Big { negative, magnitude: bytes }
}

/// Iterator over a set; see [`Obj::set_items`].
pub struct SetItems<'a> {
    set: Obj<'a>,
    position: ffi::Py_ssize_t,
}

impl<'a> Iterator for SetItems<'a> {
    type Item = Obj<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut key, mut hash) = (std::ptr::null_mut(), 0);
        // SAFETY: the caller saw a set; `_PySet_NextEntry` borrows and runs no code.
        unsafe {
            if _PySet_NextEntry(self.set.as_ptr(), &raw mut self.position, &raw mut key, &raw mut hash) == 0 {
                return None;
            }
            Obj::borrow(key)
        }
    }
}

impl<'a> Type<'a> {
    #[inline]
    pub(crate) fn as_ptr(self) -> *mut ffi::PyTypeObject {
        self.0.as_ptr().cast()
    }

    #[inline]
    pub fn address(self) -> usize {
        self.0.address()
    }

    /// The type as an object.
    pub fn as_obj(self) -> Obj<'a> {
        self.0
    }

    /// `object` is a type: call it for [`Kind::Type`] only.
    pub fn of_type_object(object: Obj<'a>) -> Self {
        Self(object)
    }

    /// A number that together with the address names this very type for the life of the process; `None` if CPython
    /// has run out of them.
    #[inline]
    pub fn version(self) -> Option<u32> {
        // SAFETY: a valid type object; assigning a tag changes nothing a program can see.
        unsafe {
            let ty = self.as_ptr();
            if (*ty).tp_version_tag == 0 && PyUnstable_Type_AssignVersionTag(ty) == 0 {
                return None;
            }
            Some((*ty).tp_version_tag)
        }
    }

    /// What instances are, as [`Obj::kind`] says of those whose type is not one of the commonest.
    pub fn kind_of_instances(self) -> (Kind, bool) {
        let ty = self.as_ptr();
        // SAFETY: `ty` is a valid type object; the calls only read flags and compare addresses.
        unsafe {
            let flags = ffi::PyType_GetFlags(ty);
            let table = [
                (ffi::Py_TPFLAGS_LONG_SUBCLASS, Kind::Int),
                (ffi::Py_TPFLAGS_UNICODE_SUBCLASS, Kind::Str),
                (ffi::Py_TPFLAGS_LIST_SUBCLASS, Kind::List),
                (ffi::Py_TPFLAGS_TUPLE_SUBCLASS, Kind::Tuple),
                (ffi::Py_TPFLAGS_DICT_SUBCLASS, Kind::Dict),
                (ffi::Py_TPFLAGS_BASE_EXC_SUBCLASS, Kind::Exception),
                (ffi::Py_TPFLAGS_TYPE_SUBCLASS, Kind::Type),
            ];
            for (flag, kind) in table {
                if flags & flag != 0 {
                    return (kind, false);
                }
            }
            if flags & ffi::Py_TPFLAGS_BYTES_SUBCLASS != 0 {
                return (Kind::Bytes, std::ptr::eq(ty, &raw mut ffi::PyBytes_Type));
            }
            for (builtin, kind) in [
                (&raw mut ffi::PySet_Type, Kind::Set),
                (&raw mut ffi::PyFrozenSet_Type, Kind::FrozenSet),
                (&raw mut ffi::PyModule_Type, Kind::Module),
                (&raw mut ffi::PyFloat_Type, Kind::Float),
            ] {
                if std::ptr::eq(ty, builtin) {
                    return (kind, true);
                }
                // `PyType_IsSubtype` walks the MRO by address; it runs no code.
                if ffi::PyType_IsSubtype(ty, builtin) != 0 {
                    return (kind, false);
                }
            }
            if std::ptr::eq(ty, &raw mut ffi::PyCFunction_Type) {
                return (Kind::Function, true);
            }
            (Kind::Other, true)
        }
    }

    /// `module.QualName`; built-in types without module.
    pub fn full_name(self) -> String {
        // SAFETY: heap types have the heap type struct; `tp_name` is a valid C string for all.
        unsafe {
            let ty = self.as_ptr();
            if ffi::PyType_GetFlags(ty) & ffi::Py_TPFLAGS_HEAPTYPE == 0 {
                let name = std::ffi::CStr::from_ptr((*ty).tp_name).to_string_lossy();
                return name.strip_prefix("builtins.").unwrap_or(&name).to_owned();
            }
            let heap = ty.cast::<HeapType>();
            let name = Obj::borrow((*heap).qualname).map(lossy).unwrap_or_default();
            let mut module = None;
            if let Some(namespace) = Obj::borrow((*ty).tp_dict) {
                module = namespace
                    .dict_entries()
                    .find(|(key, _)| matches!(key.kind().0, Kind::Str) && lossy(*key) == "__module__")
                    .map(|(_, value)| value);
            }
            match module {
                Some(module) if module.kind().0 == Kind::Str => {
                    let module = lossy(module);
                    if module == "builtins" { name } else { format!("{module}.{name}") }
                }
                _ => name,
            }
        }
    }

    /// Whether instances keep attributes of their own (`__dict__` or `__slots__`) and the type is a Python class.
    pub fn has_attributes(self) -> bool {
        // SAFETY: a valid type object.
        unsafe {
            ffi::PyType_GetFlags(self.as_ptr()) & ffi::Py_TPFLAGS_HEAPTYPE != 0 || (*self.as_ptr()).tp_dictoffset != 0
        }
    }

    /// Whether instances can have a `__dict__`.
    pub fn has_dict(self) -> bool {
        // SAFETY: a valid type object.
        unsafe { (*self.as_ptr()).tp_dictoffset != 0 || (*self.as_ptr()).tp_flags & layout::MANAGED_DICT != 0 }
    }

    /// Names (addresses, kept alive by the classes) and offsets of `__slots__`, base classes first, each class in the
    /// order of its declaration. Valid as long as [`Type::version`] stays the same.
    pub fn slots(self) -> Vec<(usize, isize)> {
        let mut found = Vec::new();
        // SAFETY: the MRO is a tuple of types; each class's own dict is a real dict; exact member descriptors have the
        // struct below.
        unsafe {
            let Some(mro) = Obj::borrow((*self.as_ptr()).tp_mro) else { return found };
            let bases: Vec<_> = mro.items().flatten().collect();
            for base in bases.into_iter().rev() {
                let base_type = base.as_ptr().cast::<ffi::PyTypeObject>();
                if ffi::PyType_GetFlags(base_type) & ffi::Py_TPFLAGS_HEAPTYPE == 0 {
                    continue;
                }
                let Some(namespace) = Obj::borrow((*base_type).tp_dict) else { continue };
                let mut own = Vec::new();
                let mut declared: Option<Vec<String>> = None;
                for (name, entry) in namespace.dict_entries() {
                    if std::ptr::eq(entry.ty().as_ptr(), &raw mut ffi::PyMemberDescr_Type) {
                        let member = (*entry.as_ptr().cast::<MemberDescriptor>()).member;
                        if (*member).type_code == ffi::Py_T_OBJECT_EX {
                            own.push((lossy(name), name.address(), (*member).offset));
                        }
                    } else if matches!(entry.kind(), (Kind::Tuple | Kind::List, true)) && lossy(name) == "__slots__" {
                        declared = Some(entry.items().flatten().map(lossy).collect());
                    }
                }
                if let Some(declared) = declared {
                    // CPython sorts slots; private names (`__x`) are mangled to `_Class__x`.
                    own.sort_by_key(|(name, ..)| {
                        declared
                            .iter()
                            .position(|slot| slot == name || (slot.starts_with("__") && name.ends_with(slot.as_str())))
                    });
                }
                found.extend(own.into_iter().map(|(_, name, offset)| (name, offset)));
            }
        }
        found
    }

    /// Made at run time (a `class` statement, or a C extension's type).
    pub fn is_heap_type(self) -> bool {
        // SAFETY: a valid type object.
        unsafe { ffi::PyType_GetFlags(self.as_ptr()) & ffi::Py_TPFLAGS_HEAPTYPE != 0 }
    }

    /// The class derives from `base` (by MRO, no code runs).
    pub fn is_subtype_of(self, base: Type<'_>) -> bool {
        // SAFETY: two valid type objects.
        unsafe { ffi::PyType_IsSubtype(self.as_ptr(), base.as_ptr()) != 0 }
    }
}

/// The text of a str, lone surrogates escaped as `\udcXX`.
pub fn lossy(object: Obj<'_>) -> String {
    let mut out = String::new();
    if object.kind().0 == Kind::Str {
        object.text().push_to(&mut out, usize::MAX);
    }
    out
}

impl Text<'_> {
    /// Number of characters.
    pub fn len(&self) -> usize {
        match self {
            Self::Ascii(text) => text.len(),
            Self::Latin1(units) => units.len(),
            Self::Ucs2(units) => units.len(),
            Self::Ucs4(units) => units.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the first `limit` characters; lone surrogates are written as `\udcXX`.
    pub fn push_to(&self, out: &mut String, limit: usize) {
        let mut push = |unit: u32| match char::from_u32(unit) {
            Some(c) => out.push(c),
            None => {
                use std::fmt::Write;
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        };
        match self {
            Self::Ascii(text) => out.push_str(&text[..text.len().min(limit)]),
            Self::Latin1(units) => units.iter().take(limit).for_each(|&unit| push(u32::from(unit))),
            Self::Ucs2(units) => units.iter().take(limit).for_each(|&unit| push(u32::from(unit))),
            Self::Ucs4(units) => units.iter().take(limit).for_each(|&unit| push(unit)),
        }
    }
}

#[repr(C)]
struct LongObject {
    head: ffi::PyObject,
    tag: usize,
    digits: [u32; 1],
}

#[repr(C)]
struct ListObject {
    head: ffi::PyVarObject,
    items: *mut *mut ffi::PyObject,
    allocated: ffi::Py_ssize_t,
}

#[repr(C)]
struct TupleObject {
    head: ffi::PyVarObject,
}

#[repr(C)]
struct Member {
    name: *const std::ffi::c_char,
    type_code: std::ffi::c_int,
    offset: ffi::Py_ssize_t,
}

#[repr(C)]
struct MemberDescriptor {
    head: ffi::PyObject,
    owner: *mut ffi::PyTypeObject,
    name: *mut ffi::PyObject,
    qualname: *mut ffi::PyObject,
    member: *mut Member,
}

/// Prefix of `PyHeapTypeObject`.
#[repr(C)]
pub(super) struct HeapType {
    ty: ffi::PyTypeObject,
    as_async: ffi::PyAsyncMethods,
    as_number: ffi::PyNumberMethods,
    as_mapping: ffi::PyMappingMethods,
    as_sequence: ffi::PySequenceMethods,
    as_buffer: ffi::PyBufferProcs,
    name: *mut ffi::PyObject,
    slots: *mut ffi::PyObject,
    qualname: *mut ffi::PyObject,
    pub(super) cached_keys: *mut DictKeys,
}

unsafe extern "C" {
    fn _PySet_NextEntry(
        set: *mut ffi::PyObject,
        position: *mut ffi::Py_ssize_t,
        key: *mut *mut ffi::PyObject,
        hash: *mut ffi::Py_hash_t,
    ) -> std::ffi::c_int;
    fn _PyObject_GetDictPtr(object: *mut ffi::PyObject) -> *mut *mut ffi::PyObject;
    fn PyUnstable_Type_AssignVersionTag(ty: *mut ffi::PyTypeObject) -> std::ffi::c_int;
}
