//! The policy as Python sees it: `configure_policy`, `configure_policy_from_env`, `policy_snapshot`.
//!
//! Invariants: argument names and snapshot keys are the public contract; values are judged by [`super::keys`].

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};

use super::keys::{KEYS, Key, Literal};
use super::layer::{Layer, Origin};
use super::{configure, configure_from_env, env, resolved};
use crate::errors::RecorderResult;
use crate::logging;

/// Sets policy values; an argument that is None leaves its key alone, an empty text clears it.
#[pyfunction]
#[pyo3(signature = (
    on_recorder_error=None, require_trace=None, keep_partial_trace=None, log_level=None, log_file=None,
    json_errors=None, io_capture_line_proxies=None, io_capture_fd_fallback=None, module_name_from_globals=None,
    propagate_script_exit=None, **more
))]
#[allow(clippy::too_many_arguments)] // the signature is the public contract
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
    more: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let file = log_file.map(|path| path.to_string_lossy().into_owned());
    let flag = |value: Option<bool>| value.map(Literal::Bool);
    let text = |value: Option<String>| value.map(Literal::Text);
    let mut said: Vec<(String, Literal)> = Vec::new();
    for (key, value) in [
        ("recorder.on_recorder_error", text(on_recorder_error)),
        ("recorder.require_trace", flag(require_trace)),
        ("recorder.keep_partial_trace", flag(keep_partial_trace)),
        ("recorder.log_level", text(log_level)),
        ("recorder.log_file", text(file)),
        ("recorder.json_errors", flag(json_errors)),
        ("io_capture.line_proxies", flag(io_capture_line_proxies)),
        ("io_capture.fd_fallback", flag(io_capture_fd_fallback)),
        ("recorder.module_name_from_globals", flag(module_name_from_globals)),
        ("recorder.propagate_script_exit", flag(propagate_script_exit)),
    ] {
        if let Some(value) = value {
            said.push((key.to_owned(), value));
        }
    }
    if let Some(more) = more {
        for (name, value) in more.iter() {
            if !value.is_none() {
                said.push((spelled_out(&name.extract::<String>()?), literal(&value)));
            }
        }
    }
    Ok(apply(said).inspect_err(logging::log_error)?)
}

fn apply(said: Vec<(String, Literal)>) -> RecorderResult<()> {
    let mut layer = Layer::default();
    for (key, value) in said {
        layer.insert(&key, value, Origin::Api)?;
    }
    configure(layer)?;
    logging::init_logging(&super::active())
}

/// `values_max_depth` is how a keyword argument spells `values.max_depth`.
fn spelled_out(name: &str) -> String {
    KEYS.iter()
        .map(|key| key.path)
        .find(|path| path.replacen('.', "_", 1) == name)
        .map_or_else(|| name.to_owned(), str::to_owned)
}

fn literal(value: &Bound<'_, PyAny>) -> Literal {
    if let Ok(flag) = value.cast::<PyBool>() {
        return Literal::Bool(flag.is_true());
    }
    if let Ok(number) = value.extract::<i64>() {
        return Literal::Integer(number);
    }
    match value.extract::<String>() {
        Ok(text) => Literal::Text(text),
        Err(_) => Literal::Unusable(value.to_string()),
    }
}

/// Reads `CODETRACER_POLICY` and the single variables.
#[pyfunction]
fn configure_policy_from_env() -> PyResult<()> {
    configure_from_env(&env::process_environment).inspect_err(logging::log_error)?;
    Ok(logging::init_logging(&super::active())?)
}

/// The policy in force: the classic keys flat, the sections as dicts.
#[pyfunction]
fn policy_snapshot(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let policy = resolved().policy;
    let snapshot = PyDict::new(py);
    for key in KEYS {
        let value = shown(py, key, &key.get(&policy))?;
        if key.section() == "recorder" {
            snapshot.set_item(key.name(), value)?;
            continue;
        }
        let section = match snapshot.get_item(key.section())? {
            Some(section) => section.cast_into::<PyDict>()?,
            None => {
                let section = PyDict::new(py);
                snapshot.set_item(key.section(), &section)?;
                section
            }
        };
        section.set_item(key.name(), value)?;
    }
    Ok(snapshot)
}

/// Where each value of the policy in force comes from, by `section.key`.
#[pyfunction]
fn policy_origins(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let resolved = resolved();
    let origins = PyDict::new(py);
    for key in KEYS {
        origins.set_item(key.path, resolved.origin(key).to_string())?;
    }
    Ok(origins)
}

fn shown<'py>(py: Python<'py>, key: &Key, value: &Literal) -> PyResult<Bound<'py, PyAny>> {
    let clearable = matches!(key.path, "recorder.log_level" | "recorder.log_file");
    Ok(match value {
        Literal::Bool(flag) => PyBool::new(py, *flag).to_owned().into_any(),
        Literal::Integer(number) => number.into_pyobject(py)?.into_any(),
        Literal::Text(text) | Literal::Unusable(text) if clearable && text.is_empty() => py.None().into_bound(py),
        Literal::Text(text) | Literal::Unusable(text) => text.into_pyobject(py)?.into_any(),
    })
}

/// Adds the functions to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(configure_policy, module)?)?;
    module.add_function(wrap_pyfunction!(configure_policy_from_env, module)?)?;
    module.add_function(wrap_pyfunction!(policy_snapshot, module)?)?;
    module.add_function(wrap_pyfunction!(policy_origins, module)?)?;
    Ok(())
}
