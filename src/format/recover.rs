//! Makes a `trace.bin` whole whose recorder was killed: cuts what is damaged and writes the seek table again.
//!
//! Invariants:
//! - Idempotent: a file that is whole is not touched.
//! - Nothing that the official reader can decode is removed: only bytes after the last whole frame are.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use zeekstd::seek_table::SeekTable;

use super::read::{HEADER_LEN, events_file, read_trace};
use crate::errors::RecorderResult;
use crate::pipeline::event_file::{log_frame, seek_table_bytes};

/// Zstandard's skippable frames (the seek table is one) begin with one of these sixteen numbers.
const SKIPPABLE: std::ops::RangeInclusive<u32> = 0x184D_2A50..=0x184D_2A5F;

/// Makes the trace in a directory whole; returns what was done, line by line (nothing: it was whole).
///
/// # Errors
/// `ERR_TRACE_MISSING`, `ERR_IO`.
pub fn recover(path: &Path) -> RecorderResult<Vec<String>> {
    let trace = read_trace(path)?;
    if trace.damage.is_none() {
        return Ok(Vec::new());
    }
    let file = events_file(path)?;
    let done = rebuild(&file).map_err(|error| {
        crate::enverr!(Io, "cannot recover '{}'", file.display())
            .with_context("path", file.display().to_string())
            .with_source(error)
    })?;
    Ok(vec![done])
}

fn rebuild(file: &Path) -> std::io::Result<String> {
    let bytes = std::fs::read(file)?;
    let mut position = HEADER_LEN as usize;
    let mut table = SeekTable::new();
    let mut frames = 0;
    while let Some(rest) = bytes.get(position..).filter(|rest| rest.len() >= 8) {
        let magic = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]);
        if SKIPPABLE.contains(&magic) {
            break;
        }
        let Ok(size) = zstd::zstd_safe::find_frame_compressed_size(rest) else { break };
        let Ok(content) = zstd::decode_all(&rest[..size]) else { break };
        log_frame(&mut table, size, content.len())?;
        position += size;
        frames += 1;
    }
    let mut opened = OpenOptions::new().write(true).open(file)?;
    opened.set_len(position as u64)?;
    opened.seek(SeekFrom::Start(position as u64))?;
    opened.write_all(&seek_table_bytes(table))?;
    opened.sync_all()?;
    Ok(format!("{}: kept {frames} frames, cut {} bytes, wrote the seek table", file.display(), bytes.len() - position))
}
