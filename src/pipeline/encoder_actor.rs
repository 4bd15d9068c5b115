//! The encoder actor: turns compact events of all streams into segments, and cuts them.
//!
//! Invariants:
//! - Each stream is encoded in its producer's order: sealed chunks come in order through the channel, and an open
//!   chunk is read only if its sequence number is the next one expected (see [`super::stream`]).
//! - Segments are cut between events. All of them together use the buffers there are, no more: if every buffer
//!   holds a part of some stream, the fullest is cut; if all are on their way, the encoder waits, the queue fills,
//!   and producers learn it.
//! - A producer that is gone has its stream finished at the next pull; a thread has no exit status.
//! - After a failure, here or elsewhere, it ends, and with it the channels: whoever pushes or asks learns it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, select};

use crate::bug;
use crate::errors::RecorderResult;
use crate::ffi::chunk::Chunk;

use super::compressor::CompressorPool;
use super::config::PipelineConfig;
use super::encoder::StreamEncoder;
use super::index::IndexLines;
use super::layout::events_in;
use super::limits::LimitWatch;
use super::messages::{EncoderControl, Reply, Segment, SegmentBuffer, WriterWork, with_content};
use super::model::Exit;
use super::part::Part;
use super::ring::Ring;
use super::ring::dump::DumpJob;
use super::stats::{Meters, StreamMeter};
use super::stream::{SealedChunk, StreamShared};
use super::supervisor::{PATIENCE, Supervisor};
use super::tables::Tables;
use super::waiting::Waiting;

mod finish;
mod index;
mod looks;
mod parts;
mod pool;
mod ring;
mod samples;
mod source;

use looks::Looks;
use source::Stream;

/// Name of this stage in failures.
pub(super) const STAGE: &str = "encoder";

/// Deepest call stack whose provisional end goes with every segment; a deeper one would cost more than it is
/// worth, and a file without it opens too, with calls that never return.
const PROVISIONAL_DEPTH: usize = 2_000;

/// Most memory that an empty segment buffer keeps.
const KEPT_BYTES: usize = 16 << 20;

/// So many new streams since the last pull bring the next one forward: short-lived threads must not pile up.
const NEW_STREAMS_PER_PULL: usize = 256;

/// The encoder's ends of its channels.
#[derive(Debug)]
pub(super) struct EncoderInbox {
    pub sealed: Receiver<SealedChunk>,
    pub opened: Receiver<Arc<StreamShared>>,
    pub control: Receiver<EncoderControl>,
    /// Output waits for more.
    pub nudges: Receiver<()>,
    pub waiting: Arc<Waiting>,
    /// Takes chunks back to the producers.
    pub free: Sender<Arc<Chunk>>,
}

/// What the encoder works with.
#[derive(Debug)]
pub(super) struct EncoderParts {
    pub config: Arc<PipelineConfig>,
    pub tables: Arc<Tables>,
    pub supervisor: Arc<Supervisor>,
    pub meters: Arc<Meters>,
    pub output: CompressorPool,
    /// Brings segment buffers back from the writer.
    pub buffers: Receiver<SegmentBuffer>,
    /// The flight recorder, and the way to who writes its dumps, if records are kept instead of encoded.
    pub ring: Option<(Ring, Sender<DumpJob>)>,
}

/// Why [`Encoding::record`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It was told to.
    Ordered,
    /// A limit was reached: all is encoded, and nobody needs to be told to end.
    Limited,
    /// Some stage has failed.
    Failed,
}

/// Runs the encoder on this thread until it is told to stop.
pub(super) fn run(inbox: EncoderInbox, parts: EncoderParts) {
    let supervisor = Arc::clone(&parts.supervisor);
    let mut parts = parts;
    let ring = parts.ring.take();
    let mut encoding = Encoding {
        part: Arc::new(Part::first(&parts.config.out_dir)),
        watch: LimitWatch::new(parts.config.limits.clone()),
        parts,
        streams: BTreeMap::new(),
        index: IndexLines::default(),
        next_ordinal: 0,
        buffers_made: 0,
        unmarked: false,
        tick: None,
        new_streams: 0,
        suspended: false,
        living: Vec::new(),
        owned: 0,
        placing: false,
        flight: None,
    };
    let mut ended = Ended::Failed;
    supervisor.guard(STAGE, || {
        encoding.flight = ring.map(|(ring, jobs)| ring::Flight::new(ring, jobs)).transpose()?;
        let outcome = encoding.record(&inbox);
        if !matches!(outcome, Ok(Ended::Ordered | Ended::Limited)) {
            encoding.salvage();
        }
        ended = outcome?;
        Ok(())
    });
    // After a panic; else `salvage` has.
    encoding.remember_unread();
    // The pool and the way to the writer go: the writer finishes its files.
    drop(encoding);
    if ended == Ended::Limited {
        supervisor.ended_at_limit();
    }
    inbox.leave();
}

impl EncoderInbox {
    /// Producers find their channel closed, and so learn that the recording has ended. Chunks in the queue go now: they
    /// would stay in it for as long as there are producers.
    fn leave(self) {
        self.waiting.leave();
        self.sealed.try_iter().for_each(drop);
    }
}

#[derive(Debug)]
struct Encoding {
    parts: EncoderParts,
    /// The part being recorded, and how large it may become.
    part: Arc<Part>,
    watch: LimitWatch,
    streams: BTreeMap<u32, Stream>,
    index: IndexLines,
    next_ordinal: u64,
    buffers_made: usize,
    /// Segments were cut since the last mark.
    unmarked: bool,
    /// The writer's answer to the last tick, until it comes.
    tick: Option<flume::Receiver<()>>,
    new_streams: usize,
    /// The part has ended, and none was begun after it.
    suspended: bool,
    /// Samples that are marked as begun and not as over.
    living: Vec<u64>,
    /// Streams that have a trace of their own in this part, the first not counted.
    owned: usize,
    /// See [`pool`].
    placing: bool,
    /// Records are kept instead of encoded.
    flight: Option<ring::Flight>,
}

impl Encoding {
    fn record(&mut self, inbox: &EncoderInbox) -> RecorderResult<Ended> {
        #[cfg(test)]
        assert!(self.parts.config.panic_in != Some(STAGE), "injected");
        let interval = self.parts.config.flush_interval;
        let mut next_tick = Instant::now() + interval;
        let mut looks = Looks::default();
        loop {
            if self.parts.supervisor.has_failed() {
                return Ok(Ended::Failed);
            }
            if self.parts.supervisor.limit().is_some() {
                self.finish(inbox, Exit::Unknown)?;
                return Ok(Ended::Limited);
            }
            let deadline = self.watch.deadline().filter(|_| !self.suspended);
            let wake = [deadline, looks.next()].into_iter().flatten().fold(next_tick, Instant::min);
            select! {
                recv(inbox.control) -> order => match order {
                    Ok(EncoderControl::Flush { reply }) => self.flush(inbox, reply)?,
                    Ok(EncoderControl::Rotate { reason, reply }) => self.rotate_now(inbox, &reason, reply)?,
                    Ok(EncoderControl::Suspend { reason, reply }) => self.suspend(inbox, &reason, reply)?,
                    Ok(EncoderControl::Resume { reason, sample, reply }) => {
                        self.resume(&reason, sample)?;
                        // Whoever asked may have lost patience.
                        let _ = reply.send(());
                    }
                    Ok(EncoderControl::Dump { request, reply }) => self.dump(inbox, request, reply)?,
                    Ok(EncoderControl::Stop { exit }) => {
                        self.finish(inbox, exit)?;
                        return Ok(Ended::Ordered);
                    }
                    Ok(EncoderControl::Abandon) | Err(_) => {
                        return Ok(Ended::Ordered);
                    }
                },
                recv(inbox.sealed) -> chunk => if let Ok(chunk) = chunk {
                    self.take_chunk(inbox, chunk)?;
                },
                recv(inbox.nudges) -> _ => looks.begin(),
                recv(inbox.opened) -> stream => if let Ok(stream) = stream {
                    self.open(stream);
                },
                default(wake.saturating_duration_since(Instant::now())) => {}
            }
            if self.new_streams >= NEW_STREAMS_PER_PULL {
                self.pull(inbox)?;
            }
            self.watch_the_clock(inbox)?;
            if looks.is_due() && self.look(inbox, &mut looks)? {
                next_tick = next_tick.min(looks.show_at());
            }
            if Instant::now() >= next_tick {
                self.tick(inbox)?;
                looks.shown();
                next_tick = Instant::now() + interval;
            }
        }
    }

    fn open(&mut self, shared: Arc<StreamShared>) {
        self.introduce(&shared);
        let (id, config) = (shared.id, &self.parts.config);
        let mut encoder = StreamEncoder::new(Arc::clone(&self.parts.tables), config.format, &config.program);
        encoder.set_thread(shared.info.native_id);
        let meter = StreamMeter::new(Arc::clone(&shared), Arc::clone(&self.part));
        if !self.suspended {
            self.parts.meters.add(Arc::clone(&meter));
        }
        self.new_streams += 1;
        self.streams.insert(id, Stream::new(shared, meter, encoder));
    }

    fn open_all(&mut self, inbox: &EncoderInbox) {
        while let Ok(shared) = inbox.opened.try_recv() {
            self.open(shared);
        }
    }

    fn take_chunk(&mut self, inbox: &EncoderInbox, sealed: SealedChunk) -> RecorderResult<()> {
        let lag = sealed.sealed.elapsed().as_micros() as u64;
        self.parts.meters.lag_micros.store(lag, Ordering::Relaxed);
        let (id, chunk) = (sealed.stream.id, &sealed.chunk);
        if !self.streams.contains_key(&id) {
            self.open_all(inbox);
        }
        if let Some(stream) = self.streams.get(&id) {
            if stream.expected != chunk.sequence() {
                return Err(bug!(TraceIncomplete, "chunk {} came before {}", chunk.sequence(), stream.expected));
            }
            self.consume(id, chunk)?;
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.expected += 1;
            }
        }
        // Else the stream was finished through its open chunk, which is this one.
        if chunk.capacity() == self.parts.config.batch_bytes {
            // A full return channel means that producers have enough; the memory goes.
            let _ = inbox.free.try_send(sealed.into_chunk());
        }
        Ok(())
    }

    /// Encodes records of a stream into segments; what is left of them was not.
    fn encode(&mut self, id: u32, rest: &mut &[u8]) -> RecorderResult<()> {
        self.place(id)?;
        let limit = self.parts.config.segment_limit();
        while !rest.is_empty() {
            if self.parts.config.marked_samples && self.take_mark(id, rest)? {
                continue;
            }
            if !self.make_room_for_steps()? {
                return Ok(());
            }
            let spare = match self.streams.get(&id) {
                Some(Stream { buffer: Some(_), .. }) => None,
                _ => Some(self.buffer()?),
            };
            let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
            if let Some(spare) = spare {
                stream.buffer = Some(spare);
            }
            let Some(buffer) = &mut stream.buffer else { return Ok(()) };
            with_content!(&mut buffer.content, out => stream.encoder.start(out));
            let (before, steps_before) = (buffer.content.len(), stream.encoder.counts().steps);
            let taken_before = stream.encoder.taken();
            let last_step = steps_before.saturating_add(self.watch.steps_left());
            stream.encoder.set_step_limit(last_step);
            let encoded = with_content!(&mut buffer.content, out => stream.encoder.encode(rest, out, limit));
            self.watch.count(stream.encoder.counts().steps - steps_before);
            stream.meter.taken.fetch_add(stream.encoder.taken() - taken_before, Ordering::Relaxed);
            let (taken, full) = (encoded.unwrap_or(0), buffer.content.is_full(limit));
            if encoded.is_err() || (taken == 0 && !full) {
                // What was made until then is valid, and the stream can still be finished: see `salvage`.
                let unknown = events_in(rest).saturating_sub(stream.encoder.taken() - taken_before);
                stream.meter.taken.fetch_add(unknown, Ordering::Relaxed);
                *rest = &[];
                return Err(bug!(
                    TraceIncomplete,
                    "the events of thread {} do not follow the layout",
                    stream.shared.info.name
                ));
            }
            let made = buffer.content.len() - before;
            self.parts.meters.bytes_encoded.fetch_add(made as u64, Ordering::Relaxed);
            *rest = &rest[taken..];
            self.note_turns(id);
            if full {
                self.cut(id);
                self.watch_the_size()?;
            }
        }
        if let Some(stream) = self.streams.get(&id) {
            stream.meter.set_counts(stream.encoder.counts());
        }
        Ok(())
    }

    /// A free segment buffer; waits for one if all are on their way to the disk.
    fn buffer(&mut self) -> RecorderResult<SegmentBuffer> {
        let limit = self.parts.config.segment_buffers();
        loop {
            match self.parts.buffers.try_recv() {
                Ok(buffer) => return Ok(self.emptied(buffer)),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Err(self.stopped()),
            }
            if self.buffers_made < limit {
                self.buffers_made += 1;
                return Ok(SegmentBuffer::new(self.parts.config.format));
            }
            let filling = |stream: &Stream| stream.buffer.as_ref().map(|buffer| buffer.content.len());
            if self.streams.values().filter_map(filling).count() == limit
                && let Some((_, id)) = self.streams.iter().filter_map(|(id, s)| Some((filling(s)?, *id))).max()
            {
                self.cut(id);
            }
            match self.parts.buffers.recv_timeout(PATIENCE) {
                Ok(buffer) => return Ok(self.emptied(buffer)),
                Err(RecvTimeoutError::Timeout) if !self.parts.supervisor.has_failed() => {}
                Err(_) => return Err(self.stopped()),
            }
        }
    }

    /// A huge event must not keep its memory for good.
    fn emptied(&self, mut buffer: SegmentBuffer) -> SegmentBuffer {
        if buffer.content.footprint() > KEPT_BYTES.min(4 * self.parts.config.segment_limit()) {
            return SegmentBuffer::new(self.parts.config.format);
        }
        buffer.content.clear();
        buffer.frame.clear();
        buffer
    }

    fn stopped(&self) -> crate::errors::RecorderError {
        match self.parts.supervisor.failure() {
            Some(failure) => failure.to_error(),
            None => bug!(TraceIncomplete, "the writer has ended before the encoder"),
        }
    }

    /// Sends the segment a stream has been filling on its way, if there is anything in it.
    fn cut(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(buffer) = stream.buffer.take() else { return };
        let mut provisional = Vec::new();
        if stream.encoder.depth() <= PROVISIONAL_DEPTH {
            stream.encoder.provisional_end(Exit::Unknown, &mut provisional);
        }
        self.send(id, buffer, provisional);
    }

    fn send(&mut self, id: u32, buffer: SegmentBuffer, provisional: Vec<u8>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let known = stream.encoder.paths();
        let paths = (known.len() > stream.paths_sent).then(|| known.to_vec());
        stream.paths_sent = known.len();
        stream.cut = true;
        let upto = stream.meter.taken.load(Ordering::Relaxed);
        let segment = Segment { stream: Arc::clone(&stream.meter), buffer, provisional, paths, upto };
        let ordinal = self.ordinal();
        self.parts.output.submit(ordinal, Box::new(segment));
        self.unmarked = true;
    }

    fn ordinal(&mut self) -> u64 {
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        ordinal
    }

    fn cut_all(&mut self) {
        let ids: Vec<u32> = self.streams.keys().copied().collect();
        ids.into_iter().for_each(|id| self.cut(id));
    }

    /// Encodes all that is published now. `true` if a producer was faster: chunks of it are in the channel.
    fn pull(&mut self, inbox: &EncoderInbox) -> RecorderResult<bool> {
        self.new_streams = 0;
        self.open_all(inbox);
        // No more than was there at the start: producers may be as fast as we are.
        for _ in 0..inbox.sealed.len() {
            match inbox.sealed.try_recv() {
                Ok(chunk) => self.take_chunk(inbox, chunk)?,
                Err(_) => break,
            }
        }
        let mut behind = false;
        let ids: Vec<u32> = self.streams.keys().copied().collect();
        for id in ids {
            behind |= self.pull_from(id)?;
        }
        Ok(behind)
    }

    /// Encodes what is published of a stream, and ends it if its thread has. `true` as for [`Self::pull`].
    fn pull_from(&mut self, id: u32) -> RecorderResult<bool> {
        let Some(stream) = self.streams.get(&id).filter(|stream| !stream.parked) else { return Ok(false) };
        let shared = Arc::clone(&stream.shared);
        // First this, then the chunk: a closed stream's chunk does not change any more.
        let closed = shared.closed.load(Ordering::Acquire);
        let open = shared.open.load_full();
        let next = open.as_ref().map_or(0, |chunk| chunk.sequence());
        if next > stream.expected {
            return Ok(true);
        }
        if let Some(chunk) = open.filter(|_| next == stream.expected) {
            self.consume(id, &chunk)?;
        }
        if closed && id != 0 && !self.is_held(id) && !self.park(id)? {
            self.finish_stream(id, Exit::Unknown)?;
        }
        Ok(false)
    }

    fn flush(&mut self, inbox: &EncoderInbox, reply: Reply<()>) -> RecorderResult<()> {
        // A chunk that was open before the call and is sealed by now is in the channel: the second pull has it.
        if self.pull(inbox)? {
            self.pull(inbox)?;
        }
        self.store_flight()?;
        self.end_waiting_outputs()?;
        self.cut_all();
        self.pass_index();
        self.mark(reply, self.parts.config.durable);
        Ok(())
    }

    fn mark(&mut self, reply: Reply<()>, durable: bool) {
        let ordinal = self.ordinal();
        self.parts.output.pass(ordinal, WriterWork::Mark { reply, durable });
        self.unmarked = false;
    }

    fn tick(&mut self, inbox: &EncoderInbox) -> RecorderResult<()> {
        if let Some(last) = &self.tick
            && matches!(last.try_recv(), Err(flume::TryRecvError::Empty))
        {
            // The disk is slower than the clock; more marks would only pile up.
            return Ok(());
        }
        self.tick = None;
        self.pull(inbox)?;
        if self.flight.is_some() {
            return self.store_flight();
        }
        self.watch_the_size()?;
        self.cut_all();
        self.pass_index();
        if self.unmarked {
            let (reply, answer) = flume::bounded(1);
            self.mark(reply, false);
            self.tick = Some(answer);
        }
        Ok(())
    }
}
