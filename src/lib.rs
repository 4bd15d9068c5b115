//! Records what a Python program does, step by step, into a CodeTracer trace.
//!
//! The modules follow the data:
//!
//! | module | concern |
//! |---|---|
//! | [`session`] | from `start_tracing` to `stop_tracing` |
//! | [`policy`] | what the user permits |
//! | [`trace_filter`] | what is recorded and what is hidden |
//! | [`sampling`] | when and what to record, if not everything |
//! | [`monitoring`] | `sys.monitoring` events to a [`Tracer`] |
//! | [`runtime`] | events to compact records, on the interpreter thread |
//! | [`pipeline`] | compact records to files, on worker threads |
//! | [`storage`] | the file system, as a trait |
//! | [`format`] | reading, verifying and recovering traces |
//! | [`logging`] | log lines, counters, the JSON trailer |
//! | [`errors`] | one error type with stable codes |
//! | [`ffi`] | the only `unsafe` code |

#![deny(unsafe_code)]

pub mod errors;
pub mod ffi;
pub mod format;
pub mod logging;
pub mod monitoring;
pub mod pipeline;
pub mod policy;
mod python_module;
pub mod runtime;
pub mod sampling;
pub mod session;
pub mod storage;
pub mod trace_filter;

pub use monitoring::{
    CallbackOutcome, CallbackResult, CodeObjectRegistry, CodeObjectWrapper, EventSet, Tracer, flush_installed_tracer,
    install_tracer, uninstall_tracer,
};
pub use session::{flush as flush_tracing, is_tracing, start as start_tracing, stop as stop_tracing};
