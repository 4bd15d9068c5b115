//! What a method of a watched stream passed on, as the recorder is told of it.
//!
//! Invariants:
//! - No Python code runs: text and bytes are looked at in place, and of other objects only buffers of types written in C.

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use super::{Act, Found, Layer};
use crate::ffi::object::{Kind, Obj, Text};
use crate::ffi::retype;
use crate::runtime::io_capture::observe;

/// Tells what went through. Runs no Python code.
pub(super) unsafe fn report(act: Act, found: Found, argument: Option<Obj<'_>>, result: *mut PyObject) {
    // SAFETY: the result is alive until `entry` returns it; so is the argument.
    unsafe {
        match (act, argument) {
            (Act::Write, Some(argument)) => {
                // A file may take less than all; for text the number is of characters, and it is always all.
                let taken = if found.layer == Layer::Text { None } else { Some(count(result)) };
                data(argument, taken, |data| observe::written(found.stream, data));
            }
            (Act::Flush, _) => observe::flushed(found.stream),
            (Act::Ask, _) => {
                #[cfg(unix)]
                crate::ffi::readline::check();
            }
            (Act::Read, _) => {
                if let Some(result) = Obj::borrow(result) {
                    data(result, None, |data| observe::read(found.stream, data));
                }
            }
            (Act::Fill, Some(argument)) => {
                data(argument, Some(count(result)), |data| observe::read(found.stream, data));
            }
            (Act::Write | Act::Fill | Act::Shield, _) => {}
        }
    }
}

/// Tells what was written to a text stream.
#[inline]
pub(super) unsafe fn text(found: Found, argument: Obj<'_>, result: *mut PyObject) {
    // What is joined to a chunk is short: `print` writes piece by piece.
    const SHORT: usize = 4096;
    if argument.common_kind() == Some(Kind::Str)
        && let Text::Ascii(text) = argument.text()
        && !text.is_empty()
        && text.len() <= SHORT
        && observe::continued(found.stream, text)
    {
        return;
    }
    // SAFETY: as the caller's.
    unsafe { report(Act::Write, found, Some(argument), result) };
}

/// The number a method returned; 0 for anything else (`None`: nothing was possible without waiting).
unsafe fn count(result: *mut PyObject) -> usize {
    // SAFETY: a live object, an int where it is read as one.
    unsafe {
        if ffi::PyLong_Check(result) == 0 {
            return 0;
        }
        let count = ffi::PyLong_AsSsize_t(result);
        if count < 0 {
            ffi::PyErr_Clear();
        }
        usize::try_from(count).unwrap_or(0)
    }
}

/// Text or bytes of an object; nothing for what has to run code to tell.
unsafe fn data(object: Obj<'_>, limit: Option<usize>, look: impl FnOnce(observe::Data<'_>)) {
    match object.kind() {
        (Kind::Str, _) => look(observe::Data::Text(object.text())),
        (Kind::Bytes, _) => {
            let bytes = object.bytes_value();
            look(observe::Data::Bytes(&bytes[..bytes.len().min(limit.unwrap_or(usize::MAX))]));
        }
        _ => {
            // SAFETY: GIL held; only types written in C are asked, whose buffers run no Python code.
            unsafe {
                let ty = Bound::from_borrowed_ptr(Python::assume_attached(), object.ty().as_ptr().cast());
                if !retype::is_native(&ty.cast_into_unchecked()) {
                    return;
                }
                let mut view = std::mem::zeroed::<ffi::Py_buffer>();
                if ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut view, ffi::PyBUF_SIMPLE) != 0 {
                    ffi::PyErr_Clear();
                    return;
                }
                let length = (view.len as usize).min(limit.unwrap_or(usize::MAX));
                if length > 0 {
                    look(observe::Data::Bytes(std::slice::from_raw_parts(view.buf.cast::<u8>(), length)));
                }
                ffi::PyBuffer_Release(&raw mut view);
            }
        }
    }
}
