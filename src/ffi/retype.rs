//! Giving a stream object a subtype of its own type, and its type back.
//!
//! The object stays the same object: every reference to it, `isinstance`, attributes, pickling and copying work as
//! before; only its methods pass through [`super::stream`].
//!
//! Invariants:
//! - A subtype adds nothing to the layout, so an instance of the one is an instance of the other.
//! - Making a subtype and changing types runs no code of the program.
//! - Subtypes are made once per type and never freed: bound methods and subclasses of the program may outlive us.

use std::ffi::{c_int, c_uint};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

/// (type, our subtype), both kept alive for ever.
static SUBTYPES: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

fn subtypes() -> MutexGuard<'static, Vec<(usize, usize)>> {
    SUBTYPES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The type is written in C and closed: nothing it does with its instances is code of the program.
pub(super) fn is_native(ty: &Bound<'_, PyType>) -> bool {
    // SAFETY: a valid type object; only flags are read.
    unsafe {
        let flags = ffi::PyType_GetFlags(ty.as_type_ptr());
        flags & ffi::Py_TPFLAGS_HEAPTYPE == 0 || flags & ffi::Py_TPFLAGS_IMMUTABLETYPE != 0
    }
}

/// The type that one of our subtypes derives from; `None` for any other type.
pub(super) fn base_of(subtype: usize) -> Option<usize> {
    subtypes().iter().find(|(_, ours)| *ours == subtype).map(|(base, _)| *base)
}

/// Our subtype of `ty`, made if need be; `fill` puts the methods into a new one.
///
/// # Errors
/// The type cannot be extended without running code of the program or changing the layout.
pub(super) fn subtype<'py>(
    ty: &Bound<'py, PyType>,
    fill: impl FnOnce(&Bound<'py, PyType>) -> PyResult<()>,
) -> PyResult<Bound<'py, PyType>> {
    let py = ty.py();
    let known = subtypes().iter().find(|(base, _)| *base == ty.as_ptr() as usize).map(|(_, ours)| *ours);
    if let Some(ours) = known {
        // SAFETY: subtypes live for ever; the GIL is held.
        return Ok(unsafe { Bound::from_borrowed_ptr(py, ours as *mut ffi::PyObject).cast_into_unchecked() });
    }
    let ours = if is_native(ty) { native_subtype(ty)? } else { class_subtype(ty)? };
    if !same_layout(ty, &ours) {
        return Err(PyTypeError::new_err("a subtype has another layout"));
    }
    fill(&ours)?;
    if is_native(ty) {
        // Closed like its base: the program can add nothing to it.
        // SAFETY: GIL held, and nobody has the type yet.
        unsafe { (*ours.as_type_ptr()).tp_flags |= ffi::Py_TPFLAGS_IMMUTABLETYPE };
    }
    subtypes().push((ty.clone().into_ptr() as usize, ours.clone().into_ptr() as usize));
    Ok(ours)
}

fn native_subtype<'py>(ty: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyType>> {
    let py = ty.py();
    let mut slots = [ffi::PyType_Slot { slot: 0, pfunc: ptr::null_mut() }];
    // SAFETY: the spec and its name live through the call, which copies what it keeps; sizes of 0 are inherited.
    unsafe {
        let mut spec = ffi::PyType_Spec {
            name: (*ty.as_type_ptr()).tp_name,
            basicsize: 0 as c_int,
            itemsize: 0,
            flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE) as c_uint,
            slots: slots.as_mut_ptr(),
        };
        let bases = PyTuple::new(py, [ty])?;
        let ours = ffi::PyType_FromSpecWithBases(&raw mut spec, bases.as_ptr());
        Ok(Bound::from_owned_ptr_or_err(py, ours)?.cast_into_unchecked())
    }
}

/// A subclass as a `class` statement makes it: only where that runs no code of the program.
fn class_subtype<'py>(ty: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyType>> {
    let py = ty.py();
    let metaclass = ty.get_type();
    let abstract_base = py.import("abc")?.getattr("ABCMeta")?;
    if !metaclass.is(py.get_type::<PyType>()) && !metaclass.is(&abstract_base) {
        return Err(PyTypeError::new_err("a metaclass of the program's own"));
    }
    let hook = ty.getattr("__init_subclass__")?;
    if hook.is_instance_of::<pyo3::types::PyFunction>() || hook.hasattr("__func__")? {
        return Err(PyTypeError::new_err("a class that watches its subclasses"));
    }
    let namespace = PyDict::new(py);
    namespace.set_item("__slots__", PyTuple::empty(py))?;
    for name in ["__module__", "__qualname__", "__doc__"] {
        namespace.set_item(name, ty.getattr(name)?)?;
    }
    let ours = metaclass.call1((ty.getattr("__name__")?, (ty,), namespace))?;
    Ok(ours.cast_into::<PyType>()?)
}

fn same_layout(ty: &Bound<'_, PyType>, ours: &Bound<'_, PyType>) -> bool {
    // SAFETY: valid type objects; only fields are read.
    unsafe {
        let (ty, ours) = (&*ty.as_type_ptr(), &*ours.as_type_ptr());
        ty.tp_basicsize == ours.tp_basicsize
            && ty.tp_itemsize == ours.tp_itemsize
            && ty.tp_dictoffset == ours.tp_dictoffset
            && ty.tp_weaklistoffset == ours.tp_weaklistoffset
    }
}

/// Makes `object`, whose type is `from`, an instance of `to`. One of them is our subtype of the other.
///
/// # Errors
/// The interpreter refuses; then nothing has changed.
pub(super) fn set_type(object: &Bound<'_, PyAny>, from: &Bound<'_, PyType>, to: &Bound<'_, PyType>) -> PyResult<()> {
    let py = object.py();
    if !is_native(from) && !is_native(to) {
        // The interpreter's own assignment: it knows what else depends on the class of an instance.
        let assign = py.get_type::<PyAny>().getattr("__dict__")?.get_item("__class__")?;
        return assign.call_method1("__set__", (object, to)).map(drop);
    }
    // SAFETY: GIL held. The layouts agree (`subtype`), neither type has a managed dict of instance attributes that
    // would depend on the class (both derive from a closed C type), and an instance of a heap type owns a reference
    // to its type.
    unsafe {
        ffi::Py_INCREF(to.as_ptr());
        (*object.as_ptr()).ob_type = to.as_type_ptr();
        if ffi::PyType_GetFlags(from.as_type_ptr()) & ffi::Py_TPFLAGS_HEAPTYPE != 0 {
            ffi::Py_DECREF(from.as_ptr());
        }
        if ffi::PyType_GetFlags(to.as_type_ptr()) & ffi::Py_TPFLAGS_HEAPTYPE == 0 {
            ffi::Py_DECREF(to.as_ptr());
        }
    }
    Ok(())
}
