//! How large a recording, or one part of it, may become.
//!
//! Invariants:
//! - Steps are exact; bytes are what the writer has reported, so what is on its way to the disk comes on top (at most
//!   the segments in flight); time is looked at when events come and at every flush interval.
//! - A limit is reached once. What happens then is [`OnReached`], except that a full disk always ends the recording:
//!   a further part would need room, too.

use std::time::{Duration, Instant};

/// What to do when a limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnReached {
    /// The recording ends, complete until then; the program runs on.
    #[default]
    Stop,
    /// A further part begins; the limits count from zero.
    Rotate,
}

/// Steps of a part when parts are wanted and nobody said how large: CodeTracer takes 5 to 9 KB of memory for each.
pub const PART_STEPS: u64 = 200_000;

/// The limits of one recording; 0 and zero durations mean that there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of events files.
    pub max_bytes: u64,
    /// Steps of all threads together.
    pub max_steps: u64,
    /// Time since the recording, or the part, began.
    pub max_duration: Duration,
    /// Bytes that must stay free on the disk.
    pub min_free_disk: u64,
    pub on_reached: OnReached,
}

impl Limits {
    /// The step limit that counts, [`PART_STEPS`] included.
    pub(super) fn step_limit(&self) -> u64 {
        let nothing_said = self.max_bytes == 0 && self.max_steps == 0 && self.max_duration.is_zero();
        match (self.max_steps, self.on_reached) {
            (0, OnReached::Rotate) if nothing_said => PART_STEPS,
            (0, _) => u64::MAX,
            (steps, _) => steps,
        }
    }
}

/// Watches the limits of the part being recorded.
#[derive(Debug)]
pub(super) struct LimitWatch {
    limits: Limits,
    step_limit: u64,
    steps: u64,
    since: Instant,
}

impl LimitWatch {
    pub fn new(limits: Limits) -> Self {
        Self { step_limit: limits.step_limit(), limits, steps: 0, since: Instant::now() }
    }

    /// A further part begins.
    pub fn restart(&mut self) {
        self.steps = 0;
        self.since = Instant::now();
    }

    pub fn on_reached(&self) -> OnReached {
        self.limits.on_reached
    }

    pub fn count(&mut self, steps: u64) {
        self.steps += steps;
    }

    /// Steps that may still come.
    pub fn steps_left(&self) -> u64 {
        self.step_limit.saturating_sub(self.steps)
    }

    pub fn bytes_reached(&self, bytes: impl FnOnce() -> u64) -> bool {
        self.limits.max_bytes > 0 && bytes() >= self.limits.max_bytes
    }

    /// When time is up, if it ever is.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.limits.max_duration.is_zero()).then(|| self.since.checked_add(self.limits.max_duration)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_a_size_that_codetracer_can_hold_unless_another_limit_says_otherwise() {
        let rotate = Limits { on_reached: OnReached::Rotate, ..Limits::default() };
        assert_eq!(rotate.step_limit(), PART_STEPS);
        assert_eq!(Limits { max_steps: 7, ..rotate.clone() }.step_limit(), 7);
        assert_eq!(Limits { max_bytes: 1, ..rotate.clone() }.step_limit(), u64::MAX);
        assert_eq!(Limits { max_duration: Duration::from_secs(1), ..rotate }.step_limit(), u64::MAX);
        assert_eq!(Limits::default().step_limit(), u64::MAX);
    }

    #[test]
    fn what_is_left_counts_from_zero_in_every_part() {
        let mut watch = LimitWatch::new(Limits { max_steps: 10, max_bytes: 5, ..Limits::default() });
        watch.count(7);
        assert_eq!(watch.steps_left(), 3);
        watch.count(7);
        assert_eq!(watch.steps_left(), 0);
        assert!(watch.bytes_reached(|| 5) && !watch.bytes_reached(|| 4));
        assert_eq!(watch.deadline(), None);
        watch.restart();
        assert_eq!(watch.steps_left(), 10);
    }
}
