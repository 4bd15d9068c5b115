//! Counters of a running pipeline, read without stopping it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::Serialize;

use super::artifacts::{THREADS_DIR, thread_dir_name};
use super::encoder::EventCounts;
use super::layout::LossCause;
use super::losses::{LossCounts, Losses};
use super::part::{Part, PartSummary};
use super::ring::{RingMeter, RingStats};
use super::stream::StreamShared;

/// Summaries of so many ended parts are kept in memory; each is in its part's metadata, too.
const KEPT_PARTS: usize = 1000;

/// Name of a trace that threads share.
const POOLED: &str = "pooled";

/// What the pipeline has done so far.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PipelineStats {
    /// Events of all streams: steps, calls, returns, values and i/o.
    pub events: u64,
    /// Compact bytes taken from producers.
    pub bytes_in: u64,
    /// Bytes in CodeTracer's form, before compression.
    pub bytes_encoded: u64,
    /// Size of the events files.
    pub bytes_on_disk: u64,
    /// Chunks waiting for the encoder, and how many can.
    pub queue_depth: usize,
    pub queue_capacity: usize,
    /// How long the events that the encoder took last had waited for it; 0 while nothing waits.
    pub worker_lag_micros: u64,
    /// Events that are missing; after a failure also those that were handed over and are in no file.
    pub lost: u64,
    /// The same by cause.
    pub losses: LossCounts,
    /// The streams that have events in the part being recorded, in the order of their ids.
    pub streams: Vec<StreamSummary>,
    /// The parts that have ended, the latest of them; empty for a recording in one part.
    pub parts: Vec<PartSummary>,
    /// The flight recorder, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring: Option<RingStats>,
}

/// What a stream holds; also an entry of `streams` in `trace_metadata.json`.
#[derive(Debug, Clone, Serialize)]
pub struct StreamSummary {
    pub id: u32,
    /// Name of the thread.
    pub name: String,
    pub native_id: u64,
    /// How many threads share the trace, one after the other, if it is a shared one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// Its trace's directory, relative to that of its part; `.` for the first.
    pub directory: String,
    pub bytes_on_disk: u64,
    /// Events that were lost, by cause, if there are any.
    #[serde(skip_serializing_if = "LossCounts::is_empty")]
    pub losses: LossCounts,
    pub counts: EventCounts,
}

/// How a recording ended.
#[derive(Debug, Clone, Default)]
pub struct StopReport {
    pub stats: PipelineStats,
}

/// Locks without caring whether another holder panicked: every value here is valid at all times.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The counters of one stream: filled by encoder and writer, read by anybody.
#[derive(Debug)]
pub(super) struct StreamMeter {
    pub shared: Arc<StreamShared>,
    pub part: Arc<Part>,
    /// Set once the stream has a directory, relative to that of its part.
    pub directory: OnceLock<String>,
    pub bytes_on_disk: AtomicU64,
    /// Events that were handed over and encoded, or tried to be, and those of them that are in the file.
    pub taken: AtomicU64,
    pub written: AtomicU64,
    counts: Mutex<EventCounts>,
    /// Threads take turns in this trace; `shared` is the first one's.
    pub pooled: bool,
    /// How many have had theirs, who has it now, and what was lost that `shared` and that one do not know of.
    threads: AtomicU32,
    current: Mutex<Option<Arc<StreamShared>>>,
    earlier: Losses,
    /// Its thread goes on in the trace of a further part.
    left: AtomicBool,
}

impl StreamMeter {
    pub fn new(shared: Arc<StreamShared>, part: Arc<Part>) -> Arc<Self> {
        Self::make(shared, part, false)
    }

    /// Of a trace that threads share.
    pub fn pooled(shared: Arc<StreamShared>, part: Arc<Part>) -> Arc<Self> {
        Self::make(shared, part, true)
    }

    fn make(shared: Arc<StreamShared>, part: Arc<Part>, pooled: bool) -> Arc<Self> {
        Arc::new(Self {
            shared,
            part,
            pooled,
            threads: AtomicU32::new(0),
            current: Mutex::default(),
            earlier: Losses::default(),
            left: AtomicBool::new(false),
            directory: OnceLock::new(),
            bytes_on_disk: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            written: AtomicU64::new(0),
            counts: Mutex::default(),
        })
    }

    pub fn set_counts(&self, counts: &EventCounts) {
        lock(&self.counts).clone_from(counts);
    }

    /// A thread takes the trace over.
    pub fn enter(&self, thread: &Arc<StreamShared>) {
        self.threads.fetch_add(1, Ordering::Relaxed);
        *lock(&self.current) = Some(Arc::clone(thread));
    }

    /// That thread has ended.
    pub fn leave(&self, thread: &Arc<StreamShared>) {
        let mut current = lock(&self.current);
        self.earlier.add_all(thread.lost.take());
        *current = None;
    }

    /// Events that were lost on the way to this trace.
    pub fn losses(&self) -> LossCounts {
        let thread = self.thread();
        let mut losses = self.earlier.counts();
        if let Some(thread) = thread {
            losses += thread.lost.counts();
        }
        losses
    }

    /// The thread whose losses are losses of this trace now.
    fn thread(&self) -> Option<Arc<StreamShared>> {
        if self.left.load(Ordering::Acquire) {
            return None;
        }
        if self.pooled { lock(&self.current).clone() } else { Some(Arc::clone(&self.shared)) }
    }

    /// The part ends, and the thread goes on in another: what it lost until now was lost in this one.
    pub fn leave_to_next_part(&self) {
        if let Some(thread) = self.thread() {
            self.left.store(true, Ordering::Release);
            self.earlier.add_all(thread.lost.take());
        }
    }

    /// Nothing more will be written: what should have been is lost.
    fn lose_unwritten(&self) {
        let taken = self.taken.load(Ordering::Relaxed);
        let written = self.written.swap(taken, Ordering::Relaxed);
        self.earlier.add(LossCause::RecordingFailed, taken.saturating_sub(written));
    }

    /// Name of the thread, or what stands for the threads of a shared trace.
    pub fn name(&self) -> &str {
        if self.pooled { POOLED } else { &self.shared.info.name }
    }

    /// Native id of the thread; 0 if there are several.
    pub fn native_id(&self) -> u64 {
        if self.pooled { 0 } else { self.shared.info.native_id }
    }

    /// How many threads have shared the trace, if it is a shared one.
    pub fn threads(&self) -> Option<u32> {
        self.pooled.then(|| self.threads.load(Ordering::Relaxed))
    }

    /// Directory of the trace, relative to that of its part, whether it is there or not.
    pub fn place(&self) -> String {
        match self.shared.id {
            0 => ".".to_owned(),
            id => format!("{THREADS_DIR}/{}", thread_dir_name(id, self.name())),
        }
    }

    /// `None` until the stream has a directory.
    pub fn summary(&self) -> Option<StreamSummary> {
        let directory = self.directory.get()?;
        Some(StreamSummary {
            id: self.shared.id,
            name: self.name().to_owned(),
            native_id: self.native_id(),
            threads: self.threads(),
            directory: directory.clone(),
            bytes_on_disk: self.bytes_on_disk.load(Ordering::Relaxed),
            losses: self.losses(),
            counts: *lock(&self.counts),
        })
    }
}

/// The counters of one pipeline.
#[derive(Debug, Default)]
pub(super) struct Meters {
    pub bytes_in: AtomicU64,
    pub bytes_encoded: AtomicU64,
    /// How long the chunk that the encoder took last had waited for it.
    pub lag_micros: AtomicU64,
    /// Of the flight recorder, if there is one.
    pub ring: Arc<RingMeter>,
    /// Number of the part that is being encoded.
    pub part: AtomicU32,
    /// Losses of streams that are no longer in `streams`.
    pub lost: Losses,
    /// Events and bytes of the parts that have ended.
    ended_events: AtomicU64,
    ended_bytes: AtomicU64,
    parts: Mutex<Vec<PartSummary>>,
    streams: Mutex<Vec<Arc<StreamMeter>>>,
    /// Threads whose events the encoder did not read to the end.
    unread: Mutex<Vec<Arc<StreamShared>>>,
}

impl Meters {
    pub fn add(&self, meter: Arc<StreamMeter>) {
        lock(&self.streams).push(meter);
    }

    /// The encoder has failed before it had read all of these.
    pub fn remember(&self, threads: impl IntoIterator<Item = Arc<StreamShared>>) {
        lock(&self.unread).extend(threads);
    }

    /// After a failure, when no worker does anything any more: what was handed over and is in no file is lost, each
    /// event once, however often this is asked for.
    pub fn count_unwritten(&self) {
        let streams = self.streams();
        streams.iter().for_each(|meter| meter.lose_unwritten());
        for thread in &*lock(&self.unread) {
            let is_his = |meter: &Arc<StreamMeter>| meter.thread().is_some_and(|of| Arc::ptr_eq(&of, thread));
            let lost = if streams.iter().any(is_his) { &thread.lost } else { &self.lost };
            lost.add(LossCause::RecordingFailed, thread.take_unread());
        }
    }

    /// Forgets a stream that has no directory in its part and never will, or whose part has ended.
    pub fn forget(&self, meter: &Arc<StreamMeter>) {
        self.lost.add_all(meter.earlier.take());
        let mut streams = lock(&self.streams);
        streams.retain(|other| !Arc::ptr_eq(other, meter));
        if !streams.iter().any(|other| Arc::ptr_eq(&other.shared, &meter.shared)) {
            // Taken out there: the stream may come back in a later part.
            self.lost.add_all(meter.shared.lost.take());
        }
    }

    /// Size of a part's events files and its index, as far as they are on disk.
    pub fn part_bytes(&self, part: &Arc<Part>) -> u64 {
        let events: u64 = lock(&self.streams)
            .iter()
            .filter(|meter| Arc::ptr_eq(&meter.part, part))
            .map(|meter| meter.bytes_on_disk.load(Ordering::Relaxed))
            .sum();
        events + part.index_bytes.load(Ordering::Relaxed)
    }

    /// The streams of a part, in the order of their ids.
    pub fn streams_of(&self, part: &Arc<Part>) -> Vec<Arc<StreamMeter>> {
        let mut streams = self.streams();
        streams.retain(|meter| Arc::ptr_eq(&meter.part, part));
        streams
    }

    /// All files of a part are written: its streams become a summary.
    pub fn end_part(&self, part: &Arc<Part>, summary: &PartSummary) {
        for meter in self.streams_of(part) {
            self.forget(&meter);
        }
        self.ended_events.fetch_add(summary.counts.total(), Ordering::Relaxed);
        self.ended_bytes.fetch_add(summary.bytes_on_disk, Ordering::Relaxed);
        let mut parts = lock(&self.parts);
        if parts.len() == KEPT_PARTS {
            // The first one's metadata is that of the whole recording.
            parts.remove(1);
        }
        parts.push(summary.clone());
    }

    /// The streams so far, in the order of their ids.
    pub fn streams(&self) -> Vec<Arc<StreamMeter>> {
        let mut streams = lock(&self.streams).clone();
        streams.sort_by_key(|meter| meter.shared.id);
        streams
    }

    pub fn snapshot(&self, queue_depth: usize, queue_capacity: usize) -> PipelineStats {
        let mut stats = PipelineStats {
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_encoded: self.bytes_encoded.load(Ordering::Relaxed),
            losses: self.lost.counts(),
            queue_depth,
            queue_capacity,
            worker_lag_micros: if queue_depth == 0 { 0 } else { self.lag_micros.load(Ordering::Relaxed) },
            ..PipelineStats::default()
        };
        stats.events = self.ended_events.load(Ordering::Relaxed);
        stats.bytes_on_disk = self.ended_bytes.load(Ordering::Relaxed);
        stats.parts = lock(&self.parts).clone();
        for meter in self.streams() {
            stats.losses += meter.losses();
            let counts = *lock(&meter.counts);
            stats.events += counts.steps + counts.calls + counts.returns + counts.values + counts.io;
            if let Some(summary) = meter.summary() {
                stats.bytes_on_disk += summary.bytes_on_disk;
                stats.streams.push(summary);
            }
        }
        stats.lost = stats.losses.total();
        stats
    }
}
