//! Counters of what went wrong, for metadata, `stats` and tests.
//!
//! Invariants:
//! - Counting is one relaxed addition: allowed anywhere, the callbacks' failure paths included.
//! - Counters only grow; a reader compares two snapshots.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use crate::errors::ErrorCode;
use crate::pipeline::layout::LossCause;

/// Number of causes; their bytes are dense from 0.
const CAUSES: usize = {
    let mut count = 0u8;
    while LossCause::from_byte(count).is_some() {
        count += 1;
    }
    count as usize
};

/// A set of counters; the process has one, [`global`].
#[derive(Debug)]
pub struct Metrics {
    errors: [AtomicU64; ErrorCode::ALL.len()],
    dropped_events: [AtomicU64; CAUSES],
    panics_caught: AtomicU64,
    detachments: AtomicU64,
}

/// The counters of this process.
pub fn global() -> &'static Metrics {
    static GLOBAL: Metrics = Metrics::new();
    &GLOBAL
}

impl Metrics {
    /// All zero.
    pub const fn new() -> Self {
        Self {
            errors: [const { AtomicU64::new(0) }; ErrorCode::ALL.len()],
            dropped_events: [const { AtomicU64::new(0) }; CAUSES],
            panics_caught: AtomicU64::new(0),
            detachments: AtomicU64::new(0),
        }
    }

    /// An error was reported.
    pub fn error(&self, code: ErrorCode) {
        if let Some(counter) = self.errors.get(code as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Events are missing from a trace.
    pub fn dropped(&self, cause: LossCause, events: u64) {
        if let Some(counter) = self.dropped_events.get(cause as usize) {
            counter.fetch_add(events, Relaxed);
        }
    }

    /// A panic of ours was stopped before it reached the program.
    pub fn panic_caught(&self) {
        self.panics_caught.fetch_add(1, Relaxed);
    }

    /// Recording ended early and the program went on.
    pub fn detached(&self) {
        self.detachments.fetch_add(1, Relaxed);
    }

    /// The counts now; what never happened is left out of the maps.
    pub fn snapshot(&self) -> Snapshot {
        let errors = ErrorCode::ALL.iter().map(|code| code.as_str()).zip(&self.errors);
        let causes = (0u8..).map_while(LossCause::from_byte).map(LossCause::as_str).zip(&self.dropped_events);
        Snapshot {
            errors: non_zero(errors),
            dropped_events: non_zero(causes),
            panics_caught: self.panics_caught.load(Relaxed),
            detachments: self.detachments.load(Relaxed),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn non_zero<'a>(counters: impl Iterator<Item = (&'static str, &'a AtomicU64)>) -> BTreeMap<&'static str, u64> {
    counters.map(|(name, counter)| (name, counter.load(Relaxed))).filter(|(_, count)| *count > 0).collect()
}

/// Counts at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Reported errors by code.
    pub errors: BTreeMap<&'static str, u64>,
    /// Events missing from traces by cause.
    pub dropped_events: BTreeMap<&'static str, u64>,
    /// Panics of ours that were caught.
    pub panics_caught: u64,
    /// Recordings that ended early.
    pub detachments: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_cause_has_its_own_counter() {
        let metrics = Metrics::new();
        for (position, code) in ErrorCode::ALL.iter().enumerate() {
            (0..=position).for_each(|_| metrics.error(*code));
        }
        metrics.dropped(LossCause::RecorderError, 5);
        metrics.panic_caught();
        let snapshot = metrics.snapshot();
        for (position, code) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(snapshot.errors[code.as_str()], position as u64 + 1);
        }
        assert_eq!(snapshot.dropped_events, BTreeMap::from([("recorder_error", 5)]));
        assert_eq!(
            serde_json::to_value(Metrics::new().snapshot()).unwrap(),
            serde_json::json!({"errors": {}, "dropped_events": {}, "panics_caught": 0, "detachments": 0})
        );
        assert_eq!((snapshot.panics_caught, snapshot.detachments), (1, 0));
    }
}
