//! The file met last whose code is skipped whatever it is called.
//!
//! Invariants:
//! - Code is of that file if file name and module are those that the decision was made for, character by character.
//! - Only the decision to skip is remembered, and only where no rule goes by the names of code.
//!
//! Programs import many modules, and most functions of one are met one after the other.

use std::sync::{Mutex, PoisonError};

use crate::ffi::object::{Kind, Obj, Text};

/// See the module docs.
#[derive(Debug, Default)]
pub struct SkippedFile(Mutex<Option<Known>>);

#[derive(Debug)]
struct Known {
    filename: String,
    module: Option<String>,
}

impl SkippedFile {
    /// Whether code of this file and module, two str objects, is known to be skipped.
    pub fn is(&self, filename: Obj<'_>, module: Option<Obj<'_>>) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_some_and(|known| {
            let same_module = match (&known.module, module) {
                (Some(known), Some(module)) => reads_as(module, known),
                (None, None) => true,
                _ => false,
            };
            same_module && reads_as(filename, &known.filename)
        })
    }

    /// Code of this file and module is skipped.
    pub fn remember(&self, filename: String, module: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Known { filename, module });
    }
}

/// Texts that are not ASCII are not compared.
fn reads_as(object: Obj<'_>, known: &str) -> bool {
    object.kind().0 == Kind::Str && matches!(object.text(), Text::Ascii(text) if text == known)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by failing
mod tests {
    use pyo3::prelude::*;
    use pyo3::types::PyString;

    use super::*;
    use crate::ffi::with_obj;

    #[test]
    fn only_the_file_and_module_that_were_remembered_last_are_skipped() {
        Python::initialize();
        Python::attach(|py| {
            let file = SkippedFile::default();
            let is = |filename: &str, module: Option<&str>| {
                let (filename, module) = (PyString::new(py, filename), module.map(|name| PyString::new(py, name)));
                with_obj(&filename, |filename| match &module {
                    Some(module) => with_obj(module, |module| file.is(filename, Some(module))),
                    None => file.is(filename, None),
                })
            };
            assert!(!is("/lib/a.py", Some("a")) && !is("", None));
            file.remember("/lib/a.py".into(), Some("a".into()));
            assert!(is("/lib/a.py", Some("a")));
            assert!(!is("/lib/a.py", Some("b")) && !is("/lib/a.py", None) && !is("/lib/b.py", Some("a")));
            file.remember("/lib/é.py".into(), None);
            assert!(!is("/lib/a.py", Some("a")) && !is("/lib/é.py", None), "what is not ASCII is decided each time");
            file.remember("/lib/b.py".into(), None);
            assert!(is("/lib/b.py", None) && !is("/lib/b.py", Some("b")));
        });
    }
}
