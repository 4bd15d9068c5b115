//! C-level callbacks for `sys.monitoring`, and the tracer they speak to.
//!
//! Invariants:
//! - The installed tracer is published as one pointer, written and read with the GIL held; it is freed only when no
//!   callback can be using it: callbacks never give up the GIL except through [`without_gil`], which pins it.
//! - A panic in a callback is caught here and becomes an `InternalError` handled by the tracer's policy.
//! - Callbacks are called directly ([`super::callable`]): no tuple, no Python object is made per event.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;

use super::object::Obj;
use crate::monitoring::Tracer;
use crate::monitoring::callbacks::CALLBACKS;
use crate::monitoring::code::CodeObjectWrapper;

type Shared = Arc<dyn Tracer>;

static INSTALLED: AtomicPtr<Shared> = AtomicPtr::new(ptr::null_mut());
static DISABLE: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

/// The installed tracer, kept alive beyond this callback.
pub fn installed(_py: Python<'_>) -> Option<Shared> {
    // SAFETY: the pointer is null or valid while the GIL is held (module invariant).
    unsafe { INSTALLED.load(Ordering::Acquire).as_ref().cloned() }
}

/// Publishes a tracer, or none; returns the former one.
pub fn publish(_py: Python<'_>, tracer: Option<Shared>) -> Option<Shared> {
    let new = tracer.map_or(ptr::null_mut(), |tracer| Box::into_raw(Box::new(tracer)));
    let old = INSTALLED.swap(new, Ordering::AcqRel);
    // SAFETY: `old` came from `Box::into_raw`; with the GIL held no callback is reading it, except those that wait
    // in `without_gil`, and they hold a clone of the Arc inside.
    (!old.is_null()).then(|| unsafe { *Box::from_raw(old) })
}

/// Runs `wait` without the GIL from inside a callback; the tracer stays alive meanwhile.
pub fn without_gil<T: Send>(wait: impl FnOnce() -> T + Send) -> T {
    // SAFETY: callbacks run with the GIL held; pyo3 is told so for the length of this call.
    let py = unsafe { Python::assume_attached() };
    let pinned = installed(py);
    let result = py.detach(wait);
    drop(pinned);
    result
}

/// `sys.monitoring.DISABLE`, kept for the life of the process.
pub fn remember_disable(disable: &Bound<'_, PyAny>) {
    if DISABLE.load(Ordering::Relaxed).is_null() {
        DISABLE.store(disable.clone().unbind().into_ptr(), Ordering::Relaxed);
    }
}

#[inline]
unsafe fn dispatch<const EVENT: usize>(args: *const *mut PyObject, count: Py_ssize_t) -> *mut PyObject {
    let callback = &CALLBACKS[EVENT];
    // SAFETY: CPython passes `count` valid arguments, the first a code object, and holds the GIL; the tracer pointer
    // is valid by the module invariant.
    unsafe {
        let installed = INSTALLED.load(Ordering::Acquire);
        if installed.is_null() || count < 2 {
            return none();
        }
        let tracer: &dyn Tracer = (*installed).as_ref();
        let (Some(code), Some(last)) = (Obj::borrow(*args), Obj::borrow(*args.add(count as usize - 1))) else {
            return none();
        };
        let result = catch_unwind(AssertUnwindSafe(|| (callback.run)(tracer, CodeObjectWrapper::new(code), last)));
        match result {
            Ok(Ok(outcome)) if callback.disables(outcome) => {
                let disable = DISABLE.load(Ordering::Relaxed);
                if disable.is_null() {
                    return none();
                }
                ffi::Py_INCREF(disable);
                disable
            }
            Ok(Ok(_)) => none(),
            Ok(Err(error)) => failed(error),
            Err(panic) => panicked(panic.as_ref(), callback.name),
        }
    }
}

/// Outside of [`dispatch`], which would save registers for it.
#[cold]
#[inline(never)]
unsafe fn panicked(panic: &(dyn Any + Send), callback: &str) -> *mut PyObject {
    let what = panic.downcast_ref::<&str>().copied();
    let what = what.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
    // SAFETY: called from a callback, with the GIL held.
    unsafe { failed(Box::new(crate::bug!(Unknown, "panic in {callback}: {what}"))) }
}

/// Lets the tracer decide whether the program sees the error.
#[cold]
#[inline(never)]
unsafe fn failed(error: Box<crate::errors::RecorderError>) -> *mut PyObject {
    // SAFETY: called from a callback, with the GIL held.
    let py = unsafe { Python::assume_attached() };
    let raised = match installed(py) {
        Some(tracer) => catch_unwind(AssertUnwindSafe(|| tracer.on_failure(py, *error))).unwrap_or(None),
        None => None,
    };
    match raised {
        None => none(),
        Some(error) => {
            PyErr::from(error).restore(py);
            ptr::null_mut()
        }
    }
}

#[inline]
fn none() -> *mut PyObject {
    // SAFETY: `None` is a static object; a callback returns a new reference.
    unsafe {
        let none = ffi::Py_None();
        ffi::Py_INCREF(none);
        none
    }
}

macro_rules! trampolines {
    ($($index:literal => $name:ident,)+) => {
        $(unsafe extern "C" fn $name(
            _: *mut PyObject,
            args: *const *mut PyObject,
            flagged: usize,
            _: *mut PyObject,
        ) -> *mut PyObject {
            // SAFETY: called by CPython under the vectorcall convention.
            unsafe { dispatch::<$index>(args, ffi::PyVectorcall_NARGS(flagged)) }
        })+

        /// The callback functions in the order of `CALLBACKS`.
        const FUNCTIONS: [ffi::vectorcallfunc; CALLBACKS.len()] = [$($name),+];
    };
}

trampolines! {
    0 => on_py_start,
    1 => on_py_resume,
    2 => on_py_throw,
    3 => on_py_return,
    4 => on_py_yield,
    5 => on_py_unwind,
    6 => on_line,
    7 => on_entry,
}

/// A callable for `sys.monitoring.register_callback`, for the callback at this index of `CALLBACKS`.
pub fn callable(py: Python<'_>, index: usize) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: these functions look at as many arguments as there are.
    unsafe { super::callable::callable(py, FUNCTIONS[index]) }
}
