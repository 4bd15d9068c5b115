//! The extension module: thin functions over [`crate::session`], [`crate::policy`] and [`crate::format`].
//!
//! Invariants: arguments are checked here, work is done elsewhere; every error leaves as a class of
//! [`crate::errors::python`].

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::logging;
use crate::session::{self, StartOptions, bootstrap::filesystem, explain::Subject};
use crate::trace_filter::Framework;

fn framework(name: Option<&str>) -> PyResult<Option<Framework>> {
    match name {
        None => Ok(None),
        Some("pytest") => Ok(Some(Framework::Pytest)),
        Some("unittest") => Ok(Some(Framework::Unittest)),
        Some(other) => {
            Err(crate::usage!(Unknown, "unknown test framework '{other}' (expected 'pytest' or 'unittest')").into())
        }
    }
}

/// Starts recording into `path` (a directory, created if need be).
#[pyfunction]
#[pyo3(signature = (path, format, activation_path=None, trace_filter=None, test_framework=None))]
fn start_tracing(
    py: Python<'_>,
    path: PathBuf,
    format: &str,
    activation_path: Option<PathBuf>,
    trace_filter: Option<Vec<PathBuf>>,
    test_framework: Option<&str>,
) -> PyResult<()> {
    let framework = framework(test_framework)?;
    let options = StartOptions {
        path,
        format: filesystem::parse_format(format)?,
        activation_path,
        filters: trace_filter.unwrap_or_default(),
        framework,
        origin: None,
    };
    session::start(py, options).map_err(logging::raise)
}

/// The next session is started by the command line or the environment, not by the program: its children are recorded
/// unless the policy says otherwise.
#[pyfunction]
fn announce_outside_session() {
    session::processes::next_session_is_from_outside();
}

/// Where a process records that the environment tells to record into `path`: there, or below it if another process of
/// the tree is there already. `settle_directory` follows, whatever comes of it.
#[pyfunction]
fn claim_directory(py: Python<'_>, path: PathBuf) -> std::ffi::OsString {
    py.detach(|| session::claim::claim(&path)).into_os_string()
}

/// Lets other processes into a claimed directory.
#[pyfunction]
fn settle_directory(py: Python<'_>) {
    py.detach(session::claim::settle);
}

/// The filter of the project that a file is in, if there is one: `start_tracing` looks for that of the script.
#[pyfunction]
fn find_project_filter(path: PathBuf) -> Option<std::ffi::OsString> {
    crate::trace_filter::find_project_filter(&path).map(PathBuf::into_os_string)
}

/// Ends the recording and finishes its files.
#[pyfunction]
#[pyo3(signature = (exit_code=None))]
fn stop_tracing(py: Python<'_>, exit_code: Option<Bound<'_, PyAny>>) -> PyResult<()> {
    session::stop(py, exit_code.and_then(|code| code.extract().ok())).map_err(logging::raise)
}

/// Switches recording off until `resume_tracing`: the part that is being written is completed, and the program runs at
/// its own speed. False if there is nothing to pause.
#[pyfunction]
fn pause_tracing(py: Python<'_>) -> PyResult<bool> {
    session::control::pause(py).map_err(logging::raise)
}

/// Goes on recording, in a further part. False if nothing was paused.
#[pyfunction]
fn resume_tracing(py: Python<'_>) -> PyResult<bool> {
    session::control::resume(py).map_err(logging::raise)
}

/// What the recording has done so far, as a dict; None without one.
#[pyfunction]
fn tracing_stats(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    session::control::stats(py).map(|stats| json_to_python(py, &stats)).transpose()
}

/// JSON as the `json` module would load it, which the program may not have imported.
fn json_to_python<'py>(py: Python<'py>, json: &serde_json::Value) -> PyResult<Bound<'py, PyAny>> {
    use serde_json::Value;
    Ok(match json {
        Value::Null => py.None().into_bound(py),
        Value::Bool(flag) => flag.into_pyobject(py)?.to_owned().into_any(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into_pyobject(py)?.into_any(),
            (_, Some(number)) => number.into_pyobject(py)?.into_any(),
            _ => number.as_f64().into_pyobject(py)?,
        },
        Value::String(text) => text.into_pyobject(py)?.into_any(),
        Value::Array(items) => {
            let items = items.iter().map(|item| json_to_python(py, item)).collect::<PyResult<Vec<_>>>()?;
            items.into_pyobject(py)?
        }
        Value::Object(entries) => {
            let dict = pyo3::types::PyDict::new(py);
            for (key, value) in entries {
                dict.set_item(key, json_to_python(py, value)?)?;
            }
            dict.into_any()
        }
    })
}

/// Decides whether the request that the calling function handles is sampled; its number if it is.
#[pyfunction]
fn begin_request_sample(py: Python<'_>, label: &str) -> Option<u64> {
    session::control::begin_request(py, label)
}

/// The sampled request goes on below the calling function, or (not `here`) nowhere for now.
#[pyfunction]
fn move_request_sample(py: Python<'_>, number: u64, here: bool) {
    session::control::move_request(py, number, here);
}

/// The sampled request is over.
#[pyfunction]
fn end_request_sample(py: Python<'_>, number: u64) {
    session::control::end_request(py, number);
}

/// Makes everything recorded so far durable.
#[pyfunction]
fn flush_tracing(py: Python<'_>) -> PyResult<()> {
    session::flush(py).map_err(logging::raise)
}

/// Writes what the flight recorder holds as a trace of its own and returns its directory.
#[pyfunction]
fn dump_recording(py: Python<'_>, reason: String) -> PyResult<std::ffi::OsString> {
    session::flight::dump(py, reason).map(PathBuf::into_os_string).map_err(logging::raise)
}

/// Tells the triggers that a request has ended, after so many seconds and with this status.
#[pyfunction]
fn request_finished(label: &str, seconds: f64, status: u16) {
    let took = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    session::flight::request_finished(label, took, status);
}

/// Whether a recording is running.
#[pyfunction]
fn is_tracing() -> bool {
    session::is_tracing()
}

/// Directory of this process's recording, if one is running, and the number of the part that what happens now is in;
/// none while nothing is recorded, and where only marked samples are: which part has them is known later.
#[pyfunction]
fn recording_location() -> Option<(std::ffi::OsString, Option<u32>)> {
    session::location().map(|(directory, part)| (directory.into_os_string(), part))
}

/// Whether the built-in filter takes a value of this name for a secret.
#[pyfunction]
fn is_secret_name(name: &str) -> bool {
    crate::trace_filter::is_secret_name(name)
}

/// Explains which rule of which filter decides about a module, file or function.
#[pyfunction]
#[pyo3(signature = (module, path, qualname, near, trace_filter, test_framework=None))]
fn explain_filter(
    py: Python<'_>,
    module: Option<String>,
    path: String,
    qualname: Option<String>,
    near: PathBuf,
    trace_filter: Vec<PathBuf>,
    test_framework: Option<&str>,
) -> PyResult<String> {
    let subject = Subject { module, path, qualname };
    Ok(session::explain::explain(py, subject, &near, &trace_filter, framework(test_framework)?)?)
}

/// Runs a code object in a namespace as if nobody had called it: `sys._getframe().f_back` is None, and the whole
/// recursion limit is there. For the command line, whose own frames are none of the program's business.
#[pyfunction]
fn run_detached<'py>(
    py: Python<'py>,
    code: Bound<'py, pyo3::types::PyCode>,
    namespace: Bound<'py, pyo3::types::PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    // The start-up check decides whether the layout that this needs may be touched.
    crate::ffi::probe::decide_frame_access(py);
    crate::ffi::stack::run_without_callers(py, &code, &namespace)
}

/// Calls a function as if nobody had called it, see `run_detached`.
#[pyfunction]
fn call_detached<'py>(
    py: Python<'py>,
    function: Bound<'py, PyAny>,
    arguments: Bound<'py, pyo3::types::PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    crate::ffi::probe::decide_frame_access(py);
    crate::ffi::stack::call_without_callers(&function, &arguments)
}

/// Names of the cargo features of this build.
const FEATURES: &[&str] = &[
    #[cfg(feature = "integration-test")]
    "integration-test",
];

/// The extension module `codetracer_python_recorder.codetracer_python_recorder`.
#[pymodule]
fn codetracer_python_recorder(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::errors::python::register(module)?;
    crate::policy::ffi::register(module)?;
    crate::format::ffi::register(module)?;
    module.add_function(wrap_pyfunction!(start_tracing, module)?)?;
    module.add_function(wrap_pyfunction!(announce_outside_session, module)?)?;
    module.add_function(wrap_pyfunction!(claim_directory, module)?)?;
    module.add_function(wrap_pyfunction!(settle_directory, module)?)?;
    module.add_function(wrap_pyfunction!(stop_tracing, module)?)?;
    module.add_function(wrap_pyfunction!(flush_tracing, module)?)?;
    module.add_function(wrap_pyfunction!(pause_tracing, module)?)?;
    module.add_function(wrap_pyfunction!(resume_tracing, module)?)?;
    module.add_function(wrap_pyfunction!(tracing_stats, module)?)?;
    module.add_function(wrap_pyfunction!(begin_request_sample, module)?)?;
    module.add_function(wrap_pyfunction!(move_request_sample, module)?)?;
    module.add_function(wrap_pyfunction!(end_request_sample, module)?)?;
    module.add_function(wrap_pyfunction!(is_tracing, module)?)?;
    module.add_function(wrap_pyfunction!(dump_recording, module)?)?;
    module.add_function(wrap_pyfunction!(request_finished, module)?)?;
    module.add_function(wrap_pyfunction!(recording_location, module)?)?;
    module.add_function(wrap_pyfunction!(is_secret_name, module)?)?;
    module.add_function(wrap_pyfunction!(explain_filter, module)?)?;
    module.add_function(wrap_pyfunction!(find_project_filter, module)?)?;
    module.add_function(wrap_pyfunction!(run_detached, module)?)?;
    module.add_function(wrap_pyfunction!(call_detached, module)?)?;
    module.add("VERSION", env!("CARGO_PKG_VERSION"))?;
    module.add("FEATURES", pyo3::types::PyTuple::new(module.py(), FEATURES)?)?;
    Ok(())
}
