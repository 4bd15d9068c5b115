//! The policy as Python sees it.
//!
//! Invariants:
//! - `configure_policy` has the signature of release 0.3.0, then keyword-only sections; None leaves a key as it is.
//! - `policy_snapshot` shows the classic keys flat and every other section nested, in the shape `configure_policy` takes.

use std::path::PathBuf;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyString};

use super::keys::{KEYS, Literal};
use super::{EnvironmentRank, Layer, Origin, active, env};
use crate::logging;

/// Adds the policy's functions to the extension module.
///
/// # Errors
/// Those of adding to a module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(configure_policy, module)?)?;
    module.add_function(wrap_pyfunction!(configure_policy_from_env, module)?)?;
    module.add_function(wrap_pyfunction!(refresh_policy_from_env, module)?)?;
    module.add_function(wrap_pyfunction!(policy_origins, module)?)?;
    module.add_function(wrap_pyfunction!(render_policy, module)?)?;
    module.add_function(wrap_pyfunction!(check_policy, module)?)?;
    module.add_function(wrap_pyfunction!(policy_snapshot, module)?)
}

/// Sets what is given and leaves the rest as it is. An empty `log_level` or `log_file` clears it.
#[pyfunction]
#[pyo3(signature = (
    on_recorder_error=None, require_trace=None, keep_partial_trace=None, log_level=None, log_file=None, json_errors=None,
    io_capture_line_proxies=None, io_capture_fd_fallback=None, module_name_from_globals=None,
    propagate_script_exit=None, *, values=None, events=None, pipeline=None, durability=None,
    limits=None, processes=None, sampling=None, ring=None, triggers=None, output=None
))]
#[expect(clippy::too_many_arguments, reason = "the signature is public contract")]
fn configure_policy(
    on_recorder_error: Option<String>,
    require_trace: Option<bool>,
    keep_partial_trace: Option<bool>,
    log_level: Option<String>,
    log_file: Option<PathBuf>,
    json_errors: Option<bool>,
    io_capture_line_proxies: Option<bool>,
    io_capture_fd_fallback: Option<bool>,
    module_name_from_globals: Option<bool>,
    propagate_script_exit: Option<bool>,
    values: Option<&Bound<'_, PyDict>>,
    events: Option<&Bound<'_, PyDict>>,
    pipeline: Option<&Bound<'_, PyDict>>,
    durability: Option<&Bound<'_, PyDict>>,
    limits: Option<&Bound<'_, PyDict>>,
    processes: Option<&Bound<'_, PyDict>>,
    sampling: Option<&Bound<'_, PyDict>>,
    ring: Option<&Bound<'_, PyDict>>,
    triggers: Option<&Bound<'_, PyDict>>,
    output: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let log_file = log_file.map(|path| path.to_string_lossy().into_owned());
    let mut layer = Layer::default();
    for (key, value) in [
        ("recorder.on_recorder_error", on_recorder_error.map(Literal::Text)),
        ("recorder.require_trace", require_trace.map(Literal::Bool)),
        ("recorder.keep_partial_trace", keep_partial_trace.map(Literal::Bool)),
        ("recorder.log_level", log_level.map(Literal::Text)),
        ("recorder.log_file", log_file.map(Literal::Text)),
        ("recorder.json_errors", json_errors.map(Literal::Bool)),
        ("io_capture.line_proxies", io_capture_line_proxies.map(Literal::Bool)),
        ("io_capture.fd_fallback", io_capture_fd_fallback.map(Literal::Bool)),
        ("recorder.module_name_from_globals", module_name_from_globals.map(Literal::Bool)),
        ("recorder.propagate_script_exit", propagate_script_exit.map(Literal::Bool)),
    ] {
        if let Some(value) = value {
            layer.insert(key, value, Origin::Api).map_err(logging::raise)?;
        }
    }
    for (section, entries) in [
        ("values", values),
        ("events", events),
        ("pipeline", pipeline),
        ("durability", durability),
        ("limits", limits),
        ("processes", processes),
        ("sampling", sampling),
        ("ring", ring),
        ("triggers", triggers),
        ("output", output),
    ] {
        for (name, value) in entries.into_iter().flatten() {
            let name: String = name.extract()?;
            if let Some(value) = literal(&value)? {
                layer.insert(&format!("{section}.{name}"), value, Origin::Api).map_err(logging::raise)?;
            }
        }
    }
    super::configure(layer).map_err(logging::raise)
}

/// Reads the environment now; what it says outranks earlier calls of `configure_policy`.
#[pyfunction]
fn configure_policy_from_env() -> PyResult<()> {
    super::configure_from_env(&env::process_environment, EnvironmentRank::LatestWord).map_err(logging::raise)
}

/// Reads the environment again without overruling `configure_policy`: what starting a session does.
#[pyfunction]
fn refresh_policy_from_env() -> PyResult<()> {
    super::configure_from_env(&env::process_environment, EnvironmentRank::BelowApi).map_err(logging::raise)
}

/// The policy in force: classic keys flat, other sections as dicts. Sizes are bytes, durations text.
#[pyfunction]
fn policy_snapshot(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let policy = active();
    let snapshot = PyDict::new(py);
    for key in KEYS {
        let target = if key.section() == "recorder" {
            snapshot.clone()
        } else if let Some(section) = snapshot.get_item(key.section())? {
            section.cast_into()?
        } else {
            let section = PyDict::new(py);
            snapshot.set_item(key.section(), &section)?;
            section
        };
        match key.get(&policy) {
            Literal::Bool(value) => target.set_item(key.name(), value)?,
            Literal::Integer(value) => target.set_item(key.name(), value)?,
            Literal::Text(text) | Literal::Unusable(text) if text.is_empty() => {
                target.set_item(key.name(), py.None())?
            }
            Literal::Text(text) | Literal::Unusable(text) => target.set_item(key.name(), text)?,
        }
    }
    Ok(snapshot)
}

/// Where each value of the policy in force was said, as `{"section.key": "origin"}`.
#[pyfunction]
fn policy_origins(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let origins = PyDict::new(py);
    for effective in super::origins() {
        origins.set_item(effective.key.path, effective.origin.to_string())?;
    }
    Ok(origins)
}

/// The policy in force as the text of a policy file, every value with its origin in a comment.
#[pyfunction]
fn render_policy() -> String {
    super::report::render(&super::origins())
}

/// Raises what starting a recording with this policy file would raise.
#[pyfunction]
fn check_policy(path: PathBuf) -> PyResult<()> {
    super::report::check(&path).map(drop).map_err(logging::raise)
}

/// None for Python's None; no code of the program runs, so subclasses count as what they derive from.
fn literal(value: &Bound<'_, PyAny>) -> PyResult<Option<Literal>> {
    if value.is_none() {
        Ok(None)
    } else if let Ok(flag) = value.cast::<PyBool>() {
        Ok(Some(Literal::Bool(flag.is_true())))
    } else if value.is_instance_of::<PyInt>() {
        Ok(Some(
            value.extract::<i64>().map_or_else(|_| Literal::Unusable("an int beyond 64 bits".into()), Literal::Integer),
        ))
    } else if let Ok(text) = value.cast::<PyString>() {
        Ok(Some(Literal::Text(text.to_string_lossy().into_owned())))
    } else {
        let name = value.get_type().name()?;
        Err(PyTypeError::new_err(format!("a policy value is a bool, an int or a str, not '{name}'")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, because the policy is one per process.
    #[test]
    fn python_sets_reads_and_is_told_what_is_wrong() {
        let _alone = super::super::TEST_LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Python::initialize();
        Python::attach(|py| {
            let module = PyModule::new(py, "policy_under_test").unwrap();
            register(&module).unwrap();
            let run = |code: &str| {
                let globals = PyDict::new(py);
                globals.set_item("m", &module).unwrap();
                let code = std::ffi::CString::new(code).unwrap();
                if let Err(error) = py.run(&code, Some(&globals), None) {
                    error.display(py);
                    panic!("{error}");
                }
            };
            run(r#"
import pathlib, inspect
before = m.policy_snapshot()
assert before["on_recorder_error"] == "abort" and before["log_level"] is None and before["log_file"] is None
assert before["io_capture"] == {"line_proxies": True, "fd_fallback": False}
assert before["module_name_from_globals"] is True and before["values"]["max_depth"] == 3
assert before["durability"] == {"flush_interval": "1s", "finish_on_signals": True} and before["pipeline"]["queue_bytes"] == 32 << 20
assert list(inspect.signature(m.configure_policy).parameters)[:10] == [
    "on_recorder_error", "require_trace", "keep_partial_trace", "log_level", "log_file", "json_errors",
    "io_capture_line_proxies", "io_capture_fd_fallback", "module_name_from_globals", "propagate_script_exit"]

m.configure_policy("DISABLE", require_trace=True, values={"max_depth": 4, "max_items": None}, pipeline={"queue_bytes": "64MiB"})
now = m.policy_snapshot()
assert (now["on_recorder_error"], now["require_trace"]) == ("disable", True)
assert (now["values"]["max_depth"], now["values"]["max_items"]) == (4, before["values"]["max_items"])
assert now["pipeline"]["queue_bytes"] == 64 << 20
assert m.policy_origins()["recorder.require_trace"] == "configure_policy"
assert m.policy_origins()["recorder.json_errors"] == "built-in default"

def refused(**kw):
    try:
        m.configure_policy(**kw)
    except Exception as error:
        assert m.policy_snapshot() == now, "a refused call changes nothing"
        return error
    raise AssertionError(kw)

error = refused(on_recorder_error="zz", require_trace=False)
assert "invalid on_recorder_error value 'zz' (expected 'abort' or 'disable')" in str(error)
assert (error.code, error.kind, type(error).__name__) == ("ERR_INVALID_POLICY_VALUE", "Usage", "UsageError")
assert "did you mean 'values.max_depth'?" in str(refused(values={"max_dept": 3}))
assert isinstance(refused(values={"max_depth": 3.5}), TypeError)
assert isinstance(refused(require_trace=1), TypeError)
assert "expected an integer from 1 to 20" in str(refused(values={"max_depth": 1 << 80}))
error = refused(log_file="/nonexistent/directory/x.log")
assert (error.code, type(error).__name__) == ("ERR_IO", "EnvironmentError"), error
m.configure_policy(**{k: before[k] for k in ("on_recorder_error", "require_trace", "values", "pipeline", "events")})
assert m.policy_snapshot() == before
"#);
        });
    }
}
