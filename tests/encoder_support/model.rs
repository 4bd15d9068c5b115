//! The encoder's rules, said in the most obvious way: events as `runtime_tracing` types, plain maps, nothing cached.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use codetracer_python_recorder::pipeline::layout::{LossCause, Take, output, record, value};
use codetracer_python_recorder::pipeline::model::Exit;
use codetracer_python_recorder::pipeline::tables::{Tables, types};
use runtime_tracing::{
    CallRecord, EventLogKind, FieldTypeRecord, FullValueRecord, FunctionId, FunctionRecord, Line, PathId, RecordEvent,
    ReturnRecord, StepRecord, TraceLowLevelEvent, TypeId, TypeKind, TypeRecord, TypeSpecificInfo, ValueRecord,
    VariableId,
};

use super::{PROGRAM, THREAD, tables};

struct Frame {
    code: u32,
    opening: bool,
    names: HashMap<u16, String>,
    values: BTreeMap<u16, FullValueRecord>,
    /// Of its latest step.
    line: u32,
}

/// Output that is not shown yet.
struct Chunk {
    stream: u8,
    code: u32,
    line: u32,
    frame: u64,
    path: Option<usize>,
    flags: u8,
    text: String,
    near: bool,
}

impl Chunk {
    fn place(&self) -> (u8, u32, u32, u64, Option<usize>, bool) {
        (self.stream, self.code, self.line, self.frame, self.path, self.near)
    }
}

pub struct Model {
    tables: Arc<Tables>,
    pub events: Vec<TraceLowLevelEvent>,
    paths: HashMap<String, usize>,
    functions: HashMap<(usize, i64, String), usize>,
    types: HashMap<(u8, String, Vec<String>), usize>,
    variables: HashMap<String, usize>,
    stack: Vec<Frame>,
    open: Option<Chunk>,
}

/// The id of a key, and whether it is new.
fn intern<K: Hash + Eq>(ids: &mut HashMap<K, usize>, key: K) -> (usize, bool) {
    let next = ids.len();
    let id = *ids.entry(key).or_insert(next);
    (id, id == next)
}

impl Model {
    /// The events of a whole, valid stream.
    pub fn events_of(records: &[u8], exit: Exit) -> Vec<TraceLowLevelEvent> {
        let mut model = Self {
            tables: tables(),
            events: Vec::new(),
            paths: HashMap::new(),
            functions: HashMap::new(),
            types: HashMap::new(),
            variables: HashMap::new(),
            stack: Vec::new(),
            open: None,
        };
        let path = model.path(PROGRAM);
        let toplevel = model.function(path, 1, "<toplevel>");
        model.call(toplevel, Vec::new());
        model.type_id(types::NONE);
        let mut take = Take::new(records);
        while !take.is_empty() {
            model.record(&mut take);
        }
        model.end(exit);
        model.events
    }

    fn end(&mut self, exit: Exit) {
        self.end_chunk();
        if !self.events.iter().any(|event| matches!(event, TraceLowLevelEvent::Step(_))) {
            self.step(0, 0);
        }
        while let Some(frame) = self.stack.pop() {
            if !frame.opening {
                self.returns(ValueRecord::None { type_id: TypeId(0) });
            }
        }
        let value = match exit {
            Exit::Code(i) => ValueRecord::Int { i, type_id: self.type_id(types::INT) },
            Exit::Unknown => ValueRecord::String { text: "<exit>".into(), type_id: self.type_id(types::STRING) },
        };
        self.returns(value);
    }

    fn path(&mut self, path: &str) -> usize {
        let (id, new) = intern(&mut self.paths, path.to_owned());
        if new {
            self.events.push(TraceLowLevelEvent::Path(path.into()));
        }
        id
    }

    fn function(&mut self, path: usize, line: u32, name: &str) -> usize {
        let (id, new) = intern(&mut self.functions, (path, line.into(), name.to_owned()));
        if new {
            let record = FunctionRecord { path_id: PathId(path), line: Line(line.into()), name: name.into() };
            self.events.push(TraceLowLevelEvent::Function(record));
        }
        id
    }

    fn variable(&mut self, name: &str) -> VariableId {
        let (id, new) = intern(&mut self.variables, name.to_owned());
        if new {
            self.events.push(TraceLowLevelEvent::VariableName(name.into()));
        }
        VariableId(id)
    }

    fn type_id(&mut self, table_id: u32) -> TypeId {
        let info = self.tables.type_info(table_id).unwrap().clone();
        let (id, new) = intern(&mut self.types, (info.kind as u8, info.name.clone(), info.fields.clone()));
        if new {
            let field = |name| FieldTypeRecord { name, type_id: TypeId(0) };
            let specific_info = match info.kind {
                TypeKind::Struct => TypeSpecificInfo::Struct { fields: info.fields.into_iter().map(field).collect() },
                _ => TypeSpecificInfo::None,
            };
            let record = TypeRecord { kind: info.kind, lang_type: info.name, specific_info };
            self.events.push(TraceLowLevelEvent::Type(record));
        }
        TypeId(id)
    }

    fn step(&mut self, path: usize, line: u32) {
        self.events.push(TraceLowLevelEvent::Step(StepRecord { path_id: PathId(path), line: Line(line.into()) }));
    }

    fn call(&mut self, function: usize, args: Vec<FullValueRecord>) {
        self.events.push(TraceLowLevelEvent::Call(CallRecord { function_id: FunctionId(function), args }));
    }

    fn returns(&mut self, return_value: ValueRecord) {
        self.events.push(TraceLowLevelEvent::Return(ReturnRecord { return_value }));
    }

    fn log(&mut self, kind: EventLogKind, metadata: String, content: String) {
        self.events.push(TraceLowLevelEvent::Event(RecordEvent { kind, metadata, content }));
    }

    /// Path and function of a code object.
    fn code(&mut self, code: u32) -> (usize, usize) {
        let info = self.tables.code(code).unwrap().clone();
        let path = self.path(&info.path);
        (path, self.function(path, info.first_line, &info.name))
    }

    fn enter(&mut self, code: u32, opening: bool) {
        self.stack.push(Frame { code, opening, names: HashMap::new(), values: BTreeMap::new(), line: 0 });
    }

    fn write_call(&mut self, code: u32, args: Vec<FullValueRecord>) {
        let (path, function) = self.code(code);
        self.step(path, self.tables.code(code).unwrap().first_line);
        self.call(function, args);
    }

    fn record(&mut self, take: &mut Take<'_>) {
        let tag = take.u8().unwrap();
        if !matches!(tag, record::OUTPUT | record::OUTPUT_PART) {
            self.end_chunk();
        }
        match tag {
            record::SET => {
                let slot = take.u16().unwrap();
                let frame = self.stack.last().unwrap();
                let info = self.tables.code(frame.code).unwrap();
                let name = info.variables.get(usize::from(slot)).unwrap_or_else(|| &frame.names[&slot]).clone();
                let variable_id = self.variable(&name);
                let value = self.value(take);
                self.stack.last_mut().unwrap().values.insert(slot, FullValueRecord { variable_id, value });
            }
            record::UNSET => {
                let slot = take.u16().unwrap();
                self.stack.last_mut().unwrap().values.remove(&slot);
            }
            record::DECLARE => {
                let slot = take.u16().unwrap();
                let len = take.u16().unwrap();
                let name = String::from_utf8(take.bytes(len.into()).unwrap().to_vec()).unwrap();
                self.variable(&name);
                self.stack.last_mut().unwrap().names.insert(slot, name);
            }
            record::STEP => {
                let line = take.u32().unwrap();
                let code = self.stack.last().unwrap().code;
                self.stack.last_mut().unwrap().line = line;
                let (path, _) = self.code(code);
                self.step(path, line);
                let mut shown = HashSet::new();
                for value in self.stack.last().unwrap().values.values() {
                    if shown.insert(value.variable_id) {
                        self.events.push(TraceLowLevelEvent::Value(value.clone()));
                    }
                }
            }
            record::CALL => {
                let code = take.u32().unwrap();
                self.code(code);
                self.enter(code, true);
            }
            record::CALL_END => {
                let frame = self.stack.last_mut().unwrap();
                frame.opening = false;
                let code = frame.code;
                let parameters = &self.tables.code(code).unwrap().parameters;
                let args = parameters.iter().filter_map(|slot| frame.values.get(slot).cloned()).collect();
                self.write_call(code, args);
            }
            record::RESUME => {
                let code = take.u32().unwrap();
                self.write_call(code, Vec::new());
                self.enter(code, false);
            }
            record::THROW => {
                let code = take.u32().unwrap();
                self.code(code);
                let variable_id = self.variable("exception");
                let value = self.value(take);
                self.write_call(code, vec![FullValueRecord { variable_id, value }]);
                self.enter(code, false);
            }
            record::RETURN => {
                let value = self.value(take);
                self.stack.pop().unwrap();
                self.returns(value);
            }
            record::OUTPUT => self.output(take, true),
            record::OUTPUT_PART => self.output(take, false),
            record::LOST => {
                let cause = LossCause::from_byte(take.u8().unwrap()).unwrap().as_str();
                let count = take.u64().unwrap();
                let metadata = format!(r#"{{"kind":"lost","cause":"{cause}","count":{count}}}"#);
                let content = format!("{count} events lost here: {cause}");
                self.log(EventLogKind::TraceLogEvent, metadata, content);
            }
            record::EVENT => {
                let kind = serde_json::from_str(&take.u8().unwrap().to_string()).unwrap();
                let metadata = take.text().unwrap().to_owned();
                self.log(kind, metadata, take.text().unwrap().to_owned());
            }
            unknown => panic!("no record has tag {unknown}"),
        }
    }

    fn output(&mut self, take: &mut Take<'_>, whole: bool) {
        let stream = take.u8().unwrap();
        let flags = take.u8().unwrap();
        let code = take.u32().unwrap();
        let (line, frame, text) = (take.u32().unwrap(), take.u64().unwrap(), take.text().unwrap().to_owned());
        let path = match code {
            output::NO_CODE => None,
            _ => {
                let path = self.tables.code(code).unwrap().path.clone();
                Some(self.path(&path))
            }
        };
        let mut chunk = Chunk { stream, code, line, frame, path, flags, text, near: false };
        if let Some(frame) = self.stack.last().filter(|frame| !frame.opening && frame.line > 0)
            && code == output::NO_CODE
            && flags & output::MIRROR != 0
        {
            let path = self.tables.code(frame.code).unwrap().path.clone();
            (chunk.line, chunk.near) = (frame.line, true);
            chunk.path = Some(self.path(&path));
        }
        if let Some(open) = &mut self.open {
            if open.place() == chunk.place() {
                chunk.flags |= open.flags;
                chunk.text.insert_str(0, &open.text);
                self.open = None;
            } else {
                self.end_chunk();
            }
        }
        if !whole {
            self.open = Some(chunk);
        } else {
            self.show(&chunk);
        }
    }

    fn end_chunk(&mut self) {
        if let Some(mut chunk) = self.open.take() {
            chunk.flags |= output::STEP_BOUNDARY;
            self.show(&chunk);
        }
    }

    fn show(&mut self, chunk: &Chunk) {
        if chunk.text.is_empty() {
            return;
        }
        let (kind, stream) = match chunk.stream {
            output::STDOUT => (EventLogKind::Write, "stdout"),
            output::STDERR => (EventLogKind::WriteOther, "stderr"),
            _ => (EventLogKind::Read, "stdin"),
        };
        let names = ["newline", "flush", "step_boundary", "time_split", "input", "mirror"];
        let flags: Vec<String> =
            (0..6).filter(|bit| chunk.flags >> bit & 1 == 1).map(|bit| format!("\"{}\"", names[bit])).collect();
        let path = chunk.path.map_or_else(|| "null".to_owned(), |path| path.to_string());
        let metadata = format!(
            r#"{{"stream":"{stream}","thread":{THREAD},"path_id":{path},"line":{},"frame_id":{},"flags":[{}]{}}}"#,
            chunk.line,
            chunk.frame,
            flags.join(","),
            if chunk.near { ",\"approximate\":true" } else { "" }
        );
        self.log(kind, metadata, chunk.text.clone());
    }

    fn value(&mut self, take: &mut Take<'_>) -> ValueRecord {
        match take.u8().unwrap() {
            value::NONE => ValueRecord::None { type_id: self.type_id(types::NONE) },
            tag @ (value::RAW | value::ERROR) => {
                let type_id = self.type_id(take.u32().unwrap());
                let text = take.text().unwrap().to_owned();
                match tag {
                    value::RAW => ValueRecord::Raw { r: text, type_id },
                    _ => ValueRecord::Error { msg: text, type_id },
                }
            }
            tag @ (value::SEQ | value::TUPLE | value::STRUCT) => {
                let type_id = self.type_id(take.u32().unwrap());
                let items = (0..take.u32().unwrap()).map(|_| self.value(take)).collect();
                match tag {
                    value::SEQ => ValueRecord::Sequence { elements: items, is_slice: false, type_id },
                    value::TUPLE => ValueRecord::Tuple { elements: items, type_id },
                    _ => ValueRecord::Struct { field_values: items, type_id },
                }
            }
            value::TYPED => {
                let shown_as = take.u32().unwrap();
                let tag = take.u8().unwrap();
                self.scalar(tag, take, Some(shown_as))
            }
            value::WHOLE => {
                take.u32().unwrap();
                take.u64().unwrap();
                self.value(take)
            }
            tag => self.scalar(tag, take, None),
        }
    }

    fn scalar(&mut self, tag: u8, take: &mut Take<'_>, shown_as: Option<u32>) -> ValueRecord {
        let mut type_id = |own| self.type_id(shown_as.unwrap_or(own));
        match tag {
            value::TRUE => ValueRecord::Bool { b: true, type_id: type_id(types::BOOL) },
            value::FALSE => ValueRecord::Bool { b: false, type_id: type_id(types::BOOL) },
            value::INT => ValueRecord::Int { i: take.i64().unwrap(), type_id: type_id(types::INT) },
            value::FLOAT => ValueRecord::Raw { r: repr(take.f64().unwrap()), type_id: type_id(types::FLOAT) },
            value::STR => {
                ValueRecord::String { text: take.text().unwrap().to_owned(), type_id: type_id(types::STRING) }
            }
            value::BIGINT => {
                let negative = take.u8().unwrap() != 0;
                let len = take.u32().unwrap() as usize;
                let b = take.bytes(len).unwrap().to_vec();
                ValueRecord::BigInt { b, negative, type_id: type_id(types::INT) }
            }
            unknown => panic!("no value has tag {unknown}"),
        }
    }
}

/// Python's `repr` of a float, from the fewest digits that read back.
fn repr(f: f64) -> String {
    if f.is_nan() {
        return "nan".into();
    }
    if f.is_infinite() {
        return if f > 0.0 { "inf" } else { "-inf" }.into();
    }
    // Not `{f:e}`: of two shortest texts that are equally near, Rust does not always choose the even one.
    let scientific = (0..17).map(|digits| format!("{f:.digits$e}")).find(|text| text.parse() == Ok(f)).unwrap();
    let (mantissa, exponent) = scientific.split_once('e').unwrap();
    let exponent: i32 = exponent.parse().unwrap();
    if (-4..16).contains(&exponent) {
        let digits = mantissa.len() - mantissa.matches(['-', '.']).count();
        let decimals = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0).max(1);
        return format!("{f:.decimals$}");
    }
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}
