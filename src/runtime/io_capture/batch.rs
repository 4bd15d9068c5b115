//! Small writes of one line, joined into one chunk.
//!
//! Invariants:
//! - A chunk has one origin: stream, line and frame. What comes from elsewhere ends it.
//! - A chunk ends with a newline, a flush, the thread's next event, when it is older than [`DEADLINE`] after a
//!   write, or when it is as long as the policy permits.
//! - The order of writes of a thread is the order in its stream of records.

use std::time::{Duration, Instant};

use super::totals::Totals;
use crate::pipeline::layout::{Put, output, record};

/// How old a chunk may be when something is added to it.
const DEADLINE: Duration = Duration::from_millis(5);

/// Where output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Number of the stream, see `pipeline::layout::output`.
    pub stream: u8,
    /// Number of the code object, or `NO_CODE`.
    pub code: u32,
    pub line: u32,
    pub frame: u64,
}

/// The chunk a thread is writing.
#[derive(Debug, Default)]
pub struct Batch {
    origin: Option<Origin>,
    text: String,
    flags: u8,
    started: Option<Instant>,
}

impl Batch {
    /// Something waits.
    #[inline]
    pub fn is_pending(&self) -> bool {
        self.origin.is_some()
    }

    /// The bytes that wait.
    pub fn size(&self) -> usize {
        self.text.len()
    }

    /// The reason to end the chunk before something from `origin` is added, if there is one.
    pub fn must_end_before(&self, origin: Origin) -> Option<u8> {
        match self.origin {
            None => None,
            Some(known) if known != origin => Some(output::STEP_BOUNDARY),
            Some(_) => None,
        }
    }

    /// The chunk has waited long enough; it ends, unless what was just added completes it anyway.
    pub fn is_due(&self) -> bool {
        self.started.is_some_and(|start| start.elapsed() >= DEADLINE)
    }

    /// Adds to the chunk; `add` appends the text and gives further flags.
    pub fn add(&mut self, origin: Origin, add: impl FnOnce(&mut String) -> u8) {
        if self.origin.is_none() {
            self.origin = Some(origin);
            self.started = Some(Instant::now());
        }
        self.flags |= add(&mut self.text);
    }

    /// The chunk is complete as it is.
    pub fn ends_with_newline(&self) -> bool {
        self.text.ends_with('\n')
    }

    /// Whether the chunk is of this stream.
    pub fn is_of(&self, stream: u8) -> bool {
        self.origin.is_some_and(|origin| origin.stream == stream)
    }

    /// Writes the chunk as a record and starts anew.
    pub fn end(&mut self, reason: u8, totals: &Totals, out: &mut Vec<u8>) {
        let Some(origin) = self.origin.take() else { return };
        let newline = if self.ends_with_newline() { output::NEWLINE } else { 0 };
        if !self.text.is_empty() {
            totals.count(origin.stream, self.text.len());
            out.put_u8(record::OUTPUT);
            out.put_u8(origin.stream);
            out.put_u8(self.flags | reason | newline);
            out.put_u32(origin.code);
            out.put_u32(origin.line);
            out.put_u64(origin.frame);
            out.put_text(&self.text);
        }
        self.text.clear();
        self.flags = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::layout::Take;

    const HERE: Origin = Origin { stream: output::STDOUT, code: 3, line: 7, frame: 9 };

    fn add(batch: &mut Batch, text: &str) {
        batch.add(HERE, |out| {
            out.push_str(text);
            0
        });
    }

    #[test]
    fn writes_of_one_line_are_one_chunk() {
        let (mut batch, mut out) = (Batch::default(), Vec::new());
        add(&mut batch, "x");
        assert!(batch.is_pending() && !batch.ends_with_newline());
        assert_eq!(batch.must_end_before(HERE), None);
        add(&mut batch, "\n");
        batch.end(0, &Totals::default(), &mut out);
        assert!(!batch.is_pending());
        let mut take = Take::new(&out);
        assert_eq!((take.u8(), take.u8(), take.u8()), (Ok(record::OUTPUT), Ok(output::STDOUT), Ok(output::NEWLINE)));
        assert_eq!((take.u32(), take.u32(), take.u64(), take.text()), (Ok(3), Ok(7), Ok(9), Ok("x\n")));
        assert!(take.is_empty());
    }

    #[test]
    fn another_line_ends_the_chunk_and_so_does_time() {
        let mut batch = Batch::default();
        add(&mut batch, "x");
        assert_eq!(batch.must_end_before(Origin { line: 8, ..HERE }), Some(output::STEP_BOUNDARY));
        assert_eq!(batch.must_end_before(Origin { stream: output::STDERR, ..HERE }), Some(output::STEP_BOUNDARY));
        std::thread::sleep(DEADLINE);
        assert_eq!(batch.must_end_before(HERE), None);
        assert!(batch.is_due());
    }

    #[test]
    fn an_empty_chunk_leaves_no_record() {
        let (mut batch, mut out) = (Batch::default(), Vec::new());
        add(&mut batch, "");
        batch.end(output::FLUSH, &Totals::default(), &mut out);
        assert!(out.is_empty() && !batch.is_pending());
    }
}
