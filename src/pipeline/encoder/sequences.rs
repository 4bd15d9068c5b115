//! The content of a segment, written down as what repeats and what is new.
//!
//! Invariants:
//! - The content is the literals and, between them, copies of content that came earlier in the same segment; nothing
//!   else is kept, so what repeats costs neither time nor memory by its length.
//! - This is zstd's own form: blocks of at most [`BLOCK`] bytes of content, each a list of sequences (so many literals,
//!   then a copy) ended by a sequence without a copy. [`Sequences::expand`] plays them back.
//! - A copy's source lies wholly in front of where the copy starts, or overlaps it as a repetition does.

use std::ops::Range;

use crate::ffi::sequence_compressor::Sequence;

/// Most content that zstd allows in a block.
const BLOCK: usize = 128 << 10;
/// Shorter copies cost more than their bytes as literals; zstd itself allows 3.
const MIN_COPY: usize = 4;

/// What a segment contains, as literals and copies.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Sequences {
    literals: Vec<u8>,
    list: Vec<Sequence>,
    /// Bytes of content.
    len: usize,
    /// Literals behind the last sequence.
    run: usize,
    /// Bytes of content in the block that is open.
    block: usize,
}

impl Sequences {
    pub fn clear(&mut self) {
        self.literals.clear();
        self.list.clear();
        (self.len, self.run, self.block) = (0, 0, 0);
    }

    /// Bytes of content.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes kept in memory for this content.
    pub fn stored(&self) -> usize {
        self.literals.len() + self.list.len() * size_of::<Sequence>()
    }

    /// The same, with what is reserved.
    pub fn footprint(&self) -> usize {
        self.literals.capacity() + self.list.capacity() * size_of::<Sequence>()
    }

    /// Appends new content.
    pub fn literal(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.block));
            self.literals.extend_from_slice(now);
            self.run += now.len();
            self.grow(now.len());
            bytes = later;
        }
    }

    /// Appends `bytes`, which the content already has at `from`.
    #[inline]
    pub fn copy(&mut self, from: usize, bytes: &[u8]) {
        debug_assert!(from < self.len || bytes.is_empty());
        if bytes.len() >= MIN_COPY {
            self.repeat(from, bytes.len());
        } else if !bytes.is_empty() {
            self.copy_little(from, bytes);
        }
    }

    /// The offset is that of the copy that ends here: it can go on.
    #[inline]
    fn goes_on(&self, offset: usize) -> bool {
        self.run == 0
            && self.block > 0
            && self.list.last().is_some_and(|last| last.matchLength > 0 && last.offset as usize == offset)
    }

    /// A copy shorter than [`MIN_COPY`] can only be part of one.
    fn copy_little(&mut self, from: usize, bytes: &[u8]) {
        let goes_on = bytes.len() <= BLOCK - self.block && self.goes_on(self.len - from);
        match self.list.last_mut() {
            Some(last) if goes_on => {
                last.matchLength += bytes.len() as u32;
                self.grow(bytes.len());
            }
            _ => self.literal(bytes),
        }
    }

    /// Appends the `left` bytes at `from` once more, at least [`MIN_COPY`].
    pub fn repeat(&mut self, mut from: usize, mut left: usize) {
        debug_assert!(from < self.len && left >= MIN_COPY);
        while left > 0 {
            let offset = self.len - from;
            let mut len = left.min(BLOCK - self.block);
            if len < left && left - len < MIN_COPY {
                // The rest must be a copy of its own.
                len = len.saturating_sub(MIN_COPY);
            }
            let goes_on = self.goes_on(offset);
            if goes_on && len > 0 {
                if let Some(last) = self.list.last_mut() {
                    last.matchLength += len as u32;
                }
            } else if len < MIN_COPY {
                // Too little room for a copy: the block ends before it is full.
                self.end_block();
                continue;
            } else {
                let sequence =
                    Sequence { offset: offset as u32, litLength: self.run as u32, matchLength: len as u32, rep: 0 };
                self.list.push(sequence);
                self.run = 0;
            }
            self.grow(len);
            from += len;
            left -= len;
        }
    }

    fn grow(&mut self, by: usize) {
        self.len += by;
        self.block += by;
        if self.block == BLOCK {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        if self.block > 0 {
            self.list.push(Sequence { offset: 0, litLength: self.run as u32, matchLength: 0, rep: 0 });
            (self.run, self.block) = (0, 0);
        }
    }

    /// The sequences with every block ended, and the literals with room behind them, as zstd wants them.
    pub fn finished(&mut self) -> (&[Sequence], &mut Vec<u8>) {
        self.end_block();
        (&self.list, &mut self.literals)
    }

    /// Appends the content itself to `out`.
    pub fn expand(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.reserve(self.len);
        let mut literals = &self.literals[..];
        for sequence in &self.list {
            let (run, later) = literals.split_at(sequence.litLength as usize);
            out.extend_from_slice(run);
            literals = later;
            let mut left = sequence.matchLength as usize;
            let offset = sequence.offset as usize;
            while left > 0 {
                let from = out.len() - offset;
                let now: Range<usize> = from..from + left.min(offset);
                left -= now.len();
                out.extend_from_within(now);
            }
        }
        out.extend_from_slice(literals);
        debug_assert_eq!(out.len() - start, self.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::sequence_compressor::SequenceCompressor;
    use proptest::prelude::*;

    /// Appends `len` bytes from `from` on as a copy, the source possibly overlapping.
    fn repeat(sequences: &mut Sequences, content: &mut Vec<u8>, from: usize, len: usize) {
        let start = content.len();
        for i in 0..len {
            content.push(content[from + i]);
        }
        sequences.copy(from, &content[start..]);
    }

    fn check(sequences: &mut Sequences, content: &[u8]) {
        assert_eq!(sequences.len(), content.len());
        let mut expanded = Vec::new();
        sequences.expand(&mut expanded);
        assert!(expanded == content, "expanded");
        let mut frame = Vec::new();
        let mut compressor = SequenceCompressor::new(1).unwrap();
        let len = sequences.len();
        let (list, literals) = sequences.finished();
        let mut block = 0;
        for sequence in list {
            assert!(sequence.matchLength == 0 || sequence.matchLength >= 3);
            block += sequence.litLength as usize + sequence.matchLength as usize;
            assert!(block <= BLOCK);
            if sequence.matchLength == 0 {
                block = 0;
            }
        }
        // zstd refuses what does not get smaller.
        if compressor.compress(list, literals, len, &mut frame).unwrap() {
            assert!(zstd::decode_all(&frame[..]).unwrap() == content, "decoded");
        }
    }

    #[derive(Debug, Clone)]
    enum Part {
        New(Vec<u8>),
        Copy(prop::sample::Index, usize),
        Run(u8, usize),
    }

    fn any_part() -> impl Strategy<Value = Part> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Part::New),
            (any::<prop::sample::Index>(), 0..300_usize).prop_map(|(from, len)| Part::Copy(from, len)),
            (any::<prop::sample::Index>(), 130_000..132_000_usize).prop_map(|(from, len)| Part::Copy(from, len)),
            (any::<u8>(), 130_900..131_200_usize).prop_map(|(byte, len)| Part::Run(byte, len)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Also with blocks that are full, or all but full, where a copy comes.
        #[test]
        fn zstd_decodes_what_was_appended(parts in prop::collection::vec(any_part(), 1..20)) {
            let (mut sequences, mut content) = (Sequences::default(), Vec::new());
            for part in parts {
                match part {
                    Part::New(bytes) => {
                        sequences.literal(&bytes);
                        content.extend(bytes);
                    }
                    Part::Run(byte, len) => {
                        sequences.literal(&vec![byte; len]);
                        content.extend(vec![byte; len]);
                    }
                    Part::Copy(from, len) if !content.is_empty() => {
                        let from = from.index(content.len());
                        repeat(&mut sequences, &mut content, from, len);
                    }
                    Part::Copy(..) => {}
                }
            }
            if !content.is_empty() {
                check(&mut sequences, &content);
            }
        }
    }

    #[test]
    fn copies_that_continue_each_other_are_one() {
        let mut sequences = Sequences::default();
        sequences.literal(b"0123456789");
        sequences.copy(0, b"01234");
        sequences.copy(5, b"56789");
        sequences.copy(10, b"0");
        assert_eq!(sequences.finished().0.len(), 2, "one copy and the end of the block");
        check(&mut sequences, b"012345678901234567890");
    }

    #[test]
    fn copies_at_the_end_of_a_block_are_split_where_both_parts_can_be_copies() {
        for short in 0..8 {
            for len in [1, 3, 4, 5, 7, 9] {
                let mut content = vec![b'a'; BLOCK - short];
                content[..10].copy_from_slice(b"0123456789");
                let mut sequences = Sequences::default();
                sequences.literal(&content);
                repeat(&mut sequences, &mut content, 0, len);
                sequences.literal(b"end");
                content.extend_from_slice(b"end");
                check(&mut sequences, &content);
            }
        }
    }
}
