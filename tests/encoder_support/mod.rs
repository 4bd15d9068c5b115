//! Streams to test the encoder with: a session's tables, and records that follow the layout.

pub mod model;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use codetracer_python_recorder::pipeline::encoder::StreamEncoder;
use codetracer_python_recorder::pipeline::layout::{Put, output, record, value};
use codetracer_python_recorder::pipeline::model::{Exit, TraceFormat};
use codetracer_python_recorder::pipeline::tables::{CodeInfo, Tables, TypeInfo, types};
use proptest::prelude::*;
use runtime_tracing::{TraceLowLevelEvent, TypeKind};

pub const PROGRAM: &str = "/p/main.py";
pub const THREAD: u64 = 4711;
const CODES: u32 = 6;
const TYPES: u32 = types::CYCLE + 7;

/// Code objects and types with everything that is easy to get wrong: names that repeat, within a code object and
/// between them, definitions that say the same, the name of the first function, text that must be escaped.
pub fn tables() -> Arc<Tables> {
    let tables = Tables::new();
    let code = |path: &str, first_line, name: &str, variables: &[&str], parameters: &[u16]| {
        tables.add_code(CodeInfo {
            path: path.into(),
            first_line,
            name: name.into(),
            variables: variables.iter().map(|&name| name.into()).collect(),
            parameters: parameters.into(),
        })
    };
    code(PROGRAM, 1, "<__main__>", &[], &[]);
    code(PROGRAM, 10, "f", &["a", "b", "c"], &[0, 1]);
    code("/p/lib.py", 10, "f", &["x", "a", "x", "b", "x"], &[3, 0]);
    code(PROGRAM, 10, "f", &["z", "a"], &[0]);
    let many: Vec<String> = (0..40).map(|i| format!("v{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    code("/p/with \"quotes\"\n/né.py", 70_000, "C.g.<locals>.h", &many, &[0, 1, 2, 3, 4, 25]);
    let last = code(PROGRAM, 1, "<toplevel>", &["exception"], &[0]);
    assert_eq!(last + 1, CODES);

    let mut types = 0;
    for (kind, name, fields) in [
        (TypeKind::Struct, "m.C", &["x", "y"][..]),
        (TypeKind::Struct, "m.C", &["x"]),
        (TypeKind::Struct, "m.C", &["x", "y"]),
        (TypeKind::Struct, "m.Empty", &[]),
        (TypeKind::Raw, "m.C", &[]),
        (TypeKind::Int, "Int", &[]),
    ] {
        let fields = fields.iter().map(|&field| field.into()).collect();
        types = tables.add_type(TypeInfo { kind, name: name.into(), fields }) + 1;
    }
    assert_eq!(types, TYPES);
    Arc::new(tables)
}

/// All of a stream in one go.
pub fn encode_all(format: TraceFormat, records: &[u8], exit: Exit) -> (Vec<u8>, StreamEncoder) {
    let mut encoder = new_encoder(format);
    let mut out = Vec::new();
    assert_eq!(encoder.encode(records, &mut out, usize::MAX), Ok(records.len()));
    encoder.finish(exit, &mut out);
    (out, encoder)
}

pub fn new_encoder(format: TraceFormat) -> StreamEncoder {
    let mut encoder = StreamEncoder::new(tables(), format, PROGRAM);
    encoder.set_thread(THREAD);
    encoder
}

/// The events of a JSON stream.
pub fn parse_json(out: &[u8]) -> Vec<TraceLowLevelEvent> {
    let text = format!("[{}]", std::str::from_utf8(out).expect("JSON is UTF-8"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// A value of the layout.
#[derive(Debug, Clone)]
pub enum Value {
    None,
    Scalar(Scalar),
    Typed(u32, Scalar),
    Text(u8, u32, String),
    Compound(u8, u32, Vec<Value>),
}

#[derive(Debug, Clone)]
pub enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    Big(bool, Vec<u8>),
}

impl Scalar {
    fn put(&self, to: &mut Vec<u8>) {
        match self {
            Self::Bool(b) => to.put_u8(if *b { value::TRUE } else { value::FALSE }),
            Self::Int(i) => to.put_int(*i),
            Self::Float(f) => to.put_float(*f),
            Self::Str(text) => to.put_str(text),
            Self::Big(negative, magnitude) => {
                to.put_u8(value::BIGINT);
                to.put_u8((*negative).into());
                to.put_u32(magnitude.len() as u32);
                to.put_bytes(magnitude);
            }
        }
    }
}

impl Value {
    pub fn put(&self, to: &mut Vec<u8>) {
        match self {
            Self::None => to.put_u8(value::NONE),
            Self::Scalar(scalar) => scalar.put(to),
            Self::Typed(shown_as, scalar) => {
                to.put_u8(value::TYPED);
                to.put_u32(*shown_as);
                scalar.put(to);
            }
            Self::Text(tag, type_ref, text) => to.put_typed_text(*tag, *type_ref, text),
            Self::Compound(tag, type_ref, items) => {
                to.put_compound(*tag, *type_ref, items.len() as u32);
                items.iter().for_each(|item| item.put(to));
            }
        }
    }
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{0,6}",
        2 => any::<String>(),
        // On both sides of where CBOR lengths get longer.
        1 => prop::sample::select(vec![23_usize, 24, 255, 256]).prop_map(|len| "x".repeat(len)),
    ]
}

fn any_int() -> impl Strategy<Value = i64> {
    prop_oneof![-300..300_i64, any::<i64>(), prop::sample::select(vec![i64::MIN, i64::MAX, 65_535, 65_536, -65_537])]
}

fn any_scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        1 => any::<bool>().prop_map(Scalar::Bool),
        4 => any_int().prop_map(Scalar::Int),
        1 => (any::<u64>(), -400..400_i32, any::<bool>()).prop_map(|(bits, n, wild)| Scalar::Float(if wild {
            f64::from_bits(bits)
        } else {
            // Short decimals of all magnitudes, where a `repr` changes its form.
            f64::from(n) * 10_f64.powi(n % 20)
        })),
        2 => any_text().prop_map(Scalar::Str),
        1 => (any::<bool>(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(sign, bytes)| Scalar::Big(sign, bytes)),
    ]
}

/// Any value the layout can express, of the types of [`tables`].
pub fn any_value() -> impl Strategy<Value = Value> {
    let text = (prop::sample::select(vec![value::RAW, value::ERROR]), 0..TYPES, any_text());
    let leaf = prop_oneof![
        1 => Just(Value::None),
        6 => any_scalar().prop_map(Value::Scalar),
        1 => (0..TYPES, any_scalar()).prop_map(|(shown_as, scalar)| Value::Typed(shown_as, scalar)),
        1 => text.prop_map(|(tag, type_ref, text)| Value::Text(tag, type_ref, text)),
    ];
    leaf.prop_recursive(4, 30, 6, |inner| {
        let tags = prop::sample::select(vec![value::SEQ, value::TUPLE, value::STRUCT]);
        (tags, 0..TYPES, prop::collection::vec(inner, 0..6))
            .prop_map(|(tag, type_ref, items)| Value::Compound(tag, type_ref, items))
    })
}

/// Something that may happen next; [`StreamWriter`] leaves out what cannot happen now.
#[derive(Debug, Clone)]
pub enum Op {
    Set(u16, Value),
    Unset(u16),
    Declare(u16, String),
    Step(u32),
    Call(u32),
    CallEnd,
    Resume(u32),
    Throw(u32, Value),
    Return(Value),
    Output { whole: bool, stream: u8, flags: u8, code: Option<u32>, line: u32, frame: u64, text: String },
    Lost(u8, u64),
    Event(u8, String, String),
}

/// Any operation with these values, those weighted up that make streams interesting.
fn any_op(values: BoxedStrategy<Value>) -> impl Strategy<Value = Op> {
    let line = || prop_oneof![0..30_u32, 200..300_u32, any::<u32>()];
    let names = prop::sample::select(vec!["a", "x", "exception", "dyn1", "dyn2", "né"]).prop_map(String::from);
    prop_oneof![
        20 => (prop_oneof![0..5_u16, 0..45_u16], values.clone()).prop_map(|(slot, value)| Op::Set(slot, value)),
        3 => (0..45_u16).prop_map(Op::Unset),
        4 => (0..45_u16, names).prop_map(|(slot, name)| Op::Declare(slot, name)),
        16 => line().prop_map(Op::Step),
        6 => (0..CODES).prop_map(Op::Call),
        6 => Just(Op::CallEnd),
        2 => (0..CODES).prop_map(Op::Resume),
        2 => (0..CODES, values.clone()).prop_map(|(code, value)| Op::Throw(code, value)),
        5 => values.prop_map(Op::Return),
        2 => (any::<bool>(), 0..3_u8, 0..64_u8, prop::option::of(0..CODES), line(), any::<u64>(), any_text()).prop_map(
            |(whole, stream, flags, code, line, frame, text)| {
                Op::Output { whole, stream, flags, code, line, frame, text }
            }
        ),
        // Mostly from the same place.
        4 => (any::<bool>(), prop::sample::select(vec![0_u8, 0, 1]), any_text()).prop_map(|(whole, stream, text)| {
            Op::Output { whole, stream, flags: 0, code: Some(1), line: 3, frame: 1, text }
        }),
        1 => (0..2_u8, any::<u64>()).prop_map(|(cause, count)| Op::Lost(cause, count)),
        1 => (0..14_u8, any_text(), any_text()).prop_map(|(kind, metadata, text)| Op::Event(kind, metadata, text)),
    ]
}

/// Writes operations as records, skipping those that make no sense where they stand.
#[derive(Debug, Default)]
pub struct StreamWriter {
    pub records: Vec<u8>,
    /// Where each record ends.
    pub ends: Vec<usize>,
    stack: Vec<OpenFrame>,
}

/// Some values stand as they are, some as a whole, and some of these with the number of their content, which is the same
/// in all streams: an encoder goes by it.
fn put_value(value: &Value, to: &mut Vec<u8>) {
    static CONTENTS: LazyLock<Mutex<HashMap<Vec<u8>, u64>>> = LazyLock::new(Mutex::default);
    let mut bytes = Vec::new();
    value.put(&mut bytes);
    match bytes.len() % 3 {
        0 => {}
        1 => to.put_whole(bytes.len(), 0),
        _ => {
            let mut contents = CONTENTS.lock().unwrap();
            let next = contents.len() as u64 + 1;
            to.put_whole(bytes.len(), *contents.entry(bytes.clone()).or_insert(next));
        }
    }
    to.put_bytes(&bytes);
}

#[derive(Debug)]
struct OpenFrame {
    fixed: u16,
    opening: bool,
    declared: Vec<u16>,
    set: Vec<u16>,
}

impl StreamWriter {
    pub fn write(ops: &[Op]) -> Self {
        let tables = tables();
        let mut writer = Self::default();
        for op in ops {
            if writer.put(op, &tables) {
                writer.ends.push(writer.records.len());
            }
        }
        writer
    }

    fn push(&mut self, tag: u8, code: u32, opening: bool, tables: &Tables) {
        self.records.put_u8(tag);
        self.records.put_u32(code);
        let fixed = tables.code(code).unwrap().variables.len() as u16;
        self.stack.push(OpenFrame { fixed, opening, declared: Vec::new(), set: Vec::new() });
    }

    fn put(&mut self, op: &Op, tables: &Tables) -> bool {
        let opening = self.stack.last().is_some_and(|frame| frame.opening);
        let open = !self.stack.is_empty() && !opening;
        match op {
            Op::Call(code) if !opening => self.push(record::CALL, *code, true, tables),
            Op::Resume(code) if !opening => self.push(record::RESUME, *code, false, tables),
            Op::Throw(code, value) if !opening => {
                self.push(record::THROW, *code, false, tables);
                put_value(value, &mut self.records);
            }
            Op::Output { whole, stream, flags, code, line, frame, text } => {
                self.records.put_u8(if *whole { record::OUTPUT } else { record::OUTPUT_PART });
                self.records.put_u8(*stream);
                self.records.put_u8(*flags);
                self.records.put_u32(code.unwrap_or(output::NO_CODE));
                self.records.put_u32(*line);
                self.records.put_u64(*frame);
                self.records.put_text(text);
            }
            Op::Lost(cause, count) => {
                self.records.put_u8(record::LOST);
                self.records.put_u8(*cause);
                self.records.put_u64(*count);
            }
            Op::Event(kind, metadata, content) => {
                self.records.put_u8(record::EVENT);
                self.records.put_u8(*kind);
                self.records.put_text(metadata);
                self.records.put_text(content);
            }
            Op::Step(line) if open => {
                self.records.put_u8(record::STEP);
                self.records.put_u32(*line);
            }
            Op::Return(value) if open => {
                self.records.put_u8(record::RETURN);
                put_value(value, &mut self.records);
                self.stack.pop();
            }
            _ => return self.put_in_frame(op),
        }
        true
    }

    /// What concerns the variables of the top frame, if there is one.
    fn put_in_frame(&mut self, op: &Op) -> bool {
        let Some(frame) = self.stack.last_mut() else { return false };
        let named = |frame: &OpenFrame, slot| slot < frame.fixed || frame.declared.contains(&slot);
        match op {
            Op::CallEnd if frame.opening => {
                self.records.put_u8(record::CALL_END);
                frame.opening = false;
            }
            Op::Set(slot, value) if named(frame, *slot) => {
                self.records.put_u8(record::SET);
                self.records.put_u16(*slot);
                put_value(value, &mut self.records);
                frame.set.push(*slot);
            }
            Op::Unset(slot) if named(frame, *slot) => {
                self.records.put_u8(record::UNSET);
                self.records.put_u16(*slot);
                frame.set.retain(|set| set != slot);
            }
            Op::Declare(slot, name) if *slot >= frame.fixed && !frame.set.contains(slot) => {
                self.records.put_u8(record::DECLARE);
                self.records.put_u16(*slot);
                self.records.put_u16(name.len() as u16);
                self.records.put_bytes(name.as_bytes());
                frame.declared.push(*slot);
            }
            _ => return false,
        }
        true
    }
}

/// Any values, or a few that come again and again.
fn values_of_a_stream() -> impl Strategy<Value = BoxedStrategy<Value>> {
    prop_oneof![
        Just(any_value().boxed()),
        prop::collection::vec(any_value(), 1..5).prop_map(|few| prop::sample::select(few).boxed()),
    ]
}

/// A stream of records that follow the layout; frames may be left open.
pub fn any_stream() -> impl Strategy<Value = StreamWriter> {
    // Most streams begin inside a module, as real ones do.
    let begin = prop_oneof![
        4 => Just(vec![Op::Call(0), Op::CallEnd, Op::Declare(0, "x".into())]),
        4 => Just(vec![Op::Call(2), Op::CallEnd]),
        1 => Just(Vec::new()),
    ];
    let ops = values_of_a_stream().prop_flat_map(|values| prop::collection::vec(any_op(values), 0..120));
    (begin, ops).prop_map(|(begin, rest)| {
        let ops: Vec<Op> = begin.into_iter().chain(rest).collect();
        StreamWriter::write(&ops)
    })
}

pub fn any_exit() -> impl Strategy<Value = Exit> {
    prop_oneof![any_int().prop_map(Exit::Code), Just(Exit::Unknown)]
}
