//! Makes a trace whole whose recorder was killed: cuts what is damaged, adds its start if not even that was written,
//! returns from the calls that were open, writes the tail again, and the small files that are missing or torn. What a
//! flight recorder left in files becomes a dump.
//!
//! Invariants:
//! - Idempotent: a trace that is whole is not touched, and being interrupted and run again is the same as being run.
//! - Nothing that can be read is removed: only bytes after the last frame (or JSON event) of those that are whole and
//!   follow each other from the start.
//! - A trace that is being recorded at this moment is refused.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use runtime_tracing::{
    CallRecord, FunctionId, FunctionRecord, Line, PathId, ReturnRecord, StepRecord, TraceLowLevelEvent as Event,
    TypeId, TypeKind, TypeRecord, TypeSpecificInfo, ValueRecord,
};
use serde_json::Value;
use zeekstd::seek_table::SeekTable;

use super::convert::told;
use super::definitions::Definitions;
use super::frames::Frames;
use super::read::{Container, TraceFile, io_error, locate, part_directories, thread_directories};
use super::rebuild::{rebuild_header, rebuild_metadata, rebuild_paths, rebuild_state};
use super::thread_index::mend_index;
use crate::errors::RecorderResult;
#[cfg(unix)]
use crate::pipeline::artifacts::CONTROL_SOCKET;
use crate::pipeline::artifacts::{PATHS_FILE, RECORDING_FILE, THREADS_DIR};
use crate::pipeline::event_file::{log_frame, seek_table_bytes};
use crate::pipeline::part::{PARTS_DIR, is_part_dir};
use crate::pipeline::ring::killed::recover_rings;
use crate::storage::{FsStorage, Storage};

/// What `recording.json` says of a trace whose recorder was killed and that was recovered.
pub const RECOVERED: &str = "recovered";

/// Makes the trace in a directory (its parts' and threads' included), or an events file, whole; returns what was done, line by
/// line. Nothing was if it was whole.
///
/// # Errors
/// `ERR_TRACE_MISSING`, `ERR_UNSUPPORTED_FORMAT`, `ERR_IO`, and `ERR_TRACE_INCOMPLETE` if it is being recorded or
/// cannot be recovered (the old packed format).
pub fn recover(path: &Path) -> RecorderResult<Vec<String>> {
    recover_telling(path, |_| Ok(()))
}

/// [`recover`], with `progress` told the number of events that were read, now and then; its error ends all, and what
/// is left to do can be done by another call.
///
/// # Errors
/// As [`recover`], and `ERR_IO` for that of `progress`.
pub fn recover_telling(path: &Path, mut progress: impl FnMut(u64) -> io::Result<()>) -> RecorderResult<Vec<String>> {
    let mut done = Vec::new();
    let mut seen = 0;
    let mut tell = || {
        seen += 1;
        told(seen, &mut progress)
    };
    refuse_if_recording(path)?;
    if path.is_dir() {
        recover_rings(path, &mut done)?;
    }
    rebuild_headers(path, &mut done)?;
    for part in part_directories(path)? {
        recover_with_threads(&part, &mut tell, &mut done)?;
    }
    // The state of the whole is mended last: it says `recording` until all is done.
    recover_with_threads(path, &mut tell, &mut done)?;
    #[cfg(unix)]
    remove_dead_socket(&path.join(CONTROL_SOCKET), &mut done)?;
    Ok(done)
}

/// A process that was killed leaves the socket at which it listened.
#[cfg(unix)]
fn remove_dead_socket(socket: &Path, done: &mut Vec<String>) -> RecorderResult<()> {
    use std::os::unix::fs::FileTypeExt;
    // Connecting to any other file is refused, too.
    let is_socket = std::fs::symlink_metadata(socket).is_ok_and(|found| found.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && std::os::unix::net::UnixStream::connect(socket).is_err_and(refused) {
        std::fs::remove_file(socket).map_err(|error| {
            crate::enverr!(Io, "cannot remove '{}'", socket.display())
                .with_context("path", socket.display().to_string())
                .with_source(error)
        })?;
        done.push(format!("{}: removed, nobody listens at it", socket.display()));
    }
    Ok(())
}

/// Is called for every event that was read.
type Tell<'a> = &'a mut dyn FnMut() -> io::Result<()>;

/// Without its header a file is no trace that anything else would look at.
fn rebuild_headers(path: &Path, done: &mut Vec<String>) -> RecorderResult<()> {
    let below = |directory: &Path| FsStorage.subdirectories(directory).map_err(|error| io_error(directory, error));
    let mut parts = below(&path.join(PARTS_DIR))?;
    parts.retain(|part| is_part_dir(part));
    for part in parts.iter().map(PathBuf::as_path).chain([path]) {
        rebuild_header(part, done)?;
        below(&part.join(THREADS_DIR))?.iter().try_for_each(|thread| rebuild_header(thread, done))?;
    }
    Ok(())
}

fn recover_with_threads(path: &Path, tell: Tell<'_>, done: &mut Vec<String>) -> RecorderResult<()> {
    let file = recover_one(path, tell, done)?;
    for thread in thread_directories(path)? {
        recover_one(&thread, tell, done)?;
    }
    done.extend(mend_index(path)?);
    if path.is_dir() {
        // Of JSON there are traces of earlier versions, which had no such file.
        rebuild_state(path, &file.path, file.container == Container::Binary, done)?;
    }
    mark_recovered(path, done)
}

fn recover_one(path: &Path, tell: Tell<'_>, done: &mut Vec<String>) -> RecorderResult<TraceFile> {
    let file = locate(path)?;
    let failed = |error| {
        crate::enverr!(Io, "cannot recover '{}'", file.path.display())
            .with_context("path", file.path.display().to_string())
            .with_source(error)
    };
    let mut known = Known::new(&file);
    let damage = file.for_each(|event| {
        known.take(&event);
        tell()
    })?;
    // Each writing of JSON takes the place of the returns that the one before ended with. One that was torn can end just
    // where some of these follow: the list is a list, and does not return from all calls.
    let torn = file.container == Container::Json && known.depth > 0;
    if damage.is_some() || torn {
        done.push(match file.container {
            Container::Binary => rebuild_binary(&file, tell).map_err(failed)?,
            Container::Json => rebuild_json(&file).map_err(failed)?,
            Container::Packed => {
                let shown = file.path.display();
                return Err(crate::usage!(TraceIncomplete, "'{shown}' is damaged, and of a version without frames"));
            }
        });
    }
    if path.is_dir() {
        let paths = known.paths();
        rebuild_paths(path, &paths, done)?;
        rebuild_metadata(path, &paths[0], done)?;
    }
    Ok(file)
}

/// What has to be known of the events to end their stream.
struct Known {
    definitions: Definitions,
    depth: u64,
    calls: u64,
    steps: u64,
    /// Path of the program, for a trace that does not even name it.
    program: String,
}

impl Known {
    fn new(trace: &TraceFile) -> Self {
        let listed = std::fs::read(trace.path.with_file_name(PATHS_FILE)).ok();
        let listed: Option<Value> = listed.and_then(|text| serde_json::from_slice(&text).ok());
        let program = listed.as_ref().and_then(|paths| paths[0].as_str()).unwrap_or("/");
        Self { definitions: Definitions::default(), depth: 0, calls: 0, steps: 0, program: program.to_owned() }
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Call(_) => {
                self.calls += 1;
                self.depth += 1;
            }
            Event::Return(_) => self.depth = self.depth.saturating_sub(1),
            Event::Step(_) => self.steps += 1,
            other => self.definitions.take(other),
        }
    }

    /// The paths of the trace once it has its ending.
    fn paths(&self) -> Vec<String> {
        if self.definitions.paths.is_empty() { vec![self.program.clone()] } else { self.definitions.paths.clone() }
    }

    /// What is missing to a trace that loads: as much of its start as was not written, then [`Self::returns`].
    fn ending(&self) -> Vec<Event> {
        let Definitions { paths, functions, types, .. } = &self.definitions;
        let mut events = Vec::new();
        if paths.is_empty() {
            events.push(Event::Path(PathBuf::from(&self.program)));
        }
        if functions.is_empty() {
            let name = "<toplevel>".to_owned();
            events.push(Event::Function(FunctionRecord { path_id: PathId(0), line: Line(1), name }));
        }
        if self.calls == 0 {
            events.push(Event::Call(CallRecord { function_id: FunctionId(0), args: Vec::new() }));
        }
        if types.is_empty() {
            let (kind, specific_info) = (TypeKind::None, TypeSpecificInfo::None);
            events.push(Event::Type(TypeRecord { kind, lang_type: "None".to_owned(), specific_info }));
        }
        if self.steps == 0 {
            events.push(Event::Step(StepRecord { path_id: PathId(0), line: Line(0) }));
        }
        events.extend(self.returns(if self.calls == 0 { 1 } else { self.depth }));
        events
    }

    /// Returns from all open calls: without a value, but from the outermost the text of an unknown exit status.
    fn returns(&self, depth: u64) -> Vec<Event> {
        let string = self.definitions.types.iter().position(|info| info.lang_type == "String");
        let none = || ValueRecord::None { type_id: TypeId(0) };
        (0..depth)
            .rev()
            .map(|depth| match string {
                Some(id) if depth == 0 => ValueRecord::String { text: "<exit>".to_owned(), type_id: TypeId(id) },
                _ => none(),
            })
            .map(|return_value| Event::Return(ReturnRecord { return_value }))
            .collect()
    }
}

/// Cuts behind the last whole frame that ends with an event, then adds the whole events behind it, the missing returns
/// and the seek table.
fn rebuild_binary(trace: &TraceFile, tell: Tell<'_>) -> io::Result<String> {
    let mut frames = Frames::new(File::open(&trace.path)?)?;
    // Where each ends, in the file and among the bytes of events.
    let mut ends = vec![(frames.position(), 0)];
    while let Some(frame) = frames.next_frame()? {
        let events = ends[ends.len() - 1].1 + frame.decompressed as u64;
        ends.push((frames.position(), events));
    }
    let mut known = Known::new(trace);
    let (mut at, mut kept, mut behind) = (0, 0, Vec::new());
    let mut pass = |end: u64, behind: &mut Vec<Event>| {
        while at + 1 < ends.len() && ends[at + 1].1 <= end {
            at += 1;
            if ends[at].1 == end {
                kept = at;
                behind.clear();
            }
        }
    };
    pass(0, &mut behind);
    trace
        .binary(|event, end| {
            known.take(&event);
            behind.push(event);
            pass(end, &mut behind);
            tell()
        })
        .map_err(io::Error::other)?;

    let mut table = SeekTable::new();
    for frame in ends[..=kept].windows(2) {
        log_frame(&mut table, (frame[1].0 - frame[0].0) as usize, (frame[1].1 - frame[0].1) as usize)?;
    }
    let added = behind.len();
    let mut ending = Vec::new();
    for event in behind.into_iter().chain(known.ending()) {
        ending = cbor4ii::serde::to_vec(ending, &event).map_err(io::Error::other)?;
    }
    let mut tail = Vec::new();
    // The official reader needs at least one frame, be it an empty one.
    if !ending.is_empty() || kept == 0 {
        tail = zstd::bulk::compress(&ending, 1)?;
        log_frame(&mut table, tail.len(), ending.len())?;
    }
    tail.extend_from_slice(&seek_table_bytes(table));
    let end = ends[kept].0;
    let cut = std::fs::metadata(&trace.path)?.len() - end;
    replace_tail(&trace.path, end, &tail, added > 0)?;
    let (shown, open) = (trace.path.display(), known.depth);
    Ok(format!(
        "{shown}: kept {kept} frames and {added} events behind them, cut {cut} bytes, returned from {open} calls, wrote \
         the seek table"
    ))
}

/// Puts `tail` behind the first `end` bytes of a file. With `whole` the file changes at once or not at all: what is cut
/// holds events that the tail repeats.
fn replace_tail(path: &Path, end: u64, tail: &[u8], whole: bool) -> io::Result<()> {
    if !whole {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        file.write_all(tail)?;
        return file.sync_all();
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".recovering");
    let temporary = PathBuf::from(temporary);
    // With the permissions of the original.
    std::fs::copy(path, &temporary)?;
    replace_tail(&temporary, end, tail, false)?;
    std::fs::rename(&temporary, path)?;
    FsStorage.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Cuts behind the last whole event, then adds the missing returns and the bracket.
fn rebuild_json(trace: &TraceFile) -> io::Result<String> {
    let bytes = std::fs::read(&trace.path)?;
    let mut known = Known::new(trace);
    let (mut events, mut end) = (0u64, 0);
    let mut rest = bytes.as_slice();
    // The bracket before the first event, a comma before any other: behind anything else nothing can be trusted.
    while let Some(start) = after_separator(rest, if events == 0 { b'[' } else { b',' }) {
        let mut stream = serde_json::Deserializer::from_slice(start).into_iter::<Event>();
        let Some(Ok(event)) = stream.next() else { break };
        known.take(&event);
        events += 1;
        rest = &start[stream.byte_offset()..];
        end = bytes.len() - rest.len();
    }
    let mut tail = Vec::new();
    if end == 0 {
        tail.push(b'[');
    }
    for (index, event) in known.ending().iter().enumerate() {
        tail.extend_from_slice(if events > 0 || index > 0 { b",\n" } else { b"\n" });
        serde_json::to_writer(&mut tail, event)?;
    }
    tail.extend_from_slice(b"\n]\n");
    let mut file = OpenOptions::new().write(true).open(&trace.path)?;
    file.set_len(end as u64)?;
    file.seek(SeekFrom::Start(end as u64))?;
    file.write_all(&tail)?;
    file.sync_all()?;
    let (shown, cut, open) = (trace.path.display(), bytes.len() - end, known.depth);
    Ok(format!("{shown}: kept {events} events, cut {cut} bytes, returned from {open} calls, closed the list"))
}

/// What follows `separator`, if nothing but white space is before it.
fn after_separator(text: &[u8], separator: u8) -> Option<&[u8]> {
    text.trim_ascii_start().strip_prefix(&[separator])
}

/// `recording.json`, if it is there and says that the trace is being recorded.
pub(super) fn unfinished(directory: &Path) -> Option<Value> {
    let text = std::fs::read(directory.join(RECORDING_FILE)).ok()?;
    let recording: Value = serde_json::from_slice(&text).ok()?;
    (recording["state"] == "recording").then_some(recording)
}

/// The process that is recording into `directory` at this moment.
pub fn recording_process(directory: &Path) -> Option<u64> {
    unfinished(directory)?["pid"].as_u64().filter(|pid| is_running(*pid))
}

fn refuse_if_recording(path: &Path) -> RecorderResult<()> {
    // Of an events file it is its directory that says so.
    let directory = if path.is_file() { path.parent().unwrap_or(path) } else { path };
    if let Some(pid) = recording_process(directory) {
        let shown = directory.join(RECORDING_FILE);
        let shown = shown.display();
        return Err(crate::usage!(
            TraceIncomplete,
            "process {pid} is recording into '{}'; if it is another program with that number, remove '{shown}'",
            path.display()
        )
        .with_context("pid", pid.to_string()));
    }
    Ok(())
}

/// Whether there is a process with this id, where that can be seen. One that has ended and that its parent has not heard of
/// yet is none: it writes nothing any more.
fn is_running(pid: u64) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    let field = |status: &str, name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned()))
    };
    let has_ended = |status: String| {
        // The first thread alone may have ended.
        field(&status, "State:").is_some_and(|state| state.starts_with(['Z', 'X']))
            && field(&status, "Threads:").is_none_or(|threads| threads == "1")
    };
    pid == u64::from(std::process::id()) || status.is_ok_and(|status| !has_ended(status))
}

fn mark_recovered(path: &Path, done: &mut Vec<String>) -> RecorderResult<()> {
    let Some(mut recording) = unfinished(path) else { return Ok(()) };
    recording["state"] = RECOVERED.into();
    let file = path.join(RECORDING_FILE);
    FsStorage.replace(&file, format!("{recording:#}\n").as_bytes(), true).map_err(|error| io_error(&file, error))?;
    done.push(format!("{}: marked as {RECOVERED}", file.display()));
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::is_running;

    #[test]
    fn a_process_that_has_ended_records_no_more_even_before_its_parent_hears_of_it() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = u64::from(child.id());
        assert!(is_running(pid));
        child.kill().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while is_running(pid) {
            assert!(std::time::Instant::now() < deadline, "it is a zombie by now");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().unwrap();
        assert!(!is_running(pid));
    }
}
