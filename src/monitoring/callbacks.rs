//! The table of callbacks: one line per event of `sys.monitoring`, and what a callback's result becomes.
//!
//! Invariants:
//! - A callback never lets a panic cross into the interpreter.
//! - `DISABLE` is never returned from PY_UNWIND and PY_THROW: CPython raises ValueError for it in place of the
//!   program's own exception.

use super::api::{CallbackOutcome, CallbackResult, Tracer};
use super::code::CodeObjectWrapper;
use crate::ffi::object::Obj;

/// How a callback is called: name as in `sys.monitoring.events`, and what it does with (code, last argument).
pub struct Callback {
    pub event: &'static str,
    /// Name in messages, e.g. `on_line`.
    pub name: &'static str,
    /// The location may be disabled.
    pub can_disable: bool,
    pub run: fn(&dyn Tracer, CodeObjectWrapper<'_>, Obj<'_>) -> CallbackResult,
}

/// Every event we can receive; the index of an entry is its number in `ffi::monitoring`.
pub const CALLBACKS: [Callback; 8] = [
    Callback { event: "PY_START", name: "on_py_start", can_disable: true, run: |t, code, _| t.on_py_start(code) },
    Callback { event: "PY_RESUME", name: "on_py_resume", can_disable: true, run: |t, code, _| t.on_py_resume(code) },
    Callback { event: "PY_THROW", name: "on_py_throw", can_disable: false, run: |t, code, e| t.on_py_throw(code, e) },
    Callback { event: "PY_RETURN", name: "on_py_return", can_disable: true, run: |t, code, v| t.on_py_return(code, v) },
    Callback { event: "PY_YIELD", name: "on_py_yield", can_disable: true, run: |t, code, v| t.on_py_yield(code, v) },
    Callback {
        event: "PY_UNWIND",
        name: "on_py_unwind",
        can_disable: false,
        run: |t, code, e| t.on_py_unwind(code, e),
    },
    Callback {
        event: "LINE",
        name: "on_line",
        can_disable: true,
        run: |t, code, line| t.on_line(code, line_number(line)),
    },
    Callback { event: "PY_START", name: "on_entry", can_disable: true, run: |t, code, _| t.on_entry(code) },
];

/// The callback of the tool that watches entries; the ones before it are those of the recorder's own.
pub const ENTRY: usize = 7;

#[inline]
fn line_number(object: Obj<'_>) -> u32 {
    object.positive_digit().unwrap_or(0)
}

impl Callback {
    /// Whether the interpreter shall disable the location.
    #[inline]
    pub fn disables(&self, outcome: CallbackOutcome) -> bool {
        self.can_disable && outcome == CallbackOutcome::DisableLocation
    }
}
