//! The fence: the only module with `unsafe` code. CPython's internals, and memory shared between threads.
//!
//! | module | what it fences |
//! |---|---|
//! | `layout` | private structs of CPython, gated by version |
//! | `probe` | the start-up check of those layouts against the public API |
//! | `object` | reading objects without running code |
//! | `c_types` | fields of C types: weak references, memory views, time zones |
//! | `numpy`, `arrow` | arrays and scalars of NumPy, columns that pandas keeps in pyarrow |
//! | `entries`, `dict_changes` | walking dicts and attributes in place, and how often dicts changed |
//! | `guards` | proofs that a value did not change |
//! | `frame` | the executing frame |
//! | `code` | the extra slot of code objects |
//! | `joined` | instructions that the interpreter had joined, joined again |
//! | `monitoring` | C callbacks for `sys.monitoring` |
//! | `stream`, `retype`, `readline`, `terminal` | watching the program's own streams |
//! | `relay`, `read_back`, `direct` | output that bypasses these streams |
//! | `stack` | running code without the recorder's frames below it |
//! | `signals`, `priority`, `clock`, `cpu`, `disk`, `termination`, `wake_signal`, `peer` | what is asked of the operating system |
//! | `builtin`, `process_exit`, `quiet_fork` | what happens around `os._exit` and `os.fork` |
//! | `chunk`, `sync` | a buffer written by one thread and read by another |
//! | `append` | copying few bytes |
//! | `latest` | the thread's own recorder, without a call |
//! | `sequence_compressor` | zstd frames from matches found elsewhere |

#![allow(unsafe_code)]

use pyo3::prelude::*;

pub mod append;
pub mod arrow;
mod builtin;
pub mod c_types;
mod callable;
pub mod chunk;
pub mod clock;
pub mod code;
pub mod cpu;
pub mod deque;
pub mod dict_changes;
#[cfg(target_os = "linux")]
pub mod direct;
pub mod disk;
#[cfg(target_os = "linux")]
mod disposition;
pub mod entries;
pub mod frame;
pub mod guards;
pub mod joined;
pub mod latest;
pub mod layout;
pub mod monitoring;
pub mod numpy;
pub mod object;
#[cfg(target_os = "linux")]
pub mod os_write;
#[cfg(target_os = "linux")]
pub mod peer;
pub mod priority;
pub mod probe;
pub mod process_exit;
pub mod python_types;
pub mod quiet_fork;
#[cfg(target_os = "linux")]
pub mod read_back;
#[cfg(unix)]
pub mod readline;
#[cfg(target_os = "linux")]
pub mod relay;
mod retype;
pub mod sequence_compressor;
pub mod signals;
pub mod stack;
pub mod stream;
pub mod sync;
#[cfg(unix)]
pub mod terminal;
#[cfg(target_os = "linux")]
pub mod termination;
#[cfg(target_os = "linux")]
pub mod wake_signal;

/// A borrowed object as a pyo3 reference (a new strong reference).
pub(crate) fn bound<'py>(py: Python<'py>, object: object::Obj<'_>) -> Bound<'py, PyAny> {
    // SAFETY: `object` is alive and the GIL is held (`py`).
    unsafe { Bound::from_borrowed_ptr(py, object.as_ptr()) }
}

/// Looks at a pyo3 object through [`object::Obj`] for the length of a closure that must not run Python code.
pub fn with_obj<T>(object: &Bound<'_, PyAny>, look: impl FnOnce(object::Obj<'_>) -> T) -> T {
    // SAFETY: `object` keeps the object alive during the closure and proves that the GIL is held.
    let borrowed = unsafe { object::Obj::borrow(object.as_ptr()) };
    match borrowed {
        Some(borrowed) => look(borrowed),
        // A `Bound` is never null.
        None => unreachable!("a bound reference is never null"),
    }
}

/// A strong reference to the object at an address.
pub(crate) fn revive(py: Python<'_>, address: usize) -> Py<PyAny> {
    // SAFETY: callers hand in addresses of code objects that have not died (`monitoring::install::forget` removes an
    // address when its code object dies), and the GIL is held.
    unsafe { Bound::from_borrowed_ptr(py, address as *mut pyo3::ffi::PyObject) }.unbind()
}

/// The frame the calling thread executes. For callbacks: they run with the GIL held, and what they borrow ends with them.
#[inline]
pub(crate) fn current_frame<'a>() -> Option<frame::Frame<'a>> {
    // SAFETY: only called from monitoring callbacks (GIL held), whose borrows end before Python code runs again.
    unsafe { frame::current() }
}

/// What was decided about a code object.
#[inline]
pub(crate) fn code_entry<'a>(
    code: crate::monitoring::CodeObjectWrapper<'a>,
    slot: isize,
) -> Option<&'a crate::runtime::code_entry::CodeEntry> {
    // SAFETY: callbacks hold the GIL; an entry is replaced only by `remember_code_entry` when it belongs to an earlier
    // session, and no reference to such an entry is kept.
    unsafe { code::get(code.object().as_ptr(), slot) }
}

/// Remembers a decision about a code object.
pub(crate) fn remember_code_entry(
    code: crate::monitoring::CodeObjectWrapper<'_>,
    slot: isize,
    entry: std::sync::Arc<crate::runtime::code_entry::CodeEntry>,
) {
    // SAFETY: as in `code_entry`.
    unsafe { code::set(code.object().as_ptr(), slot, entry) }
}

/// Tells pyo3 that the GIL is held: for the slow paths of callbacks.
pub(crate) fn attached<T>(work: impl FnOnce(Python<'_>) -> T) -> T {
    // SAFETY: only called below monitoring callbacks, which hold the GIL.
    work(unsafe { Python::assume_attached() })
}
