//! How much processor time the recorder's own threads have used.
//!
//! Invariants:
//! - A thread that has ended counts with what it used; nothing is counted twice.
//! - No lock: a child made by `fork` uses this at once, whatever its parent's threads were doing.

use std::sync::LazyLock;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::ffi::cpu::ThreadClock;

#[derive(Debug, Clone, Default)]
struct Threads {
    running: Vec<ThreadClock>,
    ended: Duration,
}

static THREADS: LazyLock<ArcSwap<Threads>> = LazyLock::new(ArcSwap::default);

/// While it lives, the time of the thread that made it counts.
#[derive(Debug)]
pub(super) struct Counted(Option<ThreadClock>);

impl Counted {
    pub fn this_thread() -> Self {
        let clock = ThreadClock::of_this_thread();
        THREADS.rcu(|threads| {
            let mut threads = Threads::clone(threads);
            threads.running.extend(clock);
            threads
        });
        Self(clock)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(clock) = self.0 else { return };
        let used = clock.now().unwrap_or_default();
        THREADS.rcu(|threads| {
            let mut threads = Threads::clone(threads);
            threads.running.retain(|other| *other != clock);
            threads.ended += used;
            threads
        });
    }
}

/// Time used by all workers of this process so far, those of earlier recordings included.
pub fn total() -> Duration {
    let threads = THREADS.load();
    threads.running.iter().filter_map(|clock| clock.now()).sum::<Duration>() + threads.ended
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_thread_counts_while_it_runs_and_afterwards() {
        let before = total();
        std::thread::spawn(|| {
            let _counted = Counted::this_thread();
            let clock = ThreadClock::of_this_thread().unwrap();
            while clock.now().unwrap() < Duration::from_millis(20) {
                std::hint::black_box((0..1000).sum::<u64>());
            }
        })
        .join()
        .unwrap();
        assert!(total() >= before + Duration::from_millis(20));
    }
}
