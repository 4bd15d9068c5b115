//! Before the program's next output is recorded: what others put out before it, so that the trace has both in the order
//! of the program.
//!
//! Invariants:
//! - Waiting is done with nothing locked that Python needs and without the GIL, and altogether no longer than [`CREDIT`]
//!   and a tenth of the time that passes: a child that writes without end, or a reader that does not read, does not hold
//!   the program back.
//! - Where nobody wrote, no more is done than asking the system once where a pipe or file stands.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::mirror::{OnePiece, Queue, read_files};
use crate::ffi::direct::Catcher;
use crate::ffi::monitoring::without_gil;

/// How long may be waited until time has passed.
const CREDIT: Duration = Duration::from_secs(1);
/// The share of the time that may be spent waiting, beyond that.
const SHARE: u32 = 10;
/// How long at a time.
const LONGEST: Duration = Duration::from_millis(250);

static CATCHING: ArcSwapOption<Catching> = ArcSwapOption::const_empty();
static IS_WANTED: AtomicBool = AtomicBool::new(false);

/// What has to have come, and where it goes.
#[derive(Debug)]
pub struct Catching {
    pub catchers: Arc<Vec<Catcher>>,
    /// The stream of each, and the bytes that arrived from it.
    pub received: Vec<(u8, Arc<AtomicU64>)>,
    pub piece: Arc<OnePiece>,
    pub queue: Arc<Queue>,
    pub credit: Mutex<Credit>,
}

/// From now on output waits for what came before it, or no more.
pub fn publish(catching: Option<Catching>) {
    IS_WANTED.store(catching.is_some(), Ordering::Relaxed);
    CATCHING.store(catching.map(Arc::new));
}

/// In a forked child: what others write is the parent's business.
pub fn forget() {
    IS_WANTED.store(false, Ordering::Relaxed);
    std::mem::forget(CATCHING.swap(None));
}

/// Others may have written.
#[inline]
pub fn is_wanted() -> bool {
    IS_WANTED.load(Ordering::Relaxed)
}

/// Waits until what others have written where this stream goes is in the queue. Call it with the GIL held and nothing
/// locked.
pub fn now(stream: u8) {
    let Some(catching) = CATCHING.load_full() else { return };
    if !catching.is_settled(stream) {
        without_gil(|| catching.wait(stream));
    }
}

impl Catching {
    fn is_settled(&self, stream: u8) -> bool {
        // A stream without a catcher of its own goes where another goes.
        let has_own = self.received.iter().any(|(of, _)| *of == stream);
        let mut concerned = self.catchers.iter().zip(&self.received).filter(|(_, (of, _))| !has_own || *of == stream);
        concerned.all(|(catcher, (_, received))| match catcher {
            // In this order: what has left the pipe has been counted as a copy.
            Catcher::Relay(relay) => relay.is_settled() && received.load(Ordering::SeqCst) >= relay.copied(),
            Catcher::File(file) => file.is_settled(),
            Catcher::Terminal(_) => true,
        })
    }

    #[cold]
    fn wait(&self, stream: u8) {
        let began = Instant::now();
        let credit = || self.credit.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = credit().at(began).min(LONGEST);
        loop {
            self.read_files();
            let waited = began.elapsed();
            if waited >= patience || self.is_settled(stream) {
                credit().spend(waited);
                return;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    fn read_files(&self) {
        for (catcher, (stream, _)) in self.catchers.iter().zip(&self.received) {
            if let Catcher::File(file) = catcher {
                let stood = file.stands();
                read_files(std::slice::from_ref(catcher), &[*stream], &self.queue, &self.piece);
                // Where there was no room for all, the calling thread makes some now.
                file.settle(stood);
            }
        }
    }
}

/// Time that may be spent waiting: it is given as time passes.
#[derive(Debug)]
pub struct Credit {
    left: Duration,
    known: Instant,
}

impl Credit {
    pub fn new(now: Instant) -> Self {
        Self { left: CREDIT, known: now }
    }

    /// What there is now.
    fn at(&mut self, now: Instant) -> Duration {
        self.left = (self.left + now.saturating_duration_since(self.known) / SHARE).min(CREDIT);
        self.known = now;
        self.left
    }

    fn spend(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_a_share_of_the_time_is_spent_waiting() {
        let start = Instant::now();
        let mut credit = Credit::new(start);
        assert_eq!(credit.at(start + Duration::from_secs(60)), CREDIT, "it does not grow without end");
        let (mut now, mut waited) = (start + Duration::from_secs(60), Duration::ZERO);
        for _ in 0..1000 {
            let wait = credit.at(now).min(LONGEST);
            credit.spend(wait);
            waited += wait;
            now += wait + Duration::from_millis(10);
        }
        let passed = now - start - Duration::from_secs(60);
        assert!(waited <= CREDIT + passed / SHARE, "{waited:?} of {passed:?}");
        assert!(waited >= passed / (SHARE + 1));
    }
}
