//! One stream per recorded thread: the producer's end, and what workers may see of it.
//!
//! Invariants:
//! - The producer never waits inside [`StreamProducer::push`]; when there is no room it says so and the caller
//!   decides (policy `block` or `drop`) — so waiting can happen without the GIL.
//! - A full chunk is sent on the bounded channel *before* the next one becomes visible in `open`: a worker that
//!   finds chunk n open finds every chunk before n in the channel or already consumed.
//! - A chunk that goes without having been read has its events counted as unread, once ([`StreamShared::take_unread`]).
//! - Memory: at most one open chunk per stream, plus the channel's capacity in sealed ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::layout::{LossCause, events_in};
use super::losses::{LossCounts, Losses};
use super::turns::Turns;
use super::waiting::Waiting;
use crate::ffi::chunk::{Chunk, ChunkWriter};
use crate::ffi::sync::{AtomicBool, AtomicUsize, Ordering, fence};

/// A fresh stream starts with a chunk this small, so that thousands of short-lived threads stay cheap;
/// each further chunk is four times larger, up to `batch_bytes`.
const FIRST_CHUNK: usize = 8 * 1024;

/// Who a stream belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Python's thread name when the stream was opened, or a generated one.
    pub name: String,
    /// `threading.get_native_id()` of the thread.
    pub native_id: u64,
}

/// What workers see of a stream.
#[derive(Debug)]
pub struct StreamShared {
    /// Position among the session's streams; 0 is the thread that started the recording.
    pub id: u32,
    pub info: StreamInfo,
    /// The chunk being written, if any.
    pub(super) open: ArcSwapOption<Chunk>,
    /// The producer is gone; what is published is all there will be.
    pub(super) closed: AtomicBool,
    /// Events that were lost, and why.
    pub lost: Losses,
    /// Those of them that no record tells of yet.
    pub(super) untold: Losses,
    /// Events in chunks that went without having been read.
    unread: AtomicUsize,
    /// What was pushed last may be output that waits for more.
    output_waits: AtomicBool,
}

impl StreamShared {
    /// Of a thread that has recorded nothing yet.
    pub(super) fn new(id: u32, info: StreamInfo) -> Self {
        Self {
            id,
            info,
            open: ArcSwapOption::empty(),
            closed: AtomicBool::new(false),
            lost: Losses::default(),
            untold: Losses::default(),
            unread: AtomicUsize::new(0),
            output_waits: AtomicBool::new(false),
        }
    }

    /// What was lost and no record tells of yet.
    pub fn untold(&self) -> LossCounts {
        self.untold.counts()
    }

    /// Nobody will read the open chunk any more, and its memory goes.
    pub(super) fn leave(&self) {
        if let Some(chunk) = self.open.swap(None) {
            self.count_unread(&chunk);
        }
    }

    /// How many events were published and will not be read, as nobody reads any more; those told of are not told again.
    pub(super) fn take_unread(&self) -> u64 {
        if let Some(chunk) = self.open.load_full() {
            self.count_unread(&chunk);
        }
        self.unread.swap(0, Ordering::AcqRel) as u64
    }

    fn count_unread(&self, chunk: &Chunk) {
        let events = events_in(chunk.take_unread());
        if events > 0 {
            self.unread.fetch_add(events as usize, Ordering::AcqRel);
        }
    }

    /// Whether output may have waited when this was asked; what the producer pushes later, it says again.
    pub(super) fn take_output_waits(&self) -> bool {
        let waits = self.output_waits.swap(false, Ordering::AcqRel);
        // With the one in `output_waits`.
        fence(Ordering::SeqCst);
        waits
    }

    /// What [`Self::take_output_waits`] told of could not be read yet: it is told of again.
    pub(super) fn leave_output_waiting(&self) {
        self.output_waits.store(true, Ordering::Release);
    }
}

/// A full chunk on its way to the encoder.
#[derive(Debug)]
pub struct SealedChunk {
    pub stream: Arc<StreamShared>,
    pub chunk: Arc<Chunk>,
    /// When it was full.
    pub sealed: Instant,
    /// It does not come by the channel: it stays open, to be read there.
    stays: bool,
}

impl SealedChunk {
    /// The chunk, whose memory can be used again.
    pub fn into_chunk(self) -> Arc<Chunk> {
        Arc::clone(&self.chunk)
    }
}

impl Drop for SealedChunk {
    /// Read or not, it does not come to the encoder again.
    fn drop(&mut self) {
        if !self.stays {
            self.stream.count_unread(&self.chunk);
        }
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// Published.
    Stored,
    /// Not stored: the queue is full. Try [`StreamProducer::wait_for_room`], or count a loss.
    NoRoom,
    /// Not stored: the pipeline has ended.
    Ended,
}

/// The interpreter thread's end of a stream.
#[derive(Debug)]
pub struct StreamProducer {
    shared: Arc<StreamShared>,
    writer: Option<ChunkWriter>,
    /// A sealed chunk that found the channel full.
    pending: Option<SealedChunk>,
    sealed: Sender<SealedChunk>,
    free: Receiver<Arc<Chunk>>,
    turns: Arc<Turns>,
    waiting: Arc<Waiting>,
    batch_bytes: usize,
    next_sequence: u64,
    /// The pipeline was found to have ended; nothing is stored any more.
    ended: bool,
}

impl StreamProducer {
    /// `sealed` is the bounded channel to the encoder, `free` returns consumed chunks of `batch_bytes`.
    pub(super) fn new(
        id: u32,
        info: StreamInfo,
        sealed: Sender<SealedChunk>,
        free: Receiver<Arc<Chunk>>,
        turns: Arc<Turns>,
        waiting: Arc<Waiting>,
        batch_bytes: usize,
    ) -> Self {
        let shared = Arc::new(StreamShared::new(id, info));
        let (writer, pending, next_sequence, ended) = (None, None, 0, false);
        Self { shared, writer, pending, sealed, free, turns, waiting, batch_bytes, next_sequence, ended }
    }

    /// What workers see.
    pub fn shared(&self) -> &Arc<StreamShared> {
        &self.shared
    }

    /// An event is lost; the next record that is stored is to tell of it, or else the encoder does at the end.
    pub fn lose(&self, cause: LossCause) {
        self.shared.lost.add(cause, 1);
        self.shared.untold.add(cause, 1);
    }

    /// A record that tells of what was lost is stored.
    pub fn told_of_losses(&self) {
        self.shared.untold.take();
    }

    /// Publishes whole records. Constant time, no lock, no allocation except when a chunk is full.
    #[inline]
    pub fn push(&mut self, records: &[u8]) -> Pushed {
        if self.turns.is_of(self.shared.id)
            && let Some(writer) = &mut self.writer
            && writer.append(records)
        {
            return Pushed::Stored;
        }
        self.push_slow(records)
    }

    /// The same for a record in two parts, where that is done at once; else false, and nothing is stored.
    #[inline]
    pub fn push_at_once(&mut self, head: &[u8], rest: &[u8]) -> bool {
        self.turns.is_of(self.shared.id) && self.writer.as_mut().is_some_and(|writer| writer.append_parts([head, rest]))
    }

    /// What was pushed last is output that waits for more: the encoder shall look whether more comes.
    #[inline]
    pub fn output_waits(&self) {
        // This fence and that of `take_output_waits` have an order. If this one is the first, the encoder sees what was
        // pushed when it reads after its own. If it is the second, the load sees that the encoder has taken the mark.
        // Without either of them the test in tests/loom fails.
        fence(Ordering::SeqCst);
        if !self.shared.output_waits.load(Ordering::Relaxed) {
            // A swap, as the encoder's, so one of the two has the other's value: the encoder sees the mark, and what was
            // pushed before; or this sees all that the encoder did before it took the mark, that it took the
            // announcement too, and so announces again. That needs no fence, here or there.
            self.shared.output_waits.swap(true, Ordering::AcqRel);
        }
        self.waiting.announce();
    }

    #[cold]
    fn push_slow(&mut self, records: &[u8]) -> Pushed {
        if self.turns.is_of(self.shared.id) {
            return self.append_or_seal(records);
        }
        let mut turn = Vec::with_capacity(records.len() + 17);
        turn.extend_from_slice(&self.turns.begin());
        turn.extend_from_slice(records);
        let pushed = self.append_or_seal(&turn);
        if pushed == Pushed::Stored {
            self.turns.take(self.shared.id);
        }
        pushed
    }

    fn append_or_seal(&mut self, records: &[u8]) -> Pushed {
        if let Some(writer) = &mut self.writer
            && writer.append(records)
        {
            return Pushed::Stored;
        }
        match self.send_full_chunk() {
            Pushed::Stored => {}
            other => return other,
        }
        let mut writer = self.next_chunk(records.len());
        let stored = writer.append(records);
        debug_assert!(stored, "a fresh chunk holds the record it was made for");
        self.shared.open.store(Some(writer.share()));
        self.writer = Some(writer);
        Pushed::Stored
    }

    /// Hands the current chunk over, if there is one and the channel has room.
    fn send_full_chunk(&mut self) -> Pushed {
        if self.ended {
            return Pushed::Ended;
        }
        if self.pending.is_none()
            && let Some(writer) = self.writer.take()
        {
            self.pending = Some(SealedChunk {
                stream: Arc::clone(&self.shared),
                chunk: writer.seal(),
                sealed: Instant::now(),
                stays: false,
            });
        }
        let Some(pending) = self.pending.take() else { return Pushed::Stored };
        let chunk = Arc::clone(&pending.chunk);
        match self.sealed.try_send(pending) {
            Ok(()) => self.sent(&chunk),
            Err(TrySendError::Full(chunk)) => {
                self.pending = Some(chunk);
                Pushed::NoRoom
            }
            Err(TrySendError::Disconnected(_)) => self.end(),
        }
    }

    fn next_chunk(&mut self, at_least: usize) -> ChunkWriter {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let growth = FIRST_CHUNK << (2 * sequence.min(16)) as usize;
        let wanted = growth.min(self.batch_bytes).max(at_least);
        if wanted == self.batch_bytes
            && let Ok(chunk) = self.free.try_recv()
        {
            return ChunkWriter::recycle(chunk, sequence);
        }
        ChunkWriter::new(wanted, sequence)
    }

    /// Waits until the queue has room, `timeout` at most. Call it without the GIL.
    pub fn wait_for_room(&mut self, timeout: Duration) -> Pushed {
        if self.ended {
            return Pushed::Ended;
        }
        let Some(pending) = self.pending.take() else { return Pushed::Stored };
        let chunk = Arc::clone(&pending.chunk);
        match self.sealed.send_timeout(pending, timeout) {
            Ok(()) => self.sent(&chunk),
            Err(crossbeam_channel::SendTimeoutError::Timeout(chunk)) => {
                self.pending = Some(chunk);
                Pushed::NoRoom
            }
            Err(crossbeam_channel::SendTimeoutError::Disconnected(_)) => self.end(),
        }
    }

    /// A chunk is in the queue, for the encoder, unless that has left and looks there no more.
    fn sent(&mut self, chunk: &Chunk) -> Pushed {
        if self.waiting.is_over() {
            self.shared.count_unread(chunk);
            return self.end();
        }
        Pushed::Stored
    }

    /// Nobody reads this stream any more: its memory goes, and so does every later record.
    fn end(&mut self) -> Pushed {
        self.ended = true;
        self.shared.leave();
        Pushed::Ended
    }
}

impl Drop for StreamProducer {
    /// The thread is gone or the session over: what was published stays readable through `open`.
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        // The chunk that was not sent is still open, unless the encoder has left the stream: it did not see what came
        // after that.
        let stays = self.shared.open.load_full().is_some();
        if let Some(pending) = &mut self.pending {
            pending.stays = stays;
        } else if let Some(writer) = self.writer.take()
            && !stays
        {
            self.shared.count_unread(&writer.seal());
        }
    }
}
