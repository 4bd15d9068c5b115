//! The policy as plain data: what the user permits and wants of a recording.
//!
//! Invariants:
//! - Every field takes effect somewhere; a wish nobody implements has no field and is refused by name.
//! - [`RecorderPolicy::default`] is what runs when nobody says anything, and each default has its reason here.
//! - A policy is immutable once resolved; changing it means resolving a new one ([`super`]).

use std::path::PathBuf;
use std::time::Duration;

use super::flight::{OutputSection, RingSection, RingStorage, TriggersSection};
use super::units::Share;
use crate::pipeline::limits::Limits;
use crate::session::processes::RecordProcesses;

/// Everything that can be set, by section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecorderPolicy {
    /// `[recorder]`: what happens around a recording.
    pub recorder: RecorderSection,
    /// `[io_capture]`: how the program's input and output is recorded.
    pub io_capture: IoCaptureSection,
    /// `[values]`: which values are recorded, and how much of each.
    pub values: ValuesSection,
    /// `[events]`: which events are recorded.
    pub events: EventsSection,
    /// `[pipeline]`: queues and compression.
    pub pipeline: PipelineSection,
    /// `[durability]`: what a killed process may lose.
    pub durability: DurabilitySection,
    /// `[limits]`: how large a recording, or a part of it, may become.
    pub limits: Limits,
    /// `[sampling]`: recording some of what happens instead of all.
    pub sampling: SamplingSection,
    /// `[processes]`: which child processes are recorded.
    pub processes: ProcessesSection,
    /// `[ring]`: the flight recorder.
    pub ring: RingSection,
    /// `[triggers]`: what makes it dump.
    pub triggers: TriggersSection,
    /// `[output]`: what there is in the directory of a recording besides its trace.
    pub output: OutputSection,
}

/// `[recorder]`, the classic keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecorderSection {
    /// What the program notices when the recorder fails.
    pub on_recorder_error: OnRecorderError,
    /// A run without a single recorded event is an error.
    pub require_trace: bool,
    /// Files of a failed recording stay, instead of being removed.
    pub keep_partial_trace: bool,
    /// Filter of the recorder's log, e.g. `debug` or `codetracer_python_recorder=trace`. None: `RUST_LOG`, else `warn`.
    pub log_level: Option<String>,
    /// Where log lines are appended. None: stderr.
    pub log_file: Option<PathBuf>,
    /// Errors are also written to stderr as one line of JSON.
    pub json_errors: bool,
    /// Module frames are named after `__name__` of their globals.
    pub module_name_from_globals: bool,
    /// The command line returns the script's exit status instead of 0.
    pub propagate_script_exit: bool,
}

impl Default for RecorderSection {
    fn default() -> Self {
        Self {
            on_recorder_error: OnRecorderError::Abort,
            require_trace: false,
            keep_partial_trace: false,
            log_level: None,
            log_file: None,
            json_errors: false,
            module_name_from_globals: true,
            propagate_script_exit: false,
        }
    }
}

/// What the program notices when the recorder fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRecorderError {
    /// The error is raised.
    #[default]
    Abort,
    /// Recording ends; the program goes on as if nothing had happened.
    Disable,
}

/// `[io_capture]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoCaptureSection {
    /// `sys.stdout`, `sys.stderr` and `sys.stdin` are watched.
    pub line_proxies: bool,
    /// Output that bypasses them (C libraries, child processes) is read from the file descriptors.
    /// Only with `line_proxies`: without them it is off.
    pub fd_fallback: bool,
}

impl Default for IoCaptureSection {
    /// Descriptors are left alone by default: replacing them is visible to child processes.
    fn default() -> Self {
        Self { line_proxies: true, fd_fallback: false }
    }
}

/// `[values]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuesSection {
    /// Which globals are shown at a step.
    pub globals: Globals,
    /// Containers shown inside one another; what lies deeper is `…`.
    pub max_depth: usize,
    /// Items shown of one container; the rest is `… +N more`.
    pub max_items: usize,
    /// Characters shown of one text; the rest is `… +N more`.
    pub max_string: usize,
    /// Bytes of values copied for one step; what is left over is `…`.
    pub max_bytes_per_step: usize,
    /// Bytes recorded of one write to a stream, or one read; 0 is no limit.
    pub max_output_chunk: usize,
    /// Bytes recorded of all streams together; 0 is no limit.
    pub max_output_total: u64,
}

impl Default for ValuesSection {
    fn default() -> Self {
        Self {
            globals: Globals::Referenced,
            // What a person reads at one glance: a list of objects and their attributes. Each level multiplies the cost
            // of a step. CodeTracer refuses nesting beyond about 60, and a dict counts twice: hence at most 20.
            max_depth: 3,
            // A screen of items. Every step looks at what is visible, so this is paid at every line.
            max_items: 20,
            // A long line of log or a short paragraph: enough to recognise a text.
            max_string: 1000,
            // One batch of the pipeline: a step with huge variables costs what a thousand plain steps cost, at most.
            max_bytes_per_step: 64 * 1024,
            max_output_chunk: 0,
            max_output_total: 0,
        }
    }
}

/// Which globals are shown at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Globals {
    /// Those the running code can load and that are not modules, classes, functions or builtins.
    #[default]
    Referenced,
    /// All names of the module.
    All,
    /// None.
    Off,
}

/// `[events]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsSection {
    /// A step for every line that runs, with the variables visible there.
    pub lines: bool,
    /// Calls with their arguments. Without them there is only `<toplevel>`: steps, returns and exceptions belong to
    /// calls, and a script that nobody sees entered does not switch recording on.
    pub calls: bool,
    /// The values that calls return; without them a return shows none.
    pub returns: bool,
    /// Exceptions: what was raised, and that it left a call.
    pub exceptions: bool,
}

impl Default for EventsSection {
    fn default() -> Self {
        Self { lines: true, calls: true, returns: true, exceptions: true }
    }
}

impl EventsSection {
    /// Whether nothing at all is to be recorded (preset `off`).
    pub const fn none(&self) -> bool {
        !self.calls
    }
}

/// `[pipeline]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineSection {
    /// Bytes of events that may wait for the encoder, all threads together.
    pub queue_bytes: usize,
    /// Bytes handed from a program's thread to the encoder at a time.
    pub batch_bytes: usize,
    /// What happens when the queue is full.
    pub on_full: OnFull,
    /// zstd level.
    pub compression_level: i32,
    /// Threads that compress; 0 chooses by the number of processors.
    pub compression_threads: usize,
    /// Uncompressed bytes of one zstd frame, the unit in which a trace is compressed and sought.
    pub segment_bytes: usize,
}

impl Default for PipelineSection {
    fn default() -> Self {
        Self {
            // Half of the 64 MiB a recording may take: rides out a pause of the disk of some tenths of a second.
            queue_bytes: 32 * 1024 * 1024,
            // From here on the cost of handing over no longer shows (under 4 ns per event).
            batch_bytes: 64 * 1024,
            on_full: OnFull::Block,
            // Traces repeat themselves so much that higher levels cost time and save little.
            compression_level: 1,
            compression_threads: 0,
            // Large enough for repetitions to be found, small enough to compress frames in parallel; readers hold one.
            segment_bytes: 32 * 1024 * 1024,
        }
    }
}

/// What a full queue does to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// The program waits: the trace is complete.
    #[default]
    Block,
    /// Events are dropped, counted, and marked in the trace: the program never waits.
    Drop,
}

/// `[durability]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurabilitySection {
    /// How long recorded events may stay in memory before they are written to the file.
    pub flush_interval: Duration,
    /// A signal that ends the program by its default action finishes the recording first.
    pub finish_on_signals: bool,
}

impl Default for DurabilitySection {
    /// What one would have to repeat after a crash, against a file touched once a second.
    fn default() -> Self {
        Self { flush_interval: Duration::from_secs(1), finish_on_signals: true }
    }
}

/// `[sampling]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamplingSection {
    /// What decides when to record.
    pub mode: SamplingMode,
    /// Seed of the generator that decides; 0: a new one for each recording.
    pub seed: u64,
    /// Mode `windows`: length of a window.
    pub on: Duration,
    /// Mode `windows`: the period, in which there is one window.
    pub every: Duration,
    /// Mode `windows`: share of the free time of a period in which the window may begin.
    pub jitter: Share,
    /// Mode `entries`: selectors of the functions whose calls are sampled, separated by commas.
    pub entries: Option<String>,
    /// Mode `entries`: share of their calls that are recorded.
    pub rate: Share,
    /// Mode `budget`: share of the time that recording may cost.
    pub budget: Share,
}

impl Default for SamplingSection {
    fn default() -> Self {
        Self {
            mode: SamplingMode::Off,
            seed: 0,
            // Together 1 % of the time: several requests of a busy service, ten times a minute.
            on: Duration::from_millis(100),
            every: Duration::from_secs(10),
            // Each moment is as likely as any other: nothing that has a rhythm hides.
            jitter: Share::percent(100),
            entries: None,
            rate: Share::percent(1),
            budget: Share::percent(2),
        }
    }
}

/// What decides when to record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SamplingMode {
    /// Everything is recorded.
    #[default]
    Off,
    /// Windows of time.
    Windows,
    /// Some calls of some functions, each whole.
    Entries,
    /// Bursts that keep within a share of the time.
    Budget,
}

/// `[processes]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProcessesSection {
    /// Which child processes are recorded. A program that starts a session by itself decides for itself; a run that is
    /// recorded from outside is to be recorded whole.
    pub record: RecordProcesses,
}

impl RecorderPolicy {
    /// Applies the rules that tie one key to another.
    ///
    /// # Errors
    /// The pair of keys that contradict each other, and how.
    pub(super) fn settle(&mut self) -> Result<(), Contradiction> {
        self.io_capture.fd_fallback &= self.io_capture.line_proxies;
        if self.pipeline.batch_bytes > self.pipeline.queue_bytes / 2 {
            return Err(Contradiction {
                key: "pipeline.batch_bytes",
                other: "pipeline.queue_bytes",
                rule: "must be at most half of",
            });
        }
        if self.events.lines && !self.events.calls {
            let (key, other) = ("events.lines", "events.calls");
            return Err(Contradiction { key, other, rule: "shows lines within their calls and needs 'true' as" });
        }
        let sampling = &self.sampling;
        if sampling.on > sampling.every {
            let (key, other) = ("sampling.on", "sampling.every");
            return Err(Contradiction { key, other, rule: "must be at most" });
        }
        if sampling.mode == SamplingMode::Entries && sampling.entries.is_none() {
            let (key, other) = ("sampling.entries", "sampling.mode");
            return Err(Contradiction { key, other, rule: "must name functions for" });
        }
        let (limits, ring) = (&self.limits, "ring.storage");
        if self.ring.storage == RingStorage::Off {
            return match self.triggers.wanted() {
                Some(key) => Err(Contradiction { key, other: ring, rule: "needs 'memory' or 'files' as" }),
                None => Ok(()),
            };
        }
        if self.sampling.mode != SamplingMode::Off {
            let rule = "chooses what is kept, as the flight recorder does, and needs 'off' as";
            return Err(Contradiction { key: "sampling.mode", other: ring, rule });
        }
        let limited = [
            (limits.max_bytes > 0, "limits.max_bytes"),
            (limits.max_steps > 0, "limits.max_steps"),
            (!limits.max_duration.is_zero(), "limits.max_duration"),
        ];
        match limited.into_iter().find(|(set, _)| *set) {
            Some((_, key)) => {
                Err(Contradiction { key, other: ring, rule: "limits a trace that grows and needs 'off' as" })
            }
            None => Ok(()),
        }
    }
}

/// Two keys whose values exclude each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contradiction {
    pub key: &'static str,
    pub other: &'static str,
    pub rule: &'static str,
}
