//! What one recording's pipeline is built from.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::limits::Limits;
use super::model::TraceFormat;
use super::ring::RingLimits;

/// Longest segment of a format that is stored as it is.
const MAX_PLAIN_SEGMENT: usize = 4 << 20;

/// Settings of one recording; make one with [`PipelineConfig::new`] and change what differs.
#[derive(Debug, Clone)]
pub struct PipelineConfig {
    /// Directory of the trace; created if missing.
    pub out_dir: PathBuf,
    pub format: TraceFormat,
    /// Absolute path of the program, path 0 of every stream.
    pub program: String,
    /// Base of `trace_metadata.json`, written when the recording starts and merged over when it stops.
    pub metadata: Map<String, Value>,
    /// Bytes of compact events that may wait for the encoder; beyond, producers get `NoRoom`.
    pub queue_bytes: usize,
    /// Size of one batch of compact events in bytes.
    pub batch_bytes: usize,
    /// Size of one frame in bytes before compression.
    pub segment_bytes: usize,
    /// zstd level.
    pub compression_level: i32,
    /// Threads that compress, at least one.
    pub compression_threads: usize,
    /// How often what is recorded so far is put on disk without being asked.
    pub flush_interval: Duration,
    /// The longest [`super::Pipeline::stop`] and [`super::Pipeline::flush`] take.
    pub stop_deadline: Duration,
    /// Whether `flush` and `stop` also wait until the files would survive a power cut.
    pub durable: bool,
    /// How large the recording, or one part of it, may become.
    pub limits: Limits,
    /// So many threads besides the first have a trace of their own in each part; further ones share.
    pub own_thread_traces: usize,
    /// Samples are marked in the streams: there are parts only while one lives.
    pub marked_samples: bool,
    /// Keep only the latest events, in memory or in files: a flight recorder.
    pub ring: Option<RingLimits>,
    /// A worker that panics on its first item; names as in [`super::spawn`].
    #[cfg(test)]
    pub(crate) panic_in: Option<&'static str>,
}

impl PipelineConfig {
    /// Defaults for everything but what only the caller knows.
    pub fn new(out_dir: impl Into<PathBuf>, format: TraceFormat, program: impl Into<String>) -> Self {
        Self { out_dir: out_dir.into(), format, program: program.into(), ..Self::default() }
    }

    /// Sealed chunks the queue to the encoder holds.
    pub(super) fn queue_chunks(&self) -> usize {
        (self.queue_bytes / self.batch_bytes.max(1)).max(2)
    }

    /// Bytes of events after which a segment ends. What is not packed takes as much memory, so it ends sooner.
    pub(super) fn segment_limit(&self) -> usize {
        match self.format {
            TraceFormat::Binary => self.segment_bytes,
            TraceFormat::Json => self.segment_bytes.min(MAX_PLAIN_SEGMENT),
        }
    }

    /// Segment buffers in the whole pipeline: one being filled and one in flight for each compressor, and two
    /// for the encoder and the writer to work on meanwhile.
    pub(super) fn segment_buffers(&self) -> usize {
        2 * self.compression_threads.max(1) + 2
    }
}

impl Default for PipelineConfig {
    fn default() -> Self {
        // One encoder feeds the compressors, and zstd 1 is about as fast as it: more than four would be idle.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            out_dir: PathBuf::from("trace-out"),
            format: TraceFormat::default(),
            program: String::new(),
            metadata: Map::new(),
            queue_bytes: 16 << 20,
            batch_bytes: 64 << 10,
            segment_bytes: 32 << 20,
            compression_level: 1,
            compression_threads: (cores - 1).clamp(1, 4),
            flush_interval: Duration::from_secs(1),
            stop_deadline: Duration::from_secs(60),
            durable: true,
            limits: Limits::default(),
            own_thread_traces: 100,
            marked_samples: false,
            ring: None,
            #[cfg(test)]
            panic_in: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacities_are_never_too_small_to_move() {
        let config = PipelineConfig { queue_bytes: 0, batch_bytes: 0, compression_threads: 0, ..Default::default() };
        assert_eq!((config.queue_chunks(), config.segment_buffers()), (2, 4));
        let config = PipelineConfig::new("/t", TraceFormat::Json, "/p.py");
        assert_eq!(config.queue_chunks(), 256);
        assert_eq!(config.program, "/p.py");
    }

    #[test]
    fn only_packed_segments_are_long() {
        let limit = |format, segment_bytes| {
            PipelineConfig { segment_bytes, ..PipelineConfig::new("/t", format, "/p.py") }.segment_limit()
        };
        assert_eq!(limit(TraceFormat::Binary, 64 << 20), 64 << 20);
        assert_eq!(limit(TraceFormat::Json, 64 << 20), MAX_PLAIN_SEGMENT);
        assert_eq!(limit(TraceFormat::Json, 100), 100);
    }
}
