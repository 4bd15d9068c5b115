//! What a session needs before it can record: a directory (`filesystem`), facts about the program (`metadata`), the
//! filter chain (`filters`).

pub mod filesystem;
pub mod filters;
pub mod metadata;
