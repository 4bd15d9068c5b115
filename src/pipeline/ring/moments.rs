//! Moments of this process as times of the clock, and back: files outlive the process.
//!
//! Invariant: what cannot be told (the clock was set, the machine has not been up for so long) becomes the nearest time or
//! moment there is; nothing fails.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(super) fn system_time(moment: Instant) -> SystemTime {
    SystemTime::now().checked_sub(moment.elapsed()).unwrap_or(UNIX_EPOCH)
}

/// Nanoseconds since 1970.
pub(super) fn unix_nanos(moment: Instant) -> u64 {
    let since = system_time(moment).duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The moment of [`unix_nanos`]; now, where this machine has not been up for so long.
pub(super) fn moment(unix_nanos: u64) -> Instant {
    let now = Instant::now();
    let age = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_nanos(unix_nanos)).unwrap_or_default();
    now.checked_sub(age).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_being_written_as_a_time() {
        let past = Instant::now().checked_sub(Duration::from_millis(250)).unwrap_or_else(Instant::now);
        let again = moment(unix_nanos(past));
        let apart = again.max(past) - again.min(past);
        // Clocks are read one after the other, and other processes may run between.
        assert!(apart < Duration::from_secs(60), "{apart:?}");
        assert!(moment(0) <= Instant::now());
    }
}
