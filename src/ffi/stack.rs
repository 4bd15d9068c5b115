//! Running a program's code without the recorder's own frames below it.
//!
//! Invariants:
//! - The stack is cut only where the layout is trusted; else the code runs on top of its callers, which only shows in
//!   the depth of the stack.
//! - The callers' frames stay alive on the C stack and are joined again however the code ends.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCode, PyDict};

use super::layout;

/// Runs `code` in `namespace` as a thread's first frame would.
pub fn run_without_callers<'py>(
    py: Python<'py>,
    code: &Bound<'py, PyCode>,
    namespace: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: GIL held (`py`). Between `cut` and `rejoin` only the evaluated code runs, which returns to this C frame
    // and not to the frames that were cut off; `PyEval_EvalCode` gives a new reference or null with an exception.
    unsafe {
        let joint = layout::trusted().then(|| layout::cut());
        let result = ffi::PyEval_EvalCode(code.as_ptr(), namespace.as_ptr(), namespace.as_ptr());
        if let Some(joint) = joint {
            layout::rejoin(joint);
        }
        Bound::from_owned_ptr_or_err(py, result)
    }
}
