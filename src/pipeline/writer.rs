//! The writer actor: puts segments in order and on disk.
//!
//! Invariants:
//! - Work is done in the order of its ordinals, so the files of all streams together are always a prefix of what
//!   was encoded. After a gap or a failure nothing more is stored.
//! - It takes from its inbox until the senders are gone, whatever happens: a failed writer never blocks a stage.
//! - A stream's directory appears with its first segment; the first stream's file exists from the start.
//! - At most [`OPEN_FILES`] files are open.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::enverr;
use crate::errors::RecorderResult;
use crate::storage::Storage;

use super::artifacts::{RecordingState, begin_part, end_part, file_error, write_paths, write_stream_metadata};
use super::compressor::FrameCompressor;
use super::config::PipelineConfig;
use super::event_file::EventFile;
use super::index::IndexFile;
use super::messages::{Content, Segment, SegmentBuffer, WriterItem, WriterWork};
use super::names::Names;
use super::part::{Part, PartSummary};
use super::stats::{Meters, StreamMeter};
use super::supervisor::Supervisor;

/// Name of this stage in failures.
pub(super) const STAGE: &str = "writer";

/// Open files at a time: a program with thousands of threads keeps its descriptors for itself.
const OPEN_FILES: usize = 32;

/// How often the free space of the disk is asked for.
const DISK_INTERVAL: Duration = Duration::from_secs(1);

/// One stream's trace on disk.
#[derive(Debug)]
struct StreamFile {
    meter: Arc<StreamMeter>,
    dir: PathBuf,
    /// `dir` relative to that of the part.
    shown: String,
    file: EventFile,
    /// Paths not written yet.
    paths: Option<Vec<String>>,
    /// The events that are written once all that was appended is stored.
    appended: u64,
    /// When it was last stored, in stores.
    last_store: u64,
}

/// The writer's state; [`Writer::run`] is its thread.
#[derive(Debug)]
pub(super) struct Writer {
    inbox: Receiver<WriterItem>,
    buffers: Sender<SegmentBuffer>,
    storage: Arc<dyn Storage>,
    supervisor: Arc<Supervisor>,
    meters: Arc<Meters>,
    config: Arc<PipelineConfig>,
    compressor: FrameCompressor,
    files: BTreeMap<u32, StreamFile>,
    /// Files that are complete and not synced yet.
    finished: Vec<EventFile>,
    /// The index of the part being written, once there is one.
    index: Option<IndexFile>,
    /// The first stream's file until its first segment comes.
    first: Option<EventFile>,
    /// Work that came before its turn.
    waiting: BTreeMap<u64, WriterWork>,
    next_ordinal: u64,
    stores: u64,
    /// When the free space was asked for last.
    disk_looked_at: Option<Instant>,
}

impl Writer {
    /// Also creates the first stream's file, so that a directory that cannot be written is known at once, and a
    /// process killed early leaves a trace that opens: `empty_trace`, encoded events.
    pub fn new(
        inbox: Receiver<WriterItem>,
        buffers: Sender<SegmentBuffer>,
        storage: Arc<dyn Storage>,
        supervisor: Arc<Supervisor>,
        meters: Arc<Meters>,
        config: Arc<PipelineConfig>,
        empty_trace: Vec<u8>,
    ) -> RecorderResult<Self> {
        let mut compressor = FrameCompressor::new(config.compression_level)
            .map_err(|error| enverr!(Io, "cannot set up zstd").with_source(error))?;
        let mut first = EventFile::new(config.out_dir.join(config.format.events_file()), config.format, empty_trace);
        first.store(&*storage, &mut compressor).map_err(|error| file_error("create", first.path(), error))?;
        Ok(Self {
            inbox,
            buffers,
            storage,
            supervisor,
            meters,
            config,
            compressor,
            files: BTreeMap::new(),
            finished: Vec::new(),
            index: None,
            first: Some(first),
            waiting: BTreeMap::new(),
            next_ordinal: 0,
            stores: 0,
            disk_looked_at: None,
        })
    }

    pub fn run(mut self) {
        let supervisor = Arc::clone(&self.supervisor);
        supervisor.guard(STAGE, || self.record());
        if !supervisor.is_in_a_hurry() {
            supervisor.guard(STAGE, || {
                self.store_all()?;
                if self.config.durable { self.sync_all() } else { Ok(()) }
            });
        }
        // Close the files, and leave those who wait for a mark without an answer, before waiting for the senders.
        self.files.clear();
        self.waiting.clear();
        for item in self.inbox.iter() {
            if let WriterWork::Segment(segment) = item.work {
                self.give_back(segment.buffer);
            }
        }
    }

    fn record(&mut self) -> RecorderResult<()> {
        while let Ok(item) = self.inbox.recv() {
            if self.supervisor.is_in_a_hurry() {
                return Ok(());
            }
            self.waiting.insert(item.ordinal, item.work);
            while let Some(work) = self.waiting.remove(&self.next_ordinal) {
                self.next_ordinal += 1;
                match work {
                    WriterWork::Segment(segment) => self.append(*segment)?,
                    WriterWork::Index { part, lines } => self.append_index(&part, &lines)?,
                    WriterWork::Finish(meter) => self.finish(meter.shared.id)?,
                    WriterWork::EndPart { part, reason, reply } => {
                        self.end_part(&part, &reason)?;
                        if let Some(reply) = reply {
                            let _ = reply.send(part.dir.clone());
                        }
                    }
                    WriterWork::Mark { reply, durable } => {
                        self.store_all()?;
                        if durable {
                            self.sync_all()?;
                        }
                        // Whoever asked may have lost patience.
                        let _ = reply.send(());
                    }
                }
            }
        }
        Ok(())
    }

    fn append(&mut self, segment: Segment) -> RecorderResult<()> {
        let Segment { stream, buffer, provisional, paths, upto } = segment;
        let id = stream.shared.id;
        if !self.files.contains_key(&id) {
            let opened = self.open_stream(stream)?;
            self.files.insert(id, opened);
        }
        let Some(entry) = self.files.get_mut(&id) else { return Ok(()) };
        if paths.is_some() {
            entry.paths = paths;
        }
        let appended = match &buffer.content {
            Content::Plain(events) => entry.file.append_events(events, provisional),
            Content::Packed(packed) => entry.file.append_frame(&buffer.frame, packed.len(), provisional),
        };
        let path = entry.file.path();
        appended.map_err(|error| file_error("write", path, error))?;
        entry.appended = upto;
        // The first stream's file is there from the start of a part, as the trace that its directory is.
        let due = entry.file.wants_store() || (id == 0 && !entry.file.exists());
        self.give_back(buffer);
        if due { self.store(id) } else { Ok(()) }
    }

    fn open_stream(&mut self, meter: Arc<StreamMeter>) -> RecorderResult<StreamFile> {
        let id = meter.shared.id;
        let part = &meter.part;
        if !part.created.load(Ordering::Relaxed) {
            begin_part(&*self.storage, &self.config, part)?;
        }
        let shown = meter.place();
        let dir = if id == 0 { part.dir.clone() } else { part.dir.join(&shown) };
        if id != 0 {
            self.storage.create_dir(&dir).map_err(|error| file_error("create", &dir, error))?;
            write_stream_metadata(&*self.storage, &dir, &meter, self.config.metadata.clone())?;
        }
        let first = if id == 0 { self.first.take() } else { None };
        let file = first.unwrap_or_else(|| {
            EventFile::new(dir.join(self.config.format.events_file()), self.config.format, Vec::new())
        });
        Ok(StreamFile { meter, dir, shown, file, paths: None, appended: 0, last_store: 0 })
    }

    /// Puts a stream's file on disk as it is, ready to be opened.
    fn store(&mut self, id: u32) -> RecorderResult<()> {
        let Some(entry) = self.files.get_mut(&id) else { return Ok(()) };
        self.stores += 1;
        entry.last_store = self.stores;
        let stored = entry.file.store(&*self.storage, &mut self.compressor);
        let size = stored.map_err(|error| file_error("write", entry.file.path(), error))?;
        entry.meter.bytes_on_disk.store(size, Ordering::Relaxed);
        if entry.file.is_stored() {
            entry.meter.written.store(entry.appended, Ordering::Relaxed);
        }
        if size > 0 {
            entry.meter.directory.get_or_init(|| entry.shown.clone());
        }
        if let Some(paths) = entry.paths.take() {
            write_paths(&*self.storage, &entry.dir, &paths)?;
        }
        self.close_one_too_many();
        self.watch_the_disk();
        Ok(())
    }

    /// Ends the recording when the disk is about to be full, while there is room to end it well.
    fn watch_the_disk(&mut self) {
        let wanted = self.config.limits.min_free_disk;
        if wanted == 0 || self.disk_looked_at.is_some_and(|last| last.elapsed() < DISK_INTERVAL) {
            return;
        }
        self.disk_looked_at = Some(Instant::now());
        // A file system that does not say has no limit that could be kept.
        if self.storage.free_space(&self.config.out_dir).is_ok_and(|free| free < wanted) {
            self.supervisor.reach_limit("min_free_disk");
        }
    }

    fn append_index(&mut self, part: &Arc<Part>, lines: &str) -> RecorderResult<()> {
        let index = self.index.get_or_insert_with(|| IndexFile::new(Arc::clone(part)));
        index.append(lines);
        let due = index.wants_store();
        if due { self.store_index() } else { Ok(()) }
    }

    fn store_index(&mut self) -> RecorderResult<()> {
        let Some(index) = &mut self.index else { return Ok(()) };
        index.store(&*self.storage).map_err(|error| file_error("write", index.path(), error))
    }

    fn end_part(&mut self, part: &Arc<Part>, reason: &str) -> RecorderResult<()> {
        self.store_index()?;
        if self.config.durable {
            self.sync_all()?;
        }
        self.index = None;
        let streams = self.meters.streams_of(part);
        let summaries: Vec<_> = streams.iter().filter_map(|meter| meter.summary()).collect();
        let summary = PartSummary::new(part, reason, &summaries);
        end_part(
            &*self.storage,
            &self.config,
            part,
            &streams,
            Some(&summary),
            RecordingState::Complete,
            self.config.metadata.clone(),
        )?;
        self.meters.end_part(part, &summary);
        Ok(())
    }

    /// Stores every file, also after one has failed; the first error counts.
    fn store_all(&mut self) -> RecorderResult<()> {
        let ids: Vec<u32> = self.files.keys().copied().collect();
        let mut outcome = Ok(());
        for id in ids {
            let stored = self.store(id);
            outcome = outcome.and(stored);
        }
        outcome.and(self.store_index())
    }

    /// Waits until everything that was stored would survive a power cut.
    fn sync_all(&mut self) -> RecorderResult<()> {
        let mut names = Names::new(&self.config.out_dir);
        let open = self.files.values_mut().map(|entry| &mut entry.file);
        for file in open.chain(&mut self.finished).chain(&mut self.first) {
            file.sync(&*self.storage, &mut names).map_err(|error| file_error("sync", file.path(), error))?;
        }
        self.finished.clear();
        if let Some(index) = &self.index {
            index.sync(&*self.storage, &mut names).map_err(|error| file_error("sync", index.path(), error))?;
        }
        names.sync(&*self.storage).map_err(|error| file_error("sync", &self.config.out_dir, error))
    }

    fn finish(&mut self, id: u32) -> RecorderResult<()> {
        self.store(id)?;
        if let Some(mut finished) = self.files.remove(&id)
            && self.config.durable
        {
            finished.file.close();
            self.finished.push(finished.file);
        }
        Ok(())
    }

    fn close_one_too_many(&mut self) {
        let open = |files: &&mut StreamFile| files.file.is_open();
        if self.files.values().filter(|entry| entry.file.is_open()).count() > OPEN_FILES
            && let Some(oldest) = self.files.values_mut().filter(open).min_by_key(|entry| entry.last_store)
        {
            oldest.file.close();
        }
    }

    fn give_back(&self, buffer: SegmentBuffer) {
        // The channel holds all buffers there are; without the encoder nobody needs them.
        let _ = self.buffers.try_send(buffer);
    }
}
