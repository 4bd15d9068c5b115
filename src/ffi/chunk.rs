//! A byte buffer that one thread appends to while another reads what is already published.
//!
//! Invariants:
//! - Exactly one [`ChunkWriter`] exists per chunk (it is neither `Clone` nor created twice), so appends never race.
//! - Bytes below `published` are never written again until [`ChunkWriter::recycle`], which needs `&mut Chunk` and
//!   therefore that every reader and the writer are gone.
//! - `published` only grows, by whole records, with `Release`; a reader loads it with `Acquire`.
//! - What [`Chunk::take_unread`] has given is not given again.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Arc;

use super::append::copy_few;
use super::sync::{Accesses, AtomicUsize, Ordering};

/// Shared storage of one batch of events.
#[derive(Debug)]
pub struct Chunk {
    /// Not written before it is needed: clearing it would touch all of it twice.
    bytes: Box<[UnsafeCell<MaybeUninit<u8>>]>,
    accesses: Accesses,
    published: AtomicUsize,
    /// How far it has been read.
    read: AtomicUsize,
    sequence: u64,
}

// SAFETY: the only mutation through `&Chunk` is `ChunkWriter::append`, which one thread owns and which touches
// only bytes at or above `published`; readers touch only bytes below it, ordered by Release/Acquire.
unsafe impl Sync for Chunk {}

impl Chunk {
    fn with_capacity(capacity: usize, sequence: u64) -> Self {
        // SAFETY: such bytes need not be anything.
        let bytes = unsafe { Box::<[UnsafeCell<MaybeUninit<u8>>]>::new_uninit_slice(capacity).assume_init() };
        let (published, read) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { bytes, accesses: Accesses::new(capacity), published, read, sequence }
    }

    /// Bytes it can hold.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Position of this chunk in its stream, from 0.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What is published and was not read yet, which is read from now on.
    pub fn take_unread(&self) -> &[u8] {
        let published = self.published();
        let read = self.read.swap(published.len(), Ordering::AcqRel);
        // Another reader may have seen more.
        published.get(read..).unwrap_or_default()
    }

    /// So many bytes at the end of what [`Self::take_unread`] gave last were not read after all.
    pub fn leave_unread(&self, bytes: usize) {
        self.read.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Everything published so far; always ends at a record boundary.
    pub fn published(&self) -> &[u8] {
        let len = self.published.load(Ordering::Acquire);
        self.accesses.read(0..len);
        // SAFETY: `len <= bytes.len()`; bytes below `published` are initialised and not written while `self` is
        // borrowed (module invariants); both wrappers have the layout of `u8`.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().cast::<u8>(), len) }
    }
}

/// The only handle that may append to its chunk.
#[derive(Debug)]
pub struct ChunkWriter {
    chunk: Arc<Chunk>,
    len: usize,
}

impl ChunkWriter {
    /// A fresh, empty chunk and its writer.
    pub fn new(capacity: usize, sequence: u64) -> Self {
        Self { chunk: Arc::new(Chunk::with_capacity(capacity, sequence)), len: 0 }
    }

    /// Reuses the memory of `chunk` if nobody else holds it, else takes fresh memory of the same size.
    pub fn recycle(mut chunk: Arc<Chunk>, sequence: u64) -> Self {
        match Arc::get_mut(&mut chunk) {
            Some(exclusive) => {
                exclusive.published = AtomicUsize::new(0);
                exclusive.read = AtomicUsize::new(0);
                exclusive.accesses = Accesses::new(exclusive.bytes.len());
                exclusive.sequence = sequence;
                Self { chunk, len: 0 }
            }
            None => Self::new(chunk.capacity(), sequence),
        }
    }

    /// Another handle for readers.
    pub fn share(&self) -> Arc<Chunk> {
        Arc::clone(&self.chunk)
    }

    /// Appends one whole record and publishes it; `false`, and nothing written, if it does not fit.
    #[inline]
    pub fn append(&mut self, record: &[u8]) -> bool {
        self.append_parts([record])
    }

    /// The same for a record that lies in parts.
    #[inline]
    pub fn append_parts<const N: usize>(&mut self, parts: [&[u8]; N]) -> bool {
        let end = self.len + parts.iter().map(|part| part.len()).sum::<usize>();
        if end > self.chunk.bytes.len() {
            return false;
        }
        self.chunk.accesses.write(self.len..end);
        for part in parts {
            // SAFETY: the parts end at `end`, which is inside the allocation; all is at or above `published`, which only
            // this writer moves; a part is a shared slice and cannot overlap unpublished bytes.
            unsafe {
                let target = UnsafeCell::raw_get(self.chunk.bytes.as_ptr().add(self.len));
                copy_few(part.as_ptr(), target.cast::<u8>(), part.len());
            }
            self.len += part.len();
        }
        self.chunk.published.store(end, Ordering::Release);
        true
    }

    /// Bytes appended so far.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Gives up the right to append.
    pub fn seal(self) -> Arc<Chunk> {
        self.chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_whole_records_in_order_while_they_are_written() {
        let mut writer = ChunkWriter::new(8 * 10_000, 0);
        let chunk = writer.share();
        let reader = std::thread::spawn(move || {
            let mut seen = 0usize;
            while seen < 10_000 {
                let bytes = chunk.published();
                assert_eq!(bytes.len() % 8, 0);
                while seen < bytes.len() / 8 {
                    let mut word = [0; 8];
                    word.copy_from_slice(&bytes[seen * 8..seen * 8 + 8]);
                    assert_eq!(u64::from_le_bytes(word), seen as u64);
                    seen += 1;
                }
            }
        });
        for n in 0..10_000u64 {
            assert!(writer.append(&n.to_le_bytes()));
        }
        reader.join().unwrap();
        assert!(!writer.append(&[0]));
    }

    #[test]
    fn what_was_read_is_not_given_again_and_what_was_left_is() {
        let mut writer = ChunkWriter::new(16, 0);
        let chunk = writer.share();
        assert!(writer.append(b"abc"));
        assert_eq!(chunk.take_unread(), b"abc");
        assert!(writer.append(b"defg"));
        assert_eq!(chunk.take_unread(), b"defg");
        chunk.leave_unread(3);
        assert!(writer.append(b"h"));
        assert_eq!(chunk.take_unread(), b"efgh");
        assert_eq!(chunk.take_unread(), b"");
        drop(writer);
        let again = ChunkWriter::recycle(chunk, 1).share();
        assert_eq!(again.take_unread(), b"");
    }

    #[test]
    fn memory_is_reused_only_when_no_reader_is_left() {
        let mut writer = ChunkWriter::new(16, 0);
        assert!(writer.append(b"abc"));
        let reader = writer.share();
        let address = reader.published().as_ptr();
        let second = ChunkWriter::recycle(writer.seal(), 1);
        assert_ne!(second.share().published().as_ptr(), address);
        assert_eq!(reader.published(), b"abc");
        let third = ChunkWriter::recycle(reader, 2);
        assert_eq!(third.share().published().as_ptr(), address);
        assert_eq!((third.share().published(), third.share().sequence()), (&b""[..], 2));
    }
}
