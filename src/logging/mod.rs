//! What the recorder says about itself: JSON log lines (`logger`), counters (`metrics`), the error trailer (`trailer`).
//!
//! Invariants:
//! - Quiet by default: a run without trouble prints nothing.
//! - Nothing here panics or fails because stderr or the log file is gone.
//! - Never on the hot path.

pub mod logger;
pub mod metrics;
pub mod trailer;

pub use logger::{init_logging, is_writing, run_id, set_trace_id};

use crate::errors::RecorderError;

/// Logs an error, counts it, and prints the trailer if the policy wants one.
pub fn log_error(error: &RecorderError) {
    metrics::count_error(error.code);
    tracing::error!(
        error_code = error.code.as_str(),
        error_kind = error.kind.as_str(),
        context = ?error.context,
        "recorder_error: {error}"
    );
    if crate::policy::active().recorder.json_errors {
        trailer::print(error);
    }
}
