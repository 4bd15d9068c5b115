//! The end of a recording and of single streams.
//!
//! Invariants:
//! - A stream that has written something ends balanced; one that has not leaves nothing behind.
//! - What a stream lost behind its last record is marked at its end.
//! - Whatever is finished tells the writer that no more will come, so that it can close the file.

use std::sync::Arc;

use super::{EncoderInbox, Encoding, WriterWork, with_content};
use crate::errors::RecorderResult;
use crate::pipeline::model::Exit;

/// Times a stop looks again for chunks of threads that are still recording.
const STOP_PULLS: usize = 64;

impl Encoding {
    pub(super) fn finish(&mut self, inbox: &EncoderInbox, exit: Exit) -> RecorderResult<()> {
        for _ in 0..STOP_PULLS {
            if !self.pull(inbox)? {
                break;
            }
        }
        self.land()?;
        let ids: Vec<u32> = self.streams.keys().copied().collect();
        for id in ids {
            self.finish_stream(id, if id == 0 { exit } else { Exit::Unknown })?;
        }
        self.pass_index();
        Ok(())
    }

    /// Marks what a stream lost behind its last record, if it leaves anything behind.
    pub(super) fn mark_losses(&mut self, id: u32) -> RecorderResult<()> {
        let Some(stream) = self.streams.get(&id) else { return Ok(()) };
        if self.suspended || self.flight.is_some() || !(id == 0 || stream.cut || stream.buffer.is_some()) {
            return Ok(());
        }
        let records = stream.shared.untold.take().records();
        self.encode(id, &mut &records[..])
    }

    pub(super) fn finish_stream(&mut self, id: u32, exit: Exit) -> RecorderResult<()> {
        self.mark_losses(id)?;
        self.forget_in_flight(id);
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        stream.shared.leave();
        if self.suspended {
            // Its trace ended with the part.
            self.streams.remove(&id);
            return Ok(());
        }
        if id != 0 && !stream.cut && stream.buffer.is_none() {
            let meter = Arc::clone(&stream.meter);
            self.parts.meters.forget(&meter);
            self.streams.remove(&id);
            return Ok(());
        }
        let mut buffer = match stream.buffer.take() {
            Some(buffer) => buffer,
            None => self.buffer()?,
        };
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        with_content!(&mut buffer.content, out => stream.encoder.finish(exit, out));
        stream.meter.set_counts(stream.encoder.counts());
        let meter = Arc::clone(&stream.meter);
        self.send(id, buffer, Vec::new());
        self.streams.remove(&id);
        let ordinal = self.ordinal();
        self.parts.output.pass(ordinal, WriterWork::Finish(meter));
        Ok(())
    }

    /// After a failure: what is encoded already still goes to the writer, balanced, if that still works.
    pub(super) fn salvage(&mut self) {
        self.remember_unread();
        let ids: Vec<u32> = self.streams.keys().copied().collect();
        for id in ids {
            // Without a free buffer a stream keeps the provisional end of its last segment.
            let _ = self.finish_stream(id, Exit::Unknown);
        }
        self.pass_index();
    }

    /// For the count of losses: whose events may not have been read to the end.
    pub(super) fn remember_unread(&self) {
        self.parts.meters.remember(self.streams.values().map(|stream| Arc::clone(&stream.shared)));
    }
}
