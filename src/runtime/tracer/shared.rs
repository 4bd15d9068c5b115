//! What the threads of one session share.
//!
//! Invariants:
//! - Immutable after start, except atomics and the failure slot.
//! - Nothing here refers to Python objects.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::errors::RecorderError;
use crate::monitoring::EventSet;
use crate::pipeline::Pipeline;
use crate::pipeline::tables::Tables;
use crate::policy::model::Globals;
use crate::runtime::activation::ActivationGate;
use crate::runtime::bytecode::Opcodes;
use crate::runtime::entries::Entries;
use crate::runtime::inject::Injection;
use crate::runtime::io_capture::totals::Totals;
use crate::runtime::overhead::Overhead;
use crate::runtime::tracer::skipped_file::SkippedFile;
use crate::runtime::triggers::Triggers;
use crate::runtime::value::{Limits, names::SharedTypes};
use crate::sampling::log::SamplingLog;
use crate::trace_filter::{TraceFilterEngine, ValueAction, ValueKind};

/// See the module docs.
#[derive(Debug)]
pub struct Shared {
    /// Number of the session in this process; decisions of earlier sessions are recognised by it.
    pub generation: u64,
    /// The extra slot of code objects.
    pub code_slot: isize,
    pub pipeline: Pipeline,
    pub tables: Arc<Tables>,
    pub types: Arc<SharedTypes>,
    pub engine: TraceFilterEngine,
    pub skipped_file: SkippedFile,
    pub limits: Limits,
    pub globals: Globals,
    pub module_name_from_globals: bool,
    pub block_when_full: bool,
    /// Return values are recorded; else every return shows None.
    pub record_returns: bool,
    /// Exceptions are recorded as the value of the return they cause.
    pub record_exceptions: bool,
    /// Events of recorded code objects.
    pub local_events: EventSet,
    /// The same without lines.
    pub call_events: EventSet,
    /// Only these are wanted now. Changes only while recording is paused.
    pub only_calls: AtomicBool,
    /// How the session is sampled; `None`: everything is recorded.
    pub sampling: Option<Arc<SamplingLog>>,
    /// Which calls are sampled, if sampling goes by them.
    pub entries: Option<Entries>,
    pub gate: ActivationGate,
    /// Directory that relative file names are relative to.
    pub cwd: PathBuf,
    /// `sys.path` entries, for the legacy module names.
    pub search_path: Vec<PathBuf>,
    pub opcodes: Opcodes,
    pub stats: Stats,
    /// What callbacks cost.
    pub overhead: Overhead,
    pub injection: Injection,
    pub state: SessionState,
    /// What makes the flight recorder dump by itself, if there is one.
    pub triggers: Option<Triggers>,
}

/// How the session goes.
#[derive(Debug, Default)]
pub struct SessionState {
    /// Why nothing is recorded: bits of `halt`; 0 while it is.
    halted: AtomicU8,
    /// How often recording was resumed.
    epoch: AtomicU32,
    recorded: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

/// Why nothing is recorded now.
mod halt {
    pub const ENDED: u8 = 1;
    pub const PAUSED: u8 = 2;
    /// Nothing, and all events have been switched off.
    pub const SILENT: u8 = 4;
}

/// The first failure of a session, as plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: crate::errors::ErrorCode,
    pub kind: crate::errors::ErrorKind,
    pub message: String,
}

impl SessionState {
    /// Events are to be recorded.
    #[inline]
    pub fn is_recording(&self) -> bool {
        self.halted.load(Ordering::Relaxed) == 0
    }
    /// No further event is recorded.
    pub fn end(&self) {
        self.halted.fetch_or(halt::ENDED, Ordering::Relaxed);
    }
    /// The session has ended, of itself or by a failure.
    #[inline]
    pub fn has_ended(&self) -> bool {
        self.halted.load(Ordering::Relaxed) & halt::ENDED != 0
    }
    /// Once, for whoever switches all events off after the end.
    pub fn falls_silent(&self) -> bool {
        self.halted.fetch_or(halt::SILENT, Ordering::Relaxed) & halt::SILENT == 0
    }
    #[inline]
    pub fn is_paused(&self) -> bool {
        self.halted.load(Ordering::Relaxed) & halt::PAUSED != 0
    }
    /// No event is recorded until [`Self::resume`].
    pub fn pause(&self) {
        self.halted.fetch_or(halt::PAUSED, Ordering::Relaxed);
    }
    /// Events are recorded again. With the GIL held, after [`Self::next_epoch`].
    pub fn resume(&self) {
        self.halted.fetch_and(!halt::PAUSED, Ordering::Relaxed);
    }
    /// What threads know of their stacks, and the events of code objects, is void from here on.
    pub fn next_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }
    /// Counts the times recording was resumed. What a thread knows of an earlier epoch (its stack, the variables) and
    /// the events of a code object are void.
    #[inline]
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }
    /// At least one event was recorded.
    #[inline]
    pub fn mark_recorded(&self) {
        if !self.recorded.load(Ordering::Relaxed) {
            self.recorded.store(true, Ordering::Relaxed);
        }
    }
    pub fn has_recorded(&self) -> bool {
        self.recorded.load(Ordering::Relaxed)
    }
    /// Remembers the first failure and ends the recording.
    pub fn fail(&self, error: &RecorderError) {
        self.end();
        let mut slot = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert_with(|| Failure { code: error.code, kind: error.kind, message: error.to_string() });
    }
    pub fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Counts for the metadata: code objects skipped, values hidden and dropped per kind.
#[derive(Debug, Default)]
pub struct Stats {
    pub scopes_skipped: AtomicU64,
    /// Output and input that was recorded.
    pub io: Totals,
    redactions: [AtomicU64; 5],
    drops: [AtomicU64; 5],
}

const KINDS: [(ValueKind, &str); 5] = [
    (ValueKind::Argument, "argument"),
    (ValueKind::Local, "local"),
    (ValueKind::Global, "global"),
    (ValueKind::Return, "return"),
    (ValueKind::Attribute, "attribute"),
];

impl Stats {
    /// Counts one value that was not shown.
    #[inline]
    pub fn count(&self, action: ValueAction, kind: ValueKind) {
        self.count_many(action, kind, 1);
    }

    pub fn count_many(&self, action: ValueAction, kind: ValueKind, n: u64) {
        let table = match action {
            ValueAction::Allow => return,
            ValueAction::Redact | ValueAction::RedactData => &self.redactions,
            ValueAction::Drop => &self.drops,
        };
        if let Some(index) = KINDS.iter().position(|(known, _)| *known == kind) {
            table[index].fetch_add(n, Ordering::Relaxed);
        }
    }

    /// As the metadata shows it.
    pub fn to_json(&self) -> Value {
        let counts = |table: &[AtomicU64; 5]| -> Value {
            KINDS
                .iter()
                .zip(table)
                .map(|((_, name), n)| ((*name).to_owned(), json!(n.load(Ordering::Relaxed))))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        json!({
            "scopes_skipped": self.scopes_skipped.load(Ordering::Relaxed),
            "value_redactions": counts(&self.redactions),
            "value_drops": counts(&self.drops),
            "io": self.io.to_json(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_counted_by_kind() {
        let stats = Stats::default();
        stats.count(ValueAction::Redact, ValueKind::Argument);
        stats.count_many(ValueAction::Drop, ValueKind::Return, 3);
        stats.count(ValueAction::Allow, ValueKind::Local);
        let json = stats.to_json();
        assert_eq!(json["value_redactions"]["argument"], 1);
        assert_eq!(json["value_drops"]["return"], 3);
        assert_eq!(json["value_redactions"]["local"], 0);
    }

    #[test]
    fn a_pause_ends_with_a_new_epoch_and_a_failure_outlasts_it() {
        let state = SessionState::default();
        state.pause();
        assert!(!state.is_recording() && !state.has_ended());
        state.next_epoch();
        assert!(!state.is_recording());
        state.resume();
        assert_eq!((state.is_recording(), state.epoch()), (true, 1));
        state.pause();
        state.fail(&crate::bug!(Io, "no room"));
        state.resume();
        assert!(!state.is_recording() && state.has_ended());
    }

    #[test]
    fn the_first_failure_is_kept_and_ends_the_recording() {
        let state = SessionState::default();
        assert!(state.is_recording());
        state.fail(&crate::bug!(TraceIncomplete, "first"));
        state.fail(&crate::bug!(Io, "second"));
        assert!(!state.is_recording());
        assert_eq!(state.failure().map(|failure| failure.message), Some("first".to_owned()));
    }
}
