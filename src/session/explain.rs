//! Says which rule decides about a piece of code, without running it: the question people ask of filters first.
//!
//! Invariant: the chain is built as a session builds it, so the answer is what a recording would do.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use pyo3::prelude::*;

use super::bootstrap::{filters, metadata};
use crate::errors::RecorderResult;
use crate::runtime::tracer::paths::module_name_from_path;
use crate::trace_filter::{Framework, Scope, TraceFilterEngine};

/// The code that is asked about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// `None`: as its path says.
    pub module: Option<String>,
    /// Absolute; empty if the module was not found, so that only `pkg` and `obj` rules can be judged.
    pub path: String,
    /// `None`: the module's own code.
    pub qualname: Option<String>,
}

/// Explains the decision about `subject` in text of several lines.
///
/// `near` is the script (or another path) where the search for the project's filter begins; `files` are the caller's.
///
/// # Errors
/// `ERR_INVALID_POLICY_VALUE` for a filter that cannot be read or understood.
pub fn explain(
    py: Python<'_>,
    subject: Subject,
    near: &Path,
    files: &[PathBuf],
    framework: Option<Framework>,
) -> RecorderResult<String> {
    let chain = filters::chain(&filters::runtime_paths(py)?, framework, Some(near), files)?;
    let summaries = chain.summaries();
    let engine = TraceFilterEngine::new(chain);
    let Subject { module, path, qualname } = subject;
    let module = module.or_else(|| module_name_from_path(&metadata::search_path(py), Path::new(&path)));
    let qualname = qualname.unwrap_or_else(|| match &module {
        Some(module) => format!("<{module}>"),
        None => "<module>".to_owned(),
    });
    let mut text = "filters, later ones win:\n".to_owned();
    for (number, filter) in summaries.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}. {} ({})", number + 1, filter.path, filter.name);
    }
    if path.is_empty() {
        text.push_str("the module's file was not found: `file` rules are not judged\n");
    }
    let explanation = engine.explain(&Scope { module: module.as_deref(), path: &path, qualname: &qualname });
    let _ = writeln!(text, "{explanation}");
    Ok(text)
}
