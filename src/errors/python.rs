//! The public exception classes and the conversion of a [`RecorderError`] into one of them.
//!
//! Invariants:
//! - `UsageError`, `EnvironmentError`, `TargetError` and `InternalError` derive from `RecorderError`.
//! - An instance carries `code`, `kind` and `context` as attributes.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{ErrorKind, RecorderError as Error};

pyo3::create_exception!(
    codetracer_python_recorder,
    RecorderError,
    PyException,
    "Base of every error the recorder raises; has `code`, `kind` and `context`."
);
pyo3::create_exception!(
    codetracer_python_recorder,
    UsageError,
    RecorderError,
    "The caller asked for something impossible."
);
pyo3::create_exception!(
    codetracer_python_recorder,
    EnvironmentError,
    RecorderError,
    "The machine refused: file system, permissions, limits."
);
pyo3::create_exception!(codetracer_python_recorder, TargetError, RecorderError, "The traced program got in the way.");
pyo3::create_exception!(codetracer_python_recorder, InternalError, RecorderError, "A bug of the recorder.");

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let text = format!("[{}] {error}", error.code);
        let raised = match error.kind {
            ErrorKind::Usage => UsageError::new_err(text),
            ErrorKind::Environment => EnvironmentError::new_err(text),
            ErrorKind::Target => TargetError::new_err(text),
            ErrorKind::Internal => InternalError::new_err(text),
        };
        Python::attach(|py| {
            let value = raised.value(py);
            let context = PyDict::new(py);
            // Setting attributes of a fresh exception of ours can only fail for lack of memory;
            // the exception itself still says everything in its text.
            for (key, item) in &error.context {
                let _ = context.set_item(key, item);
            }
            let _ = value.setattr("code", error.code.as_str());
            let _ = value.setattr("kind", error.kind.as_str());
            let _ = value.setattr("context", context);
        });
        raised
    }
}

/// Adds the exception classes to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("RecorderError", py.get_type::<RecorderError>())?;
    module.add("UsageError", py.get_type::<UsageError>())?;
    module.add("EnvironmentError", py.get_type::<EnvironmentError>())?;
    module.add("TargetError", py.get_type::<TargetError>())?;
    module.add("InternalError", py.get_type::<InternalError>())?;
    Ok(())
}
