//! Records what a Python program does, step by step, into a CodeTracer trace.
//!
//! The modules follow the data:
//!
//! | module | concern |
//! |---|---|
//! | [`session`] | from `start_tracing` to `stop_tracing` |
//! | [`policy`] | what the user permits |
//! | [`trace_filter`] | what is recorded and what is hidden |
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
pub mod logging;
pub mod pipeline;
pub mod policy;
pub mod session;
