//! Counters of what went wrong, for logs and statistics.
//!
//! Invariants: counting is one relaxed atomic addition; a snapshot is plain data.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::errors::ErrorCode;

static ERRORS: [AtomicU64; ErrorCode::ALL.len()] = [const { AtomicU64::new(0) }; ErrorCode::ALL.len()];

/// How often each error code was reported, those that never were left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    pub errors: Vec<(&'static str, u64)>,
}

/// Counts one error.
pub fn count_error(code: ErrorCode) {
    if let Some(index) = ErrorCode::ALL.iter().position(|known| *known == code) {
        ERRORS[index].fetch_add(1, Ordering::Relaxed);
    }
}

/// The counters now.
pub fn snapshot() -> Snapshot {
    let errors = ErrorCode::ALL
        .iter()
        .zip(&ERRORS)
        .map(|(code, count)| (code.as_str(), count.load(Ordering::Relaxed)))
        .filter(|(_, count)| *count > 0)
        .collect();
    Snapshot { errors }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_code() {
        let count = || snapshot().errors.iter().find(|(code, _)| *code == "ERR_TRACE_MISSING").map_or(0, |(_, n)| *n);
        let before = count();
        count_error(ErrorCode::TraceMissing);
        assert_eq!(count(), before + 1);
    }
}
