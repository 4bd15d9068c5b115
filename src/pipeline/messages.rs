//! What the actors say to each other. A stage knows its neighbour's messages and nothing else about it.
//!
//! Besides these, producers send [`super::stream::SealedChunk`]s, and the pipeline announces a new stream to the
//! encoder by its [`super::stream::StreamShared`].

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::errors::RecorderResult;

use super::encoder::Packed;
use super::model::{Exit, TraceFormat};
use super::part::Part;
use super::ring::dump::DumpRequest;
use super::stats::{StopReport, StreamMeter};

/// Where the answer to a request goes. Dropped without an answer means that the pipeline has failed.
pub(super) type Reply<T> = flume::Sender<T>;

/// Requests to the lifecycle actor; each is answered.
#[derive(Debug)]
pub(super) enum LifecycleMessage {
    /// Put everything recorded so far on disk, in files that open.
    Flush { reply: Reply<()> },
    /// End the recording and finish its files; `metadata` goes over the base.
    Stop { exit: Exit, metadata: Map<String, Value>, reply: Reply<RecorderResult<StopReport>> },
    /// End the part being recorded and begin a further one; the answer is the directory of the one that ended.
    Rotate { reason: String, reply: Reply<PathBuf> },
    /// End the part being recorded and its calls; the answer is its directory, complete. Nothing may be recorded until
    /// `Resume` is answered.
    Suspend { reason: String, reply: Reply<PathBuf> },
    /// Begin a further part, without any calls; `sample` goes into its metadata.
    Resume { reason: String, sample: Option<Value>, reply: Reply<()> },
    /// Write what the flight recorder holds as a trace of its own; the answer, if one is wanted, is its directory.
    Dump { request: DumpRequest, reply: Option<Reply<RecorderResult<PathBuf>>> },
    /// End the recording without a trace, or with the files as they are.
    Abandon { keep_files: bool, reply: Reply<()> },
    /// A worker has failed: say so in the files. From the supervisor; nobody waits for an answer.
    WorkerFailed,
    /// A limit ended the recording: complete its files. From the supervisor; nobody waits for an answer.
    LimitReached,
}

/// Orders to the encoder.
#[derive(Debug)]
pub(super) enum EncoderControl {
    /// Encode what is published, cut every segment, and pass the reply on to the writer.
    Flush { reply: Reply<()> },
    /// Encode what is published, begin a further part, and pass the reply on to the writer.
    Rotate { reason: String, reply: Reply<PathBuf> },
    /// Encode what is published, end the part and all calls, and pass the reply on to the writer.
    Suspend { reason: String, reply: Reply<PathBuf> },
    /// Begin a further part, then answer.
    Resume { reason: String, sample: Option<Value>, reply: Reply<()> },
    /// Take what the flight recorder holds and pass it on to be written.
    Dump { request: DumpRequest, reply: Option<Reply<RecorderResult<PathBuf>>> },
    /// Encode what is published, finish every stream, and end.
    Stop { exit: Exit },
    /// End now.
    Abandon,
}

/// A buffer that goes round: filled by the encoder, compressed by the pool, stored by the writer.
#[derive(Debug)]
pub(super) struct SegmentBuffer {
    /// Encoded events, whole ones only.
    pub content: Content,
    /// The content as one zstd frame; empty for JSON, which is stored as it is.
    pub frame: Vec<u8>,
}

/// Encoded events on their way to the disk.
#[derive(Debug)]
pub(super) enum Content {
    /// To be stored as they are.
    Plain(Vec<u8>),
    /// To be compressed.
    Packed(Box<Packed>),
}

/// The same for either kind of content.
macro_rules! with_content {
    ($content:expr, $out:ident => $call:expr) => {
        match $content {
            $crate::pipeline::messages::Content::Plain($out) => $call,
            $crate::pipeline::messages::Content::Packed(packed) => {
                let $out = &mut **packed;
                $call
            }
        }
    };
}
pub(super) use with_content;

impl Content {
    pub fn new(format: TraceFormat) -> Self {
        match format {
            TraceFormat::Json => Self::Plain(Vec::new()),
            TraceFormat::Binary => Self::Packed(Box::default()),
        }
    }

    /// Bytes of events.
    pub fn len(&self) -> usize {
        match self {
            Self::Plain(events) => events.len(),
            Self::Packed(packed) => packed.len(),
        }
    }

    /// Whether a segment of at most `limit` bytes ends here.
    pub fn is_full(&self, limit: usize) -> bool {
        match self {
            Self::Plain(events) => events.len() >= limit,
            Self::Packed(packed) => packed.is_full(limit),
        }
    }

    /// Bytes of memory.
    pub fn footprint(&self) -> usize {
        match self {
            Self::Plain(events) => events.capacity(),
            Self::Packed(packed) => packed.footprint(),
        }
    }

    pub fn clear(&mut self) {
        match self {
            Self::Plain(events) => events.clear(),
            Self::Packed(packed) => packed.clear(),
        }
    }
}

impl SegmentBuffer {
    pub fn new(format: TraceFormat) -> Self {
        Self { content: Content::new(format), frame: Vec::new() }
    }
}

/// The next part of a stream's file.
#[derive(Debug)]
pub(super) struct Segment {
    pub stream: Arc<StreamMeter>,
    pub buffer: SegmentBuffer,
    /// What would balance the stream after this part, encoded; not kept when the next part comes.
    pub provisional: Vec<u8>,
    /// All paths so far, if there are new ones.
    pub paths: Option<Vec<String>>,
    /// How many events of the trace's threads are written with this segment and those before it.
    pub upto: u64,
}

/// Work for the writer.
#[derive(Debug)]
pub(super) enum WriterWork {
    Segment(Box<Segment>),
    /// Lines of a part's index.
    Index {
        part: Arc<Part>,
        lines: String,
    },
    /// No more parts of this stream will come.
    Finish(Arc<StreamMeter>),
    /// All streams have left this part: it is complete. Then answer, if somebody asked for it.
    EndPart {
        part: Arc<Part>,
        reason: String,
        reply: Option<Reply<PathBuf>>,
    },
    /// Everything before this is to be on disk, in files that open; then answer.
    Mark {
        reply: Reply<()>,
        durable: bool,
    },
}

/// Work with its place in the order in which the encoder made it, without gaps. The compressors finish out of
/// order; the writer restores it.
#[derive(Debug)]
pub(super) struct WriterItem {
    pub ordinal: u64,
    pub work: WriterWork,
}
