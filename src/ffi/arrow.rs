//! Columns that pandas keeps in pyarrow, fetched through C slots; neither of the two is needed or imported.
//!
//! Invariants:
//! - Slots are called of exact C types ([`Type::is_c_type`]) that are known to run no Python code and to keep the GIL.
//! - Items are asked for only where pandas' own class for texts keeps the array: making an item of an extension type could
//!   run code of the program.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::ffi;

use super::numpy::Element;
use super::object::{Kind, Obj, Type, lossy};
use super::python_types::{Owned, c_getter, is_type_named};

/// An array of pandas that keeps its values in a `pyarrow.ChunkedArray`.
pub struct Column<'a> {
    array: Obj<'a>,
    chunks: Obj<'a>,
}

impl<'a> Column<'a> {
    /// `array`, if it is one.
    pub fn of(array: Obj<'a>) -> Option<Self> {
        // pandas called it `_data` before 2.1.
        let chunks = attribute(array, "_pa_array").or_else(|| attribute(array, "_data"))?;
        chunks.ty().is_c_type(c"pyarrow.lib.ChunkedArray").then_some(Self { array, chunks })
    }

    /// How many values there are.
    pub fn length(&self) -> Option<usize> {
        // SAFETY: exactly this C type, whose slot reads a number; -1 comes with an exception, which is cleared.
        unsafe {
            let length = ffi::PyObject_Size(self.chunks.as_ptr());
            if length < 0 {
                ffi::PyErr_Clear();
            }
            usize::try_from(length).ok()
        }
    }

    /// The name of the dtype, if it is one of Arrow's own: `int64[pyarrow]`.
    pub fn dtype(&self) -> Option<String> {
        let kind = attribute(attribute(self.array, "_dtype")?, "pyarrow_dtype")?;
        if !kind.ty().is_c_type(c"pyarrow.lib.DataType") {
            return None;
        }
        // SAFETY: exactly this C type, whose `str` is C code; a new reference or null with an exception.
        let name = unsafe { owned(ffi::PyObject_Str(kind.as_ptr()))? };
        Some(format!("{}[pyarrow]", lossy(name.get()?)))
    }

    /// The texts from the `skip`th on, `limit` at most, of each about as many bytes as told; `None` if the values are none.
    pub fn texts(&self, skip: usize, limit: usize, bytes: usize) -> Option<Vec<Element<'a>>> {
        if !keeps_texts(self.array.ty()) {
            return None;
        }
        let end = self.length()?.min(skip.saturating_add(limit));
        (skip..end).map(|index| self.text(index, bytes)).collect()
    }

    /// A text, or that it is missing. The values are texts.
    fn text(&self, index: usize, limit: usize) -> Option<Element<'a>> {
        // SAFETY: exactly a `ChunkedArray` of texts: making an item runs C code alone, and so does reading it. New
        // references or null with an exception, which is cleared; the buffer is released.
        unsafe {
            let item = owned(ffi::PySequence_GetItem(self.chunks.as_ptr(), isize::try_from(index).ok()?))?;
            let scalar = item.get()?;
            let ty = scalar.ty();
            if !ty.is_c_type(c"pyarrow.lib.StringScalar") && !ty.is_c_type(c"pyarrow.lib.LargeStringScalar") {
                return None;
            }
            if !c_getter(scalar, "is_valid")?.get()?.is_true() {
                return Some(Element::Object(None));
            }
            let mut view = std::mem::zeroed::<ffi::Py_buffer>();
            if ffi::PyObject_GetBuffer(scalar.as_ptr(), &raw mut view, ffi::PyBUF_SIMPLE) != 0 {
                ffi::PyErr_Clear();
                return None;
            }
            let length = usize::try_from(view.len).unwrap_or(0);
            let shown = length.min(limit);
            let bytes = if shown == 0 { &[] } else { std::slice::from_raw_parts(view.buf.cast::<u8>(), shown) };
            // What is cut may be cut within a character.
            let whole = match std::str::from_utf8(bytes) {
                Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
                _ => bytes,
            };
            let text = String::from_utf8_lossy(whole).into_owned();
            ffi::PyBuffer_Release(&raw mut view);
            Some(Element::Text(text, shown < length))
        }
    }
}

/// Whether a class is pandas' own for texts in pyarrow, which takes no array of anything else.
fn keeps_texts(ty: Type<'_>) -> bool {
    /// Address and version of the class that was found to be it.
    static FOUND: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
    let Some(version) = ty.version() else { return false };
    let asked = [ty.address(), version as usize];
    // All of this is done with the GIL held.
    if FOUND.each_ref().map(|word| word.load(Ordering::Relaxed)) == asked {
        return true;
    }
    let is_it = ty.full_name().ends_with(".ArrowStringArray")
        && ["pandas.arrays", "pandas.core.arrays.string_arrow"]
            .iter()
            .any(|module| is_type_named(ty, module, "ArrowStringArray"));
    if is_it {
        FOUND.iter().zip(asked).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
    }
    is_it
}

/// An attribute of the instance itself.
pub fn attribute<'a>(object: Obj<'a>, name: &str) -> Option<Obj<'a>> {
    let mut found = None;
    object.dict_attributes(&mut |key, value| {
        if found.is_none() && key.kind() == (Kind::Str, true) && lossy(key) == name {
            found = Some(value);
        }
    });
    found
}

/// # Safety
/// A new reference of the caller's, or null with an exception set, which is cleared; the GIL is held.
unsafe fn owned(pointer: *mut ffi::PyObject) -> Option<Owned> {
    // SAFETY: see above.
    unsafe {
        if pointer.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(Owned::new(pointer))
    }
}
