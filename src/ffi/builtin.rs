//! Builtin functions of the interpreter that run something of ours around what they do.
//!
//! The function object stays what it is, whoever has a reference to it; its method definition is replaced by a copy
//! with another C function.

use pyo3::ffi::{self, PyMethodDefPointer};
use pyo3::prelude::*;

/// Makes `MODULE.NAME` call `replacement` from now on, and returns what it called before.
///
/// # Errors
/// A text that says why it cannot be done; then nothing is changed.
///
/// # Safety
/// `replacement` follows the convention that `flags` stand for.
pub(super) unsafe fn redirect(
    py: Python<'_>,
    module: &str,
    name: &str,
    flags: std::ffi::c_int,
    replacement: PyMethodDefPointer,
) -> Result<PyMethodDefPointer, String> {
    let found = py.import(module).and_then(|module| module.getattr(name)).map_err(|error| error.to_string())?;
    let object = found.as_ptr();
    // SAFETY: the GIL is held and `found` keeps the object alive. It is used as a builtin function only after the check
    // that it is exactly one. The new definition is a copy that lives forever, of the same convention.
    unsafe {
        if ffi::PyCFunction_CheckExact(object) == 0 {
            return Err(format!("{module}.{name} is not the builtin function"));
        }
        let function = object.cast::<ffi::PyCFunctionObject>();
        let definition = (*function).m_ml;
        if (*definition).ml_flags != flags {
            return Err(format!("{module}.{name} has flags {:#x}", (*definition).ml_flags));
        }
        let original = (*definition).ml_meth;
        (*function).m_ml = Box::leak(Box::new(ffi::PyMethodDef {
            ml_name: (*definition).ml_name,
            ml_meth: replacement,
            ml_flags: flags,
            ml_doc: (*definition).ml_doc,
        }));
        Ok(original)
    }
}
