//! A look at `os._exit` before it ends the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;

/// The convention of `os._exit`.
type Function = unsafe extern "C" fn(*mut PyObject, *const *mut PyObject, Py_ssize_t, *mut PyObject) -> *mut PyObject;

struct Watch {
    original: Function,
    before: fn(Python<'_>, i32),
}

static WATCH: OnceLock<Watch> = OnceLock::new();

/// Calls `before` with the status whenever `os._exit` is about to end the process. Call it once.
///
/// # Errors
/// A text that says why it cannot be done; then nothing is changed.
pub fn before_exit(py: Python<'_>, before: fn(Python<'_>, i32)) -> Result<(), String> {
    let replacement = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: exit_after_looking };
    let flags = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    // SAFETY: these flags are the convention of `exit_after_looking`, and so of the original.
    let original = unsafe {
        super::builtin::redirect(py, "os", "_exit", flags, replacement)
            .map(|found| found.PyCFunctionFastWithKeywords)?
    };
    // The GIL is held since the redirection: nobody can have called it.
    WATCH.set(Watch { original, before }).map_err(|_| "os._exit is watched already".to_owned())
}

unsafe extern "C" fn exit_after_looking(
    module: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: CPython calls this under the convention of the definition, with the GIL held and valid arguments, which
    // are passed on as they came.
    unsafe {
        let Some(watch) = WATCH.get() else {
            // Never: it is set before the definition is.
            ffi::PyErr_SetString(ffi::PyExc_SystemError, c"os._exit is not watched".as_ptr());
            return std::ptr::null_mut();
        };
        if let Some(status) = plain_status(args, count, names) {
            let py = Python::assume_attached();
            // A panic has been reported by its hook; the process ends all the same.
            let _ = catch_unwind(AssertUnwindSafe(|| (watch.before)(py, status)));
        }
        (watch.original)(module, args, count, names)
    }
}

/// The status, if the call is certain to end the process with it: one argument that is an int of C's size.
unsafe fn plain_status(args: *const *mut PyObject, count: Py_ssize_t, names: *mut PyObject) -> Option<i32> {
    // SAFETY: as the caller's.
    unsafe {
        let named = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
        if count + named != 1 {
            return None;
        }
        if named == 1 {
            let name = ffi::PyTuple_GET_ITEM(names, 0);
            if ffi::PyUnicode_CompareWithASCIIString(name, c"status".as_ptr()) != 0 {
                return None;
            }
        }
        let status = *args;
        if ffi::PyLong_Check(status) == 0 {
            return None;
        }
        let mut overflow = 0;
        let value = ffi::PyLong_AsLongAndOverflow(status, &mut overflow);
        if overflow != 0 {
            return None;
        }
        i32::try_from(value).ok()
    }
}
