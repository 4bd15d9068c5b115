//! The stack of Python frames: which one runs, and running code without the recorder's own frames below it.
//!
//! Invariants:
//! - Stacks that exist at a time have different identities. Nothing is asked of the program, or of greenlet, to tell them
//!   apart.
//! - The stack is cut only where the layout is trusted; else the code runs on top of its callers, which only shows in
//!   the depth of the stack.
//! - The callers' frames stay alive on the C stack and are joined again however the code ends.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCode, PyDict, PyTuple};

use super::layout;

/// What tells the running stack from the others of the calling thread: greenlets have a stack each. 0 where that is not
/// known. A stack that comes after another has ended may have its identity. Call it with the GIL held.
#[inline]
pub fn identity() -> usize {
    // SAFETY: GIL held (caller).
    if layout::trusted() { unsafe { layout::stack_root() } } else { 0 }
}

/// Runs `code` in `namespace` as a thread's first frame would.
pub fn run_without_callers<'py>(
    py: Python<'py>,
    code: &Bound<'py, PyCode>,
    namespace: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: GIL held (`py`); `PyEval_EvalCode` gives a new reference or null with an exception.
    without_callers(|| unsafe {
        let result = ffi::PyEval_EvalCode(code.as_ptr(), namespace.as_ptr(), namespace.as_ptr());
        Bound::from_owned_ptr_or_err(py, result)
    })
}

/// Calls `function` as the interpreter itself does, with nobody's frame below.
pub fn call_without_callers<'py>(
    function: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    without_callers(|| function.call1(arguments))
}

/// The GIL is held by whoever has the `Bound`s that `body` works on.
fn without_callers<'py>(body: impl FnOnce() -> PyResult<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    /// Joins the callers again, also when `body` panics.
    struct Joint(Option<layout::Joint>);

    impl Drop for Joint {
        fn drop(&mut self) {
            if let Some(joint) = self.0.take() {
                // SAFETY: on the thread that cut its stack, which holds the GIL again.
                unsafe { layout::rejoin(joint) }
            }
        }
    }

    // SAFETY: GIL held. Until `rejoin` only `body` runs, which returns to this C frame and not to the frames that were
    // cut off.
    let _joint = Joint(layout::trusted().then(|| unsafe { layout::cut() }));
    body()
}
