//! `[ring]` and `[triggers]`: the flight recorder and what makes it dump; `[output]`: who may ask from outside.

use std::time::Duration;

/// `[ring]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingSection {
    /// Where the latest events are kept instead of in a growing trace.
    pub storage: RingStorage,
    /// How far back they reach.
    pub seconds: u64,
    /// What they may take, in memory or in files.
    pub max_bytes: usize,
    /// Steps of a dump; 0 is no limit.
    pub max_steps: u64,
    /// What is kept when the recording ends becomes its trace.
    pub keep_at_exit: bool,
}

impl Default for RingSection {
    fn default() -> Self {
        Self {
            storage: RingStorage::Off,
            // What led to an error or a slow request began seconds ago, not minutes.
            seconds: 30,
            // Some millions of steps at the few bytes that one takes, in half of the memory that a recording may take.
            max_bytes: 32 * 1024 * 1024,
            // As many as CodeTracer can hold in memory.
            max_steps: crate::pipeline::limits::PART_STEPS,
            keep_at_exit: true,
        }
    }
}

/// Where the latest events are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RingStorage {
    /// There is no flight recorder: the trace grows.
    #[default]
    Off,
    /// In memory: a killed process leaves only its dumps.
    Memory,
    /// In a bounded set of files: what a killed process leaves becomes a dump by `recover`.
    Files,
}

/// `[triggers]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggersSection {
    /// A signal, where the program has no handler for it.
    pub signal: TriggerSignal,
    /// An exception that nobody catches ends a thread or the program.
    pub uncaught_exception: bool,
    /// Qualified names of exceptions, separated by commas: one of them, or of a class derived from it, leaves a
    /// recorded call.
    pub exceptions: Option<String>,
    /// A request that takes longer; zero for none. The middleware measures it.
    pub slow_request: Duration,
    /// A request that ends with a status of 500 or more. The middleware sees it.
    pub server_errors: bool,
    /// Time from one dump by a trigger to the next; what comes between is counted, not dumped.
    pub min_interval: Duration,
    /// Dumps by triggers of one process; 0 is no limit.
    pub max_dumps: u64,
}

impl Default for TriggersSection {
    fn default() -> Self {
        Self {
            signal: TriggerSignal::None,
            uncaught_exception: false,
            exceptions: None,
            slow_request: Duration::ZERO,
            server_errors: false,
            // An error that comes with every request fills no disk.
            min_interval: Duration::from_secs(10),
            // Some megabytes each: what one looks at by hand, not a disk full.
            max_dumps: 100,
        }
    }
}

impl TriggersSection {
    /// The first key that wants dumps.
    pub(super) fn wanted(&self) -> Option<&'static str> {
        [
            (self.signal != TriggerSignal::None, "triggers.signal"),
            (self.uncaught_exception, "triggers.uncaught_exception"),
            (self.exceptions.is_some(), "triggers.exceptions"),
            (!self.slow_request.is_zero(), "triggers.slow_request"),
            (self.server_errors, "triggers.server_errors"),
        ]
        .into_iter()
        .find_map(|(wanted, key)| wanted.then_some(key))
    }
}

/// A signal that means nothing by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TriggerSignal {
    #[default]
    None,
    Usr1,
    Usr2,
}

/// `[output]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutputSection {
    /// Whether the recording can be controlled from outside, by a socket in its directory.
    pub control: ControlSocket,
}

/// Which recordings listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ControlSocket {
    /// Flight recorders: what runs for long, and is asked now and then.
    #[default]
    Auto,
    Always,
    Never,
}
