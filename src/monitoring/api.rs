//! What a tracer is: the events it wants and what it does with each.
//!
//! Invariants:
//! - Callbacks run on the interpreter thread with the GIL held, may be entered by any thread, and must not run
//!   Python code or wait with the GIL.
//! - A tracer is shared (`&self`); state that changes per event belongs to the thread that has the event.

use pyo3::Python;

use super::code::CodeObjectWrapper;
use crate::errors::RecorderError;
use crate::ffi::object::Obj;

/// What `sys.monitoring` shall do with the location of an event from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackOutcome {
    /// Keep sending events.
    Continue,
    /// Send no more events of this kind from this location (ignored for PY_UNWIND and PY_THROW, which cannot be).
    DisableLocation,
}

/// Result of a callback; an error is answered as the policy says (`on_recorder_error`).
pub type CallbackResult = Result<CallbackOutcome, Box<RecorderError>>;

/// A set of `sys.monitoring` events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventSet(pub u32);

impl EventSet {
    /// No event.
    pub const NONE: Self = Self(0);

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// Every event of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Consumes the events of `sys.monitoring`.
///
/// Every method has a default that ignores the event and keeps its location enabled.
pub trait Tracer: Send + Sync {
    /// Events switched on for all code.
    fn global_events(&self) -> EventSet;

    /// A function, class body or module starts.
    fn on_py_start(&self, _code: CodeObjectWrapper<'_>) -> CallbackResult {
        Ok(CallbackOutcome::Continue)
    }
    /// The same, for a tool that watches nothing else (see [`super::install::watch_entries`]).
    fn on_entry(&self, _code: CodeObjectWrapper<'_>) -> CallbackResult {
        Ok(CallbackOutcome::Continue)
    }
    /// A generator or coroutine goes on.
    fn on_py_resume(&self, _code: CodeObjectWrapper<'_>) -> CallbackResult {
        Ok(CallbackOutcome::Continue)
    }
    /// A generator or coroutine goes on with an exception thrown into it.
    fn on_py_throw(&self, _code: CodeObjectWrapper<'_>, _exception: Obj<'_>) -> CallbackResult {
        Ok(CallbackOutcome::Continue)
    }
    /// A frame returns a value.
    fn on_py_return(&self, _code: CodeObjectWrapper<'_>, _value: Obj<'_>) -> CallbackResult {
        Ok(CallbackOutcome::Continue)
    }
    /// A generator or coroutine yields a value.
    fn on_py_yield(&self, _code: CodeObjectWrapper<'_>, _value: Obj<'_>) -> CallbackResult {
        Ok(CallbackOutcome::Continue)
    }
    /// A frame is left by an exception.
    fn on_py_unwind(&self, _code: CodeObjectWrapper<'_>, _exception: Obj<'_>) -> CallbackResult {
        Ok(CallbackOutcome::Continue)
    }
    /// A line is about to run.
    fn on_line(&self, _code: CodeObjectWrapper<'_>, _line: u32) -> CallbackResult {
        Ok(CallbackOutcome::Continue)
    }

    /// A callback failed or panicked. Returns the error if the traced program shall see it.
    fn on_failure(&self, py: Python<'_>, error: RecorderError) -> Option<RecorderError>;

    /// Makes everything recorded so far durable.
    fn flush(&self, py: Python<'_>) -> Result<(), RecorderError>;
}
