//! Pipelines to test with random actions: threads that count, and what their traces hold.

use std::path::Path;
use std::time::Duration;

use codetracer_python_recorder::pipeline::layout::{Put, record};
use codetracer_python_recorder::pipeline::model::TraceFormat;
use codetracer_python_recorder::pipeline::tables::{CodeInfo, Tables};
use codetracer_python_recorder::pipeline::{PipelineConfig, Pushed, StreamProducer};
use proptest::prelude::*;
use runtime_tracing::{TraceEventsFileFormat, TraceLowLevelEvent, create_trace_reader};

/// Tables with the one function that threads run.
pub fn tables() -> Tables {
    let tables = Tables::new();
    tables.add_code(CodeInfo {
        path: "/srv/count.py".to_owned(),
        first_line: 0,
        name: "count".to_owned(),
        variables: Vec::new(),
        parameters: Vec::new(),
    });
    tables
}

/// Small queues and short intervals, so that much happens within a short recording.
pub fn config(dir: &Path, format: TraceFormat, segment_bytes: usize) -> PipelineConfig {
    PipelineConfig {
        queue_bytes: 8 << 10,
        batch_bytes: 4 << 10,
        segment_bytes,
        compression_threads: 2,
        flush_interval: Duration::from_millis(3),
        ..PipelineConfig::new(dir, format, "/srv/program.py")
    }
}

/// A thread makes the step to this line; the first, to line 1, begins with its call.
pub fn step(producer: &mut StreamProducer, line: u32) {
    let mut records = Vec::new();
    if line == 1 {
        records.put_u8(record::CALL);
        records.put_u32(0);
        records.put_u8(record::CALL_END);
    }
    records.put_u8(record::STEP);
    records.put_u32(line);
    while producer.push(&records) == Pushed::NoRoom {
        producer.wait_for_room(Duration::from_millis(20));
    }
}

/// What the official reader reads.
pub fn events(file: &Path, format: TraceFormat) -> Result<Vec<TraceLowLevelEvent>, TestCaseError> {
    let reader = match format {
        TraceFormat::Binary => TraceEventsFileFormat::Binary,
        TraceFormat::Json => TraceEventsFileFormat::Json,
    };
    create_trace_reader(reader).load_trace_events(file).map_err(|e| TestCaseError::fail(e.to_string()))
}
