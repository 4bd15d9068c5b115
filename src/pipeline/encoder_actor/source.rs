//! What the encoder knows of a stream: how far it has read, and the trace that it makes of it.
//!
//! Invariant: what of a chunk was not encoded, whatever the reason, stays unread in it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Encoding;
use crate::errors::RecorderResult;
use crate::ffi::chunk::Chunk;
use crate::pipeline::encoder::StreamEncoder;
use crate::pipeline::messages::SegmentBuffer;
use crate::pipeline::stats::StreamMeter;
use crate::pipeline::stream::StreamShared;

/// See the module docs.
#[derive(Debug)]
pub(super) struct Stream {
    pub shared: Arc<StreamShared>,
    /// Of its trace, which several threads may share: see [`super::pool`].
    pub meter: Arc<StreamMeter>,
    pub encoder: StreamEncoder,
    /// Sequence number of the chunk to read next.
    pub expected: u64,
    /// The segment being filled.
    pub buffer: Option<SegmentBuffer>,
    /// Some segment was cut.
    pub cut: bool,
    /// The index of this part knows it.
    pub introduced: bool,
    /// It is decided whose trace it goes to in this part.
    pub placed: bool,
    /// It has been in an earlier part.
    pub continues: bool,
    /// Its thread has ended, and its trace waits for another.
    pub parked: bool,
    /// Paths the writer knows.
    pub paths_sent: usize,
    /// The chunk of output that waited at the last look.
    pub waited: Option<u64>,
}

impl Stream {
    /// A stream of which nothing was read.
    pub fn new(shared: Arc<StreamShared>, meter: Arc<StreamMeter>, encoder: StreamEncoder) -> Self {
        Self {
            shared,
            meter,
            encoder,
            expected: 0,
            buffer: None,
            cut: false,
            introduced: false,
            placed: false,
            continues: false,
            parked: false,
            paths_sent: 0,
            waited: None,
        }
    }
}

/// What is to be read of a chunk; what is left of it stays there.
struct Unread<'a> {
    chunk: &'a Chunk,
    records: &'a [u8],
}

impl<'a> Unread<'a> {
    fn of(chunk: &'a Chunk) -> Self {
        Self { chunk, records: chunk.take_unread() }
    }
}

impl<'a> Deref for Unread<'a> {
    type Target = &'a [u8];

    fn deref(&self) -> &Self::Target {
        &self.records
    }
}

impl DerefMut for Unread<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.records
    }
}

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        self.chunk.leave_unread(self.records.len());
    }
}

impl Encoding {
    /// Encodes what is published in `chunk` and was not yet.
    pub(super) fn consume(&mut self, id: u32, chunk: &Chunk) -> RecorderResult<()> {
        if !self.streams.contains_key(&id) {
            return Ok(());
        }
        let mut unread = Unread::of(chunk);
        super::super::tap::pass(&unread);
        if unread.is_empty() {
            return Ok(());
        }
        if self.suspended && !self.parts.config.marked_samples {
            // Nobody wants it.
            *unread = &[];
            return Ok(());
        }
        if self.flight.is_some() {
            self.keep(id, &unread)?;
            *unread = &[];
            return Ok(());
        }
        self.parts.meters.bytes_in.fetch_add(unread.len() as u64, Ordering::Relaxed);
        self.encode(id, &mut unread)
    }
}
