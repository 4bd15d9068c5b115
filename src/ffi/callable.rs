//! Callables that CPython calls as directly as it can.
//!
//! Invariants:
//! - A call is one through a pointer in the object: nothing is made, counted or looked up for it, as is for a function
//!   that is made of a `PyMethodDef` (a check of the C stack, of keywords, and of what such a function returns to whom).
//! - The type cannot be instantiated, changed or subclassed by the program; an object holds a pointer to code only, so there
//!   is nothing for the garbage collector to know.

use std::ffi::{CStr, c_void};
use std::mem::offset_of;
use std::ptr;

use pyo3::ffi::{self, Py_ssize_t, PyObject, vectorcallfunc};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

const NAME: &CStr = c"codetracer_python_recorder.Callback";

#[repr(C)]
struct Callable {
    base: PyObject,
    function: Option<vectorcallfunc>,
}

/// A callable that runs `function`.
///
/// # Safety
/// The function keeps to the vectorcall convention, whatever it is called with.
pub unsafe fn callable(py: Python<'_>, function: vectorcallfunc) -> PyResult<Bound<'_, PyAny>> {
    static TYPE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let ty = TYPE.get_or_try_init(py, || new_type(py))?;
    // SAFETY: a type of that struct, whose memory comes cleared; the call returns a new reference or null with an error
    // set.
    unsafe {
        let object = Bound::from_owned_ptr_or_err(py, ffi::PyType_GenericAlloc(ty.as_ptr().cast(), 0))?;
        (*object.as_ptr().cast::<Callable>()).function = Some(function);
        Ok(object)
    }
}

fn new_type(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let mut members = [
        ffi::PyMemberDef {
            name: c"__vectorcalloffset__".as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: offset_of!(Callable, function) as Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: ptr::null(),
        },
        ffi::PyMemberDef { name: ptr::null(), type_code: 0, offset: 0, flags: 0, doc: ptr::null() },
    ];
    let mut slots = [
        ffi::PyType_Slot { slot: ffi::Py_tp_members, pfunc: members.as_mut_ptr().cast() },
        ffi::PyType_Slot { slot: ffi::Py_tp_call, pfunc: ffi::PyVectorcall_Call as *mut c_void },
        ffi::PyType_Slot { slot: 0, pfunc: ptr::null_mut() },
    ];
    let flags = ffi::Py_TPFLAGS_DEFAULT
        | ffi::Py_TPFLAGS_HAVE_VECTORCALL
        | ffi::Py_TPFLAGS_IMMUTABLETYPE
        | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    let mut spec = ffi::PyType_Spec {
        name: NAME.as_ptr(),
        basicsize: size_of::<Callable>() as i32,
        itemsize: 0,
        flags: flags as u32,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: all that the specification points to lives until the call is over, which copies what it keeps; the name is
    // static. The call returns a new reference or null with an error set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec)).map(Bound::unbind) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by failing
mod tests {
    use pyo3::types::PyDict;

    use super::*;

    /// How many arguments there are.
    unsafe extern "C" fn count(
        _: *mut PyObject,
        _: *const *mut PyObject,
        flagged: usize,
        _: *mut PyObject,
    ) -> *mut PyObject {
        // SAFETY: called by CPython.
        unsafe { ffi::PyLong_FromSsize_t(ffi::PyVectorcall_NARGS(flagged)) }
    }

    #[test]
    fn it_is_called_with_its_arguments_and_the_program_can_do_nothing_else_with_it() {
        Python::initialize();
        Python::attach(|py| {
            // SAFETY: the function above keeps to the convention.
            let callable = unsafe { callable(py, count) }.unwrap();
            let scope = PyDict::new(py);
            scope.set_item("f", &callable).unwrap();
            let check = c"
import gc, sys
assert [f(), f(1), f(1, 2, 3), f(*range(50))] == [0, 1, 3, 50]
before = sys.getrefcount(type(f)), sys.getrefcount(f)
for _ in range(1000):
    f(object(), object())
assert (sys.getrefcount(type(f)), sys.getrefcount(f)) == before
assert not gc.is_tracked(f) and callable(f)
def refuses(action, error=TypeError):
    try:
        action()
    except error:
        return True
assert refuses(type(f))
assert refuses(lambda: type('Sub', (type(f),), {}))
assert refuses(lambda: setattr(type(f), 'x', 1))
assert refuses(lambda: setattr(f, 'x', 1), AttributeError)
";
            py.run(check, Some(&scope), None).unwrap();
        });
    }
}
