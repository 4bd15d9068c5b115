//! Ends that run no exit handlers: `os._exit`, and what `multiprocessing` does at the end of every forked worker.
//!
//! Invariants:
//! - The function that the program calls is the interpreter's own object, before and after: only what it runs first is
//!   ours.
//! - The GIL is kept while the recording is finished, so that no other thread of the program runs on meanwhile: under
//!   plain Python it would not, either.

use pyo3::prelude::*;

use super::{Waiting, active, conclude};
use crate::ffi::process_exit;
use crate::logging;

/// Finishes the session of this process whenever it calls `os._exit`.
pub(super) fn watch(py: Python<'_>) {
    static WATCHING: std::sync::Once = std::sync::Once::new();
    WATCHING.call_once(|| {
        if let Err(error) = process_exit::before_exit(py, finish_before_exit) {
            // What was written at the last interval is what such an end leaves then.
            tracing::debug!(%error, "os._exit is not watched");
        }
    });
}

fn finish_before_exit(py: Python<'_>, status: i32) {
    let Some(session) = active().take() else { return };
    // What the parent process sees.
    let status = i64::from(status) & 0xff;
    if let Err(error) = conclude(py, session, Some(status), Waiting::WithGil) {
        logging::report(&error);
    }
}
