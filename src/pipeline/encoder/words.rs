//! Finds bytes that are to be appended among those that were appended before: a match finder over new content.
//!
//! Invariants:
//! - What goes through here is kept, so that matches run on over what was a match itself; what repeats as a whole is
//!   copied elsewhere and never comes here.
//! - What is kept is contiguous in the content only in stretches; a match never reaches over the end of one.
//! - A match is checked byte by byte; the table only says where to look. It knows the latest place of a word: near
//!   offsets are short.

use super::hash::{PLACE, tag};
use super::sequences::Sequences;

/// Bytes that are looked up together; shorter matches are found only next to longer ones.
const WORD: usize = 8;
const TABLE_BITS: u32 = 14;
/// One byte more is skipped for every so many that were not found, as in zstd.
const PATIENCE: u32 = 6;
/// Within a match so few of the words are remembered.
const STRIDE: usize = 24;

/// Where a word is. The history is seldom in the processor's caches: a few more bits of the hash spare a look at it.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// Position in the history, plus 1; 0 for none.
    at: u32,
    /// The stretch, with the [`tag`] of the word's hash.
    stretch: u32,
}

impl Entry {
    #[inline]
    const fn new(at: usize, stretch: u32, hash: u64) -> Self {
        Self { at: (at + 1) as u32, stretch: stretch | tag(hash, TABLE_BITS) }
    }

    #[inline]
    const fn may_be(self, hash: u64) -> bool {
        self.stretch & !PLACE == tag(hash, TABLE_BITS)
    }

    #[inline]
    const fn stretch(self) -> usize {
        (self.stretch & PLACE) as usize
    }
}

/// Bytes that lie in the content as in the history, up to where the next stretch starts.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    history: u32,
    content: u32,
}

/// What was appended, and where its words are.
#[derive(Debug)]
pub(super) struct Words {
    history: Vec<u8>,
    stretches: Vec<Stretch>,
    table: Box<[Entry]>,
}

impl Default for Words {
    fn default() -> Self {
        Self {
            history: Vec::new(),
            stretches: Vec::new(),
            table: vec![Entry::default(); 1 << TABLE_BITS].into_boxed_slice(),
        }
    }
}

#[inline]
pub(super) fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk::<WORD>().map(|word| u64::from_le_bytes(*word))
}

#[inline]
const fn hash_of(word: u64) -> u64 {
    word.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[inline]
const fn slot_of(hash: u64) -> usize {
    (hash >> (u64::BITS - TABLE_BITS)) as usize
}

/// How many bytes two slices have in common at their start.
#[inline]
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    let mut at = 0;
    while let (Some(x), Some(y)) = (word_at(a, at), word_at(b, at)) {
        let difference = x ^ y;
        if difference != 0 {
            return at + difference.trailing_zeros() as usize / 8;
        }
        at += WORD;
    }
    at + a[at..].iter().zip(&b[at..]).take_while(|(x, y)| x == y).count()
}

/// How many bytes two slices have in common at their end.
#[inline]
pub(super) fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    let (a, b) = (&a[a.len() - len..], &b[b.len() - len..]);
    let mut left = len;
    while let Some(at) = left.checked_sub(WORD)
        && let (Some(x), Some(y)) = (word_at(a, at), word_at(b, at))
    {
        let difference = x ^ y;
        if difference != 0 {
            return len - left + difference.leading_zeros() as usize / 8;
        }
        left = at;
    }
    len - left + a[..left].iter().rev().zip(b[..left].iter().rev()).take_while(|(x, y)| x == y).count()
}

impl Words {
    pub(super) fn clear(&mut self) {
        self.history.clear();
        self.stretches.clear();
        self.table.fill(Entry::default());
    }

    /// Bytes kept.
    pub(super) fn stored(&self) -> usize {
        self.history.len()
    }

    pub(super) fn footprint(&self) -> usize {
        self.history.capacity() + self.stretches.capacity() * size_of::<Stretch>()
    }

    /// Appends `bytes` to the content, as copies where they are known.
    pub(super) fn append(&mut self, sequences: &mut Sequences, bytes: &[u8]) {
        if bytes.len() < WORD || self.stretches.len() > PLACE as usize {
            // Too short to be found, now or later; or too much is remembered already.
            return sequences.literal(bytes);
        }
        let content = sequences.len();
        let start = self.history.len();
        let goes_on = self.stretches.last().is_some_and(|last| {
            content.wrapping_sub(last.content as usize) == start.wrapping_sub(last.history as usize)
        });
        if !goes_on {
            self.stretches.push(Stretch { history: start as u32, content: content as u32 });
        }
        let stretch = self.stretches.len() as u32 - 1;
        self.history.extend_from_slice(bytes);

        let (mut at, mut anchor) = (0, 0);
        while let Some(word) = word_at(bytes, at) {
            let hash = hash_of(word);
            let entry = std::mem::replace(&mut self.table[slot_of(hash)], Entry::new(start + at, stretch, hash));
            let candidate = Some(entry).filter(|entry| entry.may_be(hash));
            let found = candidate.and_then(|entry| self.known(entry, start, bytes, at, anchor));
            let Some((from, len, back)) = found else {
                at += 1 + ((at - anchor) >> PATIENCE);
                continue;
            };
            sequences.literal(&bytes[anchor..at - back]);
            sequences.copy(from, &bytes[at - back..at + len]);
            let end = at + len;
            at += STRIDE;
            while at + WORD <= end {
                self.remember(bytes, at, start, stretch);
                at += STRIDE;
            }
            at = end;
            anchor = end;
        }
        sequences.literal(&bytes[anchor..]);
    }

    #[inline]
    fn remember(&mut self, bytes: &[u8], at: usize, start: usize, stretch: u32) {
        if let Some(word) = word_at(bytes, at) {
            let hash = hash_of(word);
            self.table[slot_of(hash)] = Entry::new(start + at, stretch, hash);
        }
    }

    /// Where in the content the bytes at `at` are already, how many of them, and how many in front of them; `bytes`
    /// are at `start` of the history, and those before `anchor` are dealt with.
    #[inline]
    fn known(
        &self,
        entry: Entry,
        start: usize,
        bytes: &[u8],
        at: usize,
        anchor: usize,
    ) -> Option<(usize, usize, usize)> {
        let place = (entry.at as usize).checked_sub(1)?;
        let stretch = self.stretches[entry.stretch()];
        let first = stretch.history as usize;
        let end = match self.stretches.get(entry.stretch() + 1) {
            Some(next) => next.history as usize,
            None => self.history.len(),
        };
        let len = common_prefix(&self.history[place..end], &bytes[at..]);
        if len < WORD {
            return None;
        }
        let back = common_suffix(&self.history[first..place], &bytes[anchor..at]);
        debug_assert!(place < start + at);
        Some((stretch.content as usize + place - first - back, len, back))
    }
}
