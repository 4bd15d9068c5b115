//! The filters that come with the recorder: TOML like everybody's, compiled in.

use std::path::Path;

use super::loader::{parse, sha256};
use super::model::{FilterFile, FilterOrigin, ProjectRoot};
use super::words::SECRETS_TEXT;
use crate::errors::RecorderResult;

/// A test framework whose own code is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framework {
    /// `builtin-pytest`.
    Pytest,
    /// `builtin-unittest`.
    Unittest,
}

impl Framework {
    /// Its name, as users and metadata say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pytest => "pytest",
            Self::Unittest => "unittest",
        }
    }
}

/// The first filter of every chain.
pub(super) fn default_filter() -> RecorderResult<FilterFile> {
    let mut filter = load("builtin-default", include_str!("builtin_default.toml"))?;
    // The words are as much a part of what it does as the rules.
    filter.sha256 = sha256(&[include_str!("builtin_default.toml"), SECRETS_TEXT]);
    Ok(filter)
}

/// What is added when a test framework runs the program.
pub(super) fn framework_filter(framework: Framework) -> RecorderResult<FilterFile> {
    match framework {
        Framework::Pytest => load("builtin-pytest", include_str!("builtin_pytest.toml")),
        Framework::Unittest => load("builtin-unittest", include_str!("builtin_unittest.toml")),
    }
}

fn load(name: &str, text: &str) -> RecorderResult<FilterFile> {
    let root = ProjectRoot { path: Path::new("/").to_path_buf(), canonical: None };
    parse(text, &format!("<inline:{name}>"), FilterOrigin::Builtin, root)
}
