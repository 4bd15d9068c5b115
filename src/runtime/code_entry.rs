//! What was decided about one code object; lives in the code object's extra slot.
//!
//! Invariants:
//! - Immutable after creation, except hints that only save time.
//! - Addresses of names point into the code object's own tuples: they are valid as long as the entry is reachable
//!   through the code object.
//! - An entry made in an earlier session (`generation`) is never used; it is replaced at the next event.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::stores::Stores;
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
    /// Not recorded, but of the file that switches recording on: what its frames call is recorded.
    pub gatekeeper: Option<Gatekeeper>,
}

/// Code that opens the activation gate while its frames are active, and shows nothing of them.
#[derive(Debug)]
pub struct Gatekeeper {
    /// As that of [`TracedCode`].
    pub instrumented: AtomicU32,
}

impl Default for Gatekeeper {
    fn default() -> Self {
        Self { instrumented: AtomicU32::new(NOT_INSTRUMENTED) }
    }
}

/// How the frames of a recorded code object are recorded.
#[derive(Debug)]
pub struct TracedCode {
    /// Id in the session's tables.
    pub id: u32,
    /// Fast slots: locals, cells, free variables.
    pub fixed: Box<[FixedSlot]>,
    /// What its lines can bind of them, if that is known.
    pub stores: Option<Stores>,
    /// The parameters, in signature order.
    pub parameters: Box<[Parameter]>,
    /// Globals the code can load, shown after the fast slots.
    pub globals: Box<[GlobalSlot]>,
    /// A version of the globals dict in which none of these is a variable that is shown; 0: not known.
    pub no_globals: AtomicU64,
    /// Class bodies and modules keep their names in a namespace dict.
    pub namespace: Namespace,
    /// The file is the one that switches recording on.
    pub activates: bool,
    /// Its calls are entries that may be sampled.
    pub is_entry: bool,
    /// `__name__` of the namespace that module code was decided for; the same code can be run in another one.
    pub module: Option<String>,
    pub return_action: ValueAction,
    /// Decides about attributes and dict keys met inside values, and names of namespaces.
    pub resolution: ScopeResolution,
    /// The epoch whose local events are on, [`NOT_INSTRUMENTED`] before there were any.
    pub instrumented: AtomicU32,
}

/// No epoch of a session.
pub const NOT_INSTRUMENTED: u32 = u32::MAX;

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

/// A parameter, as a call shows it.
#[derive(Debug)]
pub struct Parameter {
    /// Its index among the fast slots.
    pub slot: u16,
    pub action: ValueAction,
    /// The steps treat it otherwise than the call.
    pub differs: bool,
}

/// A fast slot.
#[derive(Debug)]
pub struct FixedSlot {
    /// Address of the name (`str`), for the public frame API.
    pub name: usize,
    pub in_cell: bool,
    /// What steps do with it.
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
        super::joins::forget(self.code);
        let traced = self.traced.as_deref().map(|traced| &traced.instrumented);
        let instrumented = traced.or(self.gatekeeper.as_ref().map(|gatekeeper| &gatekeeper.instrumented));
        if instrumented.is_some_and(|it| it.load(Ordering::Relaxed) != NOT_INSTRUMENTED) {
            crate::monitoring::install::forget(self.code);
        }
    }
}
