//! What the recorder says about itself: log lines, counters, and the trailer for scripts.
//!
//! Invariants:
//! - Nothing is written in a run without trouble (the default filter is `warn`).
//! - Writing never panics, never waits for a lock that a fork can leave held, and never raises into the program:
//!   a closed stderr loses the line.
//! - Whatever we write is written under a [`ScopedMute`], so that it is not taken for output of the program.

mod logger;
pub mod metrics;
mod mute;
mod sink;
pub mod trailer;

pub use logger::{init_logging, log_error, run_id, set_trace_id, trace_id};
pub use mute::{ScopedMute, is_muted};

use crate::errors::RecorderError;

/// Tells the log, the counters and, if the policy wants it, stderr's JSON trailer about an error.
pub fn report(error: &RecorderError) {
    metrics::global().error(error.code);
    log_error(error);
    if crate::policy::active().recorder.json_errors {
        trailer::emit(error);
    }
}

/// Reports an error that is about to reach Python, and turns it into its exception.
pub fn raise(error: RecorderError) -> pyo3::PyErr {
    report(&error);
    error.into()
}

/// Writes a line for people to stderr, whatever the log lets pass.
pub fn tell(line: &str) {
    sink::Sink::Stderr.write_line(line.to_owned());
}
