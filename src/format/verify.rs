//! Checks a trace against what CodeTracer accepts.
//!
//! Invariants: a finding says where (event number) and what; no finding means that the trace loads.

use std::path::Path;

use runtime_tracing::{TraceLowLevelEvent as Event, ValueRecord};

use super::read::{TraceContent, read_trace};
use crate::errors::RecorderResult;

/// Deeper nesting is refused by CodeTracer (the most permissive container allows about 60).
const MAX_NESTING: usize = 60;
/// One kind of mistake is usually repeated: more findings tell nothing new.
const MAX_FINDINGS: usize = 100;

/// Everything that is wrong with the trace in a directory.
///
/// # Errors
/// Only if it cannot be read at all.
pub fn verify(path: &Path) -> RecorderResult<Vec<String>> {
    let trace = read_trace(path)?;
    let mut findings = check_events(&trace);
    if path.is_dir() {
        findings.extend(check_files(path));
    }
    findings.truncate(MAX_FINDINGS);
    Ok(findings)
}

fn check_files(directory: &Path) -> Vec<String> {
    let mut findings = Vec::new();
    if directory.join("trace.json").exists() && directory.join("trace.bin").exists() {
        findings.push("both trace.json and trace.bin are present; CodeTracer takes trace.json".to_owned());
    }
    for (file, keys) in [("trace_metadata.json", &["workdir", "program", "args"][..]), ("trace_paths.json", &[][..])] {
        let parsed = std::fs::read(directory.join(file))
            .map_err(|error| error.to_string())
            .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).map_err(|error| error.to_string()));
        match parsed {
            Err(error) => findings.push(format!("{file}: {error}")),
            Ok(value) => {
                findings.extend(
                    keys.iter().filter(|key| value.get(key).is_none()).map(|key| format!("{file}: '{key}' is missing")),
                );
            }
        }
    }
    findings
}

#[derive(Default)]
struct State {
    paths: usize,
    functions: usize,
    types: usize,
    variables: usize,
    steps: usize,
    depth: i64,
    findings: Vec<String>,
}

impl State {
    fn find(&mut self, at: usize, what: impl std::fmt::Display) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(format!("event {at}: {what}"));
        }
    }

    fn value(&mut self, at: usize, value: &ValueRecord, depth: usize) {
        if depth > MAX_NESTING {
            self.find(at, format_args!("a value is nested deeper than {MAX_NESTING} levels"));
            return;
        }
        let type_id = match value {
            ValueRecord::Int { type_id, .. }
            | ValueRecord::Float { type_id, .. }
            | ValueRecord::Bool { type_id, .. }
            | ValueRecord::String { type_id, .. }
            | ValueRecord::Sequence { type_id, .. }
            | ValueRecord::Tuple { type_id, .. }
            | ValueRecord::Struct { type_id, .. }
            | ValueRecord::Variant { type_id, .. }
            | ValueRecord::Reference { type_id, .. }
            | ValueRecord::Raw { type_id, .. }
            | ValueRecord::Error { type_id, .. }
            | ValueRecord::None { type_id }
            | ValueRecord::BigInt { type_id, .. } => type_id.0,
            ValueRecord::Cell { .. } => {
                self.find(at, "a Cell stands inside a value");
                return;
            }
        };
        if type_id >= self.types {
            self.find(at, format_args!("type {type_id} is used before it is defined"));
        }
        match value {
            ValueRecord::Sequence { elements, .. } | ValueRecord::Tuple { elements, .. } => {
                elements.iter().for_each(|item| self.value(at, item, depth + 1));
            }
            ValueRecord::Struct { field_values, .. } => {
                field_values.iter().for_each(|item| self.value(at, item, depth + 1));
            }
            ValueRecord::Variant { contents, .. } => self.value(at, contents, depth + 1),
            ValueRecord::Reference { dereferenced, .. } => self.value(at, dereferenced, depth + 1),
            _ => {}
        }
    }

    fn named_value(&mut self, at: usize, variable: usize, value: &ValueRecord) {
        if variable >= self.variables {
            self.find(at, format_args!("variable {variable} is used before it is defined"));
        }
        self.value(at, value, 0);
    }
}

fn check_events(trace: &TraceContent) -> Vec<String> {
    let mut state = State::default();
    if let Some(damage) = &trace.damage {
        state.findings.push(format!("the official reader refuses the file: {damage}"));
    }
    for (at, event) in trace.events.iter().enumerate() {
        match event {
            Event::Path(_) => state.paths += 1,
            Event::Function(function) => {
                state.functions += 1;
                if function.path_id.0 >= state.paths {
                    state.find(at, format_args!("path {} is used before it is defined", function.path_id.0));
                }
            }
            Event::Type(_) => state.types += 1,
            Event::VariableName(_) => state.variables += 1,
            Event::Step(step) => {
                state.steps += 1;
                if step.path_id.0 >= state.paths {
                    state.find(at, format_args!("path {} is used before it is defined", step.path_id.0));
                }
                if step.line.0 < 0 {
                    state.find(at, "a step has a negative line");
                }
                if state.depth == 0 {
                    state.find(at, "a step outside of any call");
                }
            }
            Event::Call(call) => {
                state.depth += 1;
                if call.function_id.0 >= state.functions {
                    state.find(at, format_args!("function {} is used before it is defined", call.function_id.0));
                }
                for arg in &call.args {
                    state.named_value(at, arg.variable_id.0, &arg.value);
                }
            }
            Event::Return(value) => {
                state.depth -= 1;
                if state.depth < 0 {
                    state.find(at, "a return without a call");
                }
                state.value(at, &value.return_value, 0);
            }
            Event::Value(value) => state.named_value(at, value.variable_id.0, &value.value),
            Event::Event(_) => {}
            other => state.find(
                at,
                format_args!("{} is an event that CodeTracer does not take", super::inspect::kind_name(other)),
            ),
        }
    }
    if state.steps == 0 {
        state.findings.push("there is no step".to_owned());
    }
    if state.depth > 0 {
        state.findings.push(format!("{} calls never return", state.depth));
    }
    state.findings
}
