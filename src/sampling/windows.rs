//! When the windows of a sampling by time open and close.
//!
//! Invariants:
//! - Every period has one window, of the length asked for, that lies within it. So over time the share of it that is
//!   recorded is exactly `on / every`, whatever the jitter.
//! - With full jitter each moment is recorded with that probability; with less, what repeats with the period can hide.

use std::time::Duration;

use super::generator::Generator;

/// The windows, one after the other.
#[derive(Debug)]
pub struct Windows {
    on: Duration,
    every: Duration,
    /// Share of the free time of a period in which the window may begin, 0 to 1.
    jitter: f64,
    generator: Generator,
    /// Free time left over from the period before.
    carried: Duration,
}

/// One window: how long to wait for it, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub wait: Duration,
    pub on: Duration,
}

impl Windows {
    /// `on` is at most `every`.
    pub fn new(on: Duration, every: Duration, jitter: f64, seed: u64) -> Self {
        let on = on.min(every);
        Self { on, every, jitter, generator: Generator::new(seed), carried: Duration::ZERO }
    }

    /// The share of the time that is recorded.
    pub fn probability(&self) -> f64 {
        self.on.as_secs_f64() / self.every.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl Iterator for Windows {
    type Item = Window;

    fn next(&mut self) -> Option<Window> {
        let free = self.every - self.on;
        let before = free.mul_f64(self.jitter * self.generator.fraction()).min(free);
        let wait = self.carried + before;
        self.carried = free - before;
        Some(Window { wait, on: self.on })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: Duration = Duration::from_millis(200);
    const EVERY: Duration = Duration::from_secs(10);

    /// Begin and end of the first windows on a clock that starts at zero.
    fn times(jitter: f64, seed: u64, count: usize) -> Vec<(Duration, Duration)> {
        let mut now = Duration::ZERO;
        let time = |window: Window| {
            let begin = now + window.wait;
            now = begin + window.on;
            (begin, now)
        };
        Windows::new(ON, EVERY, jitter, seed).take(count).map(time).collect()
    }

    #[test]
    fn every_period_has_one_window_that_lies_within_it() {
        for (jitter, seed) in [(0.0, 1), (0.5, 2), (1.0, 3), (1.0, 4)] {
            for (number, (begin, end)) in times(jitter, seed, 1000).into_iter().enumerate() {
                let period = EVERY * number as u32;
                assert!(begin >= period && end <= period + EVERY, "{number}: {begin:?} to {end:?}");
                assert_eq!(end - begin, ON);
            }
        }
    }

    #[test]
    fn without_jitter_windows_are_regular_and_with_it_they_are_not() {
        assert!(times(0.0, 1, 10).windows(2).all(|pair| pair[1].0 - pair[0].0 == EVERY));
        let jittered: Vec<_> = times(1.0, 1, 10).windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(jittered.iter().any(|distance| distance.abs_diff(EVERY) > EVERY / 10), "{jittered:?}");
    }

    #[test]
    fn with_full_jitter_no_part_of_a_period_is_preferred() {
        let mut tenths = [0; 10];
        for (number, (begin, _)) in times(1.0, 9, 10_000).into_iter().enumerate() {
            let offset = begin - EVERY * number as u32;
            tenths[((offset.as_secs_f64() / 9.8 * 10.0) as usize).min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| (850..1150).contains(count)), "{tenths:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_windows() {
        assert_eq!(times(1.0, 5, 20), times(1.0, 5, 20));
        assert_ne!(times(1.0, 5, 20), times(1.0, 6, 20));
        assert!((Windows::new(ON, EVERY, 1.0, 1).probability() - 0.02).abs() < 1e-9);
    }
}
