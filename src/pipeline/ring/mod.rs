//! The flight recorder: the latest events in memory or in files, as the compact records they came in, until somebody wants
//! them.
//!
//! ```text
//!  records ──► tails (one per stream) ──► blocks, oldest first ──► learned by the stream's encoder, without output
//!                                            │
//!                                            └── a dump: copies of the encoders, and these blocks ──► a whole trace
//! ```
//!
//! Invariants:
//! - What a block needs to be understood (definitions, open calls, their variables) is the state of its stream's encoder
//!   after the blocks before it. A block that leaves is learned by the encoder first, so any suffix of the blocks can be
//!   encoded at any time.
//! - Blocks and tails together take no more than [`RingLimits::max_bytes`], be it of memory or of files; the encoders grow
//!   with the program's text and the calls in progress, not with its run.
//! - A dump changes nothing here: it works on copies, in a thread of its own.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::compressor::FrameCompressor;
use super::encoder::{Nowhere, StreamEncoder};
use super::stream::StreamInfo;
use crate::errors::RecorderResult;
use crate::{bug, enverr};

pub mod dump;
#[cfg(test)]
mod file_tests;
pub(super) mod files;
pub mod killed;
mod moments;
mod state;
#[cfg(test)]
mod tests;

use files::{Place, Reader, RingFiles};

/// Raw bytes from which a tail becomes a block: enough for zstd to find what repeats, little enough to drop at a time.
const BLOCK: usize = 64 * 1024;
/// A tail becomes a block after this share of the time that is kept, so that time is kept to a sixteenth.
const TAIL_SHARE: u32 = 16;
/// What a block costs besides its bytes: itself, its counts and its place in the queue.
const BLOCK_COST: usize = 128;
/// Only so small can a step be in the compact form: fewer raw bytes cannot have more steps than this says.
const SMALLEST_STEP: u64 = 5;

/// How much of the past is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingLimits {
    /// How far back.
    pub duration: Duration,
    /// Bytes of memory, or of files.
    pub max_bytes: usize,
    /// It is kept in files: see [`files`].
    pub in_files: bool,
    /// Steps of a dump, and of the trace at the end; 0 for all there are.
    pub max_steps: u64,
    /// At the end of the recording what is kept becomes its trace.
    pub keep_at_exit: bool,
}

/// Records of one stream, in order, as one zstd frame.
#[derive(Debug)]
pub(super) struct Block {
    pub stream: u32,
    /// When its last record was taken from the stream.
    pub last: Instant,
    raw_len: usize,
    frame: Frame,
    /// All calls in progress end after it: recording was paused.
    pub ends_calls: bool,
}

/// Where a block's bytes are.
#[derive(Debug)]
enum Frame {
    Memory(Box<[u8]>),
    File(Place),
}

impl Block {
    pub fn has_events(&self) -> bool {
        self.raw_len > 0
    }

    /// Bytes of memory.
    fn cost(&self) -> usize {
        match &self.frame {
            Frame::Memory(frame) => frame.len() + BLOCK_COST,
            Frame::File(_) => BLOCK_COST,
        }
    }
}

/// The latest records of a stream, not a block yet.
#[derive(Debug)]
struct Tail {
    raw: Vec<u8>,
    first: Instant,
    last: Instant,
}

/// See the module docs.
#[derive(Debug)]
pub(super) struct Ring {
    limits: RingLimits,
    blocks: VecDeque<Arc<Block>>,
    tails: BTreeMap<u32, Tail>,
    /// How many blocks each stream has.
    held: BTreeMap<u32, usize>,
    block_bytes: usize,
    tail_bytes: usize,
    compressor: FrameCompressor,
    files: Option<RingFiles>,
    meter: Arc<RingMeter>,
}

impl Ring {
    pub fn new(limits: RingLimits, files: Option<RingFiles>, meter: Arc<RingMeter>) -> RecorderResult<Self> {
        let compressor =
            FrameCompressor::new(1).map_err(|error| enverr!(Io, "cannot set up zstd").with_source(error))?;
        Ok(Self {
            limits,
            blocks: VecDeque::new(),
            tails: BTreeMap::new(),
            held: BTreeMap::new(),
            block_bytes: 0,
            tail_bytes: 0,
            compressor,
            files,
            meter,
        })
    }

    /// A stream that records will come of.
    pub fn introduce(&mut self, stream: u32, info: &StreamInfo) {
        if let Some(files) = &mut self.files {
            files.introduce(stream, info);
        }
    }

    /// No more records will come of it.
    pub fn forget(&mut self, stream: u32) {
        if let Some(files) = &mut self.files {
            files.forget(stream);
        }
    }

    /// Puts all that is kept into the files, if it is kept in files.
    pub fn store(&mut self) -> RecorderResult<()> {
        if self.files.is_some() { self.seal_all() } else { Ok(()) }
    }

    pub const fn limits(&self) -> &RingLimits {
        &self.limits
    }

    /// Takes whole records of a stream.
    pub fn append(&mut self, stream: u32, records: &[u8], now: Instant) -> RecorderResult<()> {
        let tail = self.tails.entry(stream).or_insert_with(|| Tail { raw: Vec::new(), first: now, last: now });
        tail.raw.extend_from_slice(records);
        tail.last = now;
        self.tail_bytes += records.len();
        if tail.raw.len() >= BLOCK { self.seal(stream) } else { Ok(()) }
    }

    fn seal(&mut self, stream: u32) -> RecorderResult<()> {
        match self.tails.remove(&stream) {
            Some(tail) => self.push(stream, &tail, false),
            None => Ok(()),
        }
    }

    /// The calls of a stream end here.
    pub fn end_calls(&mut self, stream: u32, now: Instant) -> RecorderResult<()> {
        let tail = self.tails.remove(&stream).unwrap_or(Tail { raw: Vec::new(), first: now, last: now });
        self.push(stream, &tail, true)
    }

    fn push(&mut self, stream: u32, tail: &Tail, ends_calls: bool) -> RecorderResult<()> {
        let mut frame = Vec::new();
        self.compressor
            .compress(&tail.raw, &mut frame)
            .map_err(|error| enverr!(Io, "cannot compress a part of the recording").with_source(error))?;
        let place = match &mut self.files {
            Some(files) => files
                .store((stream, ends_calls), &tail.raw, &frame, tail.last, &mut self.compressor, &self.meter)
                .map_err(|_| bug!(TraceIncomplete, "events for the flight recorder do not follow the layout"))?,
            None => None,
        };
        self.tail_bytes -= tail.raw.len();
        let frame = place.map_or_else(|| Frame::Memory(frame.as_slice().into()), Frame::File);
        let block = Block { stream, last: tail.last, raw_len: tail.raw.len(), frame, ends_calls };
        self.block_bytes += block.cost();
        *self.held.entry(stream).or_default() += 1;
        self.blocks.push_back(Arc::new(block));
        Ok(())
    }

    /// Makes a block of every tail.
    pub fn seal_all(&mut self) -> RecorderResult<()> {
        let streams: Vec<u32> = self.tails.keys().copied().collect();
        streams.into_iter().try_for_each(|stream| self.seal(stream))
    }

    /// Makes blocks of the tails that are old, or of all if there is no room for them.
    pub fn settle(&mut self, now: Instant) -> RecorderResult<()> {
        let age = self.limits.duration / TAIL_SHARE;
        let crowded = self.tail_bytes > self.limits.max_bytes / 2;
        let old: Vec<u32> = self
            .tails
            .iter()
            .filter(|(_, tail)| crowded || now.saturating_duration_since(tail.first) >= age)
            .map(|(stream, _)| *stream)
            .collect();
        old.into_iter().try_for_each(|stream| self.seal(stream))
    }

    /// The oldest block, if it is beyond a limit: it is no longer in the ring, and its encoder has to learn it.
    pub fn pop(&mut self, now: Instant) -> Option<Arc<Block>> {
        let oldest = self.blocks.front()?;
        let too_old = now.saturating_duration_since(oldest.last) > self.limits.duration;
        if !too_old && self.bytes() <= self.limits.max_bytes {
            return None;
        }
        let block = self.blocks.pop_front()?;
        self.block_bytes -= block.cost();
        if let (Some(files), Frame::File(place)) = (&mut self.files, &block.frame) {
            files.release(place);
        }
        if let Some(held) = self.held.get_mut(&block.stream) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&block.stream);
            }
        }
        self.meter.evicted.fetch_add(block.raw_len as u64, Ordering::Relaxed);
        Some(block)
    }

    /// Whether anything of this stream is in the ring.
    pub fn holds(&self, stream: u32) -> bool {
        self.held.contains_key(&stream) || self.tails.contains_key(&stream)
    }

    /// Everything in it, oldest first; call [`Self::seal_all`] before.
    pub fn blocks(&self) -> Vec<Arc<Block>> {
        self.blocks.iter().cloned().collect()
    }

    fn bytes(&self) -> usize {
        let in_files = self.files.as_ref().map_or(0, RingFiles::bytes);
        self.block_bytes + self.tail_bytes + usize::try_from(in_files).unwrap_or(usize::MAX / 2)
    }

    /// Tells the meter how it stands.
    pub fn report(&self, now: Instant) {
        let oldest = self.blocks.front().map(|block| block.last);
        let oldest = oldest.into_iter().chain(self.tails.values().map(|tail| tail.first)).min();
        let age = oldest.map_or(0, |oldest| now.saturating_duration_since(oldest).as_millis());
        self.meter.bytes.store(self.bytes() as u64, Ordering::Relaxed);
        self.meter.peak_bytes.fetch_max(self.bytes() as u64, Ordering::Relaxed);
        self.meter.oldest_ms.store(u64::try_from(age).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Makes records of blocks again.
pub(super) struct Unpacker {
    decompressor: zstd::bulk::Decompressor<'static>,
    reader: Reader,
    raw: Vec<u8>,
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unpacker")
    }
}

impl Unpacker {
    pub fn new() -> RecorderResult<Self> {
        let decompressor =
            zstd::bulk::Decompressor::new().map_err(|error| enverr!(Io, "cannot set up zstd").with_source(error))?;
        Ok(Self { decompressor, reader: Reader::default(), raw: Vec::new() })
    }

    pub fn records(&mut self, block: &Block) -> RecorderResult<&[u8]> {
        self.raw.clear();
        self.raw.reserve(block.raw_len);
        let frame = match &block.frame {
            Frame::Memory(frame) => frame,
            Frame::File(place) => self
                .reader
                .read(place)
                .map_err(|error| enverr!(Io, "cannot read a file of the flight recorder").with_source(error))?,
        };
        self.decompressor
            .decompress_to_buffer(frame, &mut self.raw)
            .map_err(|error| bug!(TraceIncomplete, "a block of the flight recorder is damaged").with_source(error))?;
        Ok(&self.raw)
    }

    /// Lets the encoder learn what the block says, without output.
    pub fn learn(&mut self, block: &Block, encoder: &mut StreamEncoder) -> RecorderResult<()> {
        let records = self.records(block)?;
        let wanted = records.len();
        match encoder.encode(records, &mut Nowhere::default(), usize::MAX) {
            Ok(taken) if taken == wanted => {}
            _ => return Err(bug!(TraceIncomplete, "events in the flight recorder do not follow the layout")),
        }
        if block.ends_calls {
            encoder.end_calls(&mut Nowhere::default());
        }
        // Those that a trace begins with are told again.
        drop(encoder.take_turns());
        Ok(())
    }
}

/// Blocks, and encoders that are where the blocks begin.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub encoders: BTreeMap<u32, StreamEncoder>,
    pub blocks: Vec<Arc<Block>>,
}

impl Replay {
    /// Drops the oldest blocks until those left have no more than `max_steps` steps (0 for any number), the latest block
    /// excepted. Then every encoder begins a part.
    pub fn begin(&mut self, max_steps: u64, unpacker: &mut Unpacker) -> RecorderResult<()> {
        let dropped = self.superfluous(max_steps, unpacker)?;
        for block in self.blocks.drain(..dropped) {
            if let Some(encoder) = self.encoders.get_mut(&block.stream) {
                unpacker.learn(&block, encoder)?;
            }
        }
        for encoder in self.encoders.values_mut() {
            encoder.end_part(&mut Nowhere::default());
            encoder.begin_part();
        }
        Ok(())
    }

    /// How many of the oldest blocks are too many.
    fn superfluous(&self, max_steps: u64, unpacker: &mut Unpacker) -> RecorderResult<usize> {
        let raw: u64 = self.blocks.iter().map(|block| block.raw_len as u64).sum();
        if max_steps == 0 || raw / SMALLEST_STEP <= max_steps {
            return Ok(0);
        }
        let mut encoders = self.encoders.clone();
        let mut steps = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let Some(encoder) = encoders.get_mut(&block.stream) else { continue };
            let before = encoder.counts().steps;
            unpacker.learn(block, encoder)?;
            steps.push(encoder.counts().steps.saturating_sub(before));
        }
        let (mut total, mut kept) = (0, 0);
        for of_block in steps.iter().rev() {
            total += of_block;
            if total > max_steps && kept > 0 {
                break;
            }
            kept += 1;
        }
        Ok(steps.len() - kept)
    }
}

/// What anybody may see of the ring.
#[derive(Debug, Default)]
pub(super) struct RingMeter {
    bytes: AtomicU64,
    peak_bytes: AtomicU64,
    oldest_ms: AtomicU64,
    /// Raw bytes that have left.
    evicted: AtomicU64,
    pub dumps: AtomicU64,
    pub failed_dumps: AtomicU64,
    /// Size of the files, those of the definitions included.
    file_bytes: AtomicU64,
    failed_writes: AtomicU64,
}

/// How the flight recorder stands.
#[derive(Debug, Clone, Serialize)]
pub struct RingStats {
    /// Where the events are kept: `memory` or `files`.
    pub storage: &'static str,
    /// What the events that are kept take, in memory or in files, the most it has been, and the most it may be.
    pub bytes: u64,
    pub peak_bytes: u64,
    pub max_bytes: u64,
    /// How old the oldest of them is, in seconds.
    pub oldest_seconds: f64,
    /// Bytes of events, before compression, that were dropped because they were too old or too many.
    pub evicted_bytes: u64,
    /// Dumps that were written, and that could not be.
    pub dumps: u64,
    pub failed_dumps: u64,
    /// Size of the files, with the definitions, which `bytes` does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Writes to them that failed; those events are in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_writes: Option<u64>,
}

impl RingMeter {
    pub fn snapshot(&self, limits: &RingLimits) -> RingStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RingStats {
            storage: if limits.in_files { "files" } else { "memory" },
            bytes: load(&self.bytes),
            peak_bytes: load(&self.peak_bytes),
            max_bytes: limits.max_bytes as u64,
            oldest_seconds: load(&self.oldest_ms) as f64 / 1000.0,
            evicted_bytes: load(&self.evicted),
            dumps: load(&self.dumps),
            failed_dumps: load(&self.failed_dumps),
            file_bytes: limits.in_files.then(|| load(&self.file_bytes)),
            failed_writes: limits.in_files.then(|| load(&self.failed_writes)),
        }
    }
}
