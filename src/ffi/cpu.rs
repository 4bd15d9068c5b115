//! The processor time of single threads, readable from any other.

use std::time::Duration;

/// The clock of one thread; reading it after the thread has ended gives nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadClock(#[cfg(target_os = "linux")] libc::clockid_t);

impl ThreadClock {
    /// The clock of the calling thread, where threads have one.
    pub fn of_this_thread() -> Option<Self> {
        #[cfg(target_os = "linux")]
        {
            let mut clock: libc::clockid_t = 0;
            // SAFETY: the calling thread exists, and `clock` is written before the call returns 0.
            let failed = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
            (failed == 0).then_some(Self(clock))
        }
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// Time its thread has spent on a processor so far.
    pub fn now(self) -> Option<Duration> {
        #[cfg(target_os = "linux")]
        {
            let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: writes `time`; a clock whose thread is gone is an error.
            let failed = unsafe { libc::clock_gettime(self.0, &raw mut time) };
            (failed == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
        }
        #[cfg(not(target_os = "linux"))]
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_computes_is_seen_to_do_so_from_another() {
        let clock = ThreadClock::of_this_thread().unwrap();
        let before = clock.now().unwrap();
        while clock.now().unwrap() < before + Duration::from_millis(20) {
            std::hint::black_box((0..1000).sum::<u64>());
        }
        let seen = std::thread::spawn(move || clock.now()).join().unwrap().unwrap();
        assert!(seen >= before + Duration::from_millis(20));
    }
}
