//! The filter chain of a session: built-in, framework, project, environment, caller.
//!
//! Invariants:
//! - The order is the contract's: later files override earlier ones.
//! - The paths of the standard library, of site-packages and of the recorder are asked of the running interpreter.

use std::path::{Path, PathBuf};

use pyo3::prelude::*;

use crate::errors::RecorderResult;
use crate::trace_filter::{Framework, RuntimePaths, TraceFilterConfig, find_project_filter};

/// Builds the chain. `script` is where the search for the project's filter begins; `files` are the caller's (the
/// environment's first).
///
/// # Errors
/// `ERR_INVALID_POLICY_VALUE` for a filter that cannot be read or understood.
pub fn chain(
    paths: &RuntimePaths,
    framework: Option<Framework>,
    script: Option<&Path>,
    files: &[PathBuf],
) -> RecorderResult<TraceFilterConfig> {
    let mut builder = TraceFilterConfig::builder().builtin_default(paths);
    if let Some(framework) = framework {
        builder = builder.framework(framework);
    }
    if let Some(project) = script.and_then(find_project_filter) {
        builder = builder.file(project);
    }
    for file in files {
        builder = builder.file(file.clone());
    }
    builder.build()
}

/// Where the interpreter keeps code that is not the program's.
///
/// # Errors
/// `ERR_UNKNOWN` if `sysconfig` cannot be asked.
pub fn runtime_paths(py: Python<'_>) -> RecorderResult<RuntimePaths> {
    let ask = || -> PyResult<RuntimePaths> {
        let sysconfig = py.import("sysconfig")?.call_method0("get_paths")?;
        let path = |key: &str| -> Option<PathBuf> { sysconfig.get_item(key).ok()?.extract().ok() };
        let with_real = |paths: Vec<Option<PathBuf>>| -> Vec<PathBuf> {
            let mut all: Vec<PathBuf> = Vec::new();
            for path in paths.into_iter().flatten() {
                if let Ok(real) = std::fs::canonicalize(&path)
                    && real != path
                {
                    all.push(real);
                }
                all.push(path);
            }
            all.dedup();
            all
        };
        let package: Option<PathBuf> = py
            .import("codetracer_python_recorder")
            .and_then(|module| module.getattr("__file__"))
            .and_then(|file| file.extract::<PathBuf>())
            .ok()
            .and_then(|file| file.parent().map(Path::to_path_buf));
        Ok(RuntimePaths {
            stdlib: with_real(vec![path("stdlib"), path("platstdlib")]),
            site_packages: with_real(vec![path("purelib"), path("platlib")]),
            recorder: with_real(vec![package]),
        })
    };
    ask().map_err(|error| crate::bug!(Unknown, "cannot ask sysconfig for the interpreter's paths: {error}"))
}
