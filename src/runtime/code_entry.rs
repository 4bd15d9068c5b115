//! What was decided about one code object; lives in the code object's extra slot.
//!
//! Invariants:
//! - Immutable after creation, except hints that only save time.
//! - Addresses of names point into the code object's own tuples: they are valid as long as the entry is reachable
//!   through the code object.
//! - An entry made in an earlier session (`generation`) is never used; it is replaced at the next event.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::trace_filter::{ScopeResolution, ValueAction};

/// The decision.
#[derive(Debug)]
pub struct CodeEntry {
    /// The session that decided.
    pub generation: u64,
    /// Address of the code object, to forget it when it dies.
    pub code: usize,
    /// `None`: not recorded.
    pub traced: Option<Box<TracedCode>>,
}

/// How the frames of a recorded code object are recorded.
#[derive(Debug)]
pub struct TracedCode {
    /// Id in the session's tables.
    pub id: u32,
    /// Fast slots: locals, cells, free variables.
    pub fixed: Box<[FixedSlot]>,
    /// Indices of the parameters among the fast slots, in signature order.
    pub parameters: Box<[u16]>,
    /// Globals the code can load, shown after the fast slots.
    pub globals: Box<[GlobalSlot]>,
    /// Class bodies and modules keep their names in a namespace dict.
    pub namespace: Namespace,
    /// The file is the one that switches recording on.
    pub activates: bool,
    /// `__name__` of the namespace that module code was decided for; the same code can be run in another one.
    pub module: Option<String>,
    pub return_action: ValueAction,
    /// Decides about attributes and dict keys met inside values, and names of namespaces.
    pub resolution: ScopeResolution,
    /// Local events are on.
    pub instrumented: AtomicBool,
}

/// Where a frame keeps variables besides its fast slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// Functions: nowhere.
    None,
    /// Modules: the globals.
    Module,
    /// Class bodies and `exec` with separate locals.
    Local,
    /// Functions, when all globals are asked for.
    AllGlobals,
}

/// A fast slot.
#[derive(Debug)]
pub struct FixedSlot {
    /// Address of the name (`str`), for the public frame API.
    pub name: usize,
    pub in_cell: bool,
    pub action: ValueAction,
}

/// A global the code can load.
#[derive(Debug)]
pub struct GlobalSlot {
    /// Address of the name (`str`).
    pub name: usize,
    pub action: ValueAction,
    /// Where the name was found last in the globals dict.
    pub hint: AtomicUsize,
}

impl CodeEntry {
    /// Called by the interpreter when the code object dies.
    pub fn code_object_is_gone(&self) {
        if let Some(traced) = &self.traced
            && traced.instrumented.load(Ordering::Relaxed)
        {
            crate::monitoring::install::forget(self.code);
        }
    }
}
