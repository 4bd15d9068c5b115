//! A program to record, and readers for what came of it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runtime_tracing::{TraceEventsFileFormat, TraceLowLevelEvent as Event, ValueRecord, create_trace_reader};
use serde_json::Value;

use crate::pipeline::layout::{Put, record};
use crate::pipeline::model::TraceFormat;
use crate::pipeline::tables::{CodeInfo, Tables};
use crate::pipeline::{Pipeline, PipelineConfig, Pushed, StreamInfo, StreamProducer};
use crate::storage::{FsStorage, Storage};

pub const PROGRAM: &str = "/srv/program.py";

/// Tables with one function, `count(n)`, defined in line 0 so that its own steps have other lines.
pub fn tables() -> Arc<Tables> {
    let tables = Tables::new();
    tables.add_code(CodeInfo {
        path: "/srv/count.py".to_owned(),
        first_line: 0,
        name: "count".to_owned(),
        variables: vec!["n".to_owned()],
        parameters: vec![],
    });
    Arc::new(tables)
}

/// Small batches and segments, so that little data makes many of them.
pub fn config(dir: &Path, format: TraceFormat) -> PipelineConfig {
    let mut config = PipelineConfig::new(dir, format, PROGRAM);
    for (key, value) in [("workdir", "/work"), ("program", PROGRAM)] {
        config.metadata.insert(key.to_owned(), value.into());
    }
    config.metadata.insert("args".to_owned(), Value::Array(Vec::new()));
    PipelineConfig {
        queue_bytes: 256 << 10,
        batch_bytes: 16 << 10,
        segment_bytes: 8 << 10,
        compression_threads: 3,
        flush_interval: Duration::from_secs(3600),
        stop_deadline: Duration::from_secs(30),
        durable: false,
        ..config
    }
}

pub fn spawn(config: PipelineConfig) -> Pipeline {
    spawn_on(config, Arc::new(FsStorage))
}

pub fn spawn_on(config: PipelineConfig, storage: Arc<dyn Storage>) -> Pipeline {
    Pipeline::spawn(config, tables(), storage).unwrap()
}

/// A thread that calls `count` and then steps through lines 1, 2, 3 … with `n` equal to the line.
pub struct Counter {
    pub producer: StreamProducer,
    pub line: u32,
}

impl Counter {
    pub fn start(pipeline: &Pipeline, name: &str) -> Self {
        let info = StreamInfo { name: name.to_owned(), native_id: 7 };
        Self { producer: pipeline.open_stream(info), line: 0 }
    }

    /// The records of the next step.
    fn next(&self) -> Vec<u8> {
        let mut records = Vec::new();
        if self.line == 0 {
            records.put_u8(record::CALL);
            records.put_u32(0);
            records.put_u8(record::CALL_END);
        }
        records.put_u8(record::SET);
        records.put_u16(0);
        records.put_int(i64::from(self.line) + 1);
        records.put_u8(record::STEP);
        records.put_u32(self.line + 1);
        records
    }

    /// One step, or what came in its way.
    pub fn try_step(&mut self) -> Pushed {
        let pushed = self.producer.push(&self.next());
        if pushed == Pushed::Stored {
            self.line += 1;
        }
        pushed
    }

    /// So many steps, waiting for room as the policy `block` does; fails the test if there never is any.
    pub fn steps(&mut self, count: u32) {
        let patience = Instant::now() + Duration::from_secs(60);
        for _ in 0..count {
            while self.try_step() == Pushed::NoRoom {
                assert!(Instant::now() < patience, "the producer hangs");
                self.producer.wait_for_room(Duration::from_millis(20));
            }
        }
    }
}

/// The events as the official reader gives them.
pub fn events(file: &Path) -> Vec<Event> {
    let json = file.extension().is_some_and(|extension| extension == "json");
    let format = if json { TraceEventsFileFormat::Json } else { TraceEventsFileFormat::Binary };
    create_trace_reader(format).load_trace_events(file).unwrap()
}

/// The lines in a file that may be written at this very moment; `None` if that got in the way.
pub fn lines_meanwhile(file: &Path) -> Option<u32> {
    if !file.exists() {
        return None;
    }
    std::panic::catch_unwind(|| lines(file)).ok()
}

/// The lines stepped through, after checking that they are 1, 2, 3 … with their values, and calls balanced.
pub fn lines(file: &Path) -> u32 {
    let events = events(file);
    let (mut line, mut depth, mut value_of) = (0, 0i64, 0);
    for event in &events {
        match event {
            Event::Step(step) if step.line.0 > 0 && depth > 1 => {
                assert_eq!(value_of, line, "a step without its value");
                assert_eq!(step.line.0, line + 1, "a step is missing or doubled");
                line += 1;
            }
            Event::Value(value) => {
                assert!(matches!(value.value, ValueRecord::Int { i, .. } if i == line), "{value:?} in line {line}");
                value_of = line;
            }
            Event::Call(_) => depth += 1,
            Event::Return(_) => depth -= 1,
            _ => {}
        }
        assert!(depth >= 0);
    }
    assert_eq!(depth, 0, "unbalanced");
    assert!(events.iter().any(|event| matches!(event, Event::Step(_))), "no step at all");
    u32::try_from(line).unwrap()
}

/// A JSON file beside the trace.
pub fn json(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// Waits until something is so.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < patience, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
