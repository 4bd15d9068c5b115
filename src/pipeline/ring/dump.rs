//! Dumps: what the flight recorder holds, written as a trace of its own while the recording goes on.
//!
//! Invariants:
//! - A dump is `dumps/NNNN-reason/` in the recording's directory: a whole trace directory that opens by itself. Numbers
//!   go on where an earlier recording into the directory has ended; dumps of earlier recordings stay.
//! - It says `recording` in its `recording.json` until it is complete.
//! - A dump that fails is told to whoever asked for it and logged; the recording goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crossbeam_channel::Receiver;
use serde_json::{Map, Value, json};

use super::moments::system_time;
use super::{Block, Replay, RingMeter, Unpacker};
use crate::errors::{RecorderError, RecorderResult};
use crate::pipeline::artifacts::{
    Outcome, THREADS_DIR, conclude, file_error, prepare, thread_dir_name, write_paths, write_stream_metadata,
};
use crate::pipeline::compressor::{self, FrameCompressor};
use crate::pipeline::config::PipelineConfig;
use crate::pipeline::encoder::StreamEncoder;
use crate::pipeline::event_file::EventFile;
use crate::pipeline::index::{IndexFile, IndexLines};
use crate::pipeline::messages::{Content, Reply, SegmentBuffer, with_content};
use crate::pipeline::model::Exit;
use crate::pipeline::names::Names;
use crate::pipeline::part::{Part, directory_number, unix_seconds};
use crate::pipeline::stats::{PipelineStats, StreamMeter};
use crate::pipeline::stream::StreamShared;
use crate::pipeline::supervisor::Supervisor;
use crate::storage::Storage;
use crate::{bug, enverr};

/// Name of this stage in failures.
pub(in crate::pipeline) const STAGE: &str = "dumper";

/// Directory of the dumps.
pub const DUMPS_DIR: &str = "dumps";

/// Longest reason in a directory name, in bytes.
const MAX_REASON: usize = 40;

/// Why a dump is wanted.
#[derive(Debug, Clone)]
pub struct DumpRequest {
    /// In the name of its directory, as far as it fits there, and in its metadata.
    pub reason: String,
    /// More for the metadata.
    pub details: Map<String, Value>,
}

/// A dump to be written.
#[derive(Debug)]
pub(in crate::pipeline) struct DumpJob {
    pub request: DumpRequest,
    pub replay: Replay,
    pub streams: BTreeMap<u32, Arc<StreamShared>>,
    /// When the blocks were taken from the ring.
    pub taken: Instant,
    pub reply: Option<Reply<RecorderResult<PathBuf>>>,
}

/// The dumper's state; [`Dumper::run`] is its thread.
#[derive(Debug)]
pub(in crate::pipeline) struct Dumper {
    pub jobs: Receiver<DumpJob>,
    pub config: Arc<PipelineConfig>,
    pub storage: Arc<dyn Storage>,
    pub supervisor: Arc<Supervisor>,
    pub meter: Arc<RingMeter>,
}

impl Dumper {
    pub fn run(self) {
        for job in self.jobs.iter() {
            let DumpJob { request, replay, streams, taken, reply } = job;
            let mut outcome = Err(bug!(TraceIncomplete, "the dump was not written"));
            self.supervisor.guard(STAGE, || {
                outcome = self.write(&request, replay, &streams, taken);
                Ok(())
            });
            let counter = if outcome.is_ok() { &self.meter.dumps } else { &self.meter.failed_dumps };
            counter.fetch_add(1, Ordering::Relaxed);
            match (reply, outcome) {
                // Whoever asked may have lost patience.
                (Some(reply), outcome) => drop(reply.send(outcome)),
                (None, Err(error)) => crate::logging::report(&error),
                (None, Ok(directory)) => {
                    tracing::info!(reason = %request.reason, directory = %directory.display(), "a dump was written");
                }
            }
        }
    }

    /// Writes a dump and says where it is.
    pub(super) fn write(
        &self,
        request: &DumpRequest,
        mut replay: Replay,
        streams: &BTreeMap<u32, Arc<StreamShared>>,
        taken: Instant,
    ) -> RecorderResult<PathBuf> {
        let storage = &*self.storage;
        let wanted = self.config.limits.min_free_disk;
        if wanted > 0 && storage.free_space(&self.config.out_dir).is_ok_and(|free| free < wanted) {
            return Err(enverr!(Io, "no dump: less than {wanted} bytes are free on the disk"));
        }
        let max_steps = self.config.ring.as_ref().map_or(0, |ring| ring.max_steps);
        let mut unpacker = Unpacker::new()?;
        replay.begin(max_steps, &mut unpacker)?;

        let number = next_number(storage, &self.config.out_dir)?;
        let out_dir = self.config.out_dir.join(DUMPS_DIR).join(dump_dir_name(number, &request.reason));
        let mut config = PipelineConfig { out_dir: out_dir.clone(), ..(*self.config).clone() };
        let oldest = replay.blocks.first().map_or(taken, |block| block.last);
        let mut details = request.details.clone();
        details.insert("number".to_owned(), json!(number));
        details.insert("reason".to_owned(), json!(request.reason));
        details.insert("taken".to_owned(), json!(unix_seconds(system_time(taken))));
        details.insert("seconds".to_owned(), json!(taken.saturating_duration_since(oldest).as_secs_f64()));
        config.metadata.insert("dump".to_owned(), Value::Object(details));
        prepare(storage, &config)?;

        let part = Arc::new(Part::first(&out_dir));
        let Replay { encoders, blocks } = replay;
        let mut meters = Vec::new();
        let mut index = IndexLines::default();
        for (id, encoder) in encoders {
            let Some(shared) = streams.get(&id) else { continue };
            let own = blocks.iter().filter(|block| block.stream == id);
            if id == 0 || own.clone().any(|block| block.has_events()) {
                let meter = StreamMeter::new(Arc::clone(shared), Arc::clone(&part));
                self.write_stream(&config, &meter, encoder, own, &mut unpacker, &mut index)?;
                meters.push(meter);
            }
        }
        if let Some(lines) = index.take() {
            let mut file = IndexFile::new(Arc::clone(&part));
            file.append(&lines);
            file.store(storage).map_err(|error| file_error("write", file.path(), error))?;
        }
        let nothing_special = Outcome { failure: None, limit: None };
        conclude(storage, &config, &meters, &PipelineStats::default(), Map::new(), nothing_special)?;
        Ok(out_dir)
    }

    fn write_stream<'a>(
        &self,
        config: &PipelineConfig,
        meter: &StreamMeter,
        mut encoder: StreamEncoder,
        blocks: impl Iterator<Item = &'a Arc<Block>>,
        unpacker: &mut Unpacker,
        index: &mut IndexLines,
    ) -> RecorderResult<()> {
        let storage = &*self.storage;
        let (mut dir, mut shown) = (config.out_dir.clone(), ".".to_owned());
        if meter.shared.id != 0 {
            let name = thread_dir_name(meter.shared.id, &meter.shared.info.name);
            dir = dir.join(THREADS_DIR).join(&name);
            shown = format!("{THREADS_DIR}/{name}");
            storage.create_dir(&dir).map_err(|error| file_error("create", &dir, error))?;
            write_stream_metadata(storage, &dir, meter, config.metadata.clone())?;
        }
        let file = EventFile::new(dir.join(config.format.events_file()), config.format, Vec::new());
        let compressor = FrameCompressor::new(config.compression_level)
            .map_err(|error| enverr!(Io, "cannot set up zstd").with_source(error))?;
        let mut out = DumpFile { file, compressor, buffer: SegmentBuffer::new(config.format), storage, config };
        with_content!(&mut out.buffer.content, content => encoder.start(content));
        for block in blocks {
            if self.supervisor.is_in_a_hurry() {
                return Err(self.out_of_time());
            }
            let mut records = unpacker.records(block)?;
            while !records.is_empty() {
                let limit = config.segment_limit();
                let encoded =
                    with_content!(&mut out.buffer.content, content => encoder.encode(records, content, limit));
                match encoded {
                    Ok(taken) if taken > 0 => records = &records[taken..],
                    _ => return Err(bug!(TraceIncomplete, "events in the flight recorder do not follow the layout")),
                }
                out.store_when_full()?;
            }
            if block.ends_calls {
                with_content!(&mut out.buffer.content, content => encoder.end_calls(content));
            }
        }
        with_content!(&mut out.buffer.content, content => encoder.finish(Exit::Unknown, content));
        let bytes = out.finish()?;
        index.add_all(meter.shared.id, &meter.shared.info, &shown, encoder.take_turns());
        write_paths(storage, &dir, encoder.paths())?;
        meter.set_counts(encoder.counts());
        meter.bytes_on_disk.store(bytes, Ordering::Relaxed);
        let _ = meter.directory.set(shown);
        Ok(())
    }

    fn out_of_time(&self) -> RecorderError {
        enverr!(TraceIncomplete, "the dump was not complete when the recording had to end")
    }
}

/// The events file of one stream of a dump.
struct DumpFile<'a> {
    file: EventFile,
    compressor: FrameCompressor,
    buffer: SegmentBuffer,
    storage: &'a dyn Storage,
    config: &'a PipelineConfig,
}

impl DumpFile<'_> {
    fn store_when_full(&mut self) -> RecorderResult<()> {
        if !self.buffer.content.is_full(self.config.segment_limit()) {
            return Ok(());
        }
        self.append()?;
        if self.file.wants_store() { self.store().map(drop) } else { Ok(()) }
    }

    /// Everything is in the buffer or in the file: returns the size of the file.
    fn finish(mut self) -> RecorderResult<u64> {
        self.append()?;
        let bytes = self.store()?;
        if self.config.durable {
            let mut names = Names::new(&self.config.out_dir);
            let synced = self.file.sync(self.storage, &mut names).and_then(|()| names.sync(self.storage));
            synced.map_err(|error| file_error("sync", self.file.path(), error))?;
        }
        Ok(bytes)
    }

    fn append(&mut self) -> RecorderResult<()> {
        let compressed = compressor::compress(self.config.compression_level, &mut self.buffer);
        compressed.map_err(|error| enverr!(Io, "cannot compress a part of the dump").with_source(error))?;
        let appended = match &self.buffer.content {
            Content::Plain(events) => self.file.append_events(events, Vec::new()),
            Content::Packed(packed) => self.file.append_frame(&self.buffer.frame, packed.len(), Vec::new()),
        };
        self.buffer.content.clear();
        appended.map_err(|error| file_error("write", self.file.path(), error))
    }

    fn store(&mut self) -> RecorderResult<u64> {
        let stored = self.file.store(self.storage, &mut self.compressor);
        stored.map_err(|error| file_error("write", self.file.path(), error))
    }
}

/// The number after the highest that a dump in this directory has.
fn next_number(storage: &dyn Storage, out_dir: &Path) -> RecorderResult<u32> {
    let dumps = out_dir.join(DUMPS_DIR);
    let existing = storage.subdirectories(&dumps).map_err(|error| file_error("list", &dumps, error))?;
    Ok(existing.iter().filter_map(|dir| dump_number(dir)).max().unwrap_or(0).saturating_add(1))
}

/// The directory of a dump below `dumps/`: its number and what of its reason is safe in a file name.
fn dump_dir_name(number: u32, reason: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    format!("{number:04}-{}", reason.chars().take(MAX_REASON).map(safe).collect::<String>())
}

/// The number of a dump's directory, if it is one.
fn dump_number(path: &Path) -> Option<u32> {
    let (number, _) = path.file_name()?.to_str()?.split_once('-')?;
    directory_number(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dumps_directory_has_its_number_and_a_safe_bounded_reason() {
        assert_eq!(dump_dir_name(7, "slow GET /a?b=c"), "0007-slow_GET__a_b_c");
        assert_eq!(dump_dir_name(12_345, "../.."), "12345-.._..");
        assert_eq!(dump_dir_name(1, &"é".repeat(100)).len(), 5 + MAX_REASON);
        for (name, number) in
            [("0007-x", Some(7)), ("12345-", Some(12_345)), ("7-x", None), ("000a-x", None), ("0007", None)]
        {
            assert_eq!(dump_number(&Path::new("dumps").join(name)), number, "{name}");
        }
    }
}
