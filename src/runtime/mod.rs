//! Everything that happens on the interpreter thread: deciding about code objects, mirroring the call stack,
//! snapshotting values.
//!
//! Invariants: see `architecture.md`, "Rules of the hot path". Nothing here waits with the GIL, takes a lock a worker
//! can hold, or runs code of the program.

pub mod activation;
pub mod bytecode;
pub mod code_entry;
pub mod entries;
pub mod inject;
pub mod io_capture;
pub mod joins;
pub mod namespace;
pub mod overhead;
pub mod slots;
pub mod stores;
pub mod thread;
pub mod tracer;
pub mod triggers;
pub mod value;
