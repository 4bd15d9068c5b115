//! `os.fork` without a warning that is not the program's: CPython counts the threads of the process and warns when
//! there are several, and the recorder's workers are.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use pyo3::ffi::{self, PyMethodDefPointer, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

type Function = unsafe extern "C" fn(*mut PyObject, *mut PyObject) -> *mut PyObject;

struct Watch {
    fork: Function,
    /// Whether the warning would be due to the recorder alone.
    is_ours: fn() -> bool,
}

static WATCH: OnceLock<Watch> = OnceLock::new();

/// From now on `os.fork` does not warn of several threads while `is_ours` says that those are the recorder's. Call it
/// once.
///
/// # Errors
/// A text that says why it cannot be done; then nothing is changed.
pub fn silence_warning(py: Python<'_>, is_ours: fn() -> bool) -> Result<(), String> {
    let replacement = PyMethodDefPointer { PyCFunction: fork_quietly };
    // SAFETY: METH_NOARGS is the convention of `fork_quietly`, and so of the original.
    let original = unsafe {
        super::builtin::redirect(py, "os", "fork", ffi::METH_NOARGS, replacement)
            .map(|original| original.PyCFunction)?
    };
    // The GIL is held since the redirection: nobody can have called it.
    WATCH.set(Watch { fork: original, is_ours }).map_err(|_| "os.fork is watched already".to_owned())
}

unsafe extern "C" fn fork_quietly(module: *mut PyObject, nothing: *mut PyObject) -> *mut PyObject {
    // SAFETY: CPython calls this with the GIL held and valid arguments, which are passed on as they came.
    unsafe {
        let Some(watch) = WATCH.get() else {
            // Never: it is set before anybody can call.
            ffi::PyErr_SetString(ffi::PyExc_SystemError, c"os.fork is not watched".as_ptr());
            return std::ptr::null_mut();
        };
        let py = Python::assume_attached();
        // A panic has been reported by its hook; the fork goes on with its warning.
        let filter = catch_unwind(AssertUnwindSafe(|| if (watch.is_ours)() { add_filter(py).ok() } else { None }));
        let result = (watch.fork)(module, nothing);
        if let Ok(Some((filters, filter))) = filter {
            // An exception of the fork stays set meanwhile: an exact list and identity raise none.
            remove_filter(&filters, &filter);
        }
        result
    }
}

/// Ignores exactly this warning of exactly this process.
fn add_filter(py: Python<'_>) -> PyResult<(Bound<'_, PyList>, Bound<'_, PyTuple>)> {
    let modules = py.import("sys")?.getattr("modules")?;
    // As the C code that looks for filters: the list of `warnings`, if that is imported.
    let module = match modules.call_method1("get", ("warnings",))? {
        module if module.is_none() => py.import("_warnings")?.into_any(),
        module => module,
    };
    let filters = module.getattr("filters")?.cast_into_exact::<PyList>()?;
    let text = format!(
        "This process (pid={}) is multi-threaded, use of fork() may lead to deadlocks in the child.",
        std::process::id()
    );
    let category = py.get_type::<pyo3::exceptions::PyDeprecationWarning>();
    let filter = PyTuple::new(
        py,
        [
            "ignore".into_pyobject(py)?.into_any(),
            text.into_pyobject(py)?.into_any(),
            category.into_any(),
            py.None().into_bound(py),
            0u8.into_pyobject(py)?.into_any(),
        ],
    )?;
    filters.insert(0, &filter)?;
    Ok((filters, filter))
}

fn remove_filter(filters: &Bound<'_, PyList>, filter: &Bound<'_, PyTuple>) {
    if let Some(index) = filters.iter().position(|item| item.is(filter)) {
        // The index is within the list, and no code of the program has run since.
        let _ = filters.del_item(index);
    }
}
