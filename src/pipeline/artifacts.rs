//! The small files of a trace directory: metadata, paths, and the state of the recording.
//!
//! Invariants:
//! - Every small file is replaced atomically; a reader never sees half of one.
//! - Cleaning up removes files by the names the recorder gives, and directories only when that leaves them empty:
//!   an out dir may be anybody's directory, and a `threads` package in it somebody's work.
//! - `recording.json` says `recording` from the first file to the last, so that a trace whose process was killed
//!   can be told from a complete one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};

use crate::enverr;
use crate::errors::{ErrorCode, ErrorKind, RecorderError, RecorderResult};
use crate::session::processes::{PROCESSES_DIR, is_process_dir};
use crate::storage::Storage;

use super::config::PipelineConfig;
use super::index::INDEX_FILE;
use super::lifecycle::STAGE;
use super::model::TraceFormat;
use super::part::{PARTS_DIR, Part, PartSummary, is_part_dir};
use super::stats::{PipelineStats, StreamMeter};
use super::supervisor::PipelineFailure;

/// What the program was and how it ended.
pub const METADATA_FILE: &str = "trace_metadata.json";
/// Source paths in the order of their ids.
pub const PATHS_FILE: &str = "trace_paths.json";
/// State of the recording; see [`RecordingState`].
pub const RECORDING_FILE: &str = "recording.json";
/// The socket at which a recording listens for `ctl`.
pub const CONTROL_SOCKET: &str = "control.sock";
/// Traces of the threads but the first, one directory each.
pub const THREADS_DIR: &str = "threads";

/// Longest thread name in a directory name, in bytes.
const MAX_NAME: usize = 48;

/// Where a recording is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingState {
    /// Under way, or killed.
    Recording,
    /// Everything is there.
    Complete,
    /// Ended early; what is there opens.
    Failed,
}

impl RecordingState {
    /// The value of `state`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
    }
}

/// The error of a file operation, naming the file.
pub(super) fn file_error(action: &str, path: &Path, source: io::Error) -> RecorderError {
    let hint = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some disk space",
        io::ErrorKind::PermissionDenied => "; check its permissions",
        _ => "",
    };
    enverr!(Io, "cannot {action} {}{hint}", path.display())
        .with_source(source)
        .with_context("path", path.to_string_lossy())
}

/// Makes the trace directory ready: it exists, nothing of an earlier recording is in it, and it says `recording`.
pub(super) fn prepare(storage: &dyn Storage, config: &PipelineConfig) -> RecorderResult<()> {
    let dir = &config.out_dir;
    storage.create_dir(dir).map_err(|error| {
        let code = match error.kind() {
            io::ErrorKind::AlreadyExists => ErrorCode::TraceDirConflict,
            _ => ErrorCode::TraceDirCreateFailed,
        };
        let message = format!("failed to create trace directory {}", dir.display());
        RecorderError::new(ErrorKind::Environment, code, message)
            .with_source(error)
            .with_context("path", dir.to_string_lossy())
    })?;
    remove_traces(storage, dir)?;
    write_recording(storage, config, RecordingState::Recording, None, false)?;
    write_paths(storage, dir, std::slice::from_ref(&config.program))?;
    write_json(storage, &dir.join(METADATA_FILE), &Value::Object(config.metadata.clone()), false)
}

/// Removes the files of a recording, those of its parts, threads and child processes included.
pub(super) fn remove_traces(storage: &dyn Storage, dir: &Path) -> RecorderResult<()> {
    let processes = dir.join(PROCESSES_DIR);
    let mut children = storage.subdirectories(&processes).map_err(|error| file_error("list", &processes, error))?;
    children.retain(|dir| is_process_dir(dir));
    for child in &children {
        remove_recording(storage, child)?;
        storage.remove_empty_dir(child).map_err(|error| file_error("remove", child, error))?;
    }
    if !children.is_empty() {
        storage.remove_empty_dir(&processes).map_err(|error| file_error("remove", &processes, error))?;
    }
    remove_recording(storage, dir)
}

/// Removes the files of one process.
fn remove_recording(storage: &dyn Storage, dir: &Path) -> RecorderResult<()> {
    let parts = dir.join(PARTS_DIR);
    let mut own = storage.subdirectories(&parts).map_err(|error| file_error("list", &parts, error))?;
    own.retain(|dir| is_part_dir(dir));
    for part in &own {
        remove_trace(storage, part)?;
    }
    if !own.is_empty() {
        for emptied in own.iter().chain([&parts]) {
            storage.remove_empty_dir(emptied).map_err(|error| file_error("remove", emptied, error))?;
        }
    }
    remove_trace(storage, dir)
}

/// Removes the files of one part.
fn remove_trace(storage: &dyn Storage, dir: &Path) -> RecorderResult<()> {
    let threads = dir.join(THREADS_DIR);
    let thread_dirs = storage.subdirectories(&threads).map_err(|error| file_error("list", &threads, error))?;
    let own: Vec<_> = thread_dirs.iter().filter(|dir| is_thread_dir(dir)).collect();
    for trace in own.iter().copied().map(PathBuf::as_path).chain([dir]) {
        let formats = [TraceFormat::Binary, TraceFormat::Json].map(TraceFormat::events_file);
        for name in formats.into_iter().chain([METADATA_FILE, PATHS_FILE, RECORDING_FILE]) {
            let path = trace.join(name);
            storage.remove_file(&path).map_err(|error| file_error("remove", &path, error))?;
        }
    }
    let index = threads.join(INDEX_FILE);
    storage.remove_file(&index).map_err(|error| file_error("remove", &index, error))?;
    if !own.is_empty() {
        for emptied in own.iter().copied().chain([&threads]) {
            storage.remove_empty_dir(emptied).map_err(|error| file_error("remove", emptied, error))?;
        }
    }
    Ok(())
}

/// Whether a directory below `threads/` has a name that [`thread_dir_name`] gives.
fn is_thread_dir(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split_once('-').is_some_and(|(id, _)| id.len() >= 2 && id.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The directory of a thread's trace below `threads/`: its id and what of its name is safe in a file name.
pub(super) fn thread_dir_name(id: u32, name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    format!("{id:02}-{}", name.chars().take(MAX_NAME).map(safe).collect::<String>())
}

/// Writes the metadata of one stream: `metadata` for the first, and which thread it was for the others.
pub(super) fn write_stream_metadata(
    storage: &dyn Storage,
    dir: &Path,
    meter: &StreamMeter,
    mut metadata: Map<String, Value>,
) -> RecorderResult<()> {
    let mut thread = json!({"stream": meter.shared.id, "name": meter.name(), "native_id": meter.native_id()});
    if let Some(threads) = meter.threads() {
        thread["threads"] = threads.into();
    }
    metadata.insert("thread".to_owned(), thread);
    write_json(storage, &dir.join(METADATA_FILE), &Value::Object(metadata), false)
}

/// Writes the paths of one stream.
pub(super) fn write_paths(storage: &dyn Storage, dir: &Path, paths: &[String]) -> RecorderResult<()> {
    write_json(storage, &dir.join(PATHS_FILE), &json!(paths), false)
}

/// Makes the directory of a further part; it says `recording`.
pub(super) fn begin_part(storage: &dyn Storage, config: &PipelineConfig, part: &Part) -> RecorderResult<()> {
    storage.create_dir(&part.dir).map_err(|error| file_error("create", &part.dir, error))?;
    part.created.store(true, Ordering::Relaxed);
    write_state(storage, &part.dir, config, RecordingState::Recording, None, false)?;
    let mut metadata = config.metadata.clone();
    metadata.insert("part".to_owned(), part.to_json());
    write_json(storage, &part.dir.join(METADATA_FILE), &Value::Object(metadata), false)
}

/// Writes what is known of a part at its end, `metadata` over the base of the configuration: of its threads, then of
/// itself, then its state. The state of the out dir is that of the whole recording, and not written here.
pub(super) fn end_part(
    storage: &dyn Storage,
    config: &PipelineConfig,
    part: &Part,
    streams: &[Arc<StreamMeter>],
    summary: Option<&PartSummary>,
    state: RecordingState,
    mut metadata: Map<String, Value>,
) -> RecorderResult<()> {
    if !part.created.load(Ordering::Relaxed) {
        return Ok(());
    }
    if let Some(summary) = summary {
        metadata.insert("part".to_owned(), json!(summary));
    }
    for meter in streams {
        if meter.shared.id != 0
            && let Some(directory) = meter.directory.get()
        {
            write_stream_metadata(storage, &part.dir.join(directory), meter, metadata.clone())?;
        }
    }
    let streams: Vec<_> = streams.iter().filter_map(|meter| meter.summary()).collect();
    metadata.insert("streams".to_owned(), json!(streams));
    write_json(storage, &part.dir.join(METADATA_FILE), &Value::Object(metadata), config.durable)?;
    if part.number == 0 {
        return Ok(());
    }
    write_state(storage, &part.dir, config, state, None, config.durable)
}

/// How a recording ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome<'a> {
    pub failure: Option<&'a PipelineFailure>,
    /// The limit that ended it.
    pub limit: Option<&'static str>,
}

/// Writes everything that is known at the end: metadata of the last part and its streams, of the recording, then the
/// state. Metadata that cannot be written make the recording a failed one, and its state, which is much smaller, says
/// why.
pub(super) fn conclude(
    storage: &dyn Storage,
    config: &PipelineConfig,
    streams: &[Arc<StreamMeter>],
    stats: &PipelineStats,
    metadata: Map<String, Value>,
    outcome: Outcome<'_>,
) -> RecorderResult<()> {
    let described = describe(storage, config, streams, stats, metadata, outcome);
    let late = described.as_ref().err().map(|error| PipelineFailure::new(STAGE, error));
    let failure = outcome.failure.or(late.as_ref());
    let state = if failure.is_some() { RecordingState::Failed } else { RecordingState::Complete };
    described.and(write_recording(storage, config, state, failure, config.durable))
}

/// Writes the metadata.
fn describe(
    storage: &dyn Storage,
    config: &PipelineConfig,
    streams: &[Arc<StreamMeter>],
    stats: &PipelineStats,
    metadata: Map<String, Value>,
    outcome: Outcome<'_>,
) -> RecorderResult<()> {
    let mut merged = config.metadata.clone();
    merged.extend(metadata);
    if let Some(failure) = outcome.failure {
        merged.insert("recorder_failure".to_owned(), failure_json(failure));
    }
    if let Some(limit) = outcome.limit {
        merged.insert("ended_by_limit".to_owned(), json!(limit));
    }
    if stats.lost > 0 {
        merged.insert("lost_events".to_owned(), json!(stats.lost));
        merged.insert("losses".to_owned(), json!(stats.losses));
    }
    let state = if outcome.failure.is_some() { RecordingState::Failed } else { RecordingState::Complete };
    // Usually there is but one; a writer that failed may not have come to the end of an earlier one.
    let mut open: BTreeMap<u32, Vec<Arc<StreamMeter>>> = BTreeMap::new();
    for meter in streams {
        open.entry(meter.part.number).or_default().push(Arc::clone(meter));
    }
    let rotated = !stats.parts.is_empty() || open.keys().any(|number| *number > 0);
    let mut parts = stats.parts.clone();
    for streams in open.values() {
        let part = &streams[0].part;
        let summaries: Vec<_> = streams.iter().filter_map(|meter| meter.summary()).collect();
        let summary = rotated.then(|| PartSummary::new(part, outcome.limit.unwrap_or("stop"), &summaries));
        end_part(storage, config, part, streams, summary.as_ref(), state, merged.clone())?;
        parts.extend(summary);
    }
    // The out dir is the first part and the whole recording at once.
    if rotated || open.is_empty() {
        if let Some(first) = parts.first() {
            merged.insert("part".to_owned(), json!(first));
            merged.insert("streams".to_owned(), json!(first.streams));
        }
        merged.insert("parts".to_owned(), json!(parts));
        write_json(storage, &config.out_dir.join(METADATA_FILE), &Value::Object(merged), config.durable)?;
    }
    Ok(())
}

/// Says in `recording.json` of the out dir how it stands.
pub(super) fn write_recording(
    storage: &dyn Storage,
    config: &PipelineConfig,
    state: RecordingState,
    failure: Option<&PipelineFailure>,
    durable: bool,
) -> RecorderResult<()> {
    write_state(storage, &config.out_dir, config, state, failure, durable)
}

fn write_state(
    storage: &dyn Storage,
    dir: &Path,
    config: &PipelineConfig,
    state: RecordingState,
    failure: Option<&PipelineFailure>,
    durable: bool,
) -> RecorderResult<()> {
    let mut recording = json!({
        "state": state.as_str(),
        "pid": std::process::id(),
        "format": config.format.events_file(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    if let Some(failure) = failure {
        recording["failure"] = failure_json(failure);
    }
    write_json(storage, &dir.join(RECORDING_FILE), &recording, durable)
}

fn failure_json(failure: &PipelineFailure) -> Value {
    json!({
        "stage": failure.stage,
        "error_kind": failure.kind.as_str(),
        "error_code": failure.code.as_str(),
        "message": failure.message,
    })
}

fn write_json(storage: &dyn Storage, path: &Path, value: &Value, durable: bool) -> RecorderResult<()> {
    let mut text = format!("{value:#}");
    text.push('\n');
    storage.replace(path, text.as_bytes(), durable).map_err(|error| file_error("write", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::FsStorage;

    #[test]
    fn thread_directories_have_safe_bounded_names() {
        assert_eq!(thread_dir_name(3, "Thread-1 (run)"), "03-Thread-1__run_");
        assert_eq!(thread_dir_name(123, "../../etc"), "123-.._.._etc");
        assert_eq!(thread_dir_name(1, &"é".repeat(100)).len(), 3 + MAX_NAME);
        assert!(is_thread_dir(Path::new("threads/03-x")));
        for foreign in ["threads/pool", "threads/3-x", "threads/a3-x", "threads/03"] {
            assert!(!is_thread_dir(Path::new(foreign)), "{foreign}");
        }
    }

    #[test]
    fn an_earlier_recording_goes_and_what_is_not_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for ours in [
            "trace.bin",
            "trace.json",
            "trace_paths.json",
            "threads/01-t/trace.bin",
            "threads/02-u/trace.json",
            "threads/index.jsonl",
        ] {
            let path = root.join(ours);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "old").unwrap();
        }
        let kept = ["main.py", "threads/pool/trace.bin", "threads/02-u/notes.txt", "threads/worker.py"];
        for other in kept {
            let path = root.join(other);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "work").unwrap();
        }
        let mut config = PipelineConfig::new(root, TraceFormat::Binary, "/p.py");
        config.metadata.insert("program".to_owned(), json!("p"));
        prepare(&FsStorage, &config).unwrap();
        for other in kept {
            assert_eq!(std::fs::read_to_string(root.join(other)).unwrap(), "work");
        }
        let mut left: Vec<_> = std::fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["main.py", "recording.json", "threads", "trace_metadata.json", "trace_paths.json"]);
        assert!(!root.join("threads/01-t").exists());
        assert!(root.join("threads/02-u").exists());
        let recording: Value = serde_json::from_slice(&std::fs::read(root.join(RECORDING_FILE)).unwrap()).unwrap();
        assert_eq!((&recording["state"], &recording["format"]), (&json!("recording"), &json!("trace.bin")));
    }

    #[test]
    fn a_directory_that_cannot_be_has_its_own_code() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let config = PipelineConfig::new(dir.path().join("file/below"), TraceFormat::Json, "/p.py");
        let error = prepare(&FsStorage, &config).unwrap_err();
        assert_eq!(error.code, ErrorCode::TraceDirCreateFailed);
        assert!(error.to_string().contains("failed to create trace directory"), "{error}");
        let config = PipelineConfig::new(dir.path().join("file"), TraceFormat::Json, "/p.py");
        assert_eq!(prepare(&FsStorage, &config).unwrap_err().code, ErrorCode::TraceDirConflict);
    }
}
