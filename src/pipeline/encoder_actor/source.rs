//! What the encoder knows of a stream: how far it has read, and the trace that it makes of it.

use std::sync::Arc;

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
    /// Sequence number of the chunk to read next, and how much of it is read.
    pub expected: u64,
    pub consumed: usize,
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
            consumed: 0,
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
