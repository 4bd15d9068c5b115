//! The pipeline as a whole, from producers to files, held against the official reader.

mod faults;
mod parts;
mod pool;
mod recording;
pub(crate) mod support;
mod turns;
