//! Events of a trace directory or file.
//!
//! Invariants:
//! - `trace.json` is taken before `trace.bin`, as CodeTracer does.
//! - A v1 file without a usable seek table is read frame by frame up to the first damaged byte.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use runtime_tracing::{TraceEventsFileFormat, TraceLowLevelEvent, create_trace_reader};

use crate::errors::RecorderResult;

/// First five bytes of every binary trace.
const MAGIC: [u8; 5] = [0xC0, 0xDE, 0x72, 0xAC, 0xE2];
/// Length of the file header.
pub(super) const HEADER_LEN: u64 = 8;

/// The events of a trace, and whether the file was damaged.
#[derive(Debug)]
pub struct TraceContent {
    pub file: PathBuf,
    pub events: Vec<TraceLowLevelEvent>,
    /// Why the official reader refused the file, if it did.
    pub damage: Option<String>,
}

/// The events file of a directory, or the file itself.
///
/// # Errors
/// `ERR_TRACE_MISSING` if there is none.
pub fn events_file(path: &Path) -> RecorderResult<PathBuf> {
    let candidates =
        if path.is_dir() { vec![path.join("trace.json"), path.join("trace.bin")] } else { vec![path.to_path_buf()] };
    candidates.into_iter().find(|file| file.is_file()).ok_or_else(|| {
        crate::usage!(
            TraceMissing,
            "no trace in '{}': expected a directory with trace.bin or trace.json",
            path.display()
        )
        .with_context("path", path.display().to_string())
    })
}

/// Reads all events.
///
/// # Errors
/// `ERR_TRACE_MISSING`, `ERR_IO`, or `ERR_UNSUPPORTED_FORMAT` for a file that is no trace.
pub fn read_trace(path: &Path) -> RecorderResult<TraceContent> {
    let file = events_file(path)?;
    let format = format_of(&file)?;
    match official(&file, format) {
        Ok(events) => Ok(TraceContent { file, events, damage: None }),
        Err(reason) if matches!(format, TraceEventsFileFormat::Binary) => {
            let events = salvage(&file)?;
            Ok(TraceContent { file, events, damage: Some(reason) })
        }
        Err(reason) => Err(crate::enverr!(Io, "cannot read '{}': {reason}", file.display())
            .with_context("path", file.display().to_string())),
    }
}

fn io_error(file: &Path, error: std::io::Error) -> crate::errors::RecorderError {
    crate::enverr!(Io, "cannot read '{}'", file.display())
        .with_context("path", file.display().to_string())
        .with_source(error)
}

/// The format, from the first bytes of a binary file or the name of a JSON one.
fn format_of(file: &Path) -> RecorderResult<TraceEventsFileFormat> {
    if file.extension().is_some_and(|extension| extension == "json") {
        return Ok(TraceEventsFileFormat::Json);
    }
    let mut header = [0; HEADER_LEN as usize];
    let read = File::open(file).and_then(|mut opened| opened.read_exact(&mut header));
    match read {
        Ok(()) if header[..5] == MAGIC && header[5] == 1 => Ok(TraceEventsFileFormat::Binary),
        Ok(()) if header[..5] == MAGIC && header[5] == 0 => Ok(TraceEventsFileFormat::BinaryV0),
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(io_error(file, error)),
        _ => Err(crate::usage!(UnsupportedFormat, "'{}' is not a CodeTracer trace of a known version", file.display())
            .with_context("path", file.display().to_string())),
    }
}

fn official(file: &Path, format: TraceEventsFileFormat) -> Result<Vec<TraceLowLevelEvent>, String> {
    // The crate's readers panic on some damaged files. The hook is left alone: its message helps.
    let read = catch_unwind(AssertUnwindSafe(|| {
        create_trace_reader(format).load_trace_events(file).map_err(|e| e.to_string())
    }));
    read.unwrap_or_else(|_| Err("the official reader panicked".to_owned()))
}

/// Every event before the first damaged byte of a v1 file.
fn salvage(file: &Path) -> RecorderResult<Vec<TraceLowLevelEvent>> {
    let open = || -> std::io::Result<BufReader<zstd::stream::read::Decoder<'static, BufReader<File>>>> {
        let mut opened = File::open(file)?;
        opened.seek(SeekFrom::Start(HEADER_LEN))?;
        Ok(BufReader::new(zstd::stream::read::Decoder::new(opened)?))
    };
    let mut reader = open().map_err(|error| io_error(file, error))?;
    let mut events = Vec::new();
    while let Ok(event) = cbor4ii::serde::from_reader::<TraceLowLevelEvent, _>(&mut reader) {
        events.push(event);
    }
    Ok(events)
}
