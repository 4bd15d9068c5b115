//! What the producers and the encoder let each other know beside the records: that output waits which nothing may follow
//! (a prompt), and that the encoder has left.
//!
//! Invariants:
//! - Announcing costs one load as long as the encoder knows already; it is woken once for each time it has looked.
//! - A chunk sent before [`Waiting::leave`] is in the queue then; whoever sends one later finds [`Waiting::is_over`].
//! - What was pushed before [`Waiting::announce`] is seen by whoever looks after [`Waiting::was_announced`].

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::ffi::sync::{AtomicBool, Ordering};

/// How often the encoder looks while output waits. What waits at two looks has waited long enough, so that is after 5 ms
/// at most.
pub(super) const LOOK: Duration = Duration::from_micros(2_500);

/// The earliest that output which has waited long enough is put on disk after the last time.
pub(super) const SHOW: Duration = Duration::from_millis(100);

/// See the module docs.
#[derive(Debug)]
pub(super) struct Waiting {
    announced: AtomicBool,
    over: AtomicBool,
    nudge: Sender<()>,
}

impl Waiting {
    /// `nudge` has room for one message.
    pub fn new(nudge: Sender<()>) -> Arc<Self> {
        Arc::new(Self { announced: AtomicBool::new(false), over: AtomicBool::new(false), nudge })
    }

    /// Something was pushed that may not stay as it is for long. Of the orders of steps that matter, `output_waits` in
    /// `stream` makes sure.
    #[inline]
    pub fn announce(&self) {
        if !self.announced.load(Ordering::Relaxed) {
            self.announce_first();
        }
    }

    #[cold]
    fn announce_first(&self) {
        if !self.announced.swap(true, Ordering::AcqRel) {
            // No room: the encoder is about to look. No encoder: nobody needs to.
            let _ = self.nudge.try_send(());
        }
    }

    /// The encoder takes no chunk any more; what is in the queue after this is dropped.
    pub fn leave(&self) {
        self.over.swap(true, Ordering::AcqRel);
    }

    /// Whether a chunk that was sent may be left in the queue for good.
    pub fn is_over(&self) -> bool {
        // As in `leave`, a change and not a load, so one of the two has the other's value: this finds that the encoder has
        // left, or the encoder has all that was sent before when it looks into the queue. No fence is needed.
        self.over.fetch_or(false, Ordering::AcqRel)
    }

    /// Whether there was anything since this was asked last.
    pub fn was_announced(&self) -> bool {
        self.announced.swap(false, Ordering::AcqRel)
    }
}
