//! What the encoder will join into one chunk, as far as the thread that writes it needs to know.
//!
//! Invariants:
//! - A chunk has one origin: stream, line and frame. What comes from elsewhere ends it.
//! - A chunk ends with a newline, a flush, the thread's next event, or when it is as long as it may be; the encoder also
//!   ends one that waits, see `pipeline::encoder_actor::looks`.

use crate::pipeline::layout::output::LONGEST_CHUNK;

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
pub struct OpenChunk {
    origin: Option<Origin>,
    size: usize,
    /// The frame that wrote last and its instruction, if it is the frame of the origin itself.
    place: Option<(usize, usize)>,
    /// What its latest record begins with, but for what is special about each.
    head: [u8; HEAD],
}

/// Bytes of an `OUTPUT` or `OUTPUT_PART` record before its text.
pub const HEAD: usize = 23;

impl OpenChunk {
    /// Something was written; `is_complete` if nothing is to be joined to it. Whether it begins a chunk.
    #[inline]
    pub fn add(&mut self, origin: Origin, size: usize, is_complete: bool) -> bool {
        let begins = self.origin != Some(origin);
        self.size = if begins { size } else { self.size + size };
        self.origin = (!is_complete && self.size < LONGEST_CHUNK).then_some(origin);
        begins
    }

    /// The origin of the chunk that is open, if this frame wrote to it by this instruction: a `print` writes several
    /// times.
    #[inline]
    pub fn origin_at(&self, stream: u8, place: (usize, usize)) -> Option<Origin> {
        self.origin.filter(|origin| origin.stream == stream && self.place == Some(place))
    }

    /// More was written by the same instruction as before.
    #[inline]
    pub fn extend(&mut self, size: usize, is_complete: bool) {
        self.size += size;
        if is_complete || self.size >= LONGEST_CHUNK {
            self.origin = None;
        }
    }

    /// The beginning of a record of `size` bytes of text by the same instruction as before.
    #[inline]
    pub fn next_head(&self, tag: u8, flags: u8, size: u32) -> [u8; HEAD] {
        let mut head = self.head;
        (head[0], head[2]) = (tag, flags);
        head[HEAD - 4..].copy_from_slice(&size.to_le_bytes());
        head
    }

    /// The beginning of a record, which is remembered.
    #[inline]
    pub fn new_head(&mut self, tag: u8, flags: u8, origin: Origin, size: u32) -> [u8; HEAD] {
        let Origin { stream, code, line, frame } = origin;
        self.head[1] = stream;
        self.head[3..7].copy_from_slice(&code.to_le_bytes());
        self.head[7..11].copy_from_slice(&line.to_le_bytes());
        self.head[11..19].copy_from_slice(&frame.to_le_bytes());
        self.next_head(tag, flags, size)
    }

    /// A chunk of this stream is open, and this frame wrote to it by this instruction.
    #[inline]
    pub fn is_at(&self, stream: u8, place: (usize, usize)) -> bool {
        self.origin_at(stream, place).is_some()
    }

    /// Where what was added last comes from.
    #[inline]
    pub fn set_place(&mut self, place: Option<(usize, usize)>) {
        self.place = place;
    }

    /// What is written next may be joined to what was.
    #[cfg(target_os = "linux")]
    pub fn is_open(&self) -> bool {
        self.origin.is_some()
    }

    /// The thread does something else.
    #[inline]
    pub fn close(&mut self) {
        self.origin = None;
    }

    /// The origin of the chunk that is open, if it is of this stream.
    pub fn take_of(&mut self, stream: u8) -> Option<Origin> {
        self.origin.take_if(|origin| origin.stream == stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::layout::output;

    const HERE: Origin = Origin { stream: output::STDOUT, code: 3, line: 7, frame: 9 };

    #[test]
    fn writes_of_one_line_are_one_chunk() {
        let mut chunk = OpenChunk::default();
        assert!(chunk.add(HERE, 1, false));
        assert!(!chunk.add(HERE, 1, false));
        assert!(!chunk.add(HERE, 1, true));
        assert!(chunk.add(HERE, 1, false), "a newline ends it");
        assert!(chunk.add(Origin { line: 8, ..HERE }, 1, false), "another line ends it");
        chunk.close();
        assert!(chunk.add(Origin { line: 8, ..HERE }, 1, false), "another event ends it");
        assert!(!chunk.add(Origin { line: 8, ..HERE }, LONGEST_CHUNK, false));
        assert!(chunk.add(Origin { line: 8, ..HERE }, 1, false), "it is as long as it may be");
    }

    #[test]
    fn an_origin_is_known_while_the_same_instruction_writes_to_an_open_chunk() {
        let mut chunk = OpenChunk::default();
        chunk.add(HERE, 1, false);
        chunk.set_place(Some((1, 2)));
        assert_eq!(chunk.origin_at(output::STDOUT, (1, 2)), Some(HERE));
        assert_eq!(chunk.origin_at(output::STDERR, (1, 2)), None);
        assert_eq!(chunk.origin_at(output::STDOUT, (1, 3)), None, "another instruction may be on another line");
        chunk.close();
        assert_eq!(chunk.origin_at(output::STDOUT, (1, 2)), None, "anything may have happened since");
    }

    #[test]
    fn what_the_same_instruction_adds_has_the_same_head() {
        let mut chunk = OpenChunk::default();
        chunk.add(HERE, 5, false);
        let first = chunk.new_head(1, 0, HERE, 5);
        chunk.set_place(Some((1, 2)));
        assert!(chunk.is_at(output::STDOUT, (1, 2)));
        assert!(!chunk.is_at(output::STDERR, (1, 2)) && !chunk.is_at(output::STDOUT, (2, 2)));
        let second = chunk.next_head(2, output::NEWLINE, 0x0102);
        assert_eq!((second[0], second[2]), (2, output::NEWLINE));
        assert_eq!(second[3..19], first[3..19]);
        assert_eq!(second[19..], [2, 1, 0, 0]);
        chunk.extend(LONGEST_CHUNK - 6, false);
        assert!(chunk.is_at(output::STDOUT, (1, 2)));
        chunk.extend(1, false);
        assert!(!chunk.is_at(output::STDOUT, (1, 2)), "it is as long as it may be");
        chunk.add(HERE, 1, false);
        chunk.extend(1, true);
        assert!(!chunk.is_at(output::STDOUT, (1, 2)), "a newline ends it");
    }

    #[test]
    fn a_flush_concerns_its_own_stream() {
        let mut chunk = OpenChunk::default();
        chunk.add(HERE, 1, false);
        assert_eq!(chunk.take_of(output::STDERR), None);
        assert_eq!(chunk.take_of(output::STDOUT), Some(HERE));
        assert_eq!(chunk.take_of(output::STDOUT), None);
    }
}
