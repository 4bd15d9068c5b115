//! From compact events to files, on threads that never touch Python.

pub mod encoder;
pub mod layout;
pub mod model;
pub mod stream;
pub mod tables;
