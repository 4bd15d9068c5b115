//! What instances and exceptions hold themselves, read in place.
//!
//! Invariants: as for every [`Obj`]; where the layout is trusted no instance dict is made.

use pyo3::ffi;

use super::types::HeapType;
use super::{Obj, lossy};
use crate::ffi::layout::{self, DictKeys, ManagedDict};

impl<'a> Obj<'a> {
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
            let flags = ffi::PyType_GetFlags(ty);
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

    /// The `args` of an exception; call it for `Kind::Exception` only.
    pub fn exception_args(self) -> Option<Obj<'a>> {
        // SAFETY: the caller saw `Kind::Exception`, whose instances start with `PyBaseExceptionObject`.
        unsafe { Obj::borrow((*self.as_ptr().cast::<ffi::PyBaseExceptionObject>()).args) }
    }

    /// The `__notes__` of an exception; call it for `Kind::Exception` only.
    pub fn exception_notes(self) -> Option<Obj<'a>> {
        let mut notes = None;
        self.dict_attributes(&mut |name, value| {
            if notes.is_none() && lossy(name) == "__notes__" {
                notes = Some(value);
            }
        });
        notes
    }

    /// The `__cause__` of an exception; call it for `Kind::Exception` only.
    pub fn exception_cause(self) -> Option<Obj<'a>> {
        // SAFETY: as in `exception_args`.
        unsafe { Obj::borrow((*self.as_ptr().cast::<ffi::PyBaseExceptionObject>()).cause) }
    }

    /// The `__context__` that a traceback of the exception would show; call it for `Kind::Exception` only.
    pub fn exception_context(self) -> Option<Obj<'a>> {
        // SAFETY: as in `exception_args`.
        unsafe {
            let this = self.as_ptr().cast::<ffi::PyBaseExceptionObject>();
            // A C `char`, whatever the binding calls it.
            let suppressed = (&raw const (*this).suppress_context).cast::<u8>().read();
            if suppressed != 0 { None } else { Obj::borrow((*this).context) }
        }
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

unsafe extern "C" {
    fn _PyObject_GetDictPtr(object: *mut ffi::PyObject) -> *mut *mut ffi::PyObject;
}
