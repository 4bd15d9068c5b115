//! What a step costs the encoder. Criterion's time per element is the time per step (per pair for calls).

#![allow(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]

use std::hint::black_box;
use std::sync::Arc;

use codetracer_python_recorder::pipeline::encoder::{Packed, StreamEncoder};
use codetracer_python_recorder::pipeline::layout::{Put, record, value};
use codetracer_python_recorder::pipeline::model::TraceFormat;
use codetracer_python_recorder::pipeline::tables::{CodeInfo, Tables};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const STEPS: u64 = 1024;
const SEGMENT: usize = 4 << 20;
const PROGRAM: &str = "/srv/program.py";

fn tables(variables: u16) -> Arc<Tables> {
    let tables = Tables::new();
    tables.add_code(CodeInfo {
        path: PROGRAM.into(),
        first_line: 10,
        name: "f".into(),
        variables: (0..variables).map(|i| format!("variable_{i}")).collect(),
        parameters: (0..variables.min(2)).collect(),
    });
    Arc::new(tables)
}

fn put_set(records: &mut Vec<u8>, slot: u16, value: i64) {
    records.put_u8(record::SET);
    records.put_u16(slot);
    records.put_int(value);
}

fn put_call(records: &mut Vec<u8>, args: u16, value: i64) {
    records.put_u8(record::CALL);
    records.put_u32(0);
    for slot in 0..args {
        put_set(records, slot, value + i64::from(slot));
    }
    records.put_u8(record::CALL_END);
}

/// Steps in one frame; `change` writes what changes before the n-th.
fn steps(variables: u16, change: impl Fn(&mut Vec<u8>, u64)) -> (Vec<u8>, Vec<u8>) {
    let (mut start, mut repeated) = (Vec::new(), Vec::new());
    put_call(&mut start, variables, 1000);
    for n in 0..STEPS {
        change(&mut repeated, n);
        repeated.put_u8(record::STEP);
        repeated.put_u32(300 + (n % 20) as u32);
    }
    (start, repeated)
}

fn bench(criterion: &mut Criterion) {
    let one_int = |slot| move |records: &mut Vec<u8>, n: u64| put_set(records, slot, 1000 + n as i64);
    let one_text = |records: &mut Vec<u8>, n: u64| {
        records.put_u8(record::SET);
        records.put_u16(2);
        records.put_str(&"some text of a length that varies"[..8 + (n % 24) as usize]);
    };
    let calls = {
        let mut repeated = Vec::new();
        for n in 0..STEPS {
            put_call(&mut repeated, 2, n as i64);
            repeated.put_u8(record::RETURN);
            repeated.put_u8(value::NONE);
        }
        (Vec::new(), repeated)
    };
    let mut group = criterion.benchmark_group("encoder");
    group.throughput(Throughput::Elements(STEPS));
    for (name, variables, (start, repeated)) in [
        ("step, 5 ints, 1 changes", 5, steps(5, one_int(2))),
        ("step, 20 ints, 1 changes", 20, steps(20, one_int(7))),
        ("step, 20 ints, none changes", 20, steps(20, |_, _| {})),
        ("step, 5 variables, 1 text changes its length", 5, steps(5, one_text)),
        ("call and return, 2 args", 4, calls),
    ] {
        for format in [TraceFormat::Binary, TraceFormat::Json] {
            let mut encoder = StreamEncoder::new(tables(variables), format, PROGRAM);
            let mut out = Vec::new();
            encoder.encode(&start, &mut out, usize::MAX).unwrap();
            group.bench_function(BenchmarkId::new(name, format!("{format:?}")), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    encoder.encode(black_box(&repeated), &mut out, usize::MAX).unwrap();
                    black_box(out.len())
                });
            });
        }
        // As a recording does it: packed, in segments that are filled by many chunks.
        let mut encoder = StreamEncoder::new(tables(variables), TraceFormat::Binary, PROGRAM);
        let mut out = Packed::default();
        encoder.encode(&start, &mut out, usize::MAX).unwrap();
        group.bench_function(BenchmarkId::new(name, "Packed"), |bencher| {
            bencher.iter(|| {
                encoder.encode(black_box(&repeated), &mut out, usize::MAX).unwrap();
                if out.is_full(SEGMENT) {
                    out.clear();
                }
                black_box(out.len())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
