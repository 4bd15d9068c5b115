//! What is in a trace, for people and scripts: a summary, the call tree, the events as JSON lines.
//!
//! Invariants: output is a stream of lines to one `Write`; limits bound what the tree prints, never what is counted.

use std::collections::BTreeMap;
use std::io::{self, Write};

use runtime_tracing::{FunctionRecord, TraceLowLevelEvent as Event, TypeRecord};

use super::read::TraceContent;
use super::render::Renderer;

/// The name of an event's kind.
pub fn kind_name(event: &Event) -> &'static str {
    match event {
        Event::Step(_) => "Step",
        Event::Path(_) => "Path",
        Event::VariableName(_) => "VariableName",
        Event::Variable(_) => "Variable",
        Event::Type(_) => "Type",
        Event::Value(_) => "Value",
        Event::Function(_) => "Function",
        Event::Call(_) => "Call",
        Event::Return(_) => "Return",
        Event::Event(_) => "Event",
        _ => "Other",
    }
}

/// Number of events per kind.
pub fn counts(events: &[Event]) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(kind_name(event)).or_insert(0) += 1;
    }
    counts
}

/// Counts per kind, the file, and what is wrong with it.
pub fn write_summary(trace: &TraceContent, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", trace.file.display())?;
    if let Some(damage) = &trace.damage {
        writeln!(out, "damaged: {damage}")?;
    }
    for (kind, count) in counts(&trace.events) {
        writeln!(out, "{kind:<14}{count:>12}")?;
    }
    Ok(())
}

/// One event per line, as `trace.json` spells it.
pub fn write_json_lines(trace: &TraceContent, out: &mut dyn Write) -> io::Result<()> {
    for event in &trace.events {
        serde_json::to_writer(&mut *out, event)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// The calls, indented, with arguments and return values.
pub fn write_tree(trace: &TraceContent, max_depth: usize, max_calls: usize, out: &mut dyn Write) -> io::Result<()> {
    let (mut names, mut functions, mut types): (Vec<&str>, Vec<&FunctionRecord>, Vec<TypeRecord>) = Default::default();
    for event in &trace.events {
        match event {
            Event::VariableName(name) => names.push(name),
            Event::Function(function) => functions.push(function),
            Event::Type(info) => types.push(info.clone()),
            _ => {}
        }
    }
    let renderer = Renderer::new(&types);
    let (mut depth, mut calls) = (0usize, 0usize);
    for event in &trace.events {
        match event {
            Event::Call(call) => {
                calls += 1;
                depth += 1;
                if calls > max_calls || depth > max_depth {
                    continue;
                }
                let name = functions.get(call.function_id.0).map_or("?", |function| function.name.as_str());
                let args: Vec<String> = call
                    .args
                    .iter()
                    .map(|arg| {
                        let name = names.get(arg.variable_id.0).copied().unwrap_or("?");
                        format!("{name}={}", renderer.text(&arg.value))
                    })
                    .collect();
                writeln!(out, "{:indent$}{name}({})", "", args.join(", "), indent = 2 * (depth - 1))?;
            }
            Event::Return(value) => {
                if depth > 0 && depth <= max_depth && calls <= max_calls {
                    writeln!(out, "{:indent$}→ {}", "", renderer.text(&value.return_value), indent = 2 * (depth - 1))?;
                }
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
    }
    if calls > max_calls {
        writeln!(out, "… +{} more calls", calls - max_calls)?;
    }
    Ok(())
}
