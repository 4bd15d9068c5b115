//! The recorder's own sources of the buffer and the stream, over loom's atomics and cells.

pub mod ffi;
pub mod pipeline;
