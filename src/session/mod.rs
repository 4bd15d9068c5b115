//! One recording, from its set-up to its last file.

pub mod bootstrap;
