//! One events file on disk: `trace.bin` or `trace.json`, kept openable all the time.
//!
//! Invariants:
//! - The file is `head, parts, tail`. Every write puts new parts where the tail was and a new tail behind them, in
//!   one piece; so between writes the file opens with the official reader, and a killed process leaves it so.
//! - `trace.bin`: head = the version 1 header; part = an independent zstd frame that can be checked; tail = a frame with
//!   what balances the stream (if known) and the seek table. `trace.json`: `[`, events joined by `,\n`, and `]`.
//! - The seek table grows with the file. To keep its cost a fraction of the parts', parts wait in memory
//!   until they are [`TAIL_SHARE`] times the tail, or somebody asks for them ([`EventFile::store`]).
//! - The first write puts the whole file in its place atomically.
//! - A write that fails puts the old tail back in its old place, which needs no room on the disk.

use std::io;
use std::path::PathBuf;

use zeekstd::SeekTable;

use crate::storage::{Storage, StorageFile};

use super::compressor::FrameCompressor;
use super::model::TraceFormat;
use super::names::Names;

/// The version 1 header of `trace.bin`.
pub const BINARY_HEADER: [u8; 8] = [0xC0, 0xDE, 0x72, 0xAC, 0xE2, 0x01, 0x00, 0x00];

/// Parts are stored when they are this many times the tail: the tails cost at most a sixteenth more.
const TAIL_SHARE: usize = 16;
/// How often the old tail is tried to be put back after a fault.
const RESTORE_ATTEMPTS: u32 = 3;
/// Parts never wait beyond this size.
const MAX_PENDING: usize = 1 << 20;

/// An events file being written.
#[derive(Debug)]
pub(super) struct EventFile {
    path: PathBuf,
    format: TraceFormat,
    handle: Option<Box<dyn StorageFile>>,
    /// Created on disk; otherwise the first store does it.
    exists: bool,
    /// Length of head and parts on disk; the tail starts here.
    stored: u64,
    /// Parts on their way, behind `stored`.
    pending: Vec<u8>,
    table: SeekTable,
    /// What would balance the stream after the last part.
    provisional: Vec<u8>,
    /// The tail on disk.
    tail: Vec<u8>,
    /// Some event was appended.
    has_events: bool,
    /// Written since the last sync.
    unsynced: bool,
    /// Its name would survive a power cut.
    named: bool,
    /// Head, parts or tail differ from what is on disk.
    dirty: bool,
    /// A write failed or is under way: nothing more is stored, except the old tail.
    broken: bool,
}

impl EventFile {
    /// A file that does not exist yet. `provisional` is a whole trace without any event of the program: what the
    /// file shows until its first part comes.
    pub fn new(path: PathBuf, format: TraceFormat, provisional: Vec<u8>) -> Self {
        let pending = match format {
            TraceFormat::Binary => BINARY_HEADER.to_vec(),
            TraceFormat::Json => b"[".to_vec(),
        };
        Self {
            path,
            format,
            handle: None,
            exists: false,
            stored: 0,
            pending,
            table: SeekTable::new(),
            provisional,
            tail: Vec::new(),
            has_events: false,
            unsynced: false,
            named: false,
            dirty: true,
            broken: false,
        }
    }

    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Whether it is on disk.
    pub fn exists(&self) -> bool {
        self.exists
    }

    /// Whether all that was appended is on disk.
    pub fn is_stored(&self) -> bool {
        !self.dirty
    }

    pub fn is_open(&self) -> bool {
        self.handle.is_some()
    }

    /// Appends whole events as they are: for JSON. `provisional` is what would balance the stream after them.
    pub fn append_events(&mut self, events: &[u8], provisional: Vec<u8>) -> io::Result<()> {
        let whole = trim_separators(events);
        if !whole.is_empty() {
            self.pending.extend_from_slice(if self.has_events { b",\n" } else { b"\n" });
            self.pending.extend_from_slice(whole);
        }
        self.appended(events.len(), provisional);
        Ok(())
    }

    /// Appends whole events, `decompressed` bytes of them, as a frame: for binary. `provisional` is not compressed.
    pub fn append_frame(&mut self, frame: &[u8], decompressed: usize, provisional: Vec<u8>) -> io::Result<()> {
        if decompressed > 0 {
            log_frame(&mut self.table, frame.len(), decompressed)?;
            self.pending.extend_from_slice(frame);
        }
        self.appended(decompressed, provisional);
        Ok(())
    }

    fn appended(&mut self, bytes: usize, provisional: Vec<u8>) {
        self.has_events |= bytes > 0;
        self.provisional = provisional;
        self.dirty = true;
    }

    /// Whether enough waits to be worth a tail.
    pub fn wants_store(&self) -> bool {
        let tail = match self.format {
            TraceFormat::Binary => 17 + 8 * self.table.num_frames() as usize,
            TraceFormat::Json => 4,
        } + self.provisional.len();
        self.pending.len() >= (TAIL_SHARE * tail).min(MAX_PENDING)
    }

    /// Puts everything appended on disk, with a tail, and returns the size of the file.
    pub fn store(&mut self, storage: &dyn Storage, compressor: &mut FrameCompressor) -> io::Result<u64> {
        if self.broken {
            self.restore();
            return Ok(self.size());
        }
        if !self.dirty {
            return Ok(self.size());
        }
        let tail = self.make_tail(compressor)?;
        let parts = self.pending.len();
        let old_size = self.size();
        self.pending.extend_from_slice(&tail);
        let new_size = self.stored + self.pending.len() as u64;

        self.broken = true;
        self.unsynced = true;
        if self.exists {
            self.overwrite_tail(storage, new_size, old_size).inspect_err(|_| self.restore())?;
        } else {
            // The file appears whole: nobody ever finds it empty.
            storage.replace(&self.path, &self.pending, false)?;
            self.exists = true;
        }
        self.broken = false;
        self.pending.clear();
        self.stored += parts as u64;
        self.tail = tail;
        self.dirty = false;
        Ok(new_size)
    }

    /// Writes what is pending where the tail is.
    fn overwrite_tail(&mut self, storage: &dyn Storage, new_size: u64, old_size: u64) -> io::Result<()> {
        let handle = match &mut self.handle {
            Some(handle) => handle,
            None => self.handle.insert(storage.open(&self.path)?),
        };
        handle.write_all_at(self.stored, &self.pending)?;
        if new_size < old_size { handle.truncate(new_size) } else { Ok(()) }
    }

    /// Puts the old tail back after a write that failed or panicked, if need be in several attempts: a disk that failed
    /// once may fail once more. If all fail, the file needs `recover`; the error that counts is the first one.
    fn restore(&mut self) {
        let size = self.size();
        if let Some(handle) = &mut self.handle {
            for _ in 0..RESTORE_ATTEMPTS {
                if handle.write_all_at(self.stored, &self.tail).and_then(|()| handle.truncate(size)).is_ok() {
                    return;
                }
            }
        }
    }

    /// Waits until what is stored would survive a power cut; the directories in which its name is not safe yet go into
    /// `names`, for whoever syncs several files.
    pub fn sync(&mut self, storage: &dyn Storage, names: &mut Names) -> io::Result<()> {
        if !self.exists || !self.unsynced {
            return Ok(());
        }
        match &mut self.handle {
            Some(handle) => handle.sync()?,
            None => storage.open(&self.path)?.sync()?,
        }
        self.unsynced = false;
        if !std::mem::replace(&mut self.named, true) {
            names.of(&self.path);
        }
        Ok(())
    }

    /// Gives the file descriptor back; the next store opens the file again.
    pub fn close(&mut self) {
        self.handle = None;
    }

    /// Bytes on disk.
    pub fn size(&self) -> u64 {
        self.stored + self.tail.len() as u64
    }

    fn make_tail(&self, compressor: &mut FrameCompressor) -> io::Result<Vec<u8>> {
        let mut tail = Vec::new();
        match self.format {
            TraceFormat::Binary => {
                let mut table = self.table.clone();
                // The official reader needs at least one frame, be it an empty one.
                if !self.provisional.is_empty() || table.num_frames() == 0 {
                    compressor.compress(&self.provisional, &mut tail)?;
                    log_frame(&mut table, tail.len(), self.provisional.len())?;
                }
                tail.extend_from_slice(&seek_table_bytes(table));
            }
            TraceFormat::Json => {
                let events = trim_separators(&self.provisional);
                if !events.is_empty() {
                    tail.extend_from_slice(if self.has_events { b",\n" } else { b"\n" });
                    tail.extend_from_slice(events);
                }
                tail.extend_from_slice(b"\n]\n");
            }
        }
        Ok(tail)
    }
}

/// The seek table as the skippable frame that ends a file.
pub(crate) fn seek_table_bytes(table: SeekTable) -> Vec<u8> {
    let mut serializer = table.into_serializer();
    let mut bytes = vec![0; serializer.encoded_len()];
    let written = serializer.write_into(&mut bytes);
    bytes.truncate(written);
    bytes
}

/// Adds a frame to a seek table; fails on sizes the format cannot hold.
pub(crate) fn log_frame(table: &mut SeekTable, compressed: usize, decompressed: usize) -> io::Result<()> {
    let too_large = |_| io::Error::other("a frame is larger than the seekable format allows");
    let compressed = u32::try_from(compressed).map_err(too_large)?;
    let decompressed = u32::try_from(decompressed).map_err(too_large)?;
    table.log_frame(compressed, decompressed).map_err(io::Error::other)
}

/// Events without the separators around them: an event starts with `{` and ends with `}`.
fn trim_separators(events: &[u8]) -> &[u8] {
    let is_separator = |byte: &u8| matches!(byte, b',' | b' ' | b'\n' | b'\r' | b'\t');
    let start = events.iter().position(|byte| !is_separator(byte)).unwrap_or(events.len());
    let end = events.iter().rposition(|byte| !is_separator(byte)).map_or(start, |last| last + 1);
    &events[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{FaultPlan, FaultyStorage, FsStorage};

    fn frame(compressor: &mut FrameCompressor, raw: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        compressor.compress(raw, &mut frame).unwrap();
        frame
    }

    fn contents(path: &std::path::Path) -> Vec<u8> {
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(bytes[..8], BINARY_HEADER);
        let mut decoder = zeekstd::Decoder::new(io::Cursor::new(bytes[8..].to_vec())).unwrap();
        let mut all = Vec::new();
        io::Read::read_to_end(&mut decoder, &mut all).unwrap();
        all
    }

    #[test]
    fn a_binary_file_opens_after_every_store_and_provisional_ends_are_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let mut compressor = FrameCompressor::new(1).unwrap();
        let mut file = EventFile::new(dir.path().join("trace.bin"), TraceFormat::Binary, Vec::new());
        file.store(&FsStorage, &mut compressor).unwrap();
        assert_eq!(contents(file.path()), b"");
        let mut expected = Vec::new();
        for n in 0..20u8 {
            let raw = vec![n; 100 + usize::from(n)];
            expected.extend_from_slice(&raw);
            let end = if n % 3 == 0 { b"<the end, so far>".to_vec() } else { Vec::new() };
            file.append_frame(&frame(&mut compressor, &raw), raw.len(), end.clone()).unwrap();
            let size = file.store(&FsStorage, &mut compressor).unwrap();
            assert_eq!(std::fs::metadata(file.path()).unwrap().len(), size);
            assert_eq!(contents(file.path()), [expected.clone(), end].concat());
            file.close();
        }
    }

    #[test]
    fn a_json_file_is_a_list_after_every_store_however_the_events_are_separated() {
        let dir = tempfile::tempdir().unwrap();
        let mut compressor = FrameCompressor::new(1).unwrap();
        let mut file = EventFile::new(dir.path().join("trace.json"), TraceFormat::Json, Vec::new());
        let mut read = |file: &mut EventFile| -> serde_json::Value {
            file.store(&FsStorage, &mut compressor).unwrap();
            serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap()
        };
        assert_eq!(read(&mut file), serde_json::json!([]));
        file.append_events(b"{\"a\":1}", b",{\"end\":1}".to_vec()).unwrap();
        assert_eq!(read(&mut file), serde_json::json!([{"a": 1}, {"end": 1}]));
        file.append_events(b",\n{\"a\":2},", Vec::new()).unwrap();
        file.append_events(b"{\"a\":3},{\"a\":4}", Vec::new()).unwrap();
        assert_eq!(read(&mut file), serde_json::json!([{"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}]));
    }

    #[test]
    fn a_write_that_does_not_fit_leaves_the_file_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let mut compressor = FrameCompressor::new(1).unwrap();
        let storage = FaultyStorage::new(FaultPlan { full_after: Some(200), ..FaultPlan::default() });
        let mut file = EventFile::new(dir.path().join("trace.bin"), TraceFormat::Binary, Vec::new());
        file.append_frame(&frame(&mut compressor, b"first"), 5, b"end".to_vec()).unwrap();
        file.store(&storage, &mut compressor).unwrap();
        let noise: Vec<u8> = (0..1000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        file.append_frame(&frame(&mut compressor, &noise), noise.len(), Vec::new()).unwrap();
        let error = file.store(&storage, &mut compressor).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(contents(file.path()), b"firstend");
    }

    #[test]
    fn a_file_that_cannot_be_made_is_not_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut compressor = FrameCompressor::new(1).unwrap();
        let storage = FaultyStorage::new(FaultPlan { full_after: Some(10), ..FaultPlan::default() });
        let mut file = EventFile::new(dir.path().join("trace.bin"), TraceFormat::Binary, b"all of it".to_vec());
        assert!(file.store(&storage, &mut compressor).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn small_parts_wait_once_the_seek_table_is_large() {
        let mut compressor = FrameCompressor::new(1).unwrap();
        let mut file = EventFile::new(PathBuf::from("unused"), TraceFormat::Binary, Vec::new());
        let part = frame(&mut compressor, &[7; 100]);
        for _ in 0..100 {
            file.append_frame(&part, 100, Vec::new()).unwrap();
        }
        assert!(!file.wants_store());
        let large: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        file.append_frame(&large, large.len(), Vec::new()).unwrap();
        assert!(file.wants_store());
    }
}
