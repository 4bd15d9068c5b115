//! Texts: the characters of str objects, read in place.
//!
//! Invariants: as for every [`Obj`]; nothing is encoded, no cached encoding is made.

use pyo3::ffi;

use super::{Kind, Obj};

/// The characters of a str object, in CPython's own representation.
#[derive(Debug, Clone, Copy)]
pub enum Text<'a> {
    Ascii(&'a str),
    Latin1(&'a [u8]),
    Ucs2(&'a [u16]),
    Ucs4(&'a [u32]),
}

/// Whether a str of one byte per character is ASCII.
///
/// # Safety
/// `text` is a live str and `bytes` are its characters.
#[cfg(not(Py_3_14))]
#[inline]
unsafe fn is_ascii(text: *mut ffi::PyObject, _bytes: &[u8]) -> bool {
    // SAFETY: caller's promise.
    unsafe { ffi::PyUnicode_IS_ASCII(text) != 0 }
}

/// The same where PyO3 knows no layout of the flags: the characters of an ASCII str follow its short header. Those of a
/// subclass are somewhere else, and are looked at.
#[cfg(Py_3_14)]
#[inline]
unsafe fn is_ascii(text: *mut ffi::PyObject, bytes: &[u8]) -> bool {
    (bytes.as_ptr() as usize).wrapping_sub(text as usize) == size_of::<ffi::PyASCIIObject>() || bytes.is_ascii()
}

impl<'a> Obj<'a> {
    /// Call it for [`Kind::Str`] only.
    #[inline]
    pub fn text(self) -> Text<'a> {
        let this = self.as_ptr();
        // SAFETY: the caller saw `Kind::Str`; since 3.12 every str is ready, its data is immutable while it is
        // referenced (a str is only resized in place by the interpreter when nobody else refers to it, and no
        // Python code runs during `'a`).
        unsafe {
            let length = ffi::PyUnicode_GET_LENGTH(this) as usize;
            let data = ffi::PyUnicode_DATA(this);
            match ffi::PyUnicode_KIND(this) {
                ffi::PyUnicode_1BYTE_KIND => {
                    let bytes = std::slice::from_raw_parts(data.cast::<u8>(), length);
                    if is_ascii(this, bytes) {
                        Text::Ascii(std::str::from_utf8_unchecked(bytes))
                    } else {
                        Text::Latin1(bytes)
                    }
                }
                ffi::PyUnicode_2BYTE_KIND => Text::Ucs2(std::slice::from_raw_parts(data.cast(), length)),
                _ => Text::Ucs4(std::slice::from_raw_parts(data.cast(), length)),
            }
        }
    }

    /// The cached hash of a str, -1 if none was computed yet.
    #[inline]
    pub fn str_hash(self) -> isize {
        // SAFETY: the caller saw a str; `hash` follows the length in `PyASCIIObject`.
        unsafe { (*self.as_ptr().cast::<ffi::PyASCIIObject>()).hash }
    }

    /// The content of bytes; call it for [`Kind::Bytes`] only.
    pub fn bytes_value(self) -> &'a [u8] {
        // SAFETY: the caller saw `Kind::Bytes`; bytes are immutable.
        unsafe {
            let length = ffi::PyBytes_Size(self.as_ptr()).max(0) as usize;
            std::slice::from_raw_parts(ffi::PyBytes_AsString(self.as_ptr()).cast::<u8>(), length)
        }
    }

    /// Both are `str` with the same characters.
    pub fn same_str(self, other: Obj<'_>) -> bool {
        // SAFETY: `PyUnicode_Compare` of two exact or derived str objects compares characters and runs no code.
        unsafe {
            ffi::PyUnicode_Check(self.as_ptr()) != 0
                && ffi::PyUnicode_Check(other.as_ptr()) != 0
                && ffi::PyUnicode_Compare(self.as_ptr(), other.as_ptr()) == 0
        }
    }
}

impl Text<'_> {
    /// Number of characters.
    pub fn len(&self) -> usize {
        match self {
            Self::Ascii(text) => text.len(),
            Self::Latin1(units) => units.len(),
            Self::Ucs2(units) => units.len(),
            Self::Ucs4(units) => units.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the first `limit` characters; lone surrogates are written as `\udcXX`.
    pub fn push_to(&self, out: &mut String, limit: usize) {
        let mut push = |unit: u32| match char::from_u32(unit) {
            Some(c) => out.push(c),
            None => {
                use std::fmt::Write;
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        };
        match self {
            Self::Ascii(text) => out.push_str(&text[..text.len().min(limit)]),
            Self::Latin1(units) => units.iter().take(limit).for_each(|&unit| push(u32::from(unit))),
            Self::Ucs2(units) => units.iter().take(limit).for_each(|&unit| push(u32::from(unit))),
            Self::Ucs4(units) => units.iter().take(limit).for_each(|&unit| push(unit)),
        }
    }
}

/// The text of a str, lone surrogates escaped as `\udcXX`.
pub fn lossy(object: Obj<'_>) -> String {
    let mut out = String::new();
    if object.kind().0 == Kind::Str {
        object.text().push_to(&mut out, usize::MAX);
    }
    out
}
