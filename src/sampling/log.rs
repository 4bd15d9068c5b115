//! What sampling decided, for the metadata.
//!
//! Invariants: bounded; the lock is never held while Python can run.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

/// So many of the latest decisions are kept; each sample has its own in the metadata of its part.
const KEPT: usize = 200;

/// How a recording is sampled, and what was decided so far.
#[derive(Debug)]
pub struct SamplingLog {
    pub mode: &'static str,
    pub seed: u64,
    /// What the policy says of this mode.
    pub settings: Value,
    samples: AtomicU64,
    candidates: AtomicU64,
    decisions: Mutex<VecDeque<Value>>,
}

impl SamplingLog {
    pub fn new(mode: &'static str, seed: u64, settings: Value) -> Self {
        let (samples, candidates) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { mode, seed, settings, samples, candidates, decisions: Mutex::default() }
    }

    /// The number of the next thing to decide about, from 0.
    pub fn candidate(&self) -> u64 {
        self.candidates.fetch_add(1, Ordering::Relaxed)
    }

    /// A sample is taken; returns its number, from 1.
    pub fn sample(&self) -> u64 {
        self.samples.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn decided(&self, decision: Value) {
        let mut decisions = self.decisions.lock().unwrap_or_else(PoisonError::into_inner);
        if decisions.len() == KEPT {
            decisions.pop_front();
        }
        decisions.push_back(decision);
    }

    /// Mode and counts, for `stats()`.
    pub fn counts(&self) -> Value {
        let (samples, candidates) = (self.samples.load(Ordering::Relaxed), self.candidates.load(Ordering::Relaxed));
        json!({"mode": self.mode, "seed": self.seed, "samples": samples, "candidates": candidates})
    }

    /// The key `sampling` of the metadata.
    pub fn to_json(&self) -> Value {
        let decisions: Vec<_> = self.decisions.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        let mut json = json!({
            "mode": self.mode,
            "seed": self.seed,
            "settings": self.settings,
            "samples": self.samples.load(Ordering::Relaxed),
            "decisions": decisions,
        });
        if self.candidates.load(Ordering::Relaxed) > 0 {
            json["candidates"] = json!(self.candidates.load(Ordering::Relaxed));
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_decisions_are_kept_and_everything_is_counted() {
        let log = SamplingLog::new("entries", 7, json!({"rate": "1%"}));
        for n in 0..500 {
            assert_eq!(log.candidate(), n);
            log.decided(json!(n));
        }
        assert_eq!(log.sample(), 1);
        let json = log.to_json();
        assert_eq!((&json["seed"], &json["samples"], &json["candidates"]), (&json!(7), &json!(1), &json!(500)));
        let decisions = json["decisions"].as_array().unwrap();
        assert_eq!((decisions.len(), &decisions[0], &decisions[199]), (KEPT, &json!(300), &json!(499)));
    }
}
