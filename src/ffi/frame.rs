//! The frame that is executing, read in place (fast) or through the public frame API (fallback).
//!
//! Invariants:
//! - On the fast path no frame object is made and no reference count changes.
//! - Both paths answer the same questions with the same objects; only `id` differs, and it is unique among the
//!   frames alive at one time on either path.
//! - Everything borrowed from a frame is valid until Python code runs or the GIL is released.

use std::marker::PhantomData;

use pyo3::ffi;

use super::layout::{self, InterpreterFrame};
use super::object::Obj;
use super::python_types::exact_attribute;

/// A running frame.
#[derive(Clone, Copy)]
pub enum Frame<'a> {
    Fast(FastFrame<'a>),
    Public(PublicFrame<'a>),
}

#[derive(Clone, Copy)]
pub struct FastFrame<'a> {
    pointer: *mut InterpreterFrame,
    borrowed: PhantomData<&'a ()>,
}

#[derive(Clone, Copy)]
pub struct PublicFrame<'a> {
    pointer: *mut ffi::PyFrameObject,
    borrowed: PhantomData<&'a ()>,
}

/// The frame the calling thread executes. Call it with the GIL held.
///
/// # Safety
/// The GIL is held for `'a`, and the result is not used after Python code ran.
#[inline]
pub unsafe fn current<'a>() -> Option<Frame<'a>> {
    // SAFETY: GIL held (caller); the layout is trusted on the fast path.
    unsafe {
        if layout::trusted() {
            let pointer = layout::current_frame();
            return FastFrame { pointer, borrowed: PhantomData }.skip_shims().map(Frame::Fast);
        }
        let pointer = ffi::PyEval_GetFrame();
        (!pointer.is_null()).then_some(Frame::Public(PublicFrame { pointer, borrowed: PhantomData }))
    }
}

/// Whether a tuple among the attributes of a code object has just this object. (The names of variables are interned.)
fn holds(code: Obj<'_>, attribute: &std::ffi::CStr, address: usize) -> bool {
    exact_attribute(code, attribute)
        .is_some_and(|all| all.get().is_some_and(|all| all.items().flatten().any(|item| item.address() == address)))
}

impl<'a> FastFrame<'a> {
    /// The frame itself, or the nearest caller that is a real Python frame.
    #[inline]
    fn skip_shims(self) -> Option<Self> {
        let mut pointer = self.pointer;
        // SAFETY: the chain of `previous` ends in null; every element is a live frame.
        unsafe {
            while !pointer.is_null() && (*pointer).owner == layout::OWNED_BY_C_STACK {
                pointer = (*pointer).previous;
            }
        }
        (!pointer.is_null()).then_some(Self { pointer, borrowed: PhantomData })
    }

    /// Somebody may hold an object of this frame, and bind its variables by that.
    #[inline]
    pub fn has_object(self) -> bool {
        // SAFETY: a live frame of the trusted layout.
        unsafe { !(*self.pointer).frame_obj.is_null() }
    }

    /// The variable in a slot; cells are not opened.
    #[inline]
    pub fn slot(self, index: usize) -> Option<Obj<'a>> {
        // SAFETY: the caller passes indices below the code object's `co_nlocalsplus`; null means unbound.
        unsafe { Obj::borrow(*(&raw const (*self.pointer).localsplus).cast::<*mut ffi::PyObject>().add(index)) }
    }
}

impl<'a> Frame<'a> {
    /// A frame that is read through the public API.
    ///
    /// # Safety
    /// The pointer is that of a live frame, and the GIL is held for `'a`.
    pub(super) unsafe fn public(pointer: *mut ffi::PyFrameObject) -> Self {
        Self::Public(PublicFrame { pointer, borrowed: PhantomData })
    }

    /// Unique among the frames that are alive.
    #[inline]
    pub fn id(self) -> usize {
        match self {
            Self::Fast(frame) => frame.pointer as usize,
            Self::Public(frame) => frame.pointer as usize,
        }
    }

    /// The code object it runs.
    #[inline]
    pub fn code(self) -> Option<Obj<'a>> {
        // SAFETY: a live frame keeps its code object; the public call returns a new reference to the same.
        unsafe {
            match self {
                Self::Fast(frame) => Obj::borrow((*frame.pointer).executable),
                Self::Public(frame) => {
                    let code = ffi::PyFrame_GetCode(frame.pointer).cast::<ffi::PyObject>();
                    ffi::Py_DECREF(code);
                    Obj::borrow(code)
                }
            }
        }
    }

    /// The frame that called this one.
    pub fn previous(self) -> Option<Frame<'a>> {
        // SAFETY: as in `current`.
        unsafe {
            match self {
                Self::Fast(frame) => FastFrame { pointer: (*frame.pointer).previous, borrowed: PhantomData }
                    .skip_shims()
                    .map(Frame::Fast),
                Self::Public(frame) => {
                    let back = ffi::PyFrame_GetBack(frame.pointer);
                    if back.is_null() {
                        return None;
                    }
                    ffi::Py_DECREF(back.cast());
                    Some(Self::Public(PublicFrame { pointer: back, borrowed: PhantomData }))
                }
            }
        }
    }

    /// The global namespace.
    #[inline]
    pub fn globals(self) -> Option<Obj<'a>> {
        // SAFETY: a live frame keeps its globals.
        unsafe {
            match self {
                Self::Fast(frame) => Obj::borrow((*frame.pointer).globals),
                Self::Public(frame) => {
                    let globals = ffi::PyFrame_GetGlobals(frame.pointer);
                    if !globals.is_null() {
                        ffi::Py_DECREF(globals);
                    }
                    Obj::borrow(globals)
                }
            }
        }
    }

    /// The namespace of a class body or module (code without fast locals only: for functions the public API would
    /// build a dict the program could see). `None` on the public path while a comprehension's own variables are bound:
    /// that API then makes a copy that has these, too (3.12), or a view of these alone (3.13).
    #[inline]
    pub fn namespace(self) -> Option<Obj<'a>> {
        // SAFETY: a live frame keeps its namespace.
        unsafe {
            match self {
                Self::Fast(frame) => Obj::borrow((*frame.pointer).locals),
                Self::Public(frame) => {
                    let locals = ffi::PyFrame_GetLocals(frame.pointer);
                    if locals.is_null() {
                        ffi::PyErr_Clear();
                        return None;
                    }
                    // What the frame does not hold itself was made for us, and dies here.
                    let kept = ffi::Py_REFCNT(locals) > 1 && ffi::PyDict_Check(locals) != 0;
                    ffi::Py_DECREF(locals);
                    if kept { Obj::borrow(locals) } else { None }
                }
            }
        }
    }

    /// The variable in a slot, cells not opened on the fast path; `name` is the address of the slot's name (a `str` that
    /// the code object keeps alive).
    #[inline]
    pub fn slot(self, index: usize, name: usize) -> Option<Obj<'a>> {
        match self {
            Self::Fast(frame) => frame.slot(index),
            // SAFETY: the frame keeps the variable's value alive; an unbound variable raises NameError.
            Self::Public(frame) => unsafe {
                let value = ffi::PyFrame_GetVar(frame.pointer, name as *mut ffi::PyObject);
                if value.is_null() {
                    ffi::PyErr_Clear();
                    return self.captured_by_class_body(name);
                }
                ffi::Py_DECREF(value);
                Obj::borrow(value)
            },
        }
    }

    /// What a class body captured under this name, which the public API hides: its caller, the function that the body
    /// stands in, has the same cell. `None` for other code, and where another function calls the body.
    #[cold]
    fn captured_by_class_body(self, name: usize) -> Option<Obj<'a>> {
        let code = self.code()?;
        let flags = exact_attribute(code, c"co_flags")?;
        if flags.get()?.small_int()? & i64::from(ffi::CO_OPTIMIZED) != 0 || !holds(code, c"co_freevars", name) {
            return None;
        }
        let around = self.previous()?;
        if !holds(around.code()?, c"co_consts", code.address()) {
            return None;
        }
        around.slot(0, name)
    }

    /// The instruction that is executing, as far as it tells instructions of one code object apart; `None` where that is
    /// not known without making objects.
    #[inline]
    pub fn instruction(self) -> Option<usize> {
        match self {
            // SAFETY: a live frame.
            Self::Fast(frame) => Some(unsafe { (*frame.pointer).instruction } as usize),
            Self::Public(_) => None,
        }
    }

    /// The line that is executing, 0 if there is none.
    pub fn line(self) -> u32 {
        // SAFETY: a live frame.
        let line = unsafe {
            match self {
                Self::Fast(frame) => ffi::PyUnstable_InterpreterFrame_GetLine(frame.pointer.cast()),
                Self::Public(frame) => ffi::PyFrame_GetLineNumber(frame.pointer),
            }
        };
        u32::try_from(line).unwrap_or(0)
    }
}
