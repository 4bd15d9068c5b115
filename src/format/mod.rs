//! Reading traces back: `read` (all formats), `inspect` (for people), `verify` (against the consumer's rules), `recover`
//! (a file whose recorder was killed).
//!
//! Invariants:
//! - Reading never changes a file; only [`recover::recover`] does, and only to make it whole.
//! - Formats are read by `runtime_tracing`'s own readers; our decoder only steps in where they refuse a damaged file.
//! - Whatever is in a file, nothing here panics.

pub mod ffi;
pub mod inspect;
pub mod read;
pub mod recover;
pub mod render;
pub mod verify;
