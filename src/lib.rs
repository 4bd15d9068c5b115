//! Records what a Python program does, step by step, into a CodeTracer trace.

#![deny(unsafe_code)]

pub mod errors;
pub mod ffi;
pub mod format;
pub mod pipeline;
pub mod storage;
