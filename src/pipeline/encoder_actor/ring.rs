//! The encoder in flight recorder mode: records are kept instead of encoded, until a dump or the end.
//!
//! Invariants:
//! - A stream's encoder has learned what has left the ring, and nothing that is in it.
//! - A stream whose thread has ended is kept as long as the ring holds something of it.
//! - A dump holds everything pushed before it was asked for, as far as the ring reaches.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{EncoderInbox, Encoding, Reply, Stream, with_content};
use crate::enverr;
use crate::errors::RecorderResult;
use crate::pipeline::encoder::Nowhere;
use crate::pipeline::ring::dump::{DumpJob, DumpRequest};
use crate::pipeline::ring::{Replay, Ring, Unpacker};
use crate::pipeline::stream::StreamShared;

/// The ring and what goes with it.
#[derive(Debug)]
pub(super) struct Flight {
    ring: Ring,
    unpacker: Unpacker,
    jobs: crossbeam_channel::Sender<DumpJob>,
}

impl Flight {
    pub fn new(ring: Ring, jobs: crossbeam_channel::Sender<DumpJob>) -> RecorderResult<Self> {
        Ok(Self { ring, unpacker: Unpacker::new()?, jobs })
    }
}

impl Encoding {
    /// Keeps records of a stream; what is beyond the limits goes.
    pub(super) fn keep(&mut self, id: u32, records: &[u8]) -> RecorderResult<()> {
        let now = Instant::now();
        self.parts.meters.bytes_in.fetch_add(records.len() as u64, Ordering::Relaxed);
        if let Some(flight) = &mut self.flight {
            flight.ring.append(id, records, now)?;
        }
        self.evict(now)
    }

    /// Drops what is too old or too much.
    pub(super) fn evict(&mut self, now: Instant) -> RecorderResult<()> {
        let Some(flight) = &mut self.flight else { return Ok(()) };
        flight.ring.settle(now)?;
        while let Some(block) = flight.ring.pop(now) {
            if let Some(stream) = self.streams.get_mut(&block.stream) {
                flight.unpacker.learn(&block, &mut stream.encoder)?;
                stream.meter.set_counts(stream.encoder.counts());
            }
        }
        flight.ring.report(now);
        Ok(())
    }

    /// A stream has begun.
    pub(super) fn introduce(&mut self, shared: &StreamShared) {
        if let Some(flight) = &mut self.flight {
            flight.ring.introduce(shared.id, &shared.info);
        }
    }

    /// A stream has ended, and the ring holds nothing of it.
    pub(super) fn forget_in_flight(&mut self, id: u32) {
        if let Some(flight) = &mut self.flight {
            flight.ring.forget(id);
        }
    }

    /// What was pulled goes to the ring's files, if it has any; what is beyond the limits goes.
    pub(super) fn store_flight(&mut self) -> RecorderResult<()> {
        if let Some(flight) = &mut self.flight {
            flight.ring.store()?;
        }
        self.evict(Instant::now())
    }

    /// Whether a stream must stay although its thread has ended.
    pub(super) fn is_held(&self, id: u32) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.ring.holds(id))
    }

    /// Takes a dump of what the ring holds; the dumper writes it.
    pub(super) fn dump(
        &mut self,
        inbox: &EncoderInbox,
        request: DumpRequest,
        reply: Option<Reply<RecorderResult<PathBuf>>>,
    ) -> RecorderResult<()> {
        if self.pull(inbox)? {
            self.pull(inbox)?;
        }
        let Some(flight) = &mut self.flight else { return Ok(()) };
        flight.ring.seal_all()?;
        let job = DumpJob {
            request,
            replay: Replay {
                encoders: self.streams.iter().map(|(id, stream)| (*id, stream.encoder.clone())).collect(),
                blocks: flight.ring.blocks(),
            },
            streams: self.streams.iter().map(|(id, stream)| (*id, Arc::clone(&stream.shared))).collect(),
            taken: Instant::now(),
            reply,
        };
        if let Err(refused) = flight.jobs.try_send(job) {
            let error = enverr!(Io, "no dump: so many are being written already; try again later");
            match refused.into_inner().reply {
                // Whoever asked may have lost patience.
                Some(reply) => drop(reply.send(Err(error))),
                None => crate::logging::report(&error),
            }
        }
        Ok(())
    }

    /// Recording is paused: all calls end, with all that was pushed before. Until it goes on nothing is kept.
    pub(super) fn suspend_flight(&mut self, inbox: &EncoderInbox) -> RecorderResult<()> {
        if self.pull(inbox)? {
            self.pull(inbox)?;
        }
        let now = Instant::now();
        let ids: Vec<u32> = self.streams.keys().copied().collect();
        if let Some(flight) = &mut self.flight {
            ids.into_iter().try_for_each(|id| flight.ring.end_calls(id, now))?;
        }
        self.suspended = true;
        self.evict(now)
    }

    pub(super) fn end_calls(&mut self, id: u32) -> RecorderResult<()> {
        let spare = match self.streams.get(&id) {
            Some(Stream { buffer: None, cut: true, .. }) => Some(self.buffer()?),
            _ => None,
        };
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if spare.is_some() {
            stream.buffer = spare;
        }
        match &mut stream.buffer {
            Some(buffer) => with_content!(&mut buffer.content, out => stream.encoder.end_calls(out)),
            // It has written nothing yet.
            None => stream.encoder.end_calls(&mut Nowhere::default()),
        }
        Ok(())
    }

    /// The recording ends: what the ring holds becomes its trace.
    pub(super) fn land(&mut self) -> RecorderResult<()> {
        let Some(Flight { mut ring, mut unpacker, jobs }) = self.flight.take() else { return Ok(()) };
        drop(jobs);
        self.suspended = false;
        ring.seal_all()?;
        let limits = ring.limits().clone();
        let encoders: BTreeMap<_, _> = self.streams.iter().map(|(id, stream)| (*id, stream.encoder.clone())).collect();
        let mut replay = Replay { encoders, blocks: ring.blocks() };
        drop(ring);
        if !limits.keep_at_exit {
            for block in replay.blocks.drain(..) {
                if let Some(encoder) = replay.encoders.get_mut(&block.stream) {
                    unpacker.learn(&block, encoder)?;
                }
            }
        }
        replay.begin(limits.max_steps, &mut unpacker)?;
        for (id, encoder) in replay.encoders {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.encoder = encoder;
                // Each has what it learned of its thread: none can go on in another's trace.
                stream.placed = true;
            }
        }
        for block in replay.blocks {
            self.encode(block.stream, &mut unpacker.records(&block)?)?;
            if block.ends_calls {
                self.end_calls(block.stream)?;
            }
        }
        Ok(())
    }
}
