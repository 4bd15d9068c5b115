//! Signals whose default action ends the process, so that a recording can be finished before.
//!
//! Invariants:
//! - Only a signal that has its default action gets a handler; one that the program sets later replaces ours, until it
//!   gives the signal its default action back (servers do, to end by the signal they have handled): see [`watch_again`].
//! - The handler does nothing but remember the signal and wake a thread (see [`super::disposition`]). After the
//!   recording is finished the signal gets its default action back and is sent again: the process ends by it as it
//!   would have.
//! - A forked child without a recording of its own, which has no such thread, ends at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;

use super::disposition::{Wake, action, has_handler, set_default, set_handler};

/// Signals that ask a program to end.
const SIGNALS: [(libc::c_int, &str); 3] =
    [(libc::SIGTERM, "SIGTERM"), (libc::SIGHUP, "SIGHUP"), (libc::SIGINT, "SIGINT")];

static WAKE: Wake = Wake::new();
/// The signal that came.
static CAME: AtomicI32 = AtomicI32::new(0);

/// Gives every signal of [`SIGNALS`] that has its default action (or a handler of ours, inherited by a fork) a handler
/// that wakes [`wait`]. One caller at a time, with nobody in [`wait`].
pub fn watch() {
    CAME.store(0, Ordering::Relaxed);
    WAKE.begin();
    take_defaults();
}

/// As [`watch`], for signals that have got their default action since; does nothing in a process without a watch.
fn watch_again() {
    if WAKE.is_ours() {
        take_defaults();
    }
}

fn take_defaults() {
    for (signal, _) in SIGNALS {
        if action(signal) == Some(libc::SIG_DFL) {
            set_handler(signal, handler);
        }
    }
}

/// Gives the signals that still have our handler their default action back and ends [`wait`].
pub fn unwatch() {
    WAKE.disown();
    for (signal, _) in SIGNALS {
        if has_handler(signal, handler) {
            set_default(signal);
        }
    }
    WAKE.end();
}

/// Waits for one of the signals, and returns its name; `None` after [`unwatch`].
pub fn wait() -> Option<&'static str> {
    while WAKE.wait() {
        let came = CAME.load(Ordering::Acquire);
        if let Some((_, name)) = SIGNALS.iter().find(|(signal, _)| *signal == came) {
            return Some(name);
        }
    }
    None
}

/// Ends the process by the signal that came, as if nobody had watched.
pub fn proceed() {
    let signal = CAME.load(Ordering::Acquire);
    set_default(signal);
    // SAFETY: sends a signal to this process; no memory is involved.
    unsafe { libc::kill(libc::getpid(), signal) };
}

extern "C" fn handler(signal: libc::c_int) {
    // The first one only.
    WAKE.handle(signal, || CAME.swap(signal, Ordering::AcqRel) == 0);
}

/// The convention of `_signal.signal`.
type Function = unsafe extern "C" fn(*mut PyObject, *mut *mut PyObject, Py_ssize_t) -> *mut PyObject;

/// The interpreter's own `_signal.signal`.
static SET_HANDLER: OnceLock<Function> = OnceLock::new();

/// Looks at what `signal.signal` leaves behind, from now on. Call it once.
///
/// # Errors
/// A text that says why it cannot be done; then nothing is changed.
pub fn follow_changes(py: Python<'_>) -> Result<(), String> {
    let replacement = ffi::PyMethodDefPointer { PyCFunctionFast: signal_signal };
    // SAFETY: the flag is the convention of `signal_signal`, and so of the original.
    let original = unsafe {
        super::builtin::redirect(py, "_signal", "signal", ffi::METH_FASTCALL, replacement)
            .map(|found| found.PyCFunctionFast)?
    };
    // The GIL is held since the redirection: nobody can have called it.
    SET_HANDLER.set(original).map_err(|_| "signal.signal is followed already".to_owned())
}

unsafe extern "C" fn signal_signal(
    module: *mut PyObject,
    args: *mut *mut PyObject,
    count: Py_ssize_t,
) -> *mut PyObject {
    // SAFETY: CPython calls this under the convention of the definition, with the GIL held and valid arguments, which
    // are passed on as they came.
    unsafe {
        let Some(original) = SET_HANDLER.get() else {
            // Never: it is set before anybody can call this.
            ffi::PyErr_SetString(ffi::PyExc_SystemError, c"signal.signal is not followed".as_ptr());
            return std::ptr::null_mut();
        };
        let result = original(module, args, count);
        if !result.is_null() {
            watch_again();
        }
        result
    }
}
