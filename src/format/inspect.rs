//! What is in a trace, for people and scripts: a summary, the call tree, the events as JSON lines.
//!
//! Invariants:
//! - Output is a stream of lines to one `Write`; nothing is collected but definitions.
//! - Limits bound what the tree prints, never what is counted.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use runtime_tracing::TraceLowLevelEvent as Event;

use super::definitions::Definitions;
use super::read::{TraceFile, locate, part_directories, thread_directories};
use super::render::Renderer;
use super::thread_index::{Line, index_file, read_index};
use crate::errors::RecorderResult;

/// What to show of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The file, counts per kind of event, and what is wrong; threads included.
    Summary,
    /// The calls, indented, with arguments and return values.
    Tree { max_depth: usize, max_calls: u64 },
    /// One event per line, as `trace.json` spells it.
    JsonLines,
}

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
        Event::Asm(_) => "Asm",
        Event::BindVariable(_) => "BindVariable",
        Event::Assignment(_) => "Assignment",
        Event::DropVariables(_) => "DropVariables",
        Event::CompoundValue(_) => "CompoundValue",
        Event::CellValue(_) => "CellValue",
        Event::AssignCompoundItem(_) => "AssignCompoundItem",
        Event::AssignCell(_) => "AssignCell",
        Event::VariableCell(_) => "VariableCell",
        Event::DropVariable(_) => "DropVariable",
        Event::ThreadStart(_) => "ThreadStart",
        Event::ThreadExit(_) => "ThreadExit",
        Event::ThreadSwitch(_) => "ThreadSwitch",
        Event::DropLastStep => "DropLastStep",
    }
}

/// Writes what `mode` asks for about the trace in a directory or file.
///
/// # Errors
/// `ERR_TRACE_MISSING`, `ERR_UNSUPPORTED_FORMAT`, or `ERR_IO` if the trace cannot be read or `out` not written.
pub fn inspect(path: &Path, mode: Mode, out: &mut dyn Write) -> RecorderResult<()> {
    let file = locate(path)?;
    match mode {
        Mode::Summary => {
            summary(&file, out)?;
            let mut others = thread_directories(path)?;
            let mut parts = vec![path.to_path_buf()];
            for part in part_directories(path)? {
                let threads = thread_directories(&part)?;
                parts.push(part.clone());
                others.push(part);
                others.extend(threads);
            }
            for other in others {
                written(out.write_all(b"\n"))?;
                summary(&locate(&other)?, out)?;
            }
            parts.iter().try_for_each(|part| index_summary(part, out))?;
        }
        Mode::Tree { max_depth, max_calls } => {
            let mut tree = Tree::new(max_depth, max_calls, out);
            let damage = file.for_each(|event| tree.event(&event))?;
            written(tree.finish())?;
            tell_damage(damage, out)?;
        }
        Mode::JsonLines => {
            file.for_each(|event| {
                serde_json::to_writer(&mut *out, &event)?;
                out.write_all(b"\n")
            })?;
        }
    }
    Ok(())
}

fn written(result: io::Result<()>) -> RecorderResult<()> {
    result.map_err(|error| crate::enverr!(Io, "cannot write what is in the trace").with_source(error))
}

fn tell_damage(damage: Option<String>, out: &mut dyn Write) -> RecorderResult<()> {
    match damage {
        Some(damage) => written(writeln!(out, "damaged: {damage}")),
        None => Ok(()),
    }
}

fn summary(file: &TraceFile, out: &mut dyn Write) -> RecorderResult<()> {
    let mut counts = BTreeMap::<&str, u64>::new();
    let damage = file.for_each(|event| {
        *counts.entry(kind_name(&event)).or_insert(0) += 1;
        Ok(())
    })?;
    written(writeln!(out, "{}", file.path.display()))?;
    for (kind, count) in counts {
        written(writeln!(out, "{kind:<14}{count:>12}"))?;
    }
    tell_damage(damage, out)
}

/// How often the threads of a part took turns, if it has an index.
fn index_summary(part: &Path, out: &mut dyn Write) -> RecorderResult<()> {
    let Some(lines) = read_index(part)? else { return Ok(()) };
    let turns = lines.iter().filter(|line| matches!(line, Ok(Line::Turn { .. }))).count();
    let threads = lines.iter().filter(|line| matches!(line, Ok(Line::Thread { .. }))).count();
    let shown = index_file(part);
    written(writeln!(out, "\n{}\n{:<14}{threads:>12}\n{:<14}{turns:>12}", shown.display(), "threads", "turns"))
}

/// Prints calls as they come. A call that makes no other call ends in the line it starts.
struct Tree<'a> {
    definitions: Definitions,
    max_depth: usize,
    max_calls: u64,
    out: &'a mut dyn Write,
    depth: usize,
    calls: u64,
    /// For each open call within `max_depth`, whether it was printed.
    shown: Vec<bool>,
    /// The last line printed is a call's and has not ended.
    line_is_open: bool,
}

impl<'a> Tree<'a> {
    fn new(max_depth: usize, max_calls: u64, out: &'a mut dyn Write) -> Self {
        let definitions = Definitions::default();
        Self { definitions, max_depth, max_calls, out, depth: 0, calls: 0, shown: Vec::new(), line_is_open: false }
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Call(call) => {
                let show = self.calls < self.max_calls && self.depth < self.max_depth;
                self.calls += 1;
                if self.depth < self.max_depth {
                    self.shown.push(show);
                }
                self.depth += 1;
                if show {
                    self.end_line()?;
                    let renderer = Renderer::new(&self.definitions.types);
                    let arg = |arg: &runtime_tracing::FullValueRecord| {
                        let name = self.definitions.variable(arg.variable_id.0);
                        format!("{name}={}", renderer.text(&arg.value))
                    };
                    let args: Vec<String> = call.args.iter().map(arg).collect();
                    let name = self.definitions.function(call.function_id.0);
                    let indent = 2 * (self.depth - 1);
                    write!(self.out, "{:indent$}{name}({})", "", args.join(", "))?;
                    self.line_is_open = true;
                }
            }
            Event::Return(returned) => {
                let Some(depth) = self.depth.checked_sub(1) else { return Ok(()) };
                self.depth = depth;
                if depth < self.max_depth && self.shown.pop() == Some(true) {
                    let value = Renderer::new(&self.definitions.types).text(&returned.return_value);
                    if self.line_is_open {
                        writeln!(self.out, " → {value}")?;
                    } else {
                        let indent = 2 * depth;
                        writeln!(self.out, "{:indent$}→ {value}", "")?;
                    }
                    self.line_is_open = false;
                }
            }
            definition => self.definitions.take(definition),
        }
        Ok(())
    }

    fn end_line(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.line_is_open) { self.out.write_all(b"\n") } else { Ok(()) }
    }

    fn finish(mut self) -> io::Result<()> {
        self.end_line()?;
        match self.calls.saturating_sub(self.max_calls) {
            0 => Ok(()),
            more => writeln!(self.out, "… +{more} more calls"),
        }
    }
}
