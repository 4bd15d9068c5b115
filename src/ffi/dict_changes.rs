//! How many changes of dicts lie between two versions.
//!
//! Invariants:
//! - CPython counts the changes of all dicts with one counter, and a dict's version is what that was at its last change.
//!   How much it counts for a change is read off dicts of our own; where it does not count so, nothing is said.
//! - A version that lost or gained marks of watchers is not a whole number of changes away: nothing is said either.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::with_obj;

/// What a change counts for; 0 where that is not known.
static STEP: AtomicU64 = AtomicU64::new(0);

/// Reads the counter; only where the layout of dicts is trusted.
pub(super) fn learn(py: Python<'_>) {
    let dicts = [PyDict::new(py), PyDict::new(py)];
    let mut versions = [0; 6];
    for (turn, version) in versions.iter_mut().enumerate() {
        let dict = &dicts[turn % 2];
        // New keys, then keys that are there already.
        let changed = dict.set_item(turn / 4, turn).is_ok();
        *version = with_obj(dict, |dict| dict.dict_version()).filter(|_| changed).unwrap_or(0);
    }
    let step = versions[1].wrapping_sub(versions[0]);
    let regular = versions.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
    STEP.store(if regular { step } else { 0 }, Ordering::Relaxed);
}

/// How many times any dict was changed since a dict had the version `before`, that has the version `now`.
#[inline]
pub fn changes_between(before: u64, now: u64) -> Option<u64> {
    let step = STEP.load(Ordering::Relaxed);
    let apart = now.checked_sub(before)?;
    (step != 0 && apart % step == 0).then(|| apart / step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::probe;

    #[test]
    fn each_change_of_any_dict_counts_and_nothing_else_does() {
        Python::initialize();
        Python::attach(|py| {
            assert_eq!(probe::decide_frame_access(py), None);
            let (ours, other) = (PyDict::new(py), PyDict::new(py));
            let version = || with_obj(&ours, |dict| dict.dict_version()).unwrap();
            ours.set_item("a", 1).unwrap();
            let before = version();
            assert_eq!(changes_between(before, version()), Some(0));
            ours.set_item("b", 1).unwrap();
            assert_eq!(changes_between(before, version()), Some(1), "a new key");
            ours.set_item("b", 2).unwrap();
            assert_eq!(changes_between(before, version()), Some(2), "a new value");
            other.set_item("a", 1).unwrap();
            ours.del_item("a").unwrap();
            assert_eq!(changes_between(before, version()), Some(4), "a key less, and another dict before that");
            assert_eq!(changes_between(version(), before), None, "not backwards");
            assert_eq!(changes_between(before, version() + 1), None, "no whole number of changes");
        });
    }
}
