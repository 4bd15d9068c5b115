//! Limits and parts: what the encoder does when a limit is reached or somebody asks for a further part.
//!
//! Invariants:
//! - A part ends between two records, for all streams at once: each is balanced and its file finished, then the writer
//!   learns that the part is complete.
//! - The first stream has a trace in every part, so that a part's directory opens; another stream only if it has
//!   events there.
//! - A limit that stops the recording is only noted here; the main loop ends with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::Value;

use super::{EncoderInbox, Encoding, Reply, StreamMeter, WriterWork, with_content};
use crate::errors::RecorderResult;
use crate::pipeline::limits::OnReached;

impl Encoding {
    /// Whether the next record may be encoded: if the part has all the steps it may have, another part begins, or
    /// the recording ends.
    pub(super) fn make_room_for_steps(&mut self) -> RecorderResult<bool> {
        if self.watch.steps_left() == 0 {
            self.reach("max_steps")?;
        }
        Ok(self.parts.supervisor.limit().is_none())
    }

    /// After a segment was cut: ends the part if its files are large enough.
    pub(super) fn watch_the_size(&mut self) -> RecorderResult<()> {
        let (meters, part) = (&self.parts.meters, &self.part);
        if !self.suspended && self.watch.bytes_reached(|| meters.part_bytes(part)) {
            self.reach("max_bytes")?;
        }
        Ok(())
    }

    /// Ends the part when its time is up, with all that is published until now.
    pub(super) fn watch_the_clock(&mut self, inbox: &EncoderInbox) -> RecorderResult<()> {
        if !self.suspended && self.watch.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            self.pull(inbox)?;
            self.reach("max_duration")?;
        }
        Ok(())
    }

    fn reach(&mut self, limit: &'static str) -> RecorderResult<()> {
        if self.parts.supervisor.limit().is_some() {
            return Ok(());
        }
        match self.watch.on_reached() {
            OnReached::Stop => {
                self.parts.supervisor.reach_limit(limit);
                Ok(())
            }
            OnReached::Rotate => self.rotate(limit, None),
        }
    }

    /// Begins a further part because somebody asked for it; everything pushed before the call is in the one that ends.
    pub(super) fn rotate_now(
        &mut self,
        inbox: &EncoderInbox,
        reason: &str,
        reply: Reply<PathBuf>,
    ) -> RecorderResult<()> {
        if self.flight.is_some() {
            // The reply is dropped: a flight recorder has no parts.
            return Ok(());
        }
        if self.pull(inbox)? {
            self.pull(inbox)?;
        }
        if !self.suspended {
            self.rotate(reason, Some(reply))?;
        }
        Ok(())
    }

    /// Ends the part and all calls, with all that was pushed before; until [`Encoding::resume`] nothing is encoded.
    pub(super) fn suspend(&mut self, inbox: &EncoderInbox, reason: &str, reply: Reply<PathBuf>) -> RecorderResult<()> {
        if self.flight.is_some() {
            self.suspend_flight(inbox)?;
            // Whoever asked may have lost patience.
            let _ = reply.send(self.part.dir.clone());
            return Ok(());
        }
        if self.pull(inbox)? {
            self.pull(inbox)?;
        }
        if self.suspended {
            // Whoever asked may have lost patience.
            let _ = reply.send(self.part.dir.clone());
            return Ok(());
        }
        self.end_part_and_calls(reason, Some(reply))
    }

    /// Ends the part and the calls of all streams.
    pub(super) fn end_part_and_calls(&mut self, reason: &str, reply: Option<Reply<PathBuf>>) -> RecorderResult<()> {
        let ids: Vec<u32> = self.streams.keys().copied().collect();
        for id in ids {
            self.end_part_of(id)?;
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.encoder.forget_calls();
            }
        }
        self.suspended = true;
        self.living.clear();
        self.pass_index();
        self.index.clear();
        self.owned = 0;
        let ordinal = self.ordinal();
        let ended = WriterWork::EndPart { part: Arc::clone(&self.part), reason: reason.to_owned(), reply };
        self.parts.output.pass(ordinal, ended);
        Ok(())
    }

    /// Begins the part after the one that [`Encoding::suspend`] ended.
    pub(super) fn resume(&mut self, reason: &str, sample: Option<Value>) -> RecorderResult<()> {
        if !self.suspended {
            return Ok(());
        }
        self.suspended = false;
        if self.flight.is_some() {
            // A flight recorder has no parts.
            return Ok(());
        }
        self.part = Arc::new(self.part.next(&self.parts.config.out_dir, reason, sample));
        self.parts.meters.part.store(self.part.number, Ordering::Relaxed);
        let ids: Vec<u32> = self.streams.keys().copied().collect();
        for id in ids {
            self.begin_part_of(id)?;
        }
        self.watch.restart();
        Ok(())
    }

    fn rotate(&mut self, reason: &str, reply: Option<Reply<PathBuf>>) -> RecorderResult<()> {
        let ids: Vec<u32> = self.streams.keys().copied().collect();
        for &id in &ids {
            self.end_part_of(id)?;
        }
        self.pass_index();
        self.index.clear();
        self.owned = 0;
        let next = Arc::new(self.part.next(&self.parts.config.out_dir, reason, None));
        self.parts.meters.part.store(next.number, Ordering::Relaxed);
        let part = std::mem::replace(&mut self.part, next);
        let ordinal = self.ordinal();
        // First this, which makes the part safe: no later one may survive a power cut that it does not survive.
        self.parts.output.pass(ordinal, WriterWork::EndPart { part, reason: reason.to_owned(), reply });
        for id in ids {
            self.begin_part_of(id)?;
        }
        self.watch.restart();
        Ok(())
    }

    fn end_part_of(&mut self, id: u32) -> RecorderResult<()> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if id != 0 && !stream.cut && stream.buffer.is_none() {
            // Nothing happened in this part; what it continues is known as before.
            return Ok(());
        }
        let mut buffer = match stream.buffer.take() {
            Some(buffer) => buffer,
            None => self.buffer()?,
        };
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        with_content!(&mut buffer.content, out => stream.encoder.end_part(out));
        stream.meter.set_counts(stream.encoder.counts());
        let meter = Arc::clone(&stream.meter);
        self.send(id, buffer, Vec::new());
        let ordinal = self.ordinal();
        self.parts.output.pass(ordinal, WriterWork::Finish(meter));
        Ok(())
    }

    fn begin_part_of(&mut self, id: u32) -> RecorderResult<()> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if stream.parked {
            self.streams.remove(&id);
            return Ok(());
        }
        let meter = StreamMeter::new(Arc::clone(&stream.shared), Arc::clone(&self.part));
        self.parts.meters.add(Arc::clone(&meter));
        stream.meter.leave_to_next_part();
        stream.meter = meter;
        stream.encoder.begin_part();
        stream.cut = false;
        stream.introduced = false;
        (stream.placed, stream.continues) = (false, true);
        stream.paths_sent = 0;
        if id != 0 {
            return Ok(());
        }
        let mut buffer = self.buffer()?;
        if let Some(stream) = self.streams.get_mut(&id) {
            with_content!(&mut buffer.content, out => stream.encoder.start(out));
            stream.meter.set_counts(stream.encoder.counts());
            stream.buffer = Some(buffer);
        }
        self.cut(id);
        Ok(())
    }
}
