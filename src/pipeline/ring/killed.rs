//! What a flight recorder that was killed has left in its files, made a dump.
//!
//! Invariants:
//! - Only what follows without a gap is taken: the segments behind the last missing number, up to the first entry that is
//!   torn or damaged.
//! - The files go when the dump is complete, so doing it again after an interruption does it once.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Map;

use super::dump::{DumpRequest, Dumper};
use super::files::{
    DEFINITIONS_FILE, Definition, ENTRY_HEAD, Head, Kind, MAGIC, Place, remove_ring, ring_dirs, segment_files,
};
use super::moments::moment;
use super::{Block, Frame, Replay, RingLimits, RingMeter, Unpacker};
use crate::errors::RecorderResult;
use crate::pipeline::artifacts::file_error;
use crate::pipeline::config::PipelineConfig;
use crate::pipeline::encoder::StreamEncoder;
use crate::pipeline::layout::Take;
use crate::pipeline::model::TraceFormat;
use crate::pipeline::stream::{StreamInfo, StreamShared};
use crate::pipeline::supervisor::Supervisor;
use crate::pipeline::tables::Tables;
use crate::storage::{FsStorage, Storage};

/// In the names of these dumps.
const REASON: &str = "killed";

/// Makes a dump of every ring that a killed recording has left in `out_dir`; says what was done, line by line.
///
/// # Errors
/// `ERR_IO`, and `ERR_TRACE_INCOMPLETE` if what is there does not follow the layout.
pub fn recover_rings(out_dir: &Path, done: &mut Vec<String>) -> RecorderResult<()> {
    for (_, dir) in ring_dirs(&FsStorage, out_dir)? {
        let made = match Left::read(&dir).map_err(|error| file_error("read", &dir, error))? {
            Some(left) if left.has_events() => format!("what it held is now {}", left.dump(out_dir)?.display()),
            _ => "it held nothing".to_owned(),
        };
        remove_ring(&FsStorage, &dir)?;
        done.push(format!("{}: {made}", dir.display()));
    }
    Ok(())
}

/// A ring as it was left.
struct Left {
    head: Head,
    streams: BTreeMap<u32, Arc<StreamShared>>,
    replay: Replay,
    /// When the last of it was recorded.
    last: Instant,
}

impl Left {
    /// `None` if not even the head was written.
    fn read(dir: &Path) -> io::Result<Option<Self>> {
        let definitions = match std::fs::read(dir.join(DEFINITIONS_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        // The last line may be torn: no block needs it.
        let mut lines = definitions.split(|byte| *byte == b'\n').map_while(|line| serde_json::from_slice(line).ok());
        let Some(Definition::Recording(head)) = lines.next() else { return Ok(None) };
        let tables = Tables::new();
        let mut streams = BTreeMap::new();
        for line in lines {
            match line {
                Definition::Recording(_) => {}
                Definition::Stream { id, name, native_id } => {
                    streams.insert(id, Arc::new(StreamShared::new(id, StreamInfo { name, native_id })));
                }
                Definition::Code(code) => {
                    tables.add_code(code);
                }
                Definition::Type(info) => {
                    tables.add_type(info);
                }
            }
        }
        let main = StreamInfo { name: "MainThread".to_owned(), native_id: 0 };
        streams.entry(0).or_insert_with(|| Arc::new(StreamShared::new(0, main)));
        let mut left = Self { head, streams, replay: Replay::default(), last: Instant::now() };
        let tables = Arc::new(tables);
        // Without this thread a trace is none, even if it did nothing.
        left.encoder(0, &tables);
        left.read_segments(dir, &tables)?;
        Ok(Some(left))
    }

    fn format(&self) -> TraceFormat {
        if self.head.json { TraceFormat::Json } else { TraceFormat::Binary }
    }

    fn encoder(&mut self, stream: u32, tables: &Arc<Tables>) -> Option<&mut StreamEncoder> {
        let shared = self.streams.get(&stream)?;
        let format = self.format();
        Some(self.replay.encoders.entry(stream).or_insert_with(|| {
            let mut encoder = StreamEncoder::new(Arc::clone(tables), format, &self.head.program);
            encoder.set_thread(shared.info.native_id);
            encoder
        }))
    }

    fn read_segments(&mut self, dir: &Path, tables: &Arc<Tables>) -> io::Result<()> {
        let segments = segment_files(dir)?;
        let follows = |pair: &[(u64, PathBuf)]| pair[0].0 + 1 == pair[1].0;
        let first = segments.windows(2).rposition(|pair| !follows(pair)).map_or(0, |gap| gap + 1);
        let mut unpacker = Unpacker::new().map_err(io::Error::other)?;
        for (nth, (_, path)) in segments[first..].iter().enumerate() {
            if !self.read_segment(path, nth == 0, tables, &mut unpacker)? {
                break;
            }
        }
        // What is older than the time that was to be kept is there because segments are removed whole.
        let keeps = Duration::try_from_secs_f64(self.head.seconds).unwrap_or(Duration::MAX);
        if let Some(last) = self.replay.blocks.last().map(|block| block.last) {
            self.last = last;
            let is_old = |block: &Arc<Block>| last.saturating_duration_since(block.last) > keeps;
            let old = self.replay.blocks.iter().take_while(|block| is_old(block)).count();
            for block in self.replay.blocks.drain(..old) {
                if let Some(encoder) = self.replay.encoders.get_mut(&block.stream) {
                    unpacker.learn(&block, encoder).map_err(io::Error::other)?;
                }
            }
        }
        Ok(())
    }

    /// Takes the entries of a segment; `false` behind one that is not whole.
    fn read_segment(
        &mut self,
        path: &Path,
        is_first: bool,
        tables: &Arc<Tables>,
        unpacker: &mut Unpacker,
    ) -> io::Result<bool> {
        let bytes = std::fs::read(path)?;
        let storage: Arc<dyn Storage> = Arc::new(FsStorage);
        let place = Place::in_file(path, &storage);
        let Some(mut rest) = bytes.strip_prefix(MAGIC) else { return Ok(false) };
        while !rest.is_empty() {
            let at = (bytes.len() - rest.len() + ENTRY_HEAD) as u64;
            let Some((kind, mut block)) = take_entry(&mut rest, |len| place(at, len)) else { return Ok(false) };
            if block.raw_len > 0 && unpacker.records(&block).map_or(true, |records| records.len() != block.raw_len) {
                return Ok(false);
            }
            let Some(encoder) = self.encoder(block.stream, tables) else { return Ok(false) };
            match kind {
                Kind::State if is_first => {
                    unpacker.learn(&block, encoder).map_err(io::Error::other)?;
                }
                Kind::State => {}
                Kind::Block | Kind::LastBlock => {
                    block.ends_calls = kind == Kind::LastBlock;
                    self.replay.blocks.push(Arc::new(block));
                }
            }
        }
        Ok(true)
    }

    fn has_events(&self) -> bool {
        self.replay.blocks.iter().any(|block| block.has_events())
    }

    fn dump(self, out_dir: &Path) -> RecorderResult<PathBuf> {
        let limits = RingLimits {
            duration: Duration::MAX,
            max_bytes: 0,
            in_files: false,
            max_steps: self.head.max_steps,
            keep_at_exit: false,
        };
        let format = self.format();
        let mut config = PipelineConfig::new(out_dir, format, self.head.program);
        config.metadata = self.head.metadata;
        config.ring = Some(limits);
        config.durable = true;
        let dumper = Dumper {
            jobs: crossbeam_channel::never(),
            config: Arc::new(config),
            storage: Arc::new(FsStorage),
            // Nobody hears of failures but who called.
            supervisor: Supervisor::new(flume::unbounded().0),
            meter: Arc::new(RingMeter::default()),
        };
        let request = DumpRequest { reason: REASON.to_owned(), details: Map::new() };
        dumper.write(&request, self.replay, &self.streams, self.last)
    }
}

/// The next entry, if it is whole.
fn take_entry(rest: &mut &[u8], place: impl FnOnce(u32) -> Place) -> Option<(Kind, Block)> {
    let mut take = Take::new(rest);
    let kind = match take.u8().ok()? {
        0 => Kind::State,
        1 => Kind::Block,
        2 => Kind::LastBlock,
        _ => return None,
    };
    let (stream, raw_len, len) = (take.u32().ok()?, take.u32().ok()? as usize, take.u32().ok()?);
    let last = moment(take.u64().ok()?);
    take.bytes(len as usize).ok()?;
    *rest = take.rest();
    Some((kind, Block { stream, last, raw_len, frame: Frame::File(place(len)), ends_calls: false }))
}
