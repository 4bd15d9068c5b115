//! `sys.monitoring`: what a tracer is (`api`), how one is installed (`install`), and which callback serves which
//! event (`callbacks`).
//!
//! Invariants:
//! - At most one tracer of ours is installed per process; other tools keep their ids and events.
//! - Line, return and yield events are switched on per code object, so skipped code costs nothing.

pub mod api;
pub mod callbacks;
pub mod code;
pub mod install;

pub use api::{CallbackOutcome, CallbackResult, EventSet, Tracer};
pub use code::{CodeObjectRegistry, CodeObjectWrapper};
pub use install::{flush_installed_tracer, install_tracer, uninstall_tracer};
