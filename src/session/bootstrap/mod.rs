//! What a session needs before it can record: a directory (`filesystem`), facts about the program (`metadata`), the
//! filter chain (`filters`), and which streams to watch (`io`).

pub mod filesystem;
pub mod filters;
pub mod io;
pub mod metadata;
