//! Events of a trace directory or file, one after the other.
//!
//! Invariants:
//! - `trace.json` is taken before `trace.bin`, as CodeTracer does.
//! - Version 1 and JSON are read as a stream, by the types of `runtime_tracing`; the old packed version 0 is read
//!   whole by that crate's reader.
//! - A damaged file gives every event before the damage. A file whose events are all there but which the official
//!   reader refuses (no seek table) counts as damaged, too.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use runtime_tracing::{TraceEventsFileFormat, TraceLowLevelEvent, create_trace_reader};
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};

use super::frames::{CheckedBytes, HEADER_LEN, MAGIC, check_seek_table};
use crate::errors::{RecorderError, RecorderResult};
use crate::pipeline::event_file::BINARY_HEADER;
use crate::pipeline::part::{PARTS_DIR, is_part_dir};
use crate::storage::{FsStorage, Storage};

/// How an events file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// `trace.bin` of today: CBOR in seekable zstd.
    Binary,
    /// `trace.bin` of older recorders: packed Cap'n Proto.
    Packed,
    /// `trace.json`.
    Json,
}

/// An events file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceFile {
    pub path: PathBuf,
    pub container: Container,
}

/// A whole trace in memory, and whether the file was damaged.
#[derive(Debug)]
pub struct TraceContent {
    pub file: PathBuf,
    pub events: Vec<TraceLowLevelEvent>,
    /// Why the official reader refuses the file, if it does.
    pub damage: Option<String>,
}

/// The events file of a directory, or the file itself.
///
/// # Errors
/// `ERR_TRACE_MISSING` if there is none, `ERR_UNSUPPORTED_FORMAT` for a file that is no trace, `ERR_IO`.
pub fn locate(path: &Path) -> RecorderResult<TraceFile> {
    let candidates =
        if path.is_dir() { vec![path.join("trace.json"), path.join("trace.bin")] } else { vec![path.to_path_buf()] };
    let file = candidates.into_iter().find(|file| file.is_file()).ok_or_else(|| {
        let shown = path.display();
        crate::usage!(TraceMissing, "no trace in '{shown}': expected a directory with trace.bin or trace.json")
            .with_context("path", shown.to_string())
    })?;
    let container = container_of(&file)?;
    Ok(TraceFile { path: file, container })
}

/// The traces of the threads below a trace directory, in the order of their ids.
///
/// # Errors
/// `ERR_IO` if the directory cannot be read.
pub fn thread_directories(directory: &Path) -> RecorderResult<Vec<PathBuf>> {
    let threads = directory.join("threads");
    if !threads.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(&threads).map_err(|error| io_error(&threads, error))?;
    let mut found: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| locate(path).is_ok()).collect();
    let id = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.split('-').next().and_then(|id| id.parse::<u64>().ok())
    };
    found.sort_by_key(|path| (id(path), path.clone()));
    Ok(found)
}

/// The further parts of a recording (see [`crate::pipeline::part`]), in order. One that was begun and has no events
/// file yet is left out.
///
/// # Errors
/// `ERR_IO` if the directory cannot be read.
pub fn part_directories(directory: &Path) -> RecorderResult<Vec<PathBuf>> {
    let parts = directory.join(PARTS_DIR);
    let mut found = FsStorage.subdirectories(&parts).map_err(|error| io_error(&parts, error))?;
    found.retain(|path| is_part_dir(path) && locate(path).is_ok());
    found.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    Ok(found)
}

/// The error of a file operation.
pub(super) fn io_error(file: &Path, error: io::Error) -> RecorderError {
    crate::enverr!(Io, "cannot read '{}'", file.display())
        .with_context("path", file.display().to_string())
        .with_source(error)
}

/// The error of whoever was shown the events.
fn stopped(error: io::Error) -> RecorderError {
    crate::enverr!(Io, "cannot write what is in the trace").with_source(error)
}

/// The container, from the first bytes of a binary file or the name of a JSON one.
fn container_of(file: &Path) -> RecorderResult<Container> {
    if file.extension().is_some_and(|extension| extension == "json") {
        return Ok(Container::Json);
    }
    let mut header = [0; HEADER_LEN as usize];
    match File::open(file).and_then(|mut opened| opened.read_exact(&mut header)) {
        Ok(()) if header == BINARY_HEADER => Ok(Container::Binary),
        Ok(()) if header[..5] == MAGIC && header[5] == 0 => Ok(Container::Packed),
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(io_error(file, error)),
        _ => Err(crate::usage!(UnsupportedFormat, "'{}' is not a CodeTracer trace of a known version", file.display())
            .with_context("path", file.display().to_string())),
    }
}

/// Reads all events into memory.
///
/// # Errors
/// As [`locate`] and [`TraceFile::for_each`].
pub fn read_trace(path: &Path) -> RecorderResult<TraceContent> {
    let file = locate(path)?;
    let mut events = Vec::new();
    let damage = file.for_each(|event| {
        events.push(event);
        Ok(())
    })?;
    Ok(TraceContent { file: file.path, events, damage })
}

impl TraceFile {
    /// Shows every event to `visit`, and says at the end why the official reader would refuse the file, if it would.
    ///
    /// # Errors
    /// `ERR_IO` if the file cannot be read at all, or `visit` failed.
    pub fn for_each(
        &self,
        mut visit: impl FnMut(TraceLowLevelEvent) -> io::Result<()>,
    ) -> RecorderResult<Option<String>> {
        match self.container {
            Container::Binary => self.binary(|event, _| visit(event)),
            Container::Packed => self.packed(visit),
            Container::Json => self.json(visit),
        }
    }

    /// As [`Self::for_each`], for `trace.bin` of today: also says how many bytes of events end with each.
    pub(super) fn binary(
        &self,
        mut visit: impl FnMut(TraceLowLevelEvent, u64) -> io::Result<()>,
    ) -> RecorderResult<Option<String>> {
        let failed = |error| io_error(&self.path, error);
        let mut opened = File::open(&self.path).map_err(failed)?;
        let (promised, table) = match check_seek_table(&mut opened).map_err(failed)? {
            Ok(promised) => (promised, None),
            Err(wrong) => (0, Some(wrong)),
        };
        let checked = CheckedBytes::new(opened).map_err(failed)?;
        let decoder = zstd::stream::read::Decoder::new(checked).map_err(failed)?;
        let mut reader = BufReader::new(Counted { inner: decoder, count: 0 });
        let damaged = |index: u64, error: &dyn fmt::Display| Ok(Some(format!("damaged after event {index}: {error}")));
        for index in 0u64.. {
            // What is wrong with the seek table says more than how decoding ends without it.
            match (reader.fill_buf(), &table) {
                (Ok([]), _) => break,
                (Ok(_), _) => {}
                (Err(_), Some(_)) => break,
                (Err(error), None) => return damaged(index, &error),
            }
            match cbor4ii::serde::from_reader::<TraceLowLevelEvent, _>(&mut reader) {
                Ok(event) => {
                    let end = reader.get_ref().count - reader.buffer().len() as u64;
                    visit(event, end).map_err(stopped)?;
                }
                Err(_) if table.is_some() => break,
                Err(error) => return damaged(index, &error),
            }
        }
        let count = reader.get_ref().count;
        Ok(table.or_else(|| {
            (count != promised)
                .then(|| format!("the seek table tells of {promised} bytes of events, there are {count}"))
        }))
    }

    fn packed(&self, visit: impl FnMut(TraceLowLevelEvent) -> io::Result<()>) -> RecorderResult<Option<String>> {
        // That reader panics on some damaged files. The panic hook is left alone: its message helps.
        let mut reader = create_trace_reader(TraceEventsFileFormat::BinaryV0);
        let read =
            catch_unwind(AssertUnwindSafe(|| reader.load_trace_events(&self.path).map_err(|error| error.to_string())));
        match read.unwrap_or_else(|_| Err("the official reader panicked".to_owned())) {
            Ok(events) => {
                events.into_iter().try_for_each(visit).map_err(stopped)?;
                Ok(None)
            }
            Err(damage) => Ok(Some(damage)),
        }
    }

    fn json(&self, mut visit: impl FnMut(TraceLowLevelEvent) -> io::Result<()>) -> RecorderResult<Option<String>> {
        let opened = File::open(&self.path).map_err(|error| io_error(&self.path, error))?;
        let mut failure = None;
        let mut index = 0u64;
        let mut deserializer = serde_json::Deserializer::from_reader(BufReader::new(opened));
        let each = EachEvent(|event| {
            index += 1;
            visit(event).map_err(|error| {
                failure = Some(error);
                "stopped"
            })
        });
        let read = each.deserialize(&mut deserializer).and_then(|()| deserializer.end());
        match (read, failure) {
            (_, Some(error)) => Err(stopped(error)),
            (Ok(()), None) => Ok(None),
            (Err(error), None) => Ok(Some(format!("damaged after event {index}: {error}"))),
        }
    }
}

/// Counts the bytes that were read.
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}

/// Hands the elements of a list over one by one.
struct EachEvent<V>(V);

impl<'de, V: FnMut(TraceLowLevelEvent) -> Result<(), &'static str>> DeserializeSeed<'de> for EachEvent<V> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, V: FnMut(TraceLowLevelEvent) -> Result<(), &'static str>> Visitor<'de> for EachEvent<V> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of trace events")
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut events: A) -> Result<(), A::Error> {
        while let Some(event) = events.next_element()? {
            (self.0)(event).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}
