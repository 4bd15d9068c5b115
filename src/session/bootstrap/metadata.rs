//! What `trace_metadata.json` says about the program and the recorder.
//!
//! Invariants:
//! - CodeTracer needs `workdir`, `program` and `args`; they are always there.
//! - Collecting runs no code of the program: what is no `str` in `sys.argv` is named by its type, not converted.

use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use serde_json::{Map, Value, json};

use crate::trace_filter::Framework;

/// Name of the recorder in metadata.
const RECORDER: &str = "codetracer_python_recorder";

/// The program being recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramMetadata {
    /// Absolute working directory when the recording started.
    pub workdir: String,
    /// `sys.argv[0]`; of `-m MODULE` the module, which that does not say before the module has been found.
    pub program: String,
    /// The rest of `sys.argv`.
    pub args: Vec<String>,
    /// Version of the interpreter, e.g. `3.13.0`.
    pub python_version: String,
}

impl ProgramMetadata {
    /// Splits `argv`; without any (an embedded interpreter) the program is called `<unknown>`.
    pub fn from_argv(workdir: &Path, argv: impl IntoIterator<Item = String>, python_version: String) -> Self {
        let mut argv = argv.into_iter();
        Self {
            workdir: workdir.to_string_lossy().into_owned(),
            program: argv.next().unwrap_or_else(|| "<unknown>".to_owned()),
            args: argv.collect(),
            python_version,
        }
    }

    /// The running program.
    ///
    /// # Errors
    /// Only if the interpreter has no `sys` module any more.
    pub fn collect(py: Python<'_>) -> PyResult<Self> {
        let sys = py.import("sys")?;
        let list = |name| -> PyResult<Vec<String>> {
            let list = sys.getattr_opt(name)?;
            let list = list.as_ref().and_then(|list| list.cast::<PyList>().ok());
            Ok(list.into_iter().flatten().map(|item| text_of(&item)).collect())
        };
        let mut argv = list("argv")?;
        if let [program, args @ ..] = &mut argv[..]
            && program == "-m"
            && let Some(module) = module_before(args, &list("orig_argv")?)
        {
            *program = module.to_owned();
        }
        let version = py.version_info();
        let version = format!("{}.{}.{}{}", version.major, version.minor, version.patch, version.suffix.unwrap_or(""));
        // A working directory that was deleted has no name; CodeTracer wants one all the same.
        let workdir = std::env::current_dir().unwrap_or_default();
        Ok(Self::from_argv(&workdir, argv, version))
    }
}

impl ProgramMetadata {
    /// The script, if the program is one: absolute.
    pub fn script(&self) -> Option<PathBuf> {
        let named = !self.program.is_empty() && !self.program.starts_with(['-', '<']);
        named.then(|| Path::new(&self.workdir).join(&self.program))
    }

    /// The path of `<toplevel>`: always absolute and normalised, as CodeTracer wants paths.
    pub fn absolute_program(&self) -> String {
        let workdir = Path::new(&self.workdir);
        crate::runtime::tracer::paths::absolute(workdir, Path::new(&self.program)).to_string_lossy().into_owned()
    }
}

/// `sys.path` as far as it consists of absolute paths: what the legacy module names are derived from.
pub fn search_path(py: Python<'_>) -> Vec<PathBuf> {
    let read = || -> PyResult<Vec<PathBuf>> {
        let path = py.import("sys")?.getattr("path")?;
        Ok(path.try_iter()?.filter_map(|entry| entry.ok()?.extract().ok()).collect())
    };
    // Without it module names are derived from file names alone.
    read().unwrap_or_default().into_iter().filter(|path| path.is_absolute()).collect()
}

/// The `MODULE` of a `command` that ends in `-m MODULE args…`; `None` if it does not.
fn module_before<'a>(args: &[String], command: &'a [String]) -> Option<&'a str> {
    let command = command.strip_suffix(args)?;
    let command = command.strip_suffix(&["--".to_owned()]).unwrap_or(command);
    let (last, before) = command.split_last()?;
    // `-mjson.tool`, or with other options as in `-Bmjson.tool`.
    let joined = || {
        let (options, module) = last.strip_prefix('-')?.split_once('m')?;
        options.chars().all(|option| option.is_ascii_alphabetic()).then_some(module)
    };
    let separate = || before.last().is_some_and(|it| it.starts_with('-') && it.ends_with('m')).then_some(last.as_str());
    joined().or_else(separate).filter(|module| !module.is_empty())
}

fn text_of(item: &Bound<'_, PyAny>) -> String {
    match item.cast::<PyString>() {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => item.get_type().name().map_or_else(|_| "<object>".to_owned(), |name| format!("<{name}>")),
    }
}

/// `process_exit_status`: `(3, None)` of a known status, `(None, "<exit>")` of an unknown one,
/// `(None, "<disabled>")` when recording was given up.
pub fn exit_status_json(code: Option<i64>, label: Option<&str>) -> Value {
    json!({ "code": code, "label": label })
}

/// The metadata known from the start; the session adds the filters, the counters and how it ended.
/// `target_script` is the file that activates the recording, if any; `framework` what runs the program's tests.
pub fn base_metadata(
    program: &ProgramMetadata,
    target_script: Option<&Path>,
    framework: Option<Framework>,
    run_id: &str,
    exit_status: Value,
) -> Map<String, Value> {
    let target_script = target_script.map(|path| path.to_string_lossy());
    let recorder = json!({
        "name": RECORDER,
        "version": env!("CARGO_PKG_VERSION"),
        "target_script": target_script,
        "test_framework": framework.map(Framework::as_str),
    });
    let mut metadata = Map::new();
    for (key, value) in [
        ("workdir", json!(program.workdir)),
        ("program", json!(program.program)),
        ("args", json!(program.args)),
        ("process_exit_status", exit_status),
        ("recorder", recorder),
        ("run_id", json!(run_id)),
        ("python_version", json!(program.python_version)),
    ] {
        metadata.insert(key.to_owned(), value);
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_has_an_absolute_path_whatever_it_is() {
        assert_eq!(program(&["./d/../app.py"]).absolute_program(), "/w/app.py");
        assert_eq!(program(&["./d/../app.py"]).script(), Some(PathBuf::from("/w/./d/../app.py")));
        assert_eq!(program(&["-c"]).absolute_program(), "/w/-c");
        assert_eq!(program(&["-c"]).script(), None);
        assert_eq!(program(&[]).script(), None);
    }

    #[test]
    fn the_module_is_what_stands_before_the_arguments_however_it_is_written() {
        let module = |args: &[&str], command: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
            module_before(&owned(args), &owned(command)).map(str::to_owned)
        };
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(module(&["x", "-m"], &["python", "-m", "json.tool", "x", "-m"]), some("json.tool"));
        assert_eq!(module(&[], &["python", "-m", "recorder", "-o", "d", "-m", "app"]), some("app"));
        assert_eq!(module(&["x"], &["recorder", "-m", "app", "--", "x"]), some("app"));
        assert_eq!(module(&["x"], &["python", "-mapp", "x"]), some("app"));
        assert_eq!(module(&["x"], &["python", "-Bm", "app", "x"]), some("app"));
        // Called by a program with arguments of its own making.
        assert_eq!(module(&["x"], &["python", "app.py", "y"]), None);
        assert_eq!(module(&["x"], &["python", "app.py", "x"]), None);
        assert_eq!(module(&["-m"], &["-m"]), None);
        assert_eq!(module(&[], &[]), None);
    }

    fn program(argv: &[&str]) -> ProgramMetadata {
        ProgramMetadata::from_argv(Path::new("/w"), argv.iter().map(|arg| (*arg).to_owned()), "3.13.0".into())
    }

    #[test]
    fn metadata_has_the_documented_shape() {
        let metadata = base_metadata(
            &program(&["app.py", "a", "b c"]),
            Some(Path::new("/w/app.py")),
            Some(Framework::Pytest),
            "run",
            exit_status_json(Some(3), None),
        );
        assert_eq!(
            Value::Object(metadata),
            json!({
                "workdir": "/w", "program": "app.py", "args": ["a", "b c"],
                "process_exit_status": {"code": 3, "label": null},
                "recorder": {
                    "name": "codetracer_python_recorder",
                    "version": env!("CARGO_PKG_VERSION"),
                    "target_script": "/w/app.py",
                    "test_framework": "pytest"
                },
                "run_id": "run", "python_version": "3.13.0"
            })
        );
    }

    #[test]
    fn an_unknown_exit_and_a_missing_script_are_null() {
        let metadata = base_metadata(&program(&[]), None, None, "run", exit_status_json(None, Some("<exit>")));
        assert_eq!(metadata["process_exit_status"], json!({"code": null, "label": "<exit>"}));
        assert_eq!((&metadata["program"], &metadata["args"]), (&json!("<unknown>"), &json!([])));
        assert_eq!(metadata["recorder"]["target_script"], Value::Null);
        assert_eq!(metadata["recorder"]["test_framework"], Value::Null);
    }

    #[test]
    fn argv_is_read_without_running_code_of_the_program() {
        Python::initialize();
        Python::attach(|py| {
            let code = c"
import sys
class Evil(str):
    def __str__(self): raise SystemExit('ran')
    __repr__ = __len__ = __iter__ = __hash__ = __str__
class NoText:
    def __str__(self): raise SystemExit('ran')
    __repr__ = __str__
saved = sys.argv
sys.argv = ['prog', Evil('x'), NoText(), '\\udcff']
";
            let globals = pyo3::types::PyDict::new(py);
            py.run(code, Some(&globals), None).unwrap();
            let program = ProgramMetadata::collect(py).unwrap();
            py.run(c"sys.argv = saved", Some(&globals), None).unwrap();
            assert_eq!(program.program, "prog");
            assert_eq!(program.args[..2], ["x".to_owned(), "<NoText>".to_owned()]);
            assert_eq!(program.args.len(), 3);
            assert!(Path::new(&program.workdir).is_absolute());
            assert!(program.python_version.starts_with("3."));
        });
    }
}
