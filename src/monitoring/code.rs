//! Code objects as callbacks see them.
//!
//! Invariants:
//! - A [`CodeObjectWrapper`] borrows the code object for the length of one callback.
//! - Reading its attributes goes through CPython's own C getters of an exact `code` object: no Python code runs.

use pyo3::prelude::*;
use pyo3::types::{PyCode, PyTuple};

use crate::ffi;

/// A borrowed code object.
#[derive(Clone, Copy)]
pub struct CodeObjectWrapper<'a> {
    object: ffi::object::Obj<'a>,
}

/// The attributes of a code object that decide how it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeAttributes {
    pub filename: String,
    pub qualname: String,
    pub name: String,
    pub first_line: u32,
    pub flags: u32,
    pub argcount: usize,
    pub kwonly_count: usize,
}

impl<'a> CodeObjectWrapper<'a> {
    /// `object` is a code object.
    #[inline]
    pub(crate) fn new(object: ffi::object::Obj<'a>) -> Self {
        Self { object }
    }

    /// The identity, `id(code)`.
    #[inline]
    pub fn id(self) -> usize {
        self.object.address()
    }

    #[inline]
    pub(crate) fn object(self) -> ffi::object::Obj<'a> {
        self.object
    }

    /// As a pyo3 object.
    pub fn bound<'py>(self, py: Python<'py>) -> PyResult<Bound<'py, PyCode>> {
        Ok(ffi::bound(py, self.object).cast_into::<PyCode>()?)
    }

    /// Reads the attributes.
    ///
    /// # Errors
    /// Only if memory runs out.
    pub fn attributes(self, py: Python<'_>) -> PyResult<CodeAttributes> {
        let code = ffi::bound(py, self.object);
        let text = |name: &str| -> PyResult<String> {
            let value = code.getattr(name)?;
            Ok(ffi::with_obj(&value, ffi::object::lossy))
        };
        Ok(CodeAttributes {
            filename: text("co_filename")?,
            qualname: text("co_qualname")?,
            name: text("co_name")?,
            first_line: code.getattr("co_firstlineno")?.extract::<i64>()?.clamp(0, i64::from(u32::MAX)) as u32,
            flags: code.getattr("co_flags")?.extract()?,
            argcount: code.getattr("co_argcount")?.extract()?,
            kwonly_count: code.getattr("co_kwonlyargcount")?.extract()?,
        })
    }

    /// The names of locals (parameters first), then cells that are no parameters, then free variables, in the order
    /// of the frame's slots; with each whether it lives in a cell.
    pub fn slot_names<'py>(self, py: Python<'py>) -> PyResult<Vec<(Bound<'py, PyAny>, bool)>> {
        let code = ffi::bound(py, self.object);
        let tuple = |name: &str| -> PyResult<Bound<'py, PyTuple>> { Ok(code.getattr(name)?.cast_into()?) };
        let (locals, cells, free) = (tuple("co_varnames")?, tuple("co_cellvars")?, tuple("co_freevars")?);
        let mut names = Vec::with_capacity(locals.len() + cells.len() + free.len());
        for name in locals.iter() {
            let in_cell = cells.contains(&name)?;
            names.push((name, in_cell));
        }
        for name in cells.iter() {
            if !locals.contains(&name)? {
                names.push((name, true));
            }
        }
        names.extend(free.iter().map(|name| (name, true)));
        Ok(names)
    }
}

/// Numbers the code objects seen, by identity.
///
/// The recorder itself keeps its decisions in the code objects (`co_extra`); this registry serves tools that build
/// on [`super::Tracer`] and want a small dense number per code object.
#[derive(Debug, Default)]
pub struct CodeObjectRegistry {
    ids: rustc_hash::FxHashMap<usize, u32>,
}

impl CodeObjectRegistry {
    /// The number of this code object, a new one if it was not seen before.
    pub fn get_or_insert(&mut self, code: CodeObjectWrapper<'_>) -> u32 {
        let next = self.ids.len() as u32;
        *self.ids.entry(code.id()).or_insert(next)
    }
    /// Forgets a code object whose memory may be reused.
    pub fn remove(&mut self, id: usize) -> bool {
        self.ids.remove(&id).is_some()
    }
    /// Forgets all.
    pub fn clear(&mut self) {
        self.ids.clear();
    }
    pub fn len(&self) -> usize {
        self.ids.len()
    }
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}
