//! Counts of lost events by cause.
//!
//! Invariant: a loss is counted once, where it happens; whoever reports it adds nothing.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Serialize, Serializer};

use super::layout::{LossCause, Put, record};

/// Losses of one stream, counted by any thread.
#[derive(Debug, Default)]
pub struct Losses([AtomicU64; LossCause::ALL.len()]);

impl Losses {
    pub fn add(&self, cause: LossCause, events: u64) {
        self.0[cause as usize].fetch_add(events, Ordering::Relaxed);
    }

    pub fn add_all(&self, counts: LossCounts) {
        LossCause::ALL.into_iter().for_each(|cause| self.add(cause, counts.of(cause)));
    }

    /// Moves the counts to whoever keeps them from now on.
    pub fn take(&self) -> LossCounts {
        LossCounts(LossCause::ALL.map(|cause| self.0[cause as usize].swap(0, Ordering::Relaxed)))
    }

    pub fn counts(&self) -> LossCounts {
        LossCounts(LossCause::ALL.map(|cause| self.0[cause as usize].load(Ordering::Relaxed)))
    }
}

/// Lost events by cause, at one moment; as JSON an object with the causes that occurred.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct LossCounts([u64; LossCause::ALL.len()]);

impl LossCounts {
    pub const fn of(&self, cause: LossCause) -> u64 {
        self.0[cause as usize]
    }

    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// The causes that occurred, with their counts.
    pub fn causes(&self) -> impl Iterator<Item = (LossCause, u64)> + '_ {
        LossCause::ALL.into_iter().map(|cause| (cause, self.of(cause))).filter(|(_, count)| *count > 0)
    }

    /// The records that mark them.
    pub fn records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        for (cause, count) in self.causes() {
            records.put_u8(record::LOST);
            records.put_u8(cause as u8);
            records.put_u64(count);
        }
        records
    }
}

impl AddAssign for LossCounts {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum = sum.saturating_add(count));
    }
}

impl Serialize for LossCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.causes().map(|(cause, count)| (cause.as_str(), count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_counted_by_cause_and_shown_where_there_are_any() {
        let losses = Losses::default();
        losses.add(LossCause::QueueFull, 3);
        losses.add(LossCause::RecordingFailed, 4);
        let counts = losses.take();
        assert_eq!(serde_json::to_string(&counts).unwrap(), r#"{"queue_full":3,"recording_failed":4}"#);
        assert_eq!(counts.total(), 7);
        assert!(losses.counts().is_empty());
        losses.add_all(counts);
        assert_eq!(losses.counts(), counts);
    }
}
