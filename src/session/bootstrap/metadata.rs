//! Facts about the program, for `trace_metadata.json`.
//!
//! Invariants: keys are the public contract; extra keys are ours to add.

use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use serde_json::{Map, Value, json};

use crate::errors::RecorderResult;
use crate::logging;

/// The program as it was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramMetadata {
    pub workdir: PathBuf,
    /// `sys.argv[0]`.
    pub program: String,
    /// `sys.argv[1:]`.
    pub args: Vec<String>,
    pub python_version: String,
}

/// Reads `sys.argv` and the working directory.
///
/// # Errors
/// `ERR_UNKNOWN` if `sys` cannot be read.
pub fn program_metadata(py: Python<'_>) -> RecorderResult<ProgramMetadata> {
    let read = || -> PyResult<ProgramMetadata> {
        let sys = py.import("sys")?;
        // Embedded interpreters may have no argv at all; programs may put anything into it.
        let mut argv: Vec<String> = Vec::new();
        if let Ok(list) = sys.getattr("argv") {
            for item in list.try_iter()? {
                argv.push(item?.extract().unwrap_or_default());
            }
        }
        let mut argv = argv.into_iter();
        let version = py.version_info();
        Ok(ProgramMetadata {
            workdir: std::env::current_dir().unwrap_or_default(),
            program: argv.next().unwrap_or_default(),
            args: argv.collect(),
            python_version: format!("{}.{}.{}", version.major, version.minor, version.patch),
        })
    };
    read().map_err(|error| crate::bug!(Unknown, "cannot read sys.argv: {error}"))
}

/// `sys.path` as far as it consists of paths.
pub fn search_path(py: Python<'_>) -> Vec<PathBuf> {
    let read = || -> PyResult<Vec<PathBuf>> {
        let path = py.import("sys")?.getattr("path")?;
        Ok(path.try_iter()?.filter_map(|entry| entry.ok()?.extract().ok()).collect())
    };
    // Without it module names are derived from file names alone.
    read().unwrap_or_default().into_iter().filter(|path| path.is_absolute()).collect()
}

impl ProgramMetadata {
    /// The script, if the program is one.
    pub fn script(&self) -> Option<PathBuf> {
        let named = !self.program.is_empty() && !self.program.starts_with('-');
        named.then(|| self.workdir.join(&self.program))
    }

    /// The path of `<toplevel>`: absolute for a script, as it is for `-c` and the like.
    pub fn absolute_program(&self, cwd: &Path) -> String {
        match self.script() {
            Some(script) => crate::runtime::tracer::filtering::absolute(cwd, &script).to_string_lossy().into_owned(),
            None if self.program.is_empty() => "<unknown>".to_owned(),
            None => self.program.clone(),
        }
    }
}

/// The metadata known at the start; exit status and statistics follow at the end.
pub fn base_metadata(program: &ProgramMetadata, activation_path: Option<&Path>) -> Map<String, Value> {
    let target = activation_path.map(|path| program.workdir.join(path)).or_else(|| program.script());
    let Value::Object(metadata) = json!({
        "workdir": program.workdir,
        "program": program.program,
        "args": program.args,
        "process_exit_status": exit_status_json(None, Some("<exit>")),
        "recorder": {
            "name": "codetracer_python_recorder",
            "version": env!("CARGO_PKG_VERSION"),
            "target_script": target,
        },
        "python_version": program.python_version,
        "pid": std::process::id(),
        "run_id": logging::run_id(),
    }) else {
        return Map::new();
    };
    metadata
}

/// `process_exit_status`.
pub fn exit_status_json(code: Option<i64>, label: Option<&str>) -> Value {
    json!({"code": code, "label": label})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str) -> ProgramMetadata {
        ProgramMetadata {
            workdir: PathBuf::from("/w"),
            program: name.to_owned(),
            args: vec!["x".to_owned()],
            python_version: "3.12.1".to_owned(),
        }
    }

    #[test]
    fn base_metadata_has_the_contracts_keys() {
        let metadata = base_metadata(&program("app.py"), None);
        for key in ["workdir", "program", "args", "process_exit_status", "recorder"] {
            assert!(metadata.contains_key(key), "{key}");
        }
        assert_eq!(metadata["recorder"]["target_script"], "/w/app.py");
        assert_eq!(metadata["process_exit_status"], json!({"code": null, "label": "<exit>"}));
    }

    #[test]
    fn a_script_is_absolute_and_other_programs_keep_their_name() {
        assert_eq!(program("./d/../app.py").absolute_program(Path::new("/w")), "/w/app.py");
        assert_eq!(program("-c").absolute_program(Path::new("/w")), "-c");
        assert_eq!(program("").absolute_program(Path::new("/w")), "<unknown>");
    }
}
