//! The encoder's rules one by one, on streams small enough to read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says what is wrong by failing

#[allow(dead_code)] // shared by several test files, each of which uses its part
mod encoder_support;

use codetracer_python_recorder::pipeline::encoder::MAX_VALUE_DEPTH;
use codetracer_python_recorder::pipeline::layout::{Malformed, Put, record, value};
use codetracer_python_recorder::pipeline::model::{Exit, TraceFormat};
use codetracer_python_recorder::pipeline::tables::types;
use encoder_support::{Op, Scalar, StreamWriter, Value, encode_all, new_encoder, parse_json};
use runtime_tracing::{EventLogKind, TraceLowLevelEvent, ValueRecord};

fn int(i: i64) -> Value {
    Value::Scalar(Scalar::Int(i))
}

/// The finished stream of these operations, one short line per event.
fn lines(ops: &[Op], exit: Exit) -> Vec<String> {
    let stream = StreamWriter::write(ops);
    assert_eq!(stream.ends.len(), ops.len(), "the test's operations are all possible where they stand");
    let (out, _) = encode_all(TraceFormat::Json, &stream.records, exit);
    parse_json(&out).iter().map(line).collect()
}

fn line(event: &TraceLowLevelEvent) -> String {
    match event {
        TraceLowLevelEvent::Path(path) => format!("path {}", path.display()),
        TraceLowLevelEvent::Function(f) => format!("function {} {}:{}", f.name, f.path_id.0, f.line.0),
        TraceLowLevelEvent::VariableName(name) => format!("name {name}"),
        TraceLowLevelEvent::Type(record) => format!("type {}", record.lang_type),
        TraceLowLevelEvent::Step(step) => format!("step {}:{}", step.path_id.0, step.line.0),
        TraceLowLevelEvent::Value(record) => format!("value {}={}", record.variable_id.0, show(&record.value)),
        TraceLowLevelEvent::Return(record) => format!("return {}", show(&record.return_value)),
        TraceLowLevelEvent::Event(event) => format!("event {:?} {}", event.kind, event.content),
        TraceLowLevelEvent::Call(call) => {
            let args: Vec<_> =
                call.args.iter().map(|arg| format!("{}={}", arg.variable_id.0, show(&arg.value))).collect();
            format!("call {}({})", call.function_id.0, args.join(", "))
        }
        other => panic!("the encoder writes no {other:?}"),
    }
}

fn show(value: &ValueRecord) -> String {
    match value {
        ValueRecord::None { .. } => "None".into(),
        ValueRecord::Int { i, .. } => i.to_string(),
        ValueRecord::String { text, .. } => format!("{text:?}"),
        other => format!("{other:?}"),
    }
}

const PROLOGUE: [&str; 4] = ["path /p/main.py", "function <toplevel> 0:1", "call 0()", "type None"];

/// Operations of a complete call of code 1, `f(a, b)`.
fn call_f(a: i64) -> Vec<Op> {
    vec![Op::Call(1), Op::Set(0, int(a)), Op::CallEnd]
}

#[test]
fn an_empty_stream_is_still_a_trace_that_loads() {
    let expected = [&PROLOGUE[..], &["step 0:0", "type Int", "return 3"]].concat();
    assert_eq!(lines(&[], Exit::Code(3)), expected);
    let expected = [&PROLOGUE[..], &["step 0:0", "type String", "return \"<exit>\""]].concat();
    assert_eq!(lines(&[], Exit::Unknown), expected);
}

#[test]
fn a_call_is_its_definition_step_and_at_once_the_call_with_the_parameters_that_are_set() {
    let ops = [call_f(7), vec![Op::Step(11), Op::Return(int(1))]].concat();
    let events = ["function f 0:10", "name a", "type Int", "step 0:10", "call 1(0=7)", "step 0:11", "value 0=7"];
    let end = ["return 1", "return 0"];
    assert_eq!(lines(&ops, Exit::Code(0)), [&PROLOGUE[..], &events, &end].concat());
}

#[test]
fn arguments_stand_in_the_order_of_the_signature() {
    // Code 2 has the parameters `b` (slot 3) and `x` (slot 0).
    let ops = [Op::Call(2), Op::Set(0, int(1)), Op::Set(3, int(2)), Op::CallEnd];
    let lines = lines(&ops, Exit::Unknown);
    assert!(lines.contains(&"call 1(1=2, 0=1)".to_owned()), "{lines:?}");
}

#[test]
fn every_step_repeats_every_variable_until_it_changes_or_goes() {
    let ops = [
        call_f(1),
        vec![
            Op::Set(2, int(5)),
            Op::Step(11),
            Op::Set(0, int(1_000_000)),
            Op::Step(12),
            Op::Unset(0),
            Op::Step(13),
            Op::Step(14),
        ],
    ]
    .concat();
    let lines = lines(&ops, Exit::Unknown);
    let steps = lines.iter().skip_while(|line| *line != "step 0:11").take(9);
    let expected = [
        "step 0:11",
        "value 0=1",
        "value 1=5",
        "step 0:12",
        "value 0=1000000",
        "value 1=5",
        "step 0:13",
        "value 1=5",
        "step 0:14",
    ];
    assert!(steps.eq(expected.iter()), "{lines:?}");
}

#[test]
fn of_two_variables_with_one_name_the_first_that_is_set_is_shown() {
    // Slots 0, 2 and 4 of code 2 are all called `x`.
    let start = [Op::Call(2), Op::CallEnd, Op::Set(4, int(4)), Op::Step(1)];
    let rest = [Op::Set(2, int(2)), Op::Step(2), Op::Set(0, int(0)), Op::Step(3), Op::Unset(2), Op::Step(4)];
    let lines = lines(&[&start[..], &rest].concat(), Exit::Unknown);
    let shown: Vec<_> = lines.iter().filter(|line| line.starts_with("value")).collect();
    assert_eq!(shown, ["value 0=4", "value 0=2", "value 0=0", "value 0=0"]);
}

#[test]
fn a_declared_name_hides_behind_an_equal_one() {
    let ops = [
        Op::Call(0),
        Op::CallEnd,
        Op::Declare(0, "x".into()),
        Op::Declare(1, "y".into()),
        Op::Declare(2, "x".into()),
        Op::Set(2, int(2)),
        Op::Step(1),
        Op::Set(0, int(0)),
        Op::Step(2),
    ];
    let lines = lines(&ops, Exit::Unknown);
    let shown: Vec<_> = lines.iter().filter(|line| line.starts_with("value")).collect();
    assert_eq!(shown, ["value 0=2", "value 0=0"]);
}

#[test]
fn a_name_that_is_declared_again_after_a_loss_keeps_its_slot() {
    let declare = [&[record::DECLARE][..], &3u16.to_le_bytes(), &[1, 0, b'x']].concat();
    let set = |i: i64| [&[record::SET, 3, 0, value::INT][..], &i.to_le_bytes()].concat();
    let step = [record::STEP, 1, 0, 0, 0].to_vec();
    let records = after_call(&[&declare, &set(1), &step, &declare, &step, &set(2), &step].map(|it| &it[..]).concat());
    let (out, _) = encode_all(TraceFormat::Json, &records, Exit::Unknown);
    let lines: Vec<_> = parse_json(&out).iter().map(line).collect();
    let shown: Vec<_> = lines.iter().filter(|line| line.starts_with("value")).collect();
    assert_eq!(shown, ["value 0=1", "value 0=1", "value 0=2"]);
}

#[test]
fn functions_are_told_apart_by_path_line_and_name() {
    // Codes 1 and 3 are one function, code 2 is another of the same name and line.
    let ops: Vec<Op> = [1, 2, 3].into_iter().flat_map(|code| [Op::Call(code), Op::CallEnd]).collect();
    let lines = lines(&ops, Exit::Unknown);
    let calls: Vec<_> = lines.iter().filter(|line| line.starts_with("call")).collect();
    assert_eq!(calls, ["call 0()", "call 1()", "call 2()", "call 1()"]);
    assert_eq!(lines.iter().filter(|line| line.starts_with("function")).count(), 3);
}

#[test]
fn generators_come_back_without_arguments_and_show_what_is_thrown_into_them() {
    let resume = lines(&[Op::Resume(1), Op::Step(12), Op::Return(Value::None)], Exit::Code(0));
    let events = ["function f 0:10", "step 0:10", "call 1()", "step 0:12", "return None", "type Int", "return 0"];
    assert_eq!(resume, [&PROLOGUE[..], &events].concat());

    let throw = lines(&[Op::Throw(1, int(9))], Exit::Code(0));
    let events = ["function f 0:10", "name exception", "type Int", "step 0:10", "call 1(0=9)"];
    assert_eq!(throw, [&PROLOGUE[..], &events, &["return None", "return 0"]].concat());
}

#[test]
fn open_calls_are_returned_from_and_one_that_is_not_complete_is_not_written() {
    let ops = [call_f(1), call_f(2), vec![Op::Call(1), Op::Set(0, int(3))]].concat();
    let lines = lines(&ops, Exit::Code(0));
    assert_eq!(lines.iter().filter(|line| line.starts_with("call")).count(), 3);
    assert_eq!(lines[lines.len() - 3..], ["return None", "return None", "return 0"]);
}

#[test]
fn program_output_keeps_its_stream() {
    let output = |stream, text: &str| {
        let text = text.into();
        Op::Output { whole: true, stream, flags: 1, code: None, line: 3, frame: 1, text }
    };
    let lines = lines(&[output(0, "a\n"), output(1, "b"), output(2, "c"), Op::Lost(0, 12)], Exit::Unknown);
    assert_eq!(
        lines[4..8],
        [
            "event Write a\n",
            "event WriteOther b",
            "event Read c",
            "event TraceLogEvent 12 events lost here: queue_full"
        ]
    );
    let kind = EventLogKind::Error as u8;
    let error = self::lines(&[Op::Event(kind, "{}".into(), "boom".into())], Exit::Unknown);
    assert_eq!(error[4], "event Error boom");
}

#[test]
fn parts_from_one_place_are_one_chunk_until_something_else_comes() {
    let part = |whole, line, text: &str| {
        let text = text.into();
        Op::Output { whole, stream: 0, flags: 0, code: None, line, frame: 1, text }
    };
    let ops = [
        part(false, 3, "a"),
        part(false, 3, " b"),
        part(true, 3, "\n"),
        part(false, 3, "c"),
        part(false, 4, "d"),
        part(true, 4, ""),
        part(true, 4, ""),
        part(false, 4, "e"),
        Op::Lost(0, 12),
        part(false, 4, "f"),
    ];
    let lines = lines(&ops, Exit::Unknown);
    let events: Vec<_> = lines.iter().filter(|line| line.starts_with("event")).collect();
    assert_eq!(
        events,
        [
            "event Write a b\n",
            "event Write c",
            "event Write d",
            "event Write e",
            "event TraceLogEvent 12 events lost here: queue_full",
            "event Write f"
        ]
    );
}

#[test]
fn output_that_waits_is_shown_provisionally_and_can_be_ended() {
    let part = |text: &str| {
        let text = text.into();
        Op::Output { whole: false, stream: 0, flags: 0, code: None, line: 3, frame: 1, text }
    };
    let stream = StreamWriter::write(&[part("name? ")]);
    let mut encoder = new_encoder(TraceFormat::Json);
    let mut out = Vec::new();
    assert_eq!(encoder.encode(&stream.records, &mut out, usize::MAX), Ok(stream.records.len()));
    let written = |out: &[u8]| String::from_utf8_lossy(out).matches("name? ").count();
    let number = encoder.waiting_output();
    assert_eq!((number.is_some(), written(&out)), (true, 0));
    let mut end = Vec::new();
    encoder.provisional_end(Exit::Unknown, &mut end);
    assert_eq!((written(&end), encoder.waiting_output()), (1, number));
    encoder.end_waiting_output(&mut out);
    assert_eq!((written(&out), encoder.waiting_output()), (1, None));
    assert!(String::from_utf8_lossy(&out).contains("time_split"));
}

#[test]
fn the_first_path_of_a_json_stream_has_nothing_before_it() {
    let (out, _) = encode_all(TraceFormat::Json, &[], Exit::Unknown);
    assert!(out.starts_with(b"{\"Path\":\"/p/main.py\"},\n{\"Function\":"));
    assert!(out.ends_with(b"}}"));
}

#[test]
fn a_finished_stream_takes_no_more_records_and_ends_only_once() {
    let mut encoder = new_encoder(TraceFormat::Binary);
    let mut out = Vec::new();
    encoder.finish(Exit::Unknown, &mut out);
    let (len, counts) = (out.len(), *encoder.counts());
    encoder.finish(Exit::Unknown, &mut out);
    encoder.provisional_end(Exit::Unknown, &mut out);
    assert_eq!(encoder.encode(&[record::CALL, 0, 0, 0, 0], &mut out, usize::MAX), Err(Malformed));
    assert_eq!((out.len(), *encoder.counts()), (len, counts));
}

/// Records of one call, with these bytes behind it.
fn after_call(bytes: &[u8]) -> Vec<u8> {
    [&[record::CALL, 1, 0, 0, 0, record::CALL_END][..], bytes].concat()
}

#[test]
fn records_that_make_no_sense_where_they_stand_are_malformed() {
    let set = |slot: u16, value: &[u8]| [&[record::SET][..], &slot.to_le_bytes(), value].concat();
    let declare_as = |slot: u16, name: u8| [&[record::DECLARE][..], &slot.to_le_bytes(), &[1, 0, name]].concat();
    let declare = |slot: u16| declare_as(slot, b'x');
    let none = &[value::NONE][..];
    let unknown_type = [value::RAW, 99, 0, 0, 0, 0, 0, 0, 0];
    let too_many = [value::SEQ, 6, 0, 0, 0, 255, 255, 255, 255, value::NONE];
    for (what, records) in [
        ("an unknown record", vec![0x7f]),
        ("an unknown code object", vec![record::CALL, 99, 0, 0, 0]),
        ("a variable outside of any call", set(0, none)),
        ("a step outside of any call", vec![record::STEP, 1, 0, 0, 0]),
        ("a return outside of any call", vec![record::RETURN, value::NONE]),
        ("a call that ends twice", after_call(&[record::CALL_END])),
        ("a step before its call is complete", vec![record::CALL, 1, 0, 0, 0, record::STEP, 1, 0, 0, 0]),
        ("a return before its call is complete", vec![record::CALL, 1, 0, 0, 0, record::RETURN, value::NONE]),
        ("a call before the caller's is complete", vec![record::CALL, 1, 0, 0, 0, record::CALL, 1, 0, 0, 0]),
        ("an undeclared slot", after_call(&set(3, none))),
        ("a hole between declared slots", after_call(&[declare(9), set(8, none)].concat())),
        ("a new name for a fixed slot", after_call(&declare(2))),
        ("a new name for a slot in use", after_call(&[declare(3), set(3, none), declare_as(3, b'y')].concat())),
        ("an unset slot that does not exist", after_call(&[record::UNSET, 9, 0])),
        ("an unknown value", after_call(&set(0, &[0x1f]))),
        ("an unknown type", after_call(&set(0, &unknown_type))),
        ("None shown as another type", after_call(&set(0, &[value::TYPED, 0, 0, 0, 0, value::NONE]))),
        ("more elements than bytes", after_call(&set(0, &too_many))),
        ("an unknown output stream", [&[record::OUTPUT, 3, 0][..], &[0; 20]].concat()),
        ("an unknown loss", vec![record::LOST, 9, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("an unknown kind of event", vec![record::EVENT, 14, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let result = new_encoder(TraceFormat::Binary).encode(&records, &mut Vec::new(), usize::MAX);
        assert_eq!(result, Err(Malformed), "{what}");
    }
}

#[test]
fn nesting_is_bounded_below_what_readers_refuse() {
    let nested = |depth: u32| {
        let mut records = after_call(&[record::RETURN]);
        for _ in 0..depth {
            records.put_compound(value::SEQ, types::LIST, 1);
        }
        records.put_int(1);
        records
    };
    let (out, _) = encode_all(TraceFormat::Json, &nested(MAX_VALUE_DEPTH), Exit::Unknown);
    assert!(parse_json(&out).iter().any(|event| matches!(event, TraceLowLevelEvent::Return(_))));
    let result = new_encoder(TraceFormat::Json).encode(&nested(MAX_VALUE_DEPTH + 1), &mut Vec::new(), usize::MAX);
    assert_eq!(result, Err(Malformed));
    let result = new_encoder(TraceFormat::Json).encode(&nested(1_000_000), &mut Vec::new(), usize::MAX);
    assert_eq!(result, Err(Malformed), "and not a stack overflow");
}
