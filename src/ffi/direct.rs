//! Python's own streams write past the relay, straight to the original descriptor.
//!
//! Invariants:
//! - What other writers put into the relay's pipe before goes first: the order on the other side is the program's.
//! - The result is that of `FileIO.write`: the number written, `None` if it would have to wait, the same exceptions.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use pyo3::ffi::{self, PyObject};

use super::relay::Relay;

static RELAYS: ArcSwapOption<Vec<Relay>> = ArcSwapOption::const_empty();

unsafe extern "C" {
    fn _Py_write(descriptor: RawFd, data: *const std::ffi::c_void, count: usize) -> ffi::Py_ssize_t;
}

/// The relays in force.
pub fn publish(relays: Option<Arc<Vec<Relay>>>) {
    RELAYS.store(relays);
}

/// In a forked child the relays go on, but they are not ours.
pub fn forget() {
    std::mem::forget(RELAYS.swap(None));
}

/// Writes `data` for the `FileIO` object `file` of `descriptor`. `None` if that is not for us to do; null with an
/// exception set, or a new reference.
pub(super) unsafe fn write(file: *mut PyObject, descriptor: RawFd, data: *mut PyObject) -> Option<*mut PyObject> {
    let relays = RELAYS.load_full()?;
    let (relay, original) = relays.iter().find_map(|relay| Some((relay, relay.original_of(descriptor)?)))?;
    // SAFETY: GIL held, live objects; the view is released before returning. `closed` is a C getter of FileIO.
    unsafe {
        let closed = ffi::PyObject_GetAttrString(file, c"closed".as_ptr());
        let is_open = std::ptr::eq(closed, ffi::Py_False());
        ffi::Py_XDECREF(closed);
        if !is_open {
            ffi::PyErr_Clear();
            return None;
        }
        let mut view = std::mem::zeroed::<ffi::Py_buffer>();
        if ffi::PyObject_GetBuffer(data, &raw mut view, ffi::PyBUF_SIMPLE) != 0 {
            // The file's own method says what is wrong.
            ffi::PyErr_Clear();
            return None;
        }
        let result = if wait(relay, descriptor) {
            let written = _Py_write(original, view.buf, view.len as usize);
            if written >= 0 {
                ffi::PyLong_FromSsize_t(written)
            } else if std::io::Error::last_os_error().kind() == std::io::ErrorKind::WouldBlock {
                ffi::PyErr_Clear();
                let none = ffi::Py_None();
                ffi::Py_INCREF(none);
                none
            } else {
                std::ptr::null_mut()
            }
        } else {
            std::ptr::null_mut()
        };
        ffi::PyBuffer_Release(&raw mut view);
        Some(result)
    }
}

/// Waits for what others wrote before. False with an exception set if a signal handler raised one.
unsafe fn wait(relay: &Relay, descriptor: RawFd) -> bool {
    // SAFETY: GIL held; it is given up while waiting, as in any write.
    unsafe {
        while !relay.is_drained(descriptor) {
            let state = ffi::PyEval_SaveThread();
            for _ in 0..200 {
                if relay.is_drained(descriptor) {
                    break;
                }
                std::thread::sleep(Duration::from_micros(50));
            }
            ffi::PyEval_RestoreThread(state);
            if ffi::PyErr_CheckSignals() != 0 {
                return false;
            }
        }
    }
    true
}
