//! Checks a trace against what CodeTracer accepts.
//!
//! Invariants:
//! - A finding says where (file, event number) and what; no finding means that the trace is complete and loads.
//! - Threads' traces are checked as traces of their own.

use std::collections::BTreeMap;
use std::path::Path;

use runtime_tracing::{TraceLowLevelEvent as Event, TypeKind, TypeSpecificInfo, ValueRecord};
use serde_json::Value;

use super::definitions::Definitions;
use super::inspect::kind_name;
use super::read::{TraceFile, locate, part_directories, thread_directories};
use super::rebuild::REQUIRED;
use super::recover::unfinished;
use super::thread_index::{Extent, check_index};
use crate::errors::RecorderResult;
use crate::pipeline::artifacts::{METADATA_FILE, PATHS_FILE, RECORDING_FILE};

/// Deeper nesting is refused by CodeTracer (the most permissive container allows about 60).
const MAX_NESTING: usize = 60;
/// One kind of mistake is usually repeated: more findings tell nothing new.
const MAX_FINDINGS: usize = 100;

/// Everything that is wrong with the trace in a directory, or with an events file, line by line.
///
/// # Errors
/// Only if it cannot be read at all: `ERR_TRACE_MISSING`, `ERR_UNSUPPORTED_FORMAT`, `ERR_IO`.
pub fn verify(path: &Path) -> RecorderResult<Vec<String>> {
    let mut findings = verify_with_threads(path)?;
    for part in part_directories(path)? {
        let name = part.file_name().unwrap_or_default().to_string_lossy().into_owned();
        findings.extend(verify_with_threads(&part)?.into_iter().map(|finding| format!("parts/{name}: {finding}")));
    }
    findings.truncate(MAX_FINDINGS);
    Ok(findings)
}

fn verify_with_threads(path: &Path) -> RecorderResult<Vec<String>> {
    let (mut findings, extent) = verify_one(path)?;
    let mut extents = BTreeMap::from([(".".to_owned(), extent)]);
    if path.is_dir() {
        findings.extend(check_state(path));
    }
    for thread in thread_directories(path)? {
        let name = thread.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (found, extent) = verify_one(&thread)?;
        findings.extend(found.into_iter().map(|finding| format!("threads/{name}: {finding}")));
        extents.insert(format!("threads/{name}"), extent);
    }
    if path.is_dir() {
        let complete = parse(&path.join(RECORDING_FILE)).is_ok_and(|recording| recording["state"] == "complete");
        findings.extend(check_index(path, &extents, complete)?);
    }
    Ok(findings)
}

fn verify_one(path: &Path) -> RecorderResult<(Vec<String>, Extent)> {
    let (mut findings, defined, extent) = check_events(&locate(path)?)?;
    if path.is_dir() {
        findings.extend(check_files(path, &defined.paths));
    }
    Ok((findings, extent))
}

/// How the recording ended, if that is known.
fn check_state(directory: &Path) -> Option<String> {
    if unfinished(directory).is_some() {
        return Some(format!("{RECORDING_FILE}: the recording is under way or was killed; `recover` ends it"));
    }
    let file = directory.join(RECORDING_FILE);
    let recording = match parse(&file) {
        Ok(recording) if recording["state"].is_string() => recording,
        _ if !file.exists() => return None,
        _ => return Some(format!("{RECORDING_FILE}: it does not say how the recording ended; `recover` mends it")),
    };
    let message = recording["failure"]["message"].as_str().unwrap_or("the reason is not known");
    (recording["state"] == "failed").then(|| format!("{RECORDING_FILE}: the recording ended early: {message}"))
}

fn parse(file: &Path) -> Result<Value, String> {
    let text = std::fs::read(file).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

fn check_files(directory: &Path, paths: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    if directory.join("trace.json").exists() && directory.join("trace.bin").exists() {
        findings.push("both trace.json and trace.bin are present; CodeTracer takes trace.json".to_owned());
    }
    match parse(&directory.join(METADATA_FILE)) {
        Err(error) => findings.push(format!("{METADATA_FILE}: {error}")),
        Ok(metadata) => findings.extend(
            REQUIRED
                .iter()
                .filter(|key| metadata.get(key).is_none())
                .map(|key| format!("{METADATA_FILE}: '{key}' is missing")),
        ),
    }
    match parse(&directory.join(PATHS_FILE)) {
        Err(error) => findings.push(format!("{PATHS_FILE}: {error}")),
        Ok(listed) if listed != Value::from(paths) => {
            findings.push(format!("{PATHS_FILE}: it does not list the paths of the events"));
        }
        Ok(_) => {}
    }
    findings
}

#[derive(Default)]
struct State {
    defined: Definitions,
    at: u64,
    calls: u64,
    steps: u64,
    /// Events that are no definitions.
    events: u64,
    depth: u64,
    findings: Vec<String>,
}

impl State {
    fn find(&mut self, what: impl std::fmt::Display) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(format!("event {}: {what}", self.at));
        }
    }

    fn defined(&mut self, kind: &str, id: usize, count: usize) {
        if id >= count {
            self.find(format_args!("{kind} {id} is used before it is defined"));
        }
    }

    fn value(&mut self, value: &ValueRecord, depth: usize) {
        if depth > MAX_NESTING {
            return self.find(format_args!("a value is nested deeper than {MAX_NESTING} levels"));
        }
        let type_id = match value {
            ValueRecord::Int { type_id, .. }
            | ValueRecord::Bool { type_id, .. }
            | ValueRecord::String { type_id, .. }
            | ValueRecord::Raw { type_id, .. }
            | ValueRecord::Error { type_id, .. }
            | ValueRecord::None { type_id }
            | ValueRecord::BigInt { type_id, .. } => type_id,
            ValueRecord::Float { type_id, .. } => {
                self.find("a Float, which some versions of CodeTracer cannot load; Raw loads in all");
                type_id
            }
            ValueRecord::Sequence { elements, type_id, .. } | ValueRecord::Tuple { elements, type_id } => {
                elements.iter().for_each(|item| self.value(item, depth + 1));
                type_id
            }
            ValueRecord::Struct { field_values, type_id } => {
                field_values.iter().for_each(|item| self.value(item, depth + 1));
                let fields = match self.defined.types.get(type_id.0).map(|info| &info.specific_info) {
                    Some(TypeSpecificInfo::Struct { fields }) => fields.len(),
                    _ => 0,
                };
                if field_values.len() > fields {
                    self.find(format_args!("a Struct has {} values for {fields} fields", field_values.len()));
                }
                type_id
            }
            ValueRecord::Variant { contents, type_id, .. } => {
                self.value(contents, depth + 1);
                type_id
            }
            ValueRecord::Reference { dereferenced, type_id, .. } => {
                self.value(dereferenced, depth + 1);
                type_id
            }
            ValueRecord::Cell { .. } => return self.find("a Cell stands inside a value"),
        };
        self.defined("type", type_id.0, self.defined.types.len());
    }

    fn named_value(&mut self, variable: usize, value: &ValueRecord) {
        self.defined("variable", variable, self.defined.variables.len());
        self.value(value, 0);
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Path(_) | Event::VariableName(_) => {}
            Event::Function(function) => self.defined("path", function.path_id.0, self.defined.paths.len()),
            Event::Type(info) if info.kind == TypeKind::Char => self.find("a type of kind Char"),
            Event::Type(_) => {}
            Event::Step(step) => {
                self.steps += 1;
                self.defined("path", step.path_id.0, self.defined.paths.len());
                if step.line.0 < 0 {
                    self.find("a step has a negative line");
                }
                if self.calls == 0 {
                    self.find("a step stands before the first call");
                }
            }
            Event::Call(call) => {
                self.calls += 1;
                self.depth += 1;
                self.defined("function", call.function_id.0, self.defined.functions.len());
                for arg in &call.args {
                    self.named_value(arg.variable_id.0, &arg.value);
                }
            }
            Event::Return(returned) => {
                match self.depth.checked_sub(1) {
                    Some(depth) => self.depth = depth,
                    None => self.find("a return without a call"),
                }
                self.value(&returned.return_value, 0);
            }
            Event::Value(value) => self.named_value(value.variable_id.0, &value.value),
            Event::Event(_) => {}
            other => self.find(format_args!("{} is an event that CodeTracer does not take", kind_name(other))),
        }
        let definition = matches!(event, Event::Path(_) | Event::VariableName(_) | Event::Function(_) | Event::Type(_));
        self.events += u64::from(!definition);
        self.defined.take(event);
        self.at += 1;
    }
}

fn check_events(file: &TraceFile) -> RecorderResult<(Vec<String>, Definitions, Extent)> {
    let mut state = State::default();
    let damage = file.for_each(|event| {
        state.event(&event);
        Ok(())
    })?;
    let State { defined, steps, events, depth, mut findings, .. } = state;
    if let Some(damage) = damage {
        findings.insert(0, format!("the official reader refuses the file: {damage}"));
    }
    if steps == 0 {
        findings.push("there is no step".to_owned());
    }
    if depth > 0 {
        findings.push(format!("{depth} calls never return"));
    }
    Ok((findings, defined, Extent { steps, events }))
}
