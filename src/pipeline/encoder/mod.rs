//! Stand-in for the encoder while the real one is being written: right for the records the pipeline's tests use.

use std::collections::HashMap;
use std::sync::Arc;

use runtime_tracing::{
    CallRecord, EventLogKind, FullValueRecord, FunctionId, FunctionRecord, Line, PathId, RecordEvent, ReturnRecord,
    StepRecord, TraceLowLevelEvent, TypeId, TypeRecord, TypeSpecificInfo, ValueRecord, VariableId,
};
use serde::Serialize;
use serde_json::Value;

use super::layout::{Malformed, Take, record, value};
use super::model::{Exit, TraceFormat};
use super::tables::{Tables, types};

/// Events written so far, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EventCounts {
    pub steps: u64,
    pub calls: u64,
    pub returns: u64,
    pub values: u64,
    pub io: u64,
    pub lost: u64,
}

#[derive(Debug, Default)]
struct Frame {
    code: u32,
    slots: std::collections::BTreeMap<u16, ValueRecord>,
}

#[derive(Debug)]
pub struct StreamEncoder {
    tables: Arc<Tables>,
    format: TraceFormat,
    program: String,
    paths: Vec<String>,
    counts: EventCounts,
    frames: Vec<Frame>,
    functions: HashMap<u32, usize>,
    variables: HashMap<String, usize>,
    types: HashMap<u32, usize>,
    started: bool,
    wrote: bool,
}

impl StreamEncoder {
    pub fn new(tables: Arc<Tables>, format: TraceFormat, program: &str) -> Self {
        Self {
            tables,
            format,
            program: program.to_owned(),
            paths: Vec::new(),
            counts: EventCounts::default(),
            frames: Vec::new(),
            functions: HashMap::new(),
            variables: HashMap::new(),
            types: HashMap::new(),
            started: false,
            wrote: false,
        }
    }

    pub fn set_thread(&mut self, _native_id: u64) {}

    pub fn encode(&mut self, records: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize, Malformed> {
        let mut take = Take::new(records);
        while !take.is_empty() {
            self.start(out);
            self.one(&mut take, out)?;
            if out.len() >= limit {
                break;
            }
        }
        Ok(records.len() - take.rest().len())
    }

    pub fn finish(&mut self, exit: Exit, out: &mut Vec<u8>) {
        self.start(out);
        if self.counts.steps == 0 {
            self.step(0, 0, out);
        }
        while self.frames.pop().is_some() {
            self.emit_return(ValueRecord::None { type_id: TypeId(0) }, out);
        }
        let value = match exit {
            Exit::Code(i) => {
                let type_id = self.type_of(types::INT, out);
                ValueRecord::Int { i, type_id }
            }
            Exit::Unknown => {
                let type_id = self.type_of(types::STRING, out);
                ValueRecord::String { text: "<exit>".into(), type_id }
            }
        };
        self.emit_return(value, out);
    }

    pub fn provisional_end(&self, exit: Exit, out: &mut Vec<u8>) {
        let mut copy = Self {
            tables: Arc::clone(&self.tables),
            program: self.program.clone(),
            paths: self.paths.clone(),
            counts: self.counts.clone(),
            frames: self.frames.iter().map(|f| Frame { code: f.code, slots: Default::default() }).collect(),
            functions: self.functions.clone(),
            variables: self.variables.clone(),
            types: self.types.clone(),
            ..*self
        };
        copy.finish(exit, out);
    }

    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    pub fn counts(&self) -> &EventCounts {
        &self.counts
    }

    pub fn depth(&self) -> usize {
        self.frames.len()
    }

    fn emit(&mut self, event: &TraceLowLevelEvent, out: &mut Vec<u8>) {
        match self.format {
            TraceFormat::Json => {
                if self.wrote {
                    out.extend_from_slice(b",\n");
                }
                out.extend_from_slice(&serde_json::to_vec(event).unwrap_or_default());
            }
            TraceFormat::Binary => cbor(&serde_json::to_value(event).unwrap_or_default(), out),
        }
        self.wrote = true;
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let program = self.program.clone();
        self.path(&program, out);
        let top = FunctionRecord { path_id: PathId(0), line: Line(1), name: "<toplevel>".into() };
        self.emit(&TraceLowLevelEvent::Function(top), out);
        self.counts.calls += 1;
        self.emit(&TraceLowLevelEvent::Call(CallRecord { function_id: FunctionId(0), args: Vec::new() }), out);
        self.type_of(types::NONE, out);
    }

    fn path(&mut self, path: &str, out: &mut Vec<u8>) -> usize {
        if let Some(id) = self.paths.iter().position(|known| known == path) {
            return id;
        }
        self.paths.push(path.to_owned());
        self.emit(&TraceLowLevelEvent::Path(path.into()), out);
        self.paths.len() - 1
    }

    fn type_of(&mut self, id: u32, out: &mut Vec<u8>) -> TypeId {
        let next = self.types.len();
        let found = *self.types.entry(id).or_insert(next);
        if found == next
            && let Some(info) = self.tables.type_info(id)
        {
            let (kind, lang_type) = (info.kind, info.name.clone());
            let record = TypeRecord { kind, lang_type, specific_info: TypeSpecificInfo::None };
            self.emit(&TraceLowLevelEvent::Type(record), out);
        }
        TypeId(found)
    }

    fn variable(&mut self, name: &str, out: &mut Vec<u8>) -> VariableId {
        let next = self.variables.len();
        if let Some(id) = self.variables.get(name) {
            return VariableId(*id);
        }
        self.variables.insert(name.to_owned(), next);
        self.emit(&TraceLowLevelEvent::VariableName(name.to_owned()), out);
        VariableId(next)
    }

    fn step(&mut self, path: usize, line: u32, out: &mut Vec<u8>) {
        self.counts.steps += 1;
        let step = StepRecord { path_id: PathId(path), line: Line(i64::from(line)) };
        self.emit(&TraceLowLevelEvent::Step(step), out);
    }

    fn emit_return(&mut self, return_value: ValueRecord, out: &mut Vec<u8>) {
        self.counts.returns += 1;
        self.emit(&TraceLowLevelEvent::Return(ReturnRecord { return_value }), out);
    }

    fn one(&mut self, take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        match take.u8()? {
            record::CALL | record::RESUME => {
                let code = take.u32()?;
                self.frames.push(Frame { code, slots: Default::default() });
            }
            record::CALL_END => {
                let tables = Arc::clone(&self.tables);
                let code = self.frames.last().ok_or(Malformed)?.code;
                let info = tables.code(code).ok_or(Malformed)?;
                let path = self.path(&info.path, out);
                let next = self.functions.len() + 1;
                let function = *self.functions.entry(code).or_insert(next);
                let line = Line(i64::from(info.first_line));
                if function == next {
                    let record = FunctionRecord { path_id: PathId(path), line, name: info.name.clone() };
                    self.emit(&TraceLowLevelEvent::Function(record), out);
                }
                let values = self.values(&info.variables, out);
                self.step(path, info.first_line, out);
                self.counts.calls += 1;
                let call = CallRecord { function_id: FunctionId(function), args: values };
                self.emit(&TraceLowLevelEvent::Call(call), out);
            }
            record::SET => {
                let slot = take.u16()?;
                let set = self.value(take, out)?;
                self.frames.last_mut().ok_or(Malformed)?.slots.insert(slot, set);
            }
            record::UNSET => {
                let slot = take.u16()?;
                self.frames.last_mut().ok_or(Malformed)?.slots.remove(&slot);
            }
            record::STEP => {
                let line = take.u32()?;
                let tables = Arc::clone(&self.tables);
                let info = tables.code(self.frames.last().ok_or(Malformed)?.code).ok_or(Malformed)?;
                let path = self.path(&info.path, out);
                let values = self.values(&info.variables, out);
                self.step(path, line, out);
                for value in values {
                    self.counts.values += 1;
                    self.emit(&TraceLowLevelEvent::Value(value), out);
                }
            }
            record::RETURN => {
                let value = self.value(take, out)?;
                self.frames.pop().ok_or(Malformed)?;
                self.emit_return(value, out);
            }
            record::LOST => {
                take.u8()?;
                self.counts.lost += take.u64()?;
            }
            record::EVENT => {
                take.u8()?;
                let (metadata, content) = (take.text()?.to_owned(), take.text()?.to_owned());
                self.counts.io += 1;
                let event = RecordEvent { kind: EventLogKind::Write, metadata, content };
                self.emit(&TraceLowLevelEvent::Event(event), out);
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }

    fn values(&mut self, names: &[String], out: &mut Vec<u8>) -> Vec<FullValueRecord> {
        let slots = self.frames.last().map(|f| f.slots.clone()).unwrap_or_default();
        let mut values = Vec::new();
        for (slot, value) in slots {
            if let Some(name) = names.get(usize::from(slot)) {
                values.push(FullValueRecord { variable_id: self.variable(name, out), value });
            }
        }
        values
    }

    fn value(&mut self, take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<ValueRecord, Malformed> {
        Ok(match take.u8()? {
            value::NONE => ValueRecord::None { type_id: TypeId(0) },
            value::INT => ValueRecord::Int { i: take.i64()?, type_id: self.type_of(types::INT, out) },
            value::STR => {
                let text = take.text()?.to_owned();
                ValueRecord::String { text, type_id: self.type_of(types::STRING, out) }
            }
            _ => return Err(Malformed),
        })
    }
}

/// The CBOR form of what serde would write; enough for events without floats and big integers.
fn cbor(value: &Value, out: &mut Vec<u8>) {
    fn head(major: u8, n: u64, out: &mut Vec<u8>) {
        out.push(major << 5 | 27);
        out.extend_from_slice(&n.to_be_bytes());
    }
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(b) => out.push(if *b { 0xf5 } else { 0xf4 }),
        Value::Number(n) => match n.as_u64() {
            Some(n) => head(0, n, out),
            None => head(1, !n.as_i64().unwrap_or(-1) as u64, out),
        },
        Value::String(s) => {
            head(3, s.len() as u64, out);
            out.extend_from_slice(s.as_bytes());
        }
        Value::Array(items) => {
            head(4, items.len() as u64, out);
            items.iter().for_each(|item| cbor(item, out));
        }
        Value::Object(map) => {
            head(5, map.len() as u64, out);
            for (key, item) in map {
                cbor(&Value::String(key.clone()), out);
                cbor(item, out);
            }
        }
    }
}
