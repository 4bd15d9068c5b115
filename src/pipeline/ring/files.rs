//! The flight recorder's blocks in files, so that they outlive a process that is killed: `ring/NNNN/` in the recording's
//! directory.
//!
//! - `definitions.jsonl` is kept apart: what blocks refer to by number (code objects, types, streams), one line each, and a
//!   head that says of what recording it is. It grows with the program's text, not with its run.
//! - `NNNNNNNNNN.blocks`, the segments: first the calls in progress of every stream, then blocks. So any suffix of the
//!   segments can be understood, and the oldest one is removed whole.
//!
//! Invariants:
//! - A definition is in its file before a block that needs it is in a segment.
//! - Numbers of segments follow each other as long as nothing is missing between them: after a write that failed a number
//!   is left out, and whoever reads trusts only what comes behind the last gap.
//! - A write that fails loses nothing while the process lives: its block stays in memory.
//! - A segment that has left the ring is removed when nobody reads it any more.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::RingMeter;
use super::moments::unix_nanos;
use super::state::CallState;
use crate::errors::RecorderResult;
use crate::pipeline::artifacts::file_error;
use crate::pipeline::compressor::FrameCompressor;
use crate::pipeline::config::PipelineConfig;
use crate::pipeline::layout::{Malformed, Put};
use crate::pipeline::part::directory_number;
use crate::pipeline::stream::StreamInfo;
use crate::pipeline::tables::{CodeInfo, Tables, TypeInfo};
use crate::storage::{Storage, StorageFile};

/// Directory of the rings, one for each recording into the out dir that keeps its ring in files.
pub(in crate::pipeline) const RING_DIR: &str = "ring";
pub(super) const DEFINITIONS_FILE: &str = "definitions.jsonl";
const SEGMENT_SUFFIX: &str = ".blocks";
/// What a segment begins with; the last byte is the version.
pub(super) const MAGIC: &[u8; 8] = b"CTRING\0\x01";
/// So many segments there are when the ring is full: that much is given up at a time.
const SEGMENTS: usize = 8;
/// Bytes before the frame of an entry: kind, stream, raw length, frame length, nanoseconds since 1970.
pub(super) const ENTRY_HEAD: usize = 1 + 4 + 4 + 4 + 8;

/// What an entry of a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The calls in progress of a stream when the segment begins.
    State = 0,
    Block = 1,
    /// A block after which all calls in progress end.
    LastBlock = 2,
}

/// A line of `definitions.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Definition {
    Recording(Head),
    Stream { id: u32, name: String, native_id: u64 },
    Code(CodeInfo),
    Type(TypeInfo),
}

/// Of what recording a ring is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub json: bool,
    pub program: String,
    pub metadata: Map<String, Value>,
    pub seconds: f64,
    pub max_steps: u64,
}

/// A file of blocks.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    storage: Arc<dyn Storage>,
    retired: AtomicBool,
}

impl Drop for Segment {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Relaxed) {
            // What cannot be removed is removed with the ring.
            let _ = self.storage.remove_file(&self.path);
        }
    }
}

/// Where the frame of a block is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    segment: Arc<Segment>,
    offset: u64,
    pub len: u32,
}

impl Place {
    /// In a file that stays where it is.
    pub fn in_file(path: &Path, storage: &Arc<dyn Storage>) -> impl Fn(u64, u32) -> Self + use<> {
        let retired = AtomicBool::new(false);
        let segment = Arc::new(Segment { path: path.to_owned(), storage: Arc::clone(storage), retired });
        move |offset, len| Self { segment: Arc::clone(&segment), offset, len }
    }
}

/// Reads frames; the file read last stays open.
#[derive(Debug, Default)]
pub(super) struct Reader {
    open: Option<(PathBuf, File)>,
    frame: Vec<u8>,
}

impl Reader {
    pub fn read(&mut self, place: &Place) -> io::Result<&[u8]> {
        let path = &place.segment.path;
        let file = match &mut self.open {
            Some((open, file)) if open == path => file,
            other => &mut other.insert((path.clone(), File::open(path)?)).1,
        };
        self.frame.resize(place.len as usize, 0);
        file.seek(SeekFrom::Start(place.offset))?;
        file.read_exact(&mut self.frame)?;
        Ok(&self.frame)
    }
}

/// A segment and what the ring knows of it.
#[derive(Debug)]
struct Kept {
    segment: Arc<Segment>,
    len: u64,
    /// Blocks of it that are in the ring.
    held: usize,
}

/// The segment that is written.
#[derive(Debug)]
struct Open {
    file: Box<dyn StorageFile>,
    /// Bytes of blocks after which the next one begins.
    limit: u64,
    blocks: u64,
}

/// See the module docs.
#[derive(Debug)]
pub(in crate::pipeline) struct RingFiles {
    dir: PathBuf,
    storage: Arc<dyn Storage>,
    config: Arc<PipelineConfig>,
    tables: Arc<Tables>,
    definitions: Box<dyn StorageFile>,
    definition_bytes: u64,
    /// How many are in the file; types every session has are not.
    codes: usize,
    types: usize,
    /// Streams that are not in the file yet.
    new_streams: Vec<Definition>,
    states: BTreeMap<u32, CallState>,
    /// Oldest first; the last one is written while there is an `open`.
    segments: VecDeque<Kept>,
    open: Option<Open>,
    next_number: u64,
    failing: bool,
}

impl RingFiles {
    /// Makes the directory. Of earlier recordings that were killed the latest ring stays, for `recover`.
    pub fn create(
        config: &Arc<PipelineConfig>,
        tables: &Arc<Tables>,
        storage: &Arc<dyn Storage>,
    ) -> RecorderResult<Self> {
        let rings = config.out_dir.join(RING_DIR);
        let mut earlier = ring_dirs(&**storage, &config.out_dir)?;
        let number = earlier.last().map_or(1, |(number, _)| number + 1);
        earlier.pop();
        earlier.iter().try_for_each(|(_, dir)| remove_ring(&**storage, dir))?;
        let dir = rings.join(format!("{number:04}"));
        storage.create_dir(&dir).map_err(|error| file_error("create", &dir, error))?;
        let path = dir.join(DEFINITIONS_FILE);
        let definitions = storage.replace(&path, b"", false).and_then(|()| storage.open(&path));
        let mut files = Self {
            dir,
            storage: Arc::clone(storage),
            config: Arc::clone(config),
            tables: Arc::clone(tables),
            definitions: definitions.map_err(|error| file_error("create", &path, error))?,
            definition_bytes: 0,
            codes: 0,
            types: Tables::new().type_count(),
            new_streams: Vec::new(),
            states: BTreeMap::new(),
            segments: VecDeque::new(),
            open: None,
            next_number: 1,
            failing: false,
        };
        let (seconds, max_steps) =
            config.ring.as_ref().map_or((0.0, 0), |ring| (ring.duration.as_secs_f64(), ring.max_steps));
        let head = Head {
            json: config.format == crate::pipeline::model::TraceFormat::Json,
            program: config.program.clone(),
            metadata: config.metadata.clone(),
            seconds,
            max_steps,
        };
        files.write_definitions(&[Definition::Recording(head)]).map_err(|error| file_error("write", &path, error))?;
        Ok(files)
    }

    /// Where the files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes of the segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|kept| kept.len).sum()
    }

    pub fn introduce(&mut self, id: u32, info: &StreamInfo) {
        self.new_streams.push(Definition::Stream { id, name: info.name.clone(), native_id: info.native_id });
    }

    pub fn forget(&mut self, stream: u32) {
        self.states.remove(&stream);
    }

    /// Stores a block; where it is, or `None` if that failed.
    pub(super) fn store(
        &mut self,
        (stream, ends_calls): (u32, bool),
        raw: &[u8],
        frame: &[u8],
        last: Instant,
        compressor: &mut FrameCompressor,
        meter: &RingMeter,
    ) -> Result<Option<Place>, Malformed> {
        let kind = if ends_calls { Kind::LastBlock } else { Kind::Block };
        let stored = self.try_store(&entry(kind, stream, raw.len(), frame, unix_nanos(last)), compressor);
        let place = match stored {
            Ok((segment, end)) => {
                self.failing = false;
                // It was compressed into memory, and fits into 32 bits by far.
                Some(Place { segment, offset: end - frame.len() as u64, len: frame.len() as u32 })
            }
            Err(error) => {
                meter.failed_writes.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.failing, true) {
                    let dir = self.dir.display();
                    tracing::warn!(%error, %dir, "the flight recorder cannot write its files; it goes on in memory");
                }
                self.open = None;
                // Leaves a number out: what follows does not continue what is there.
                self.next_number += 1;
                None
            }
        };
        let state = self.states.entry(stream).or_default();
        state.apply(raw)?;
        if ends_calls {
            state.end_calls();
        }
        meter.file_bytes.store(self.bytes() + self.definition_bytes, Ordering::Relaxed);
        Ok(place)
    }

    fn try_store(&mut self, entry: &[u8], compressor: &mut FrameCompressor) -> io::Result<(Arc<Segment>, u64)> {
        self.define()?;
        if self.open.as_ref().is_none_or(|open| open.blocks >= open.limit) {
            self.begin_segment(compressor)?;
        }
        let (Some(open), Some(kept)) = (&mut self.open, self.segments.back_mut()) else {
            return Err(io::Error::other("no segment is open"));
        };
        open.file.write_all_at(kept.len, entry)?;
        kept.len += entry.len() as u64;
        kept.held += 1;
        open.blocks += entry.len() as u64;
        Ok((Arc::clone(&kept.segment), kept.len))
    }

    /// Writes the definitions that have come.
    fn define(&mut self) -> io::Result<()> {
        let tables = Arc::clone(&self.tables);
        let (codes, types) = (tables.code_count(), tables.type_count());
        if (codes, types) == (self.codes, self.types) && self.new_streams.is_empty() {
            return Ok(());
        }
        let mut lines = std::mem::take(&mut self.new_streams);
        let streams = lines.len();
        lines.extend((self.codes..codes).filter_map(|id| tables.code(id as u32)).cloned().map(Definition::Code));
        lines.extend((self.types..types).filter_map(|id| tables.type_info(id as u32)).cloned().map(Definition::Type));
        if let Err(error) = self.write_definitions(&lines) {
            lines.truncate(streams);
            self.new_streams = lines;
            return Err(error);
        }
        (self.codes, self.types) = (codes, types);
        Ok(())
    }

    fn write_definitions(&mut self, lines: &[Definition]) -> io::Result<()> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        // What an earlier write left half done is overwritten.
        self.definitions.write_all_at(self.definition_bytes, &text)?;
        self.definition_bytes += text.len() as u64;
        Ok(())
    }

    fn begin_segment(&mut self, compressor: &mut FrameCompressor) -> io::Result<()> {
        self.open = None;
        self.retire();
        let wanted = self.config.limits.min_free_disk;
        if wanted > 0 && self.storage.free_space(&self.dir).is_ok_and(|free| free < wanted) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "less is free on the disk than the policy wants"));
        }
        let mut start = MAGIC.to_vec();
        let now = unix_nanos(Instant::now());
        let mut frame = Vec::new();
        for (stream, state) in &self.states {
            let records = state.records();
            if !records.is_empty() {
                compressor.compress(&records, &mut frame)?;
                start.extend_from_slice(&entry(Kind::State, *stream, records.len(), &frame, now));
            }
        }
        let path = self.dir.join(format!("{:010}{SEGMENT_SUFFIX}", self.next_number));
        let written = self.storage.replace(&path, b"", false).and_then(|()| {
            let mut file = self.storage.open(&path)?;
            file.write_all_at(0, &start)?;
            Ok(file)
        });
        let file = written.inspect_err(|_| drop(self.storage.remove_file(&path)))?;
        let retired = AtomicBool::new(false);
        let segment = Arc::new(Segment { path, storage: Arc::clone(&self.storage), retired });
        self.segments.push_back(Kept { segment, len: start.len() as u64, held: 0 });
        self.next_number += 1;
        let max_bytes = self.config.ring.as_ref().map_or(0, |ring| ring.max_bytes);
        // Where the calls in progress take much, segments are longer: at most half of what is written are they.
        let limit = (max_bytes / SEGMENTS).max(super::BLOCK).max(start.len()) as u64;
        self.open = Some(Open { file, limit, blocks: 0 });
        Ok(())
    }

    /// A block has left the ring.
    pub(super) fn release(&mut self, place: &Place) {
        if let Some(kept) = self.segments.iter_mut().find(|kept| Arc::ptr_eq(&kept.segment, &place.segment)) {
            kept.held = kept.held.saturating_sub(1);
        }
        self.retire();
    }

    /// Gives up the oldest segments of which the ring holds nothing any more.
    fn retire(&mut self) {
        while let Some(kept) = self.segments.front()
            && kept.held == 0
            && !(self.open.is_some() && self.segments.len() == 1)
        {
            kept.segment.retired.store(true, Ordering::Relaxed);
            self.segments.pop_front();
        }
    }
}

fn entry(kind: Kind, stream: u32, raw_len: usize, frame: &[u8], nanos: u64) -> Vec<u8> {
    let mut entry = Vec::with_capacity(ENTRY_HEAD + frame.len());
    entry.put_u8(kind as u8);
    entry.put_u32(stream);
    // Blocks and states are in memory before: 4 GiB are out of reach.
    entry.put_u32(raw_len as u32);
    entry.put_u32(frame.len() as u32);
    entry.put_u64(nanos);
    entry.put_bytes(frame);
    entry
}

/// The rings of an out dir, by their numbers.
pub(super) fn ring_dirs(storage: &dyn Storage, out_dir: &Path) -> RecorderResult<Vec<(u32, PathBuf)>> {
    let rings = out_dir.join(RING_DIR);
    let found = storage.subdirectories(&rings).map_err(|error| file_error("list", &rings, error))?;
    let number = |dir: &Path| directory_number(dir.file_name()?.to_str()?);
    let mut numbered: Vec<(u32, PathBuf)> =
        found.into_iter().filter_map(|dir| number(&dir).map(|number| (number, dir))).collect();
    numbered.sort();
    Ok(numbered)
}

/// The segments in a ring's directory, by their numbers.
pub(super) fn segment_files(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(dir)? {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(number) = name.strip_suffix(SEGMENT_SUFFIX).and_then(|number| number.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Removes a ring: its files by the names they have here, and the directories if that leaves them empty.
pub(in crate::pipeline) fn remove_ring(storage: &dyn Storage, dir: &Path) -> RecorderResult<()> {
    let removed = segment_files(dir).and_then(|segments| {
        segments.iter().try_for_each(|(_, path)| storage.remove_file(path))?;
        storage.remove_file(&dir.join(DEFINITIONS_FILE))?;
        storage.remove_empty_dir(dir)?;
        dir.parent().map_or(Ok(()), |rings| storage.remove_empty_dir(rings))
    });
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| file_error("remove", dir, error)),
    }
}
