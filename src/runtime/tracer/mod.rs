//! The tracer that records: composed of `filtering` (what to record), `events` (the callbacks), `io` (output and
//! input), `paths`, `lifecycle` (start, failure, end) around the threads' recorders (`runtime::thread`).

pub mod events;
pub mod filtering;
pub mod io;
pub mod lifecycle;
pub mod paths;
mod samples;
pub mod shared;
pub mod skipped_file;

pub use lifecycle::RuntimeTracer;
