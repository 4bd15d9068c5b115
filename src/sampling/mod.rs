//! Sampling: deciding when, and what, to record. Nothing here touches Python or the clock; [`crate::session`] carries
//! the decisions out.
//!
//! Invariants:
//! - Every decision comes from a seeded generator: the seed is in the metadata, the same seed decides the same.
//! - What was decided, and how likely that was, is kept for the metadata of each sample.

pub mod budget;
pub mod generator;
pub mod log;
pub mod windows;
