//! What an encoder writes to: plain bytes, or the content of a segment as [`Sequences`].
//!
//! Invariants:
//! - Both have the same content; `tests/encoder_oracle.rs` holds them to that.
//! - Packed content is found to repeat in three ways, from the cheapest: a whole event, or a step with all its variables,
//!   is the same as an earlier one (known by its 64-bit hash, which the frame keeps up to date as variables change); a
//!   step differs from the frame's last one in what changed since; bytes stood somewhere among the literals.
//! - So a step costs by what changed, not by what is shown.

use std::sync::atomic::{AtomicU64, Ordering};

use super::frame::Frame;
use super::hash::{hash, mix};
use super::sequences::Sequences;
use super::words::{Words, common_prefix, common_suffix};

/// Where an encoder's events go.
pub trait Output: Sealed {}
impl<T: Sealed> Output for T {}

mod sealed {
    use super::Frame;

    pub trait Sealed {
        /// Takes whole events; they count once [`Self::settle`] is called.
        fn buffer(&mut self) -> &mut Vec<u8>;
        /// What is in the buffer is complete.
        fn settle(&mut self);
        /// The buffer holds the head of a step, and nothing else: the variables of this frame belong to it.
        fn show(&mut self, frame: &mut Frame);
        /// Whether it holds `limit` bytes or takes as much memory as one may that does.
        fn is_full(&self, limit: usize) -> bool;
    }
}
pub(super) use sealed::Sealed;

impl Sealed for Vec<u8> {
    #[inline]
    fn buffer(&mut self) -> &mut Vec<u8> {
        self
    }

    #[inline]
    fn settle(&mut self) {}

    #[inline]
    fn show(&mut self, frame: &mut Frame) {
        self.extend_from_slice(frame.block());
    }

    #[inline]
    fn is_full(&self, limit: usize) -> bool {
        self.len() >= limit
    }
}

/// Gives every content a number of its own, so that a frame knows whether its last step is in this one.
static GENERATION: AtomicU64 = AtomicU64::new(1);

/// What a step looked like, and where.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// The content it is in; 0 for none.
    generation: u64,
    position: usize,
    head: Vec<u8>,
}

impl Shown {
    pub(super) fn forget(&mut self) {
        self.generation = 0;
    }

    pub(super) const fn is_known(&self) -> bool {
        self.generation != 0
    }
}

/// A segment's content, packed as it is made.
#[derive(Debug)]
pub struct Packed {
    generation: u64,
    sequences: Sequences,
    buffer: Vec<u8>,
    words: Words,
    pieces: Pieces,
}

impl Default for Packed {
    fn default() -> Self {
        Self {
            generation: GENERATION.fetch_add(1, Ordering::Relaxed),
            sequences: Sequences::default(),
            buffer: Vec::new(),
            words: Words::default(),
            pieces: Pieces::default(),
        }
    }
}

impl Packed {
    /// Forgets everything but its memory.
    pub fn clear(&mut self) {
        self.generation = GENERATION.fetch_add(1, Ordering::Relaxed);
        self.sequences.clear();
        self.buffer.clear();
        self.words.clear();
        self.pieces.clear();
    }

    /// Bytes of content.
    pub fn len(&self) -> usize {
        self.sequences.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The content as zstd wants it.
    pub(in crate::pipeline) const fn sequences(&mut self) -> &mut Sequences {
        &mut self.sequences
    }

    /// Appends the content itself to `out`.
    pub fn expand(&self, out: &mut Vec<u8>) {
        self.sequences.expand(out);
    }

    /// Whether a segment of at most `limit` bytes ends here: it has so many, or they repeat so little that their
    /// description takes as much memory as a quarter of them.
    pub fn is_full(&self, limit: usize) -> bool {
        self.sequences.len() >= limit || self.stored() >= limit / 4
    }

    fn stored(&self) -> usize {
        self.sequences.stored() + self.words.stored()
    }

    /// Bytes of memory it keeps.
    pub(in crate::pipeline) fn footprint(&self) -> usize {
        self.sequences.footprint()
            + self.words.footprint()
            + self.buffer.capacity()
            + self.pieces.list.capacity() * size_of::<Piece>()
    }

    /// A step that differs from the frame's last one in what has changed since.
    fn show_changes(&mut self, frame: &Frame, head: &[u8]) {
        let (sequences, words) = (&mut self.sequences, &mut self.words);
        let shown = &frame.shown;
        let block = frame.block();
        let mut old = shown.position;
        let mut replace = |old: usize, old_len: usize, new: &[u8], prefix: usize, suffix: usize| {
            sequences.copy(old, &new[..prefix]);
            words.append(sequences, &new[prefix..new.len() - suffix]);
            sequences.copy(old + old_len - suffix, &new[new.len() - suffix..]);
        };
        let prefix = common_prefix(&shown.head, head);
        let suffix = common_suffix(&shown.head[prefix..], &head[prefix..]);
        replace(old, shown.head.len(), head, prefix, suffix);
        old += shown.head.len();
        let mut done = 0;
        for edit in frame.edits() {
            let range = frame.range(edit.slot);
            let same = range.start - done;
            let (old_len, new_len) = (edit.old_len as usize, range.len());
            let prefix = (edit.prefix as usize).min(old_len).min(new_len);
            let suffix = (edit.suffix as usize).min(old_len - prefix).min(new_len - prefix);
            done = range.end;
            // What is unchanged in front of it, and how far it is the same.
            replace(old, same + old_len, &block[range.start - same..range.end], same + prefix, suffix);
            old += same + old_len;
        }
        replace(old, block.len() - done, &block[done..], block.len() - done, 0);
    }
}

impl Sealed for Packed {
    #[inline]
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    #[inline]
    fn settle(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let hash = hash(&self.buffer);
        match self.pieces.find(hash, self.sequences.len()) {
            Some(from) => self.sequences.copy(from, &self.buffer),
            None => self.words.append(&mut self.sequences, &self.buffer),
        }
        self.buffer.clear();
    }

    fn show(&mut self, frame: &mut Frame) {
        let head = std::mem::take(&mut self.buffer);
        let position = self.sequences.len();
        let hash = mix(frame.content() ^ hash(&head));
        if let Some(from) = self.pieces.find(hash, position) {
            self.sequences.copy(from, &head);
            self.sequences.copy(from + head.len(), frame.block());
        } else if frame.shown.generation == self.generation {
            frame.sort_edits();
            self.show_changes(frame, &head);
        } else {
            self.words.append(&mut self.sequences, &head);
            self.words.append(&mut self.sequences, frame.block());
        }
        frame.clear_edits();
        (frame.shown.generation, frame.shown.position) = (self.generation, position);
        frame.shown.head.clear();
        frame.shown.head.extend_from_slice(&head);
        self.buffer = head;
        self.buffer.clear();
    }

    fn is_full(&self, limit: usize) -> bool {
        Packed::is_full(self, limit)
    }
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    hash: u64,
    position: usize,
}

const PIECE_BITS: u32 = 14;

/// The events of a content, by what they are.
#[derive(Debug)]
struct Pieces {
    list: Vec<Piece>,
    /// The last piece of a hash, plus 1.
    table: Box<[u32]>,
    /// The piece that comes after the one that was found last: repetition goes on there.
    next: Option<usize>,
}

impl Default for Pieces {
    fn default() -> Self {
        Self { list: Vec::new(), table: vec![0; 1 << PIECE_BITS].into_boxed_slice(), next: None }
    }
}

impl Pieces {
    fn clear(&mut self) {
        self.list.clear();
        self.table.fill(0);
        self.next = None;
    }

    /// Where an earlier piece with this hash is, if there is one; the piece itself is about to start at `position`.
    #[inline]
    fn find(&mut self, hash: u64, position: usize) -> Option<usize> {
        let slot = &mut self.table[(hash >> (u64::BITS - PIECE_BITS)) as usize];
        let is_it = |index: &usize| self.list.get(*index).is_some_and(|piece| piece.hash == hash);
        let last = (*slot as usize).checked_sub(1);
        let found = self.next.filter(is_it).or_else(|| last.filter(is_it));
        *slot = self.list.len() as u32 + 1;
        self.next = found.map(|index| index + 1);
        let from = found.map(|index| self.list[index].position);
        self.list.push(Piece { hash, position });
        from
    }
}
