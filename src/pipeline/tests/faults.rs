//! Recordings that fail: no hang, a readable prefix, and the reason told.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runtime_tracing::{FullValueRecord, TraceLowLevelEvent as Event, ValueRecord};
use serde_json::Map;

use super::support::{Counter, config, events, eventually, json, lines, spawn, spawn_on};
use crate::errors::{ErrorCode, ErrorKind};
use crate::pipeline::layout::LossCause;
use crate::pipeline::limits::{Limits, OnReached};
use crate::pipeline::model::{Exit, TraceFormat};
use crate::pipeline::{Pipeline, PipelineConfig, Pushed};
use crate::storage::{FaultPlan, FaultyStorage};

const FORMATS: [TraceFormat; 2] = [TraceFormat::Binary, TraceFormat::Json];

/// A byte that starts no record.
const NO_RECORD: u8 = 0xee;

/// Records until the pipeline fails, then goes on pushing for a while; returns the steps pushed.
fn record_until_failure(pipeline: &Pipeline) -> u32 {
    let mut counter = Counter::start(pipeline, "MainThread");
    eventually("the recording fails", || {
        counter.steps(200);
        pipeline.has_failed()
    });
    // A failed recording takes everything and keeps nothing: no producer waits.
    let begin = Instant::now();
    counter.steps(50_000);
    assert!(begin.elapsed() < Duration::from_secs(20));
    counter.line
}

/// What was handed over is in the file or counted as lost, to the event: `pushed` steps and the call they are in.
fn check_losses(pipeline: &Pipeline, file: &Path, pushed: u32) {
    let calls = events(file).iter().filter(|event| matches!(event, Event::Call(_))).count() as u64 - 1;
    let kept = u64::from(lines(file)) + calls;
    assert_eq!(kept + pipeline.stats().losses.of(LossCause::RecordingFailed), u64::from(pushed) + 1, "{kept} kept");
}

/// What is left of a failed recording opens, and says that and why it failed.
fn check_remains(pipeline: &Pipeline, dir: &Path, format: TraceFormat, stage: &str, pushed: u32) {
    let failure = pipeline.failure().unwrap();
    assert_eq!(failure.stage, stage);
    assert_eq!(pipeline.flush().unwrap_err().context["stage"], stage);
    let begin = Instant::now();
    let error = pipeline.stop(Exit::Code(0), Map::new()).unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!((error.kind, error.code), (failure.kind, failure.code));
    assert!(lines(&dir.join(format.events_file())) < pushed);
    assert_eq!(json(&dir.join("recording.json"))["state"], "failed");
    assert_eq!(json(&dir.join("trace_metadata.json"))["recorder_failure"]["stage"], stage);
}

#[test]
fn an_io_error_ends_the_recording_and_keeps_what_was_written() {
    for format in FORMATS {
        let dir = tempfile::tempdir().unwrap();
        let plan = FaultPlan { fail_write: Some(6), short_writes: Some(3_000), ..FaultPlan::default() };
        let pipeline = spawn_on(config(dir.path(), format), Arc::new(FaultyStorage::new(plan)));
        let pushed = record_until_failure(&pipeline);
        assert_eq!(pipeline.failure().unwrap().kind, ErrorKind::Environment);
        check_remains(&pipeline, dir.path(), format, "writer", pushed);
        check_losses(&pipeline, &dir.path().join(format.events_file()), pushed);
        let metadata = json(&dir.path().join("trace_metadata.json"));
        let lost = pipeline.stats().losses.of(LossCause::RecordingFailed);
        assert_eq!(metadata["losses"]["recording_failed"], lost);
        assert_eq!(metadata["streams"][0]["losses"]["recording_failed"], lost);
    }
}

#[test]
fn what_each_thread_handed_over_and_is_in_no_file_is_counted_for_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let plan = FaultPlan { fail_write: Some(9), ..FaultPlan::default() };
    let pipeline = spawn_on(config(dir.path(), TraceFormat::Binary), Arc::new(FaultyStorage::new(plan)));
    let mut counters = ["MainThread", "worker", "late"].map(|name| Counter::start(&pipeline, name));
    eventually("the recording fails", || {
        counters[..2].iter_mut().for_each(|counter| counter.steps(300));
        pipeline.has_failed()
    });
    // One begins when the recording has failed, and its few events are never looked at.
    counters[2].steps(5);
    let mut unknown = Counter::start(&pipeline, "unknown");
    unknown.steps(7);
    let pushed = [&counters[0], &counters[1], &counters[2], &unknown].map(|counter| u64::from(counter.line) + 1);
    drop((counters, unknown));
    pipeline.stop(Exit::Code(0), Map::new()).unwrap_err();
    pipeline.stop(Exit::Code(0), Map::new()).unwrap_err();
    let metadata = json(&dir.path().join("trace_metadata.json"));
    let mut kept = 0;
    for (id, file) in ["trace.bin", "threads/01-worker/trace.bin"].into_iter().enumerate() {
        let file = dir.path().join(file);
        let of_it = u64::from(lines(&file)) + 1;
        kept += of_it;
        assert_eq!(metadata["streams"][id]["losses"]["recording_failed"], pushed[id] - of_it, "thread {id}");
    }
    assert_eq!(metadata["losses"]["recording_failed"], pushed.iter().sum::<u64>() - kept);
}

#[test]
fn what_is_lost_while_parts_change_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { max_steps: 700, on_reached: OnReached::Rotate, ..Limits::default() };
    let config = PipelineConfig { limits, ..config(dir.path(), TraceFormat::Binary) };
    let plan = FaultPlan { fail_write: Some(12), ..FaultPlan::default() };
    let pipeline = spawn_on(config, Arc::new(FaultyStorage::new(plan)));
    let mut counter = Counter::start(&pipeline, "MainThread");
    let mut queue_full = 0;
    eventually("the recording fails", || {
        counter.steps(200);
        counter.producer.lose(LossCause::QueueFull);
        queue_full += 1;
        pipeline.has_failed()
    });
    let pushed = u64::from(counter.line);
    drop(counter);
    pipeline.stop(Exit::Code(0), Map::new()).unwrap_err();
    let parts: Vec<_> = std::fs::read_dir(dir.path().join("parts")).unwrap().map(|part| part.unwrap().path()).collect();
    let files = parts.iter().map(|part| part.join("trace.bin")).chain([dir.path().join("trace.bin")]);
    let shown = files.filter(|file| file.exists()).flat_map(|file| events(&file)).filter_map(|event| match event {
        Event::Value(FullValueRecord { value: ValueRecord::Int { i, .. }, .. }) => Some(i as u64),
        _ => None,
    });
    let kept = shown.max().unwrap();
    let losses = pipeline.stats().losses;
    assert!(parts.len() > 1, "{} parts", parts.len());
    assert_eq!(kept + losses.of(LossCause::RecordingFailed), pushed);
    assert_eq!(losses.of(LossCause::QueueFull), queue_full);
}

#[test]
fn a_full_disk_ends_the_recording_and_keeps_what_fitted() {
    for format in FORMATS {
        let dir = tempfile::tempdir().unwrap();
        let plan = FaultPlan { full_after: Some(20_000), ..FaultPlan::default() };
        let pipeline = spawn_on(config(dir.path(), format), Arc::new(FaultyStorage::new(plan)));
        let pushed = record_until_failure(&pipeline);
        let error = pipeline.stop(Exit::Code(0), Map::new()).unwrap_err();
        assert_eq!(error.code, ErrorCode::Io);
        assert!(error.to_string().contains("free some disk space"), "{error}");
        let kept = lines(&dir.path().join(format.events_file()));
        assert!(kept > 0 && kept < pushed, "{kept} of {pushed}");
        check_losses(&pipeline, &dir.path().join(format.events_file()), pushed);
        // There is no room for the state either: what it said at the start stays, and is true enough.
        assert_eq!(json(&dir.path().join("recording.json"))["state"], "recording");
    }
}

#[test]
fn a_panic_in_the_writer_ends_the_recording() {
    let dir = tempfile::tempdir().unwrap();
    let plan = FaultPlan { panic_on_write: Some(4), ..FaultPlan::default() };
    let pipeline = spawn_on(config(dir.path(), TraceFormat::Binary), Arc::new(FaultyStorage::new(plan)));
    let pushed = record_until_failure(&pipeline);
    assert!(pipeline.failure().unwrap().message.contains("panic in writer"));
    check_remains(&pipeline, dir.path(), TraceFormat::Binary, "writer", pushed);
    assert!(lines(&dir.path().join("trace.bin")) > 0);
    check_losses(&pipeline, &dir.path().join("trace.bin"), pushed);
}

#[test]
fn a_panic_in_the_encoder_or_a_compressor_ends_the_recording() {
    for stage in ["encoder", "compressor"] {
        let dir = tempfile::tempdir().unwrap();
        let config = PipelineConfig { panic_in: Some(stage), ..config(dir.path(), TraceFormat::Binary) };
        let pipeline = spawn(config);
        let pushed = record_until_failure(&pipeline);
        assert_eq!(pipeline.failure().unwrap().kind, ErrorKind::Internal);
        check_remains(&pipeline, dir.path(), TraceFormat::Binary, stage, pushed);
        check_losses(&pipeline, &dir.path().join("trace.bin"), pushed);
    }
}

#[test]
fn records_that_break_the_layout_end_the_recording_with_everything_before_them() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(config(dir.path(), TraceFormat::Binary));
    let mut counter = Counter::start(&pipeline, "MainThread");
    counter.steps(300);
    assert_eq!(counter.producer.push(&[NO_RECORD]), Pushed::Stored);
    counter.steps(300);
    assert_eq!(pipeline.flush().unwrap_err().kind, ErrorKind::Internal);
    drop(counter);
    check_remains(&pipeline, dir.path(), TraceFormat::Binary, "encoder", 600);
    assert_eq!(lines(&dir.path().join("trace.bin")), 300);
}

#[test]
fn a_slow_disk_makes_the_producer_wait_and_bounds_what_is_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let plan = FaultPlan { write_delay: Duration::from_millis(150), ..FaultPlan::default() };
    let config = PipelineConfig {
        queue_bytes: 8 << 10,
        batch_bytes: 2 << 10,
        compression_threads: 1,
        ..config(dir.path(), TraceFormat::Binary)
    };
    let in_flight = (config.queue_bytes + config.batch_bytes) as u64;
    let pipeline = spawn_on(config, Arc::new(FaultyStorage::new(plan)));
    let mut counter = Counter::start(&pipeline, "MainThread");
    let begin = Instant::now();
    let mut refused = false;
    while !refused && begin.elapsed() < Duration::from_secs(20) {
        refused = counter.try_step() == Pushed::NoRoom;
    }
    assert!(refused, "a producer outran a slow disk by {} steps", counter.line);
    let pushed = u64::from(counter.line) * 16;
    let waiting = pushed - pipeline.stats().bytes_in.min(pushed);
    assert!(waiting <= in_flight + 8 * 1024, "{waiting} bytes wait");
    // Waiting helps.
    assert_eq!(counter.producer.wait_for_room(Duration::from_secs(20)), Pushed::Stored);
    let steps = counter.line;
    drop(counter);
    pipeline.stop(Exit::Code(0), Map::new()).unwrap();
    assert_eq!(lines(&dir.path().join("trace.bin")), steps);
}

#[test]
fn a_stop_that_cannot_be_done_in_time_gives_up_with_a_file_that_opens() {
    let dir = tempfile::tempdir().unwrap();
    let plan = FaultPlan { write_delay: Duration::from_millis(120), ..FaultPlan::default() };
    let config = PipelineConfig {
        segment_bytes: 1 << 10,
        queue_bytes: 1 << 20,
        stop_deadline: Duration::from_millis(500),
        ..config(dir.path(), TraceFormat::Json)
    };
    let pipeline = spawn_on(config, Arc::new(FaultyStorage::new(plan)));
    let mut counter = Counter::start(&pipeline, "MainThread");
    counter.steps(20_000);
    drop(counter);
    let begin = Instant::now();
    let error = pipeline.stop(Exit::Code(0), Map::new()).unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(error.code, ErrorCode::TraceIncomplete);
    assert!(error.to_string().contains("too slow"), "{error}");
    let kept = lines(&dir.path().join("trace.json"));
    assert!(kept > 0 && kept < 20_000, "{kept}");
    check_losses(&pipeline, &dir.path().join("trace.json"), 20_000);
    assert_eq!(json(&dir.path().join("recording.json"))["state"], "failed");
}

#[test]
fn a_failure_is_in_the_files_before_anybody_stops_the_recording() {
    let dir = tempfile::tempdir().unwrap();
    let config = PipelineConfig { panic_in: Some("encoder"), ..config(dir.path(), TraceFormat::Binary) };
    let pipeline = spawn(config);
    eventually("the state is written", || json(&dir.path().join("recording.json"))["state"] == "failed");
    pipeline.abandon(false);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_that_takes_no_file_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let plan = FaultPlan { full_after: Some(10), ..FaultPlan::default() };
    let config = config(dir.path(), TraceFormat::Binary);
    let error = Pipeline::spawn(config, super::support::tables(), Arc::new(FaultyStorage::new(plan))).unwrap_err();
    assert_eq!(error.code, ErrorCode::Io);
    assert!(error.to_string().contains("cannot write"), "{error}");
}

#[test]
fn a_disk_that_takes_nothing_any_more_ends_the_recording_whatever_its_reason() {
    use std::io::ErrorKind as Io;
    for (reason, hint) in [(Io::QuotaExceeded, "free some disk space"), (Io::ReadOnlyFilesystem, ""), (Io::Other, "")] {
        let dir = tempfile::tempdir().unwrap();
        let plan = FaultPlan { fail_from: Some((4, reason)), ..FaultPlan::default() };
        let config = PipelineConfig { durable: true, ..config(dir.path(), TraceFormat::Binary) };
        let pipeline = spawn_on(config, Arc::new(FaultyStorage::new(plan)));
        let pushed = record_until_failure(&pipeline);
        let failure = pipeline.failure().unwrap();
        assert_eq!((failure.kind, failure.code, failure.stage), (ErrorKind::Environment, ErrorCode::Io, "writer"));
        assert!(failure.message.contains(hint), "{}", failure.message);
        assert_eq!(pipeline.stop(Exit::Code(0), Map::new()).unwrap_err().code, ErrorCode::Io);
        // Not even the old tail could be put back: that is what `recover` is for. The state was not written either.
        assert_eq!(json(&dir.path().join("recording.json"))["state"], "recording");
        let _ = std::fs::remove_file(dir.path().join("recording.json"));
        crate::format::recover::recover(dir.path()).unwrap();
        let kept = lines(&dir.path().join("trace.bin"));
        assert!(0 < kept && kept < pushed, "{kept} of {pushed}");
        // What was written in part may have been recovered, although it was counted.
        assert!(u64::from(kept) + pipeline.stats().losses.of(LossCause::RecordingFailed) >= u64::from(pushed));
    }
}

#[test]
fn a_recording_whose_metadata_cannot_be_written_is_a_failed_one_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(config(dir.path(), TraceFormat::Binary));
    let mut counter = Counter::start(&pipeline, "MainThread");
    counter.steps(100);
    drop(counter);
    pipeline.flush().unwrap();
    // A directory in its place.
    std::fs::remove_file(dir.path().join("trace_metadata.json")).unwrap();
    std::fs::create_dir_all(dir.path().join("trace_metadata.json/in the way")).unwrap();
    let error = pipeline.stop(Exit::Code(0), Map::new()).unwrap_err();
    assert_eq!(error.code, ErrorCode::Io);
    let state = json(&dir.path().join("recording.json"));
    assert_eq!((state["state"].as_str(), state["failure"]["error_code"].as_str()), (Some("failed"), Some("ERR_IO")));
    assert_eq!(lines(&dir.path().join("trace.bin")), 100);
    assert_eq!(pipeline.stats().lost, 0);
}
