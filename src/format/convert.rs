//! Writes the events of a trace in the other container.
//!
//! Invariants:
//! - The new file is read again and compared with the source, event by event, before success is told.
//! - A damaged source is refused: what is missing would be missing silently.
//! - Memory is bounded by one frame and one event.
//! - A file that exists is not touched.

use std::fs::{File, OpenOptions};
use std::hash::Hasher;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use runtime_tracing::TraceLowLevelEvent as Event;
use twox_hash::XxHash3_64;
use zeekstd::seek_table::SeekTable;

use super::read::{Container, TraceFile, locate};
use crate::errors::{RecorderError, RecorderResult};
use crate::pipeline::compressor::FrameCompressor;
use crate::pipeline::event_file::{BINARY_HEADER, log_frame, seek_table_bytes};

/// Bytes of events in a frame.
const FRAME: usize = 1024 * 1024;
/// zstd's level: converting is not in a hurry.
const LEVEL: i32 = 6;
/// After so many events the caller hears how many there were.
const STRIDE: u64 = 50_000;

/// Writes the events of the trace in `source`, a directory or file, to the new file `target`; returns their number.
/// `progress` is told the number of events, first of those written and then of those compared; its error ends all.
///
/// # Errors
/// `ERR_TRACE_MISSING`, `ERR_UNSUPPORTED_FORMAT`, `ERR_IO`; `ERR_TRACE_INCOMPLETE` if the source is damaged or what
/// was written does not read back the same.
pub fn convert(
    source: &Path,
    target: &Path,
    container: Container,
    mut progress: impl FnMut(u64) -> io::Result<()>,
) -> RecorderResult<u64> {
    let file = locate(source)?;
    let failed = |error| cannot_write(target, error);
    let mut out = Out::new(target, container).map_err(failed)?;
    let mut before = Digest::default();
    let damage = file.for_each(|event| {
        before.take(&event)?;
        out.put(&event)?;
        told(before.count, &mut progress)
    })?;
    if let Some(damage) = damage {
        let shown = file.path.display();
        return Err(crate::usage!(TraceIncomplete, "'{shown}': {damage}; `recover` makes it whole")
            .with_context("path", shown.to_string()));
    }
    out.finish().map_err(failed)?;

    let mut after = Digest::default();
    let written = TraceFile { path: target.to_path_buf(), container };
    let damage = written.for_each(|event| {
        after.take(&event)?;
        told(after.count, &mut progress)
    })?;
    if damage.is_some() || before.value() != after.value() {
        let shown = target.display();
        let how = damage.unwrap_or_else(|| "the events differ".to_owned());
        return Err(crate::bug!(TraceIncomplete, "'{shown}' does not read back as it was written: {how}"));
    }
    Ok(before.count)
}

fn cannot_write(target: &Path, error: io::Error) -> RecorderError {
    crate::enverr!(Io, "cannot write '{}'", target.display())
        .with_context("path", target.display().to_string())
        .with_source(error)
}

/// Tells `progress` of every [`STRIDE`]th event.
pub(super) fn told(count: u64, progress: &mut impl FnMut(u64) -> io::Result<()>) -> io::Result<()> {
    if count.is_multiple_of(STRIDE) { progress(count) } else { Ok(()) }
}

/// What two streams of the same events have in common.
#[derive(Default)]
struct Digest {
    count: u64,
    hash: XxHash3_64,
    scratch: Vec<u8>,
}

impl Digest {
    fn take(&mut self, event: &Event) -> io::Result<()> {
        self.count += 1;
        self.scratch.clear();
        self.scratch = encoded(std::mem::take(&mut self.scratch), event)?;
        self.hash.write(&self.scratch);
        Ok(())
    }

    fn value(&self) -> (u64, u64) {
        (self.count, self.hash.finish())
    }
}

fn encoded(buffer: Vec<u8>, event: &Event) -> io::Result<Vec<u8>> {
    cbor4ii::serde::to_vec(buffer, event).map_err(io::Error::other)
}

/// The new file.
enum Out {
    Json { file: BufWriter<File>, empty: bool },
    Binary { file: File, table: SeekTable, compressor: FrameCompressor, raw: Vec<u8>, frame: Vec<u8> },
}

impl Out {
    fn new(target: &Path, container: Container) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(target)?;
        Ok(match container {
            Container::Json => {
                let mut file = BufWriter::new(file);
                file.write_all(b"[")?;
                Self::Json { file, empty: true }
            }
            Container::Binary => {
                file.write_all(&BINARY_HEADER)?;
                let compressor = FrameCompressor::new(LEVEL)?;
                Self::Binary { file, table: SeekTable::new(), compressor, raw: Vec::new(), frame: Vec::new() }
            }
            Container::Packed => return Err(io::Error::other("the old packed format is read, not written")),
        })
    }

    fn put(&mut self, event: &Event) -> io::Result<()> {
        match self {
            Self::Json { file, empty } => {
                file.write_all(if std::mem::take(empty) { b"\n" } else { b",\n" })?;
                serde_json::to_writer(file, event)?;
            }
            Self::Binary { raw, .. } => {
                *raw = encoded(std::mem::take(raw), event)?;
                if raw.len() >= FRAME {
                    self.end_frame()?;
                }
            }
        }
        Ok(())
    }

    fn end_frame(&mut self) -> io::Result<()> {
        if let Self::Binary { file, table, compressor, raw, frame } = self {
            compressor.compress(raw, frame)?;
            log_frame(table, frame.len(), raw.len())?;
            file.write_all(frame)?;
            raw.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.end_frame()?;
        match self {
            Self::Json { mut file, .. } => {
                file.write_all(b"\n]\n")?;
                file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
            }
            Self::Binary { mut file, table, .. } => {
                file.write_all(&seek_table_bytes(table))?;
                file.sync_all()
            }
        }
    }
}
