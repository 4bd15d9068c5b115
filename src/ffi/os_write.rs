//! `os.write` to a standard descriptor: told with the line that executes it, where the mirror is wanted.
//!
//! Invariants:
//! - The program gets what `os.write` gives: the same number, the same exception. A report never changes it.
//! - Only types whose buffers run no code of the program are looked at; all else goes the way of C code.
//! - Where nothing is mirrored any more it does what it did before.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;

use super::direct::{self, Told};
use crate::pipeline::layout::output;
use crate::runtime::io_capture::observe::{self, Data};

/// The convention of `os.write`.
type Function = unsafe extern "C" fn(*mut PyObject, *mut *mut PyObject, Py_ssize_t) -> *mut PyObject;

static ORIGINAL: OnceLock<Function> = OnceLock::new();

/// From now on what `os.write` writes to descriptors that are mirrored is reported. Call it with the GIL held.
///
/// # Errors
/// A text that says why it cannot be done; then nothing is changed.
pub fn watch(py: Python<'_>) -> Result<(), String> {
    if ORIGINAL.get().is_some() {
        return Ok(());
    }
    let replacement = ffi::PyMethodDefPointer { PyCFunctionFast: write };
    // SAFETY: these flags are the convention of `write`, and so of the original.
    let original = unsafe {
        super::builtin::redirect(py, "os", "write", ffi::METH_FASTCALL, replacement)
            .map(|found| found.PyCFunctionFast)?
    };
    // The GIL is held since the redirection: nobody can have called it, or come here.
    ORIGINAL.set(original).map_err(|_| "os.write is watched already".to_owned())
}

unsafe extern "C" fn write(module: *mut PyObject, args: *mut *mut PyObject, count: Py_ssize_t) -> *mut PyObject {
    // SAFETY: CPython calls this with the GIL held and `count` live arguments, as it would the function before.
    unsafe {
        let Some(original) = ORIGINAL.get() else {
            // Not before `watch` is through.
            ffi::PyErr_SetNone(ffi::PyExc_RuntimeError);
            return std::ptr::null_mut();
        };
        let own = || original(module, args, count);
        if count != 2 {
            return own();
        }
        let (descriptor, data) = (*args, *args.add(1));
        let Some(descriptor) = standard(descriptor) else { return own() };
        let is_plain = ffi::PyBytes_CheckExact(data) != 0
            || ffi::PyByteArray_CheckExact(data) != 0
            || std::ptr::eq(ffi::Py_TYPE(data), &raw const ffi::PyMemoryView_Type);
        if !is_plain || !direct::is_told(descriptor) || is_nonblocking(descriptor) {
            return own();
        }
        let mut view = std::mem::zeroed::<ffi::Py_buffer>();
        if ffi::PyObject_GetBuffer(data, &raw mut view, ffi::PyBUF_SIMPLE) != 0 {
            // The function itself says what is wrong.
            ffi::PyErr_Clear();
            return own();
        }
        let result = match direct::write_view(descriptor, &view, false) {
            Told::Written(result) => result,
            Told::ByItself => own(),
        };
        if !result.is_null() {
            let written = usize::try_from(ffi::PyLong_AsSsize_t(result)).unwrap_or(0).min(view.len as usize);
            if written > 0 {
                let bytes = std::slice::from_raw_parts(view.buf.cast::<u8>(), written);
                let stream = if descriptor == 1 { output::STDOUT } else { output::STDERR };
                // A panic must not cross into the interpreter; what it interrupted is a report, which is lost.
                let _ = catch_unwind(AssertUnwindSafe(|| observe::written(stream, Data::Bytes(bytes))));
            }
        }
        ffi::PyBuffer_Release(&raw mut view);
        result
    }
}

/// The program wants not to wait, which concerns what it sees at this descriptor, not what lies behind.
fn is_nonblocking(descriptor: i32) -> bool {
    // SAFETY: asks a question about a number.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFL) };
    flags >= 0 && flags & libc::O_NONBLOCK != 0
}

/// The number of a standard descriptor for output, if the object is exactly that.
unsafe fn standard(object: *mut PyObject) -> Option<i32> {
    // SAFETY: GIL held, a live object; an exact int is converted without running any code.
    unsafe {
        if ffi::PyLong_CheckExact(object) == 0 {
            return None;
        }
        match ffi::PyLong_AsLong(object) {
            1 => Some(1),
            2 => Some(2),
            -1 => {
                ffi::PyErr_Clear();
                None
            }
            _ => None,
        }
    }
}
