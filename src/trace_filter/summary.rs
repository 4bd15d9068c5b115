//! What metadata says about the filters of a recording.

use serde::Serialize;

use super::model::FilterFile;

/// One filter of the chain: enough to tell later which rules a recording was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FilterSummary {
    /// Absolute path, or `<inline:NAME>` for the built-in ones.
    pub path: String,
    /// `meta.name`.
    pub name: String,
    /// `meta.version`.
    pub version: u32,
    /// SHA-256 of the content, lower-case hex.
    pub sha256: String,
}

impl From<&FilterFile> for FilterSummary {
    fn from(file: &FilterFile) -> Self {
        Self {
            path: file.label.clone(),
            name: file.meta.name.clone(),
            version: file.meta.version,
            sha256: file.sha256.clone(),
        }
    }
}
