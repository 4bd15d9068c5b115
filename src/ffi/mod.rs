//! The fence: the only module with `unsafe` code. CPython's internals, and memory shared between threads.

#![allow(unsafe_code)]

pub mod chunk;
pub mod priority;
pub mod signals;
