//! How much was recorded of each stream, and how much may be.
//!
//! Invariants:
//! - What is not recorded because of a limit is counted, and the place is marked in the recording.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

const NAMES: [&str; 3] = ["stdout", "stderr", "stdin"];

/// What was recorded, by number of the stream.
#[derive(Debug, Default)]
pub struct Totals([Total; 3]);

#[derive(Debug, Default)]
struct Total {
    chunks: AtomicU64,
    bytes: AtomicU64,
    /// Characters (of text) and bytes beyond a limit.
    cut: AtomicU64,
}

impl Totals {
    #[inline]
    fn of(&self, stream: u8) -> Option<&Total> {
        self.0.get(usize::from(stream))
    }

    /// Counts a chunk, or a further part of one. Call it with the GIL held: nobody else counts then, and a locked
    /// addition costs as much as the rest of what is done about a small write.
    #[inline]
    pub fn count(&self, stream: u8, begins: bool, bytes: usize) {
        let add = |counter: &AtomicU64, n: u64| counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed);
        if let Some(total) = self.of(stream) {
            if begins {
                add(&total.chunks, 1);
            }
            add(&total.bytes, bytes as u64);
        }
    }

    /// Counts what a limit left out.
    pub fn count_cut(&self, stream: u8, length: usize) {
        if let Some(total) = self.of(stream) {
            total.cut.fetch_add(length as u64, Ordering::Relaxed);
        }
    }

    /// As the metadata shows it.
    pub fn to_json(&self) -> Value {
        let stream = |total: &Total| {
            json!({
                "chunks": total.chunks.load(Ordering::Relaxed),
                "bytes": total.bytes.load(Ordering::Relaxed),
                "cut": total.cut.load(Ordering::Relaxed),
            })
        };
        NAMES.iter().zip(&self.0).map(|(name, total)| ((*name).to_owned(), stream(total))).collect()
    }
}

/// How much is recorded, in bytes; 0 is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Of one write, or one read.
    pub one: usize,
    /// Of all streams together.
    pub total: u64,
}

impl Limits {
    /// Something may have to be cut.
    #[inline]
    pub fn are_any(self) -> bool {
        self.one != 0 || self.total != 0
    }
}

/// What may still be recorded of the whole.
#[derive(Debug, Default)]
pub struct Budget {
    spent: AtomicU64,
}

impl Budget {
    /// Takes what is wanted, as far as there is any; `None` if there never was a limit.
    pub fn take(&self, limits: Limits, wanted: usize) -> usize {
        if limits.total == 0 {
            return wanted;
        }
        let before = self.spent.fetch_add(wanted as u64, Ordering::Relaxed);
        let left = limits.total.saturating_sub(before);
        usize::try_from(left).unwrap_or(usize::MAX).min(wanted)
    }
}

/// Cuts `text` to `keep` bytes after `start`, at a character, and marks the place; `missing` is what else is not shown.
/// Returns how much is missing altogether.
pub fn cut(text: &mut String, start: usize, keep: usize, missing: usize) -> usize {
    let mut end = (start + keep).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let missing = missing + text[end..].chars().count();
    text.truncate(end);
    // Writing to a String cannot fail.
    let _ = write!(text, "… +{missing} more");
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_shown_by_stream() {
        let totals = Totals::default();
        totals.count(1, true, 5);
        totals.count(1, true, 4);
        totals.count(1, false, 2);
        totals.count_cut(2, 9);
        totals.count(9, true, 1);
        let json = totals.to_json();
        assert_eq!(json["stderr"], json!({"chunks": 2, "bytes": 11, "cut": 0}));
        assert_eq!(json["stdin"], json!({"chunks": 0, "bytes": 0, "cut": 9}));
    }

    #[test]
    fn a_budget_is_spent_once() {
        let budget = Budget::default();
        let limits = Limits { one: 0, total: 10 };
        assert_eq!((budget.take(limits, 4), budget.take(limits, 8), budget.take(limits, 1)), (4, 6, 0));
        assert_eq!(Budget::default().take(Limits::default(), 1 << 40), 1 << 40);
    }

    #[test]
    fn a_cut_is_marked_and_never_inside_a_character() {
        let mut text = "ab né".to_owned();
        assert_eq!(cut(&mut text, 2, 3, 7), 8);
        assert_eq!(text, "ab n… +8 more");
    }
}
