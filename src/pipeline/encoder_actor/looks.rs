//! Output that waits for more, and nothing comes: a prompt, a line of dots.
//!
//! Invariants:
//! - A chunk that waits at two looks is ended at the second, so none waits longer than two looks after it was pushed.
//! - Without output that waits nobody looks.

use std::time::Instant;

use super::{EncoderInbox, Encoding, with_content};
use crate::errors::RecorderResult;
use crate::pipeline::waiting::{LOOK, SHOW};

/// When to look.
#[derive(Debug, Default)]
pub(super) struct Looks {
    next: Option<Instant>,
    shown: Option<Instant>,
}

impl Looks {
    pub const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Something waits.
    pub fn begin(&mut self) {
        self.next.get_or_insert_with(|| Instant::now() + LOOK);
    }

    pub fn is_due(&self) -> bool {
        self.next.is_some_and(|next| next <= Instant::now())
    }

    /// Everything recorded is on its way to the disk.
    pub fn shown(&mut self) {
        self.shown = Some(Instant::now());
    }

    /// When what has waited long enough goes to the disk.
    pub fn show_at(&self) -> Instant {
        self.shown.map_or_else(Instant::now, |shown| shown + SHOW)
    }
}

impl Encoding {
    /// Looks at the streams that have output waiting. Whether any of it has waited long enough.
    pub(super) fn look(&mut self, inbox: &EncoderInbox, looks: &mut Looks) -> RecorderResult<bool> {
        looks.next = None;
        let mut go_on = inbox.waiting.was_announced();
        let mut ended = false;
        self.open_all(inbox);
        let ids: Vec<u32> = self.streams.keys().copied().collect();
        for id in ids {
            let Some(stream) = self.streams.get(&id) else { continue };
            if !stream.shared.take_output_waits() && stream.waited.is_none() {
                continue;
            }
            if self.pull_from(id)? {
                // The producer was faster: its chunks are in the channel, and what waits may be in the one after them.
                if let Some(stream) = self.streams.get(&id) {
                    stream.shared.leave_output_waiting();
                }
                go_on = true;
                continue;
            }
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let waits = stream.encoder.waiting_output();
            if waits.is_some() && waits == stream.waited {
                stream.waited = None;
                self.end_waiting_output(id)?;
                ended = true;
            } else {
                stream.waited = waits;
                go_on |= waits.is_some();
            }
        }
        if go_on {
            looks.begin();
        }
        Ok(ended)
    }

    /// Output that waits for more is not waited for.
    pub(super) fn end_waiting_outputs(&mut self) -> RecorderResult<()> {
        let waits = self.streams.iter().filter(|(_, stream)| stream.encoder.waiting_output().is_some());
        let ids: Vec<u32> = waits.map(|(id, _)| *id).collect();
        ids.into_iter().try_for_each(|id| self.end_waiting_output(id))
    }

    fn end_waiting_output(&mut self, id: u32) -> RecorderResult<()> {
        // In a flight recorder the encoder only learns: what it wrote now would stand before the trace's beginning.
        if self.suspended || self.flight.is_some() {
            return Ok(());
        }
        let taken = self.streams.get_mut(&id).and_then(|stream| stream.buffer.take());
        let mut buffer = match taken {
            Some(buffer) => buffer,
            None => self.buffer()?,
        };
        if let Some(stream) = self.streams.get_mut(&id) {
            with_content!(&mut buffer.content, out => stream.encoder.end_waiting_output(out));
            stream.meter.set_counts(stream.encoder.counts());
            stream.buffer = Some(buffer);
        }
        Ok(())
    }
}
