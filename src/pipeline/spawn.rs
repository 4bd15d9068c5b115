//! Wires one recording's pipeline, sink first, and is the place that shows the whole picture.
//!
//! ```text
//!                opened (∞)                                     buffers (4)
//!              ┌─────────────────┐                 ┌───────────────────────────────────────┐
//!              │                 ▼                 ▼                                       │
//!  producers ──┼─ sealed (256) ─► ct-encoder ──► ct-zstd-N ─── frames (36) ──► ct-writer ──┴─► storage
//!     ▲        └─ nudges (1) ───► │    ▲                                            │ replies
//!     └────────── free (16) ──────┘    │ control (∞)                                ▼
//!                                      │                                   whoever asked to flush
//!  Pipeline ──── mailbox (∞) ──────► ct-lifecycle ──► storage (metadata, state)
//!
//!  flight recorder:  ct-encoder ──── dumps (4) ──► ct-dumper ──► storage (traces of their own)
//!                         └─────► storage (the ring itself, if it is kept in files)
//! ```
//!
//! In brackets the capacities by default and with one compression thread:
//!
//! | channel | capacity | what it bounds |
//! |---|---|---|
//! | `sealed` | 256 | `queue_bytes / batch_bytes` chunks of compact events; full means `NoRoom` for producers |
//! | `free` | 16 | chunks kept for producers to use again; beyond, their memory is given back |
//! | `buffers` | 4 | two segments for each compression thread and two more: all encoded bytes in flight |
//! | `frames` | 36 | the segments in flight and a few marks |
//! | `dumps` | 4 | dumps that wait while one is written: each keeps a ring of memory alive |
//! | `nudges` | 1 | output waits for more: one notice until the encoder has looked |
//! | `opened` | ∞ | one small entry per new thread, taken at once; after a failure by `ct-lifecycle`, for the count of losses |
//! | `control` | ∞ | orders to the encoder, one per caller that waits |
//! | `mailbox` | ∞ | requests, one per caller that waits, and at most one notice of a failure |
//!
//! Nothing flows against the arrows, so a full channel stops the stages before it and no others; a stage that
//! waits does so in steps, and looks for a failure between them. A JSON trace has no `ct-zstd-N`, and only a flight
//! recorder has a `ct-dumper`.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::errors::RecorderResult;
use crate::ffi::chunk::Chunk;
use crate::storage::Storage;

use super::artifacts;
use super::compressor::CompressorPool;
use super::config::PipelineConfig;
use super::encoder::StreamEncoder;
use super::encoder_actor::{self, EncoderInbox, EncoderParts};
use super::lifecycle::Lifecycle;
use super::messages::{EncoderControl, LifecycleMessage};
use super::model::{Exit, TraceFormat};
use super::ring::Ring;
use super::ring::dump::Dumper;
use super::ring::files::RingFiles;
use super::stats::Meters;
use super::stream::{SealedChunk, StreamShared};
use super::supervisor::{Supervisor, Worker};
use super::tables::Tables;
use super::waiting::Waiting;
use super::writer::Writer;

/// Chunks kept for reuse.
const FREE_CHUNKS: usize = 16;
/// Room for marks and finishes beside the segments.
const MARKS: usize = 32;
/// Dumps that may wait.
const DUMPS: usize = 4;

/// How much each bounded channel holds, in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Capacities {
    sealed: usize,
    free: usize,
    buffers: usize,
    frames: usize,
    dumps: usize,
    nudges: usize,
}

impl Capacities {
    fn of(config: &PipelineConfig) -> Self {
        let buffers = config.segment_buffers();
        Self {
            sealed: config.queue_chunks(),
            free: FREE_CHUNKS,
            buffers,
            frames: buffers + MARKS,
            dumps: DUMPS,
            nudges: 1,
        }
    }
}

/// The ends of a running pipeline that its handle holds.
#[derive(Debug)]
pub(super) struct Handles {
    pub mailbox: flume::Sender<LifecycleMessage>,
    pub sealed: Sender<SealedChunk>,
    pub opened: Sender<Arc<StreamShared>>,
    pub free: Receiver<Arc<Chunk>>,
    pub waiting: Arc<Waiting>,
    pub supervisor: Arc<Supervisor>,
    pub meters: Arc<Meters>,
}

/// Prepares the trace directory and starts the workers.
pub(super) fn spawn(
    config: &Arc<PipelineConfig>,
    tables: Arc<Tables>,
    storage: Arc<dyn Storage>,
) -> RecorderResult<Handles> {
    artifacts::prepare(&*storage, config)?;

    let capacity = Capacities::of(config);
    let (mailbox_sender, mailbox) = flume::unbounded();
    let supervisor = Supervisor::new(mailbox_sender.clone());
    let meters = Arc::new(Meters::default());

    // The writer: its channel ends when the encoder and the last compression job are gone.
    let (frames_sender, frames) = bounded(capacity.frames);
    let (buffers_sender, buffers) = bounded(capacity.buffers);
    let mut empty_trace = Vec::new();
    StreamEncoder::new(Arc::clone(&tables), config.format, &config.program).finish(Exit::Unknown, &mut empty_trace);
    let writer = Writer::new(
        frames,
        buffers_sender,
        Arc::clone(&storage),
        Arc::clone(&supervisor),
        Arc::clone(&meters),
        Arc::clone(config),
        empty_trace,
    )?;
    let writer_worker = Worker::start("ct-writer", move || writer.run())?;

    // The compressors, which the encoder owns.
    let threads = match config.format {
        TraceFormat::Binary => Some(config.compression_threads),
        TraceFormat::Json => None,
    };
    let level = config.compression_level;
    #[cfg_attr(not(test), expect(unused_mut, reason = "tests inject a panic"))]
    let mut output = CompressorPool::start(threads, level, frames_sender, Arc::clone(&supervisor))?;
    #[cfg(test)]
    {
        output.panic_now = config.panic_in == Some(super::compressor::STAGE);
    }

    // The dumper: its channel ends when the encoder is gone.
    let (dumps_sender, dumps) = bounded(capacity.dumps);
    let mut dumper_worker = None;
    let (mut ring, mut ring_dir) = (None, None);
    if let Some(limits) = &config.ring {
        let dumper = Dumper {
            jobs: dumps,
            config: Arc::clone(config),
            storage: Arc::clone(&storage),
            supervisor: Arc::clone(&supervisor),
            meter: Arc::clone(&meters.ring),
        };
        dumper_worker = Some(Worker::start("ct-dumper", move || dumper.run())?);
        let files = limits.in_files.then(|| RingFiles::create(config, &tables, &storage)).transpose()?;
        ring_dir = files.as_ref().map(|files| files.dir().to_owned());
        ring = Some((Ring::new(limits.clone(), files, Arc::clone(&meters.ring))?, dumps_sender));
    }

    // The encoder. It disconnects the producers' channel when it ends.
    let (sealed_sender, sealed) = bounded(capacity.sealed);
    let (free_sender, free) = bounded(capacity.free);
    let (opened_sender, opened) = unbounded();
    let (control_sender, control) = unbounded::<EncoderControl>();
    let (nudges_sender, nudges) = bounded(capacity.nudges);
    let waiting = Waiting::new(nudges_sender);
    let unknown = opened.clone();
    let inbox = EncoderInbox { sealed, opened, control, nudges, waiting: Arc::clone(&waiting), free: free_sender };
    let parts = EncoderParts {
        config: Arc::clone(config),
        tables,
        supervisor: Arc::clone(&supervisor),
        meters: Arc::clone(&meters),
        output,
        buffers,
        ring,
    };
    let encoder_worker = Worker::start("ct-encoder", move || encoder_actor::run(inbox, parts))?;

    // The lifecycle, which holds the only way to the encoder's control: without it the encoder ends.
    let lifecycle = Lifecycle {
        mailbox,
        config: Arc::clone(config),
        storage,
        supervisor: Arc::clone(&supervisor),
        meters: Arc::clone(&meters),
        encoder: control_sender,
        queue: sealed_sender.clone(),
        opened: unknown,
        encoder_worker,
        writer_worker,
        dumper_worker,
        ring_dir,
    };
    Worker::start("ct-lifecycle", move || lifecycle.run())?;

    Ok(Handles {
        mailbox: mailbox_sender,
        sealed: sealed_sender,
        opened: opened_sender,
        free,
        waiting,
        supervisor,
        meters,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = include_str!("spawn.rs");

    fn docs() -> Vec<&'static str> {
        SOURCE.lines().map_while(|line| line.strip_prefix("//!")).collect()
    }

    #[test]
    fn the_picture_shows_the_capacities_that_are_used() {
        let config = PipelineConfig { compression_threads: 1, ..PipelineConfig::default() };
        let Capacities { sealed, free, buffers, frames, dumps, nudges } = Capacities::of(&config);
        let docs = docs();
        let picture = docs.join("\n");
        for (name, capacity) in [
            ("sealed", sealed),
            ("free", free),
            ("buffers", buffers),
            ("frames", frames),
            ("dumps", dumps),
            ("nudges", nudges),
        ] {
            assert!(picture.contains(&format!("{name} ({capacity})")), "{name} is {capacity}");
            let row = format!(" | `{name}` | {capacity} |");
            assert!(docs.iter().any(|line| line.starts_with(&row)), "no row {row}");
        }
        for name in ["opened", "control", "mailbox"] {
            assert!(picture.contains(&format!("{name} (∞)")), "{name}");
        }
    }

    #[test]
    fn the_picture_and_the_table_show_every_channel_and_every_thread_and_no_others() {
        let code: Vec<_> = SOURCE.lines().skip(docs().len()).take_while(|line| *line != "mod tests {").collect();
        let code = code.join("\n");
        let picture = docs().join("\n");
        // Every channel is made by one statement `let (x_sender, x) = …`.
        let made: std::collections::BTreeSet<_> =
            code.split("let (").skip(1).filter_map(|rest| rest.split_once("_sender, ").map(|(name, _)| name)).collect();
        let shown: std::collections::BTreeSet<_> =
            docs().iter().filter_map(|line| line.strip_prefix(" | `")?.split_once('`').map(|(name, _)| name)).collect();
        assert_eq!(made, shown);
        let threads: Vec<_> =
            code.split("Worker::start(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(threads, ["ct-writer", "ct-dumper", "ct-encoder", "ct-lifecycle"], "sink first");
        for name in threads.into_iter().chain(["ct-zstd-N"]) {
            assert!(picture.contains(name), "{name}");
        }
    }
}
