//! The functions whose instructions CPython 3.12 took apart for our events, to be joined again between two samples.
//!
//! Invariants:
//! - Only while recording is sampled, and only where [`joined::is_known`]: elsewhere nothing is kept.
//! - A code object that has died is forgotten; its address is never looked at.
//! - The lock is held for moments, with the GIL, and not while anything of Python runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyCode;
use rustc_hash::FxHashMap;

use crate::ffi::joined::{self, Pairs};

/// Functions between two moments in which other threads may have the GIL.
const AT_ONCE: usize = 500;

/// Every function that ran with events on, and its pairs once they are known.
type Functions = FxHashMap<usize, Option<Arc<Pairs>>>;

static FUNCTIONS: Mutex<Option<Functions>> = Mutex::new(None);

fn functions() -> MutexGuard<'static, Option<Functions>> {
    // Plain data that every writer leaves consistent.
    FUNCTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers functions from now on, if there will be anything to do for them.
pub fn watch(py: Python<'_>) {
    if joined::is_known(py) {
        functions().get_or_insert_default();
    }
}

/// Nothing is remembered any more.
pub fn end() {
    *functions() = None;
}

/// Events are on, and this code object runs.
pub fn seen(code: usize) {
    if let Some(functions) = functions().as_mut() {
        functions.entry(code).or_default();
    }
}

/// The code object at this address is dying.
pub fn forget(code: usize) {
    if let Some(functions) = functions().as_mut() {
        functions.remove(&code);
    }
}

/// Joins what is apart in all of them. Those that have not run since events went off are taken apart again when they
/// do: do it once more after a while.
pub fn restore(py: Python<'_>) {
    let all: Vec<usize> = functions().as_ref().map(|known| known.keys().copied().collect()).unwrap_or_default();
    for some in all.chunks(AT_ONCE) {
        for &address in some {
            // Out of memory: that function stays as it is.
            let _ = restore_one(py, address);
        }
        py.detach(|| ());
    }
}

fn restore_one(py: Python<'_>, address: usize) -> PyResult<()> {
    let (code, pairs) = {
        let functions = functions();
        match functions.as_ref().and_then(|known| known.get(&address)) {
            Some(pairs) => (crate::ffi::revive(py, address), pairs.clone()),
            None => return Ok(()),
        }
    };
    let code = code.into_bound(py).cast_into::<PyCode>()?;
    let pairs = match pairs {
        Some(pairs) => pairs,
        None => {
            let pairs = Arc::new(Pairs::of(&code)?);
            if let Some(functions) = functions().as_mut() {
                functions.insert(address, Some(Arc::clone(&pairs)));
            }
            pairs
        }
    };
    pairs.join(&code);
    Ok(())
}
