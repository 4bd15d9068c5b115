//! The turns of a stream (see [`crate::pipeline::turns`]), each with its place in the trace.
//!
//! Invariants:
//! - Before the first event of a stream or part there is a turn: one that goes on from the part before is told again,
//!   with its number and time, unless the part begins with another.
//! - Turns that nobody takes are few: whoever feeds the encoder takes them.

use super::counts::EventCounts;

/// Where in a trace its thread began to record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    pub number: u64,
    pub nanos: u64,
    /// Steps and events of the trace before it, definitions left out.
    pub steps: u64,
    pub events: u64,
}

/// The turns of one stream.
#[derive(Debug, Clone, Default)]
pub(super) struct StreamTurns {
    /// Number and time of the latest.
    latest: Option<(u64, u64)>,
    /// The part has none yet.
    untold: bool,
    begun: Vec<Turn>,
}

impl StreamTurns {
    pub fn begin_part(&mut self) {
        self.untold = true;
        self.begun.clear();
    }

    pub fn take(&mut self) -> Vec<Turn> {
        std::mem::take(&mut self.begun)
    }

    /// The thread has the turn from here on.
    pub fn begin(&mut self, number: u64, nanos: u64, before: &EventCounts) {
        self.latest = Some((number, nanos));
        self.untold = false;
        self.begun.push(Turn { number, nanos, steps: before.steps, events: before.total() });
    }

    /// Records come that begin no turn.
    pub fn go_on(&mut self, before: &EventCounts) {
        if self.untold
            && let Some((number, nanos)) = self.latest
        {
            self.begin(number, nanos, before);
        }
    }

    /// The thread has the turn from its next record on, whatever trace that is in.
    pub fn announce(&mut self, number: u64, nanos: u64) {
        self.latest = Some((number, nanos));
        self.untold = true;
    }
}
