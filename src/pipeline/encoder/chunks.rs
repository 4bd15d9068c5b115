//! What the program reads and writes, joined into chunks.
//!
//! Invariants:
//! - A chunk has one origin. What comes from elsewhere ends it, and so does every record that is no output, but for
//!   turns: the thread that continues after another one still writes the same line.
//! - Nothing waits without end: whoever feeds the encoder ends what has waited long enough ([`Chunk::number`]), and the
//!   end of a stream or part, also a provisional one, shows what waits.

use super::codec::EventCodec;
use super::counts::EventCounts;
use super::log_events::{OutputMetadata, metadata_text, output_stream};
use super::records::RecordEncoder;
use crate::pipeline::layout::{Malformed, Take, output};

/// Where output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source {
    stream: u8,
    code: u32,
    line: u32,
    frame: u64,
    path_id: Option<u32>,
    /// It came by the descriptor: this is the latest step of the thread that was told of it.
    approximate: bool,
}

/// The chunk that waits for more.
#[derive(Debug, Clone, Default)]
pub(super) struct Chunk {
    source: Option<Source>,
    text: String,
    flags: u8,
    number: u64,
}

impl Chunk {
    /// Something waits.
    #[inline]
    pub const fn is_open(&self) -> bool {
        self.source.is_some()
    }

    /// Which chunk of the stream waits, if one does.
    pub fn number(&self) -> Option<u64> {
        self.source.map(|_| self.number)
    }

    fn begin(&mut self, source: Source) {
        self.source = Some(source);
        self.number += 1;
        self.flags = 0;
        self.text.clear();
    }

    pub fn forget(&mut self) {
        self.source = None;
    }
}

impl<C: EventCodec> RecordEncoder<C> {
    /// An `OUTPUT` or `OUTPUT_PART` record.
    pub(super) fn output(&mut self, take: &mut Take<'_>, is_whole: bool, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let stream = take.u8()?;
        output_stream(stream)?;
        let flags = take.u8()?;
        let (code, line, frame, text) = (take.u32()?, take.u32()?, take.u64()?, take.text()?);
        let path_id = match code {
            output::NO_CODE => None,
            known => Some(self.definitions.path_of_code(known, out)?),
        };
        let mut source = Source { stream, code, line, frame, path_id, approximate: false };
        if code == output::NO_CODE
            && flags & output::MIRROR != 0
            && let Some(nearest) = self.frames.peek().filter(|frame| !frame.opening && frame.line > 0)
        {
            (source.path_id, source.line) = (Some(nearest.path_id), nearest.line);
            source.approximate = true;
        }
        if self.chunk.source.is_some_and(|known| known != source) {
            self.end_chunk(output::STEP_BOUNDARY, out);
        }
        if is_whole && !self.chunk.is_open() {
            write::<C>(source, flags, text, self.thread, &mut self.scratch, out, &mut self.counts);
            return Ok(());
        }
        if !self.chunk.is_open() {
            self.chunk.begin(source);
        }
        self.chunk.flags |= flags;
        self.chunk.text.push_str(text);
        if is_whole || self.chunk.text.len() >= output::LONGEST_CHUNK {
            self.end_chunk(0, out);
        }
        Ok(())
    }

    /// What waits is a chunk as it is.
    #[cold]
    pub(super) fn end_chunk(&mut self, reason: u8, out: &mut Vec<u8>) {
        if let Some(source) = self.chunk.source.take() {
            let (flags, text) = (self.chunk.flags | reason, &self.chunk.text);
            write::<C>(source, flags, text, self.thread, &mut self.scratch, out, &mut self.counts);
        }
    }

    /// Shows what waits, and lets it wait.
    pub(super) fn show_chunk(&self, out: &mut Vec<u8>, counts: &mut EventCounts) {
        if let Some(source) = self.chunk.source {
            let flags = self.chunk.flags | output::STEP_BOUNDARY;
            write::<C>(source, flags, &self.chunk.text, self.thread, &mut Vec::new(), out, counts);
        }
    }
}

fn write<C: EventCodec>(
    source: Source,
    flags: u8,
    text: &str,
    thread: u64,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
    counts: &mut EventCounts,
) {
    if text.is_empty() {
        // A flush after what was ended already.
        return;
    }
    let Source { stream, line, frame, path_id, approximate, .. } = source;
    // The stream was looked at when it came, and numbers and names always have a form in JSON.
    let Ok((kind, stream)) = output_stream(stream) else { return };
    let metadata = OutputMetadata { stream, thread, path_id, line, frame_id: frame, flags, approximate };
    let Ok(metadata) = metadata_text(&metadata, scratch) else { return };
    C::event(out, kind, metadata, text);
    counts.io += 1;
}
