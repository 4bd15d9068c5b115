//! Whether a text stream is open, which its `write` asks at every call.
//!
//! A `TextIOWrapper` looks at the file below it, which is one load; an instance of a subclass has its attribute `closed`
//! looked up, that looks up the buffer's, and that the file's: as much as the whole rest of a write. Here its own methods
//! get the answer that they would give themselves without the subclass.
//!
//! Invariants:
//! - Only `closed` of the stream whose method the thread is in is answered here, and only with `False`; everybody else
//!   gets what the type says.
//! - The file is one whose descriptor was found where it is expected.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::{INSIDE, is_class};

/// The beginning of a `FileIO` object: its descriptor, negative when it is closed.
#[repr(C)]
struct File {
    base: PyObject,
    descriptor: i32,
}

/// The interned name.
static CLOSED: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

/// Lets the methods of a subtype of `TextIOWrapper` know quickly that it is open.
pub(super) fn answer_quickly(ours: &Bound<'_, PyType>, original: &Bound<'_, PyType>) -> PyResult<()> {
    if !is_class(original, "TextIOWrapper")? {
        return Ok(());
    }
    // SAFETY: GIL held; an interned string lives as long as this reference, which is kept. Nobody has the type yet, and
    // its slot is the one its base has: the general one.
    unsafe {
        if CLOSED.load(Ordering::Acquire).is_null() {
            CLOSED.store(ffi::PyUnicode_InternFromString(c"closed".as_ptr()), Ordering::Release);
        }
        let slot = &mut (*ours.as_type_ptr()).tp_getattro;
        if slot.is_some_and(|own| ptr::fn_addr_eq(own, ffi::PyObject_GenericGetAttr as ffi::getattrofunc)) {
            *slot = Some(attribute);
        }
    }
    Ok(())
}

unsafe extern "C" fn attribute(object: *mut PyObject, name: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by CPython with the GIL held and live objects. The file that is noted is kept alive until the method
    // is through, and is one of those that `file_below` looked at.
    unsafe {
        if ptr::eq(name, CLOSED.load(Ordering::Relaxed)) {
            let inside = INSIDE.get();
            if ptr::eq(inside.object, object) && !inside.file.is_null() && (*inside.file.cast::<File>()).descriptor >= 0
            {
                let no = ffi::Py_False();
                ffi::Py_INCREF(no);
                return no;
            }
        }
        ffi::PyObject_GenericGetAttr(object, name)
    }
}

/// The file that a `TextIOWrapper` writes to by way of a buffer, if all are of exactly these types.
pub(super) fn file_below<'py>(text: &Bound<'py, PyAny>, original: &Bound<'py, PyType>) -> Option<Bound<'py, PyAny>> {
    let find = || -> PyResult<Option<Bound<'py, PyAny>>> {
        if !is_class(original, "TextIOWrapper")? {
            return Ok(None);
        }
        let buffer = text.getattr("buffer")?;
        let known = ["BufferedWriter", "BufferedReader", "BufferedRandom"];
        if !known.into_iter().any(|class| is_class(&buffer.get_type(), class).unwrap_or(false)) {
            return Ok(None);
        }
        let file = buffer.getattr("raw")?;
        if !is_class(&file.get_type(), "FileIO")? {
            return Ok(None);
        }
        let descriptor: i32 = file.call_method0("fileno")?.extract()?;
        // SAFETY: a `FileIO` object is longer than that (looked at first); its type is exactly that or our subtype of it.
        let found = unsafe {
            (*file.get_type().as_type_ptr()).tp_basicsize as usize >= size_of::<File>()
                && (*file.as_ptr().cast::<File>()).descriptor == descriptor
        };
        Ok(found.then_some(file))
    };
    find().ok().flatten()
}
