//! Lists, tuples, dicts, sets and cells, read in place.
//!
//! Invariants: as for every [`Obj`]; looking a name up calls no `__eq__` and no `__hash__`.

use std::mem::offset_of;

use pyo3::ffi;

use super::Obj;
use crate::ffi::entries::DictEntries;
use crate::ffi::layout::{self, DictKeys};

/// Marks a hint of [`Obj::dict_get`] that says where a name is not.
const MISSING: usize = 1 << 63;

impl<'a> Obj<'a> {
    /// The items of a list or tuple as they are now; call it for `Kind::List` and `Kind::Tuple` only.
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
                std::slice::from_raw_parts(this.byte_add(offset_of!(ffi::PyTupleObject, ob_item)).cast(), size)
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

    /// Number of entries; call it for `Kind::Dict` only.
    pub fn dict_len(self) -> usize {
        // SAFETY: the caller saw `Kind::Dict`.
        unsafe { ffi::PyDict_Size(self.as_ptr()).max(0) as usize }
    }

    /// Changes whenever the dict's bindings change; call it for `Kind::Dict` only. `None` where it is not known.
    #[inline]
    pub fn dict_version(self) -> Option<u64> {
        if !layout::trusted() {
            return None;
        }
        // SAFETY: the caller saw `Kind::Dict` and the layout is trusted. Values that are kept in an instance change without
        // another version.
        unsafe {
            let dict = self.as_ptr().cast::<layout::Dict>();
            (*dict).values.is_null().then_some((*dict).version_tag)
        }
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

#[repr(C)]
struct ListObject {
    head: ffi::PyVarObject,
    items: *mut *mut ffi::PyObject,
    allocated: ffi::Py_ssize_t,
}

unsafe extern "C" {
    fn _PySet_NextEntry(
        set: *mut ffi::PyObject,
        position: *mut ffi::Py_ssize_t,
        key: *mut *mut ffi::PyObject,
        hash: *mut ffi::Py_hash_t,
    ) -> std::ffi::c_int;
}
