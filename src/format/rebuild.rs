//! Makes the small files of a trace directory again, if they are missing or are not what they should be: after a power cut
//! a file that was replaced a moment before may be empty.
//!
//! Invariants:
//! - What can be read is kept: a key that is there stays as it is.
//! - What is not known is not made up: it says so, or is what the nearest directory above says, which was recorded with it.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::read::io_error;
use super::recover::RECOVERED;
use crate::errors::RecorderResult;
use crate::pipeline::artifacts::{METADATA_FILE, PATHS_FILE, RECORDING_FILE};
use crate::pipeline::event_file::BINARY_HEADER;
use crate::pipeline::model::TraceFormat;
use crate::storage::{FsStorage, Storage};

/// Keys without which metadata are not whole.
pub(super) const REQUIRED: [&str; 3] = ["workdir", "program", "args"];
/// Keys that are the same for all traces of a recording.
const SHARED: [&str; 4] = ["workdir", "program", "args", "recorder"];

fn object(file: &Path) -> Option<Map<String, Value>> {
    match serde_json::from_slice(&std::fs::read(file).ok()?) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

fn replace(file: &Path, value: &Value, done: &mut Vec<String>, how: &str) -> RecorderResult<()> {
    let text = format!("{value:#}\n");
    FsStorage.replace(file, text.as_bytes(), true).map_err(|error| io_error(file, error))?;
    done.push(format!("{}: {how}", file.display()));
    Ok(())
}

/// The header of a binary events file: a power cut may leave zeros where it was, or nothing.
pub(super) fn rebuild_header(directory: &Path, done: &mut Vec<String>) -> RecorderResult<()> {
    let file = directory.join(TraceFormat::Binary.events_file());
    if !file.is_file() || directory.join(TraceFormat::Json.events_file()).is_file() {
        return Ok(());
    }
    let failed = |error| io_error(&file, error);
    let mut opened = OpenOptions::new().read(true).write(true).open(&file).map_err(failed)?;
    let mut found = Vec::new();
    (&mut opened).take(BINARY_HEADER.len() as u64).read_to_end(&mut found).map_err(failed)?;
    let torn = found.len() < BINARY_HEADER.len() && BINARY_HEADER.starts_with(&found);
    if !torn && found.iter().any(|byte| *byte != 0) {
        return Ok(());
    }
    let written = opened.seek(SeekFrom::Start(0)).and_then(|_| opened.write_all(&BINARY_HEADER));
    written.and_then(|()| opened.sync_all()).map_err(failed)?;
    done.push(format!("{}: wrote the header", file.display()));
    Ok(())
}

/// The list of paths of a trace: written again unless it lists what the events do.
pub(super) fn rebuild_paths(directory: &Path, paths: &[String], done: &mut Vec<String>) -> RecorderResult<()> {
    let file = directory.join(PATHS_FILE);
    let listed: Option<Value> = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let paths = Value::from(paths);
    if listed.as_ref() == Some(&paths) {
        return Ok(());
    }
    replace(&file, &paths, done, "written from the events")
}

/// The metadata of a trace, of which not more may be known than its `program`.
pub(super) fn rebuild_metadata(directory: &Path, program: &str, done: &mut Vec<String>) -> RecorderResult<()> {
    let file = directory.join(METADATA_FILE);
    let found = object(&file);
    if found.as_ref().is_some_and(|found| REQUIRED.iter().all(|key| found.contains_key(*key))) {
        return Ok(());
    }
    let mut metadata = found.unwrap_or_default();
    // The directory of a thread or part lies two levels below what it was recorded with.
    let above = directory.parent().and_then(Path::parent).and_then(|above| object(&above.join(METADATA_FILE)));
    for (key, value) in above.into_iter().flatten() {
        if SHARED.contains(&key.as_str()) {
            metadata.entry(key).or_insert(value);
        }
    }
    let version = object(&directory.join(RECORDING_FILE)).and_then(|mut recording| recording.remove("version"));
    let recorder = json!({
        "name": "codetracer_python_recorder",
        "version": version.unwrap_or(Value::Null),
        "target_script": program,
    });
    let workdir = Path::new(program).parent().map_or_else(String::new, |parent| parent.display().to_string());
    for (key, value) in [
        ("workdir", Value::from(workdir)),
        ("program", Value::from(program)),
        ("args", json!([])),
        ("recorder", recorder),
        ("process_exit_status", json!({"code": null, "label": "<exit>"})),
    ] {
        metadata.entry(key).or_insert(value);
    }
    metadata.insert("rebuilt".to_owned(), true.into());
    replace(&file, &Value::Object(metadata), done, "made again from what is known")
}

/// What says how the recording ended: that it was recovered, if that file is no more what it was. A trace that never had
/// one keeps being without, except where `expected`.
pub(super) fn rebuild_state(
    directory: &Path,
    events_file: &Path,
    expected: bool,
    done: &mut Vec<String>,
) -> RecorderResult<()> {
    let file = directory.join(RECORDING_FILE);
    let whole = object(&file).is_some_and(|recording| recording.get("state").is_some_and(Value::is_string));
    if whole || (!expected && !file.exists()) {
        return Ok(());
    }
    let format = events_file.file_name().unwrap_or_default().to_string_lossy();
    replace(&file, &json!({"state": RECOVERED, "format": format}), done, "made again from what is known")
}
