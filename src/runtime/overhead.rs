//! What the recorder's callbacks cost the program, estimated while it runs.
//!
//! Invariants:
//! - One callback in [`EVERY`] on average is measured, at irregular distances so that no rhythm of the program hides
//!   from it; the others pay one decrement and a branch.
//! - What the interpreter does around a callback is added as [`DISPATCH_NANOS`] for each event.
//! - What is rare and slow (deciding about code, switching its events on) is measured every time and is in no sample.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Callbacks per measurement, on average: two looks at the clock cost less than half a nanosecond per event then.
const EVERY: u32 = 128;

/// What an event costs before the callback does anything and after: CPython's dispatch and the call of a C function,
/// measured with a callback that returns at once.
const DISPATCH_NANOS: u64 = 15;

/// A measurement above this was interrupted by something else (the thread had lost its processor), or is of a callback
/// that is not like the others: it stands for itself only.
const USUAL: Duration = Duration::from_micros(100);
/// It counts for no more than this.
const MOST: Duration = Duration::from_millis(10);

/// The sums of all threads.
#[derive(Debug, Default)]
pub struct Overhead {
    events: AtomicU64,
    nanos: AtomicU64,
}

impl Overhead {
    /// Callbacks so far, up to those that the threads have not reported yet.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Does something rare, and counts what it takes.
    pub fn charged<T>(&self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.nanos.fetch_add(started.elapsed().min(MOST).as_nanos() as u64, Ordering::Relaxed);
        result
    }

    /// Time spent on them by the threads of the program.
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed) + self.events() * DISPATCH_NANOS)
    }
}

/// One thread's measurements.
#[derive(Debug)]
pub struct Timer {
    /// Callbacks until the next measurement, and since the last one.
    left: u32,
    distance: u32,
    seed: u32,
}

impl Default for Timer {
    fn default() -> Self {
        Self { left: 1, distance: 1, seed: 0x9e37_79b9 }
    }
}

impl Timer {
    /// At the start of a callback: the time, if this one is measured.
    #[inline]
    pub fn start(&mut self) -> Option<Instant> {
        self.left -= 1;
        if self.left > 0 {
            return None;
        }
        Some(Instant::now())
    }

    /// At the end of a callback that is measured.
    #[cold]
    pub fn stop(&mut self, started: Instant, overhead: &Overhead) {
        let took = started.elapsed();
        let stands_for = if took > USUAL { 1 } else { u64::from(self.distance) };
        let nanos = took.min(MOST).as_nanos() as u64;
        overhead.events.fetch_add(u64::from(self.distance), Ordering::Relaxed);
        overhead.nanos.fetch_add(nanos * stands_for, Ordering::Relaxed);
        // Xorshift: enough to be irregular.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 17;
        self.seed ^= self.seed << 5;
        self.distance = EVERY / 2 + self.seed % EVERY;
        self.left = self.distance;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_callback_in_about_128_is_measured_and_stands_for_all_of_them() {
        let (mut timer, overhead) = (Timer::default(), Overhead::default());
        let mut measured = 0u64;
        for _ in 0..128_000 {
            if let Some(clock) = timer.start() {
                measured += 1;
                timer.stop(clock, &overhead);
            }
        }
        assert!((800..1250).contains(&measured), "{measured}");
        assert!((127_000..=128_000).contains(&overhead.events()), "{}", overhead.events());
        assert!(overhead.time() >= Duration::from_nanos(overhead.events() * DISPATCH_NANOS));
    }

    #[test]
    fn what_is_rare_counts_every_time() {
        let overhead = Overhead::default();
        for _ in 0..3 {
            assert_eq!(overhead.charged(|| std::thread::sleep(Duration::from_millis(2))), ());
        }
        assert!(overhead.time() >= Duration::from_millis(6), "{:?}", overhead.time());
        assert_eq!(overhead.events(), 0);
    }

    #[test]
    fn a_callback_that_was_interrupted_counts_no_more_than_a_moment() {
        let (mut timer, overhead) = (Timer::default(), Overhead::default());
        timer.start();
        timer.stop(Instant::now() - Duration::from_secs(5), &overhead);
        assert!(overhead.time() < Duration::from_millis(11), "{:?}", overhead.time());
    }
}
