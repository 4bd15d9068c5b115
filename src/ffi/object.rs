//! Looking at Python objects without running Python code and without keeping them.
//!
//! Invariants:
//! - An [`Obj`] is a borrowed pointer that is valid for `'a`: its owner (a frame, a container) keeps it alive while
//!   the GIL is held and no Python code runs. None of the methods here runs Python code, gives up the GIL or
//!   changes a reference count, so an `Obj` stays valid between two of them.
//! - Nothing is materialised: no frame objects, no instance dicts, no cached string encodings.

use std::marker::PhantomData;
use std::ptr::NonNull;

use pyo3::ffi;

mod attributes;
mod containers;
mod number;
mod text;
mod types;

pub use containers::SetItems;
pub use number::Int;
pub use text::{Text, lossy};
pub(in crate::ffi) use types::HeapType;
pub use types::Type;

/// A borrowed Python object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Obj<'a> {
    pointer: NonNull<ffi::PyObject>,
    borrowed: PhantomData<&'a ()>,
}

/// What an object is, by its exact type or the built-in type it derives from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    None,
    Bool,
    Int,
    Float,
    Str,
    Bytes,
    List,
    Tuple,
    Dict,
    Set,
    FrozenSet,
    Function,
    Module,
    Type,
    Exception,
    /// Anything else.
    Other,
}

impl<'a> Obj<'a> {
    /// # Safety
    /// `pointer` is null or an object that stays alive for `'a`, and the GIL is held for `'a`.
    #[inline]
    pub(crate) unsafe fn borrow(pointer: *mut ffi::PyObject) -> Option<Self> {
        NonNull::new(pointer).map(|pointer| Self { pointer, borrowed: PhantomData })
    }

    #[inline]
    pub(crate) fn as_ptr(self) -> *mut ffi::PyObject {
        self.pointer.as_ptr()
    }

    /// An object at an address that was seen inside `self` a moment ago: nothing ran since, so it still is there.
    #[inline]
    pub(crate) fn kept_alive(self, address: usize) -> Obj<'a> {
        match NonNull::new(address as *mut ffi::PyObject) {
            Some(pointer) => Obj { pointer, borrowed: PhantomData },
            // Addresses come from `Obj::address`, which is never null.
            None => self,
        }
    }

    /// The identity, `id(obj)`.
    #[inline]
    pub fn address(self) -> usize {
        self.pointer.as_ptr() as usize
    }

    /// What the object is, and whether its type is exactly that built-in type.
    #[inline]
    pub fn kind(self) -> (Kind, bool) {
        match self.common_kind() {
            Some(kind) => (kind, true),
            None => self.ty().kind_of_instances(),
        }
    }

    /// What the object is, if its type is exactly one of the commonest built-in types.
    #[inline]
    pub fn common_kind(self) -> Option<Kind> {
        let ty = self.ty().as_ptr();
        let exact = |builtin: *mut ffi::PyTypeObject| std::ptr::eq(ty, builtin);
        if exact(&raw mut ffi::PyLong_Type) {
            Some(Kind::Int)
        } else if exact(&raw mut ffi::PyUnicode_Type) {
            Some(Kind::Str)
        } else if exact(&raw mut ffi::PyFloat_Type) {
            Some(Kind::Float)
        } else if exact(&raw mut ffi::PyList_Type) {
            Some(Kind::List)
        } else if exact(&raw mut ffi::PyDict_Type) {
            Some(Kind::Dict)
        } else if exact(&raw mut ffi::PyTuple_Type) {
            Some(Kind::Tuple)
        } else if exact(&raw mut ffi::PyBool_Type) {
            Some(Kind::Bool)
        } else if exact(&raw mut ffi::PyFunction_Type) {
            Some(Kind::Function)
        } else if self.is_none() {
            Some(Kind::None)
        } else {
            None
        }
    }

    /// Whether this is an int, and of no subclass.
    #[inline]
    pub fn is_exact_int(self) -> bool {
        std::ptr::eq(self.ty().as_ptr(), &raw mut ffi::PyLong_Type)
    }

    /// Whether this is a float, and of no subclass.
    #[inline]
    pub fn is_exact_float(self) -> bool {
        std::ptr::eq(self.ty().as_ptr(), &raw mut ffi::PyFloat_Type)
    }

    /// Whether this is a dict, and of no subclass.
    #[inline]
    pub fn is_exact_dict(self) -> bool {
        std::ptr::eq(self.ty().as_ptr(), &raw mut ffi::PyDict_Type)
    }

    /// Whether this is code rather than data: a function, a module or a class.
    #[inline]
    pub fn is_code(self) -> bool {
        matches!(self.kind().0, Kind::Function | Kind::Module | Kind::Type)
    }

    /// Whether the object never goes away, so that no other will ever be at its address.
    #[inline]
    pub fn is_immortal(self) -> bool {
        // SAFETY: a live object; CPython itself looks at the sign of the lower half.
        unsafe { (ffi::Py_REFCNT(self.as_ptr()) as i32) < 0 }
    }

    #[inline]
    pub fn is_none(self) -> bool {
        // SAFETY: `Py_None` is a static object.
        std::ptr::eq(self.as_ptr(), unsafe { ffi::Py_None() })
    }

    #[inline]
    pub fn is_true(self) -> bool {
        // SAFETY: `Py_True` is a static object.
        std::ptr::eq(self.as_ptr(), unsafe { ffi::Py_True() })
    }

    #[inline]
    pub fn is_false(self) -> bool {
        // SAFETY: `Py_False` is a static object.
        std::ptr::eq(self.as_ptr(), unsafe { ffi::Py_False() })
    }
}
