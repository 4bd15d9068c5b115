//! The extra slot of code objects: from a code object to what we decided about it, in one load.
//!
//! Invariants:
//! - The slot holds null or a pointer made by `Arc::into_raw::<T>` for the one `T` of this process; CPython calls
//!   [`release`] when the code object dies, and [`set`] releases what it replaces.
//! - Reading and writing happen with the GIL held.

use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use pyo3::ffi;
use pyo3::prelude::*;

use super::layout;
use super::object::Obj;
use crate::errors::RecorderResult;
use crate::runtime::code_entry::CodeEntry;

static SLOT: OnceLock<ffi::Py_ssize_t> = OnceLock::new();

/// The slot index, requested from the interpreter once per process.
///
/// # Errors
/// `ERR_TRACER_INSTALL_CONFLICT` if other tools have taken all of them.
pub fn reserve_slot(_py: pyo3::Python<'_>) -> RecorderResult<ffi::Py_ssize_t> {
    if let Some(&slot) = SLOT.get() {
        return Ok(slot);
    }
    // SAFETY: the GIL is held.
    let slot = unsafe { ffi::PyUnstable_Eval_RequestCodeExtraIndex(release) };
    if slot < 0 {
        return Err(crate::enverr!(
            TracerInstallConflict,
            "no extra slot of code objects is free: other tools in this process use all of them"
        ));
    }
    Ok(*SLOT.get_or_init(|| slot))
}

extern "C" fn release(entry: *mut c_void) {
    if !entry.is_null() {
        // SAFETY: by the module invariant the pointer came from `Arc::into_raw`.
        let entry = unsafe { Arc::from_raw(entry.cast::<CodeEntry>()) };
        entry.code_object_is_gone();
    }
}

/// What we decided about a code object, if anything.
///
/// # Safety
/// The GIL is held for `'a`, `code` is a live code object, and the entry is not replaced during `'a`.
#[inline]
pub unsafe fn get<'a>(code: *mut ffi::PyObject, slot: ffi::Py_ssize_t) -> Option<&'a CodeEntry> {
    // SAFETY: caller's promise; where it is read in place, that was seen to be the same.
    unsafe {
        let entry = if IN_PLACE.load(Ordering::Relaxed) == YES { in_place(code, slot) } else { asked(code, slot) };
        entry.cast::<CodeEntry>().as_ref()
    }
}

/// Whether what the interpreter says of a slot was found where the layout has it: [`UNKNOWN`] until something was there.
static IN_PLACE: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;

/// # Safety
/// As for [`get`].
unsafe fn asked(code: *mut ffi::PyObject, slot: ffi::Py_ssize_t) -> *mut c_void {
    let mut entry: *mut c_void = ptr::null_mut();
    // SAFETY: caller's promise; a slot that was never written reads as null.
    unsafe { ffi::PyUnstable_Code_GetExtra(code, slot, &raw mut entry) };
    entry
}

/// The same, without a call.
///
/// # Safety
/// As for [`get`], and the layout is trusted.
#[inline(always)]
unsafe fn in_place(code: *mut ffi::PyObject, slot: ffi::Py_ssize_t) -> *mut c_void {
    // SAFETY: a code object of that layout; as many pointers as it says are there.
    unsafe {
        let extras = code.byte_add(layout::CODE_EXTRA).cast::<*const layout::CodeExtras>().read();
        if extras.is_null() || (*extras).size <= slot {
            return ptr::null_mut();
        }
        (&raw const (*extras).all).cast::<*mut c_void>().offset(slot).read()
    }
}

/// Finds out, by an entry that was written just now.
///
/// # Safety
/// As for [`get`].
unsafe fn compare(code: *mut ffi::PyObject, slot: ffi::Py_ssize_t, written: *const CodeEntry) {
    if IN_PLACE.load(Ordering::Relaxed) == UNKNOWN {
        // SAFETY: caller's promise; read in place only where the layout is trusted.
        let same = layout::trusted() && unsafe { ptr::eq(in_place(code, slot).cast(), written) };
        IN_PLACE.store(if same { YES } else { NO }, Ordering::Relaxed);
    }
}

/// Remembers a decision; replaces and releases the former one.
///
/// # Safety
/// The GIL is held and `code` is a live code object; no reference from [`get`] to the former entry is in use.
pub unsafe fn set(code: *mut ffi::PyObject, slot: ffi::Py_ssize_t, entry: Arc<CodeEntry>) {
    // SAFETY: caller's promise. `SetExtra` itself frees the former value through `release`.
    unsafe {
        let raw = Arc::into_raw(entry).cast_mut();
        if ffi::PyUnstable_Code_SetExtra(code, slot, raw.cast()) != 0 {
            // Out of memory: without a slot the next event decides again.
            ffi::PyErr_Clear();
            drop(Arc::from_raw(raw));
        } else {
            compare(code, slot, raw);
        }
    }
}

/// An attribute of code objects, its name interned at the first use and kept for the life of the process.
///
/// `pyo3::intern!` does the same but gives up the GIL at the first use, which no callback may do.
#[derive(Debug)]
pub struct CodeAttribute {
    name: &'static CStr,
    interned: AtomicPtr<ffi::PyObject>,
}

impl CodeAttribute {
    pub const fn new(name: &'static CStr) -> Self {
        Self { name, interned: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Its value for the code object `code`.
    ///
    /// # Errors
    /// `MemoryError`, or `AttributeError` if code objects of this version of CPython have no such attribute.
    pub fn of<'py>(&self, py: Python<'py>, code: Obj<'_>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: a live code object and the GIL, by `Obj` and `py`; the name is a live string that is never freed, and
        // the GIL keeps two threads from making it at once.
        unsafe {
            let mut name = self.interned.load(Ordering::Relaxed);
            if name.is_null() {
                name = ffi::PyUnicode_InternFromString(self.name.as_ptr());
                if name.is_null() {
                    return Err(PyErr::fetch(py));
                }
                self.interned.store(name, Ordering::Relaxed);
            }
            Bound::from_owned_ptr_or_err(py, ffi::PyObject_GetAttr(code.as_ptr(), name))
        }
    }
}

/// `co_qualname` and `co_filename` of a code object.
pub fn name_and_file(code: Obj<'_>) -> Option<(Obj<'_>, Obj<'_>)> {
    let attribute = |name: &std::ffi::CStr| {
        // SAFETY: a live code object and the GIL, both by `Obj`. Reading these attributes runs no Python code; the code
        // object keeps what they are.
        unsafe {
            let value = ffi::PyObject_GetAttrString(code.as_ptr(), name.as_ptr());
            if value.is_null() {
                ffi::PyErr_Clear();
                return None;
            }
            ffi::Py_DECREF(value);
            Obj::borrow(value)
        }
    };
    Some((attribute(c"co_qualname")?, attribute(c"co_filename")?))
}
