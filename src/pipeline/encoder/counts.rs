//! How many events of each kind a stream has written; what metadata and statistics report.

use std::ops::AddAssign;

/// Numbers of events written so far, definitions (paths, functions, types, names) left out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct EventCounts {
    /// `Step` events, those that open a call included.
    pub steps: u64,
    /// `Call` events, that of `<toplevel>` included.
    pub calls: u64,
    /// `Return` events; equal to `calls` once the stream is finished.
    pub returns: u64,
    /// `Value` events; arguments of calls are part of their `Call`.
    pub values: u64,
    /// Program input and output.
    pub io: u64,
    /// Events written on behalf of other parts of the recorder.
    pub other: u64,
    /// Those of `calls` that repeat calls in progress when the part began.
    pub continued: u64,
    /// Marks left where events are missing.
    pub gaps: u64,
    /// Events missing at those marks, as the producer counted them.
    pub lost: u64,
}

impl EventCounts {
    /// Events in the stream, without definitions.
    pub const fn total(&self) -> u64 {
        self.steps + self.calls + self.returns + self.values + self.io + self.other + self.gaps
    }
}

/// The counts of several streams together.
impl AddAssign for EventCounts {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.calls += other.calls;
        self.returns += other.returns;
        self.values += other.values;
        self.io += other.io;
        self.other += other.other;
        self.continued += other.continued;
        self.gaps += other.gaps;
        self.lost = self.lost.saturating_add(other.lost);
    }
}
