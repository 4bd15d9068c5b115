//! Signals whose default action ends the process, so that a recording can be finished before.
//!
//! Invariants:
//! - Only a signal that has its default action gets a handler; one that the program sets later replaces ours, until it
//!   gives the signal its default action back (servers do, to end by the signal they have handled): see [`watch_again`].
//! - The handler does nothing but remember the signal and wake a thread (`sem_post` is safe in a handler). After the
//!   recording is finished the signal gets its default action back and is sent again: the process ends by it as it
//!   would have.
//! - A forked child without a recording of its own, which has no such thread, ends at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;

/// Signals that ask a program to end.
const SIGNALS: [(libc::c_int, &str); 3] =
    [(libc::SIGTERM, "SIGTERM"), (libc::SIGHUP, "SIGHUP"), (libc::SIGINT, "SIGINT")];

/// The process that has a thread to be woken; 0 for none.
static OWNER: AtomicU32 = AtomicU32::new(0);
/// The signal that came.
static CAME: AtomicI32 = AtomicI32::new(0);
static STOPPED: AtomicBool = AtomicBool::new(false);

struct Semaphore(std::cell::UnsafeCell<std::mem::MaybeUninit<libc::sem_t>>);
// SAFETY: a semaphore is made to be shared; it is initialised before a handler or a thread uses it.
unsafe impl Sync for Semaphore {}
static WAKE: Semaphore = Semaphore(std::cell::UnsafeCell::new(std::mem::MaybeUninit::uninit()));

/// Gives every signal of [`SIGNALS`] that has its default action (or a handler of ours, inherited by a fork) a handler
/// that wakes [`wait`]. One caller at a time, with nobody in [`wait`].
pub fn watch() {
    STOPPED.store(false, Ordering::Relaxed);
    CAME.store(0, Ordering::Relaxed);
    // SAFETY: nobody uses the semaphore now: there is no waiting thread, and no handler posts while OWNER is 0 or
    // another process.
    unsafe { libc::sem_init(WAKE.0.get().cast(), 0, 0) };
    OWNER.store(std::process::id(), Ordering::Release);
    take_defaults();
}

/// As [`watch`], for signals that have got their default action since; does nothing in a process without a watch.
fn watch_again() {
    if OWNER.load(Ordering::Acquire) == std::process::id() {
        take_defaults();
    }
}

fn take_defaults() {
    for (signal, _) in SIGNALS {
        if action(signal).is_some_and(|handler| handler == libc::SIG_DFL) {
            // SAFETY: an all-zero sigaction is valid; the handler is async-signal-safe.
            unsafe {
                let mut new: libc::sigaction = std::mem::zeroed();
                new.sa_sigaction = handler as *const () as libc::sighandler_t;
                new.sa_flags = libc::SA_RESTART;
                libc::sigemptyset(&raw mut new.sa_mask);
                libc::sigaction(signal, &raw const new, std::ptr::null_mut());
            }
        }
    }
}

/// Gives the signals that still have our handler their default action back and ends [`wait`].
pub fn unwatch() {
    OWNER.store(0, Ordering::Release);
    for (signal, _) in SIGNALS {
        if action(signal) == Some(handler as *const () as libc::sighandler_t) {
            set_default(signal);
        }
    }
    STOPPED.store(true, Ordering::Release);
    // SAFETY: `watch` came before.
    unsafe { libc::sem_post(WAKE.0.get().cast()) };
}

/// Waits for one of the signals, and returns its name; `None` after [`unwatch`].
pub fn wait() -> Option<&'static str> {
    loop {
        // SAFETY: the semaphore was initialised by `watch`. Interruptions are looked at like wake-ups.
        unsafe { libc::sem_wait(WAKE.0.get().cast()) };
        if STOPPED.load(Ordering::Acquire) {
            return None;
        }
        let came = CAME.load(Ordering::Acquire);
        if let Some((_, name)) = SIGNALS.iter().find(|(signal, _)| *signal == came) {
            return Some(name);
        }
    }
}

/// Ends the process by the signal that came, as if nobody had watched.
pub fn proceed() {
    let signal = CAME.load(Ordering::Acquire);
    set_default(signal);
    // SAFETY: sends a signal to this process; no memory is involved.
    unsafe { libc::kill(libc::getpid(), signal) };
}

extern "C" fn handler(signal: libc::c_int) {
    // SAFETY: only async-signal-safe functions, and atomics. errno is put back.
    unsafe {
        let errno = *libc::__errno_location();
        if OWNER.load(Ordering::Acquire) == libc::getpid() as u32 {
            if CAME.swap(signal, Ordering::AcqRel) == 0 {
                libc::sem_post(WAKE.0.get().cast());
            }
        } else {
            // Blocked while the handler runs; delivered, with the default action, right after.
            set_default(signal);
            libc::raise(signal);
        }
        *libc::__errno_location() = errno;
    }
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
    let replacement = ffi::PyMethodDefPointer { PyCFunctionFast: set_handler };
    // SAFETY: the flag is the convention of `set_handler`, and so of the original.
    let original = unsafe {
        super::builtin::redirect(py, "_signal", "signal", ffi::METH_FASTCALL, replacement)
            .map(|found| found.PyCFunctionFast)?
    };
    // The GIL is held since the redirection: nobody can have called it.
    SET_HANDLER.set(original).map_err(|_| "signal.signal is followed already".to_owned())
}

unsafe extern "C" fn set_handler(module: *mut PyObject, args: *mut *mut PyObject, count: Py_ssize_t) -> *mut PyObject {
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

fn action(signal: libc::c_int) -> Option<libc::sighandler_t> {
    let mut current = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: asks only; the struct is filled when the call returns 0.
    unsafe {
        (libc::sigaction(signal, std::ptr::null(), current.as_mut_ptr()) == 0)
            .then(|| current.assume_init().sa_sigaction)
    }
}

fn set_default(signal: libc::c_int) {
    // SAFETY: an all-zero sigaction with SIG_DFL is valid.
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, &raw const new, std::ptr::null_mut());
    }
}
