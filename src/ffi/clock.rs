//! The clock that `time.monotonic_ns()` reads, so that what programs note of time can be compared with recordings.

/// Nanoseconds of the monotonic clock.
#[cfg(unix)]
pub fn monotonic_nanos() -> u64 {
    #[cfg(target_os = "macos")]
    const CLOCK: libc::clockid_t = libc::CLOCK_UPTIME_RAW;
    #[cfg(not(target_os = "macos"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes `time`. The clock exists on every supported system; were it missing, the time would stay 0.
    unsafe { libc::clock_gettime(CLOCK, &raw mut time) };
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

/// Nanoseconds since this was first called.
#[cfg(not(unix))]
pub fn monotonic_nanos() -> u64 {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed().as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on() {
        let before = monotonic_nanos();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(monotonic_nanos() >= before + 2_000_000);
    }
}
