//! Code objects as callbacks see them.
//!
//! Invariants:
//! - A [`CodeObjectWrapper`] borrows the code object for the length of one callback.
//! - Reading its attributes goes through CPython's own C getters of an exact `code` object: no Python code runs.

use pyo3::prelude::*;
use pyo3::types::{PyCode, PyTuple};

use crate::ffi;
use crate::ffi::code::CodeAttribute;

/// What is read of code objects.
mod attributes {
    use crate::ffi::code::CodeAttribute;

    pub static FILENAME: CodeAttribute = CodeAttribute::new(c"co_filename");
    pub static QUALNAME: CodeAttribute = CodeAttribute::new(c"co_qualname");
    pub static NAME: CodeAttribute = CodeAttribute::new(c"co_name");
    pub static FIRST_LINE: CodeAttribute = CodeAttribute::new(c"co_firstlineno");
    pub static FLAGS: CodeAttribute = CodeAttribute::new(c"co_flags");
    pub static ARGCOUNT: CodeAttribute = CodeAttribute::new(c"co_argcount");
    pub static KWONLY_COUNT: CodeAttribute = CodeAttribute::new(c"co_kwonlyargcount");
}

/// A borrowed code object.
#[derive(Clone, Copy)]
pub struct CodeObjectWrapper<'a> {
    object: ffi::object::Obj<'a>,
}

/// What a code object is called: filters decide by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeNames {
    pub filename: String,
    pub qualname: String,
    pub name: String,
}

/// What is known of a code object besides its names; only that of recorded code is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeSignature {
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

    /// `co_filename`.
    ///
    /// # Errors
    /// Only if memory runs out.
    pub fn filename(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        attributes::FILENAME.of(py, self.object)
    }

    /// Reads the names.
    ///
    /// # Errors
    /// Only if memory runs out.
    pub fn names(self, py: Python<'_>) -> PyResult<CodeNames> {
        let text = |attribute: &CodeAttribute| {
            Ok::<_, PyErr>(ffi::with_obj(&attribute.of(py, self.object)?, ffi::object::lossy))
        };
        Ok(CodeNames {
            filename: text(&attributes::FILENAME)?,
            qualname: text(&attributes::QUALNAME)?,
            name: text(&attributes::NAME)?,
        })
    }

    /// Reads the rest.
    ///
    /// # Errors
    /// Only if memory runs out.
    pub fn signature(self, py: Python<'_>) -> PyResult<CodeSignature> {
        let read = |attribute: &CodeAttribute| attribute.of(py, self.object);
        let first_line: i64 = read(&attributes::FIRST_LINE)?.extract()?;
        Ok(CodeSignature {
            first_line: first_line.clamp(0, i64::from(u32::MAX)) as u32,
            flags: read(&attributes::FLAGS)?.extract()?,
            argcount: read(&attributes::ARGCOUNT)?.extract()?,
            kwonly_count: read(&attributes::KWONLY_COUNT)?.extract()?,
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
