//! Reading traces back: for people ([`inspect`]), against the consumer's rules ([`verify`]), after a kill ([`recover`]),
//! and into the other container ([`convert`]).
//!
//! Invariants:
//! - Reading never changes a file; only [`recover::recover`] does, and only to make it whole.
//! - Whatever is in a file, nothing here panics: a damaged trace is read up to the damage, and the damage told.
//! - Memory is bounded by one event and the definitions, except for the old packed format, which is read whole.
//! - A directory is read with the traces of its threads wherever that makes sense.

pub mod convert;
pub mod definitions;
pub mod ffi;
pub mod frames;
pub mod inspect;
pub mod read;
mod rebuild;
pub mod recover;
pub mod render;
pub mod thread_index;
pub mod verify;

#[cfg(test)]
mod damage;
#[cfg(test)]
mod tests;
