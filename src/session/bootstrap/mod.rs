//! What a recording needs before its first event: a directory, a format, and facts about the program.

pub mod filesystem;
pub mod metadata;
