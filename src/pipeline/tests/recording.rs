//! Recordings in which nothing goes wrong.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json as value};

use super::support::{Counter, PROGRAM, config, events, eventually, json, lines, lines_meanwhile, spawn};
use crate::errors::ErrorKind;
use crate::pipeline::model::{Exit, TraceFormat};
use crate::pipeline::{PipelineConfig, Pushed};

const FORMATS: [TraceFormat; 2] = [TraceFormat::Binary, TraceFormat::Json];

#[test]
fn a_recording_reads_back_complete_in_both_formats() {
    for format in FORMATS {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("new/trace");
        let pipeline = spawn(PipelineConfig { durable: true, ..config(&out, format) });
        let mut counter = Counter::start(&pipeline, "MainThread");
        counter.steps(3_000);
        drop(counter);
        let mut last = Map::new();
        last.insert("program".to_owned(), "another".into());
        last.insert("process_exit_status".to_owned(), value!({"code": 3, "label": null}));
        let report = pipeline.stop(Exit::Code(3), last).unwrap();

        assert_eq!(lines(&out.join(format.events_file())), 3_000);
        assert!(!out.join(format.foreign_events_file()).exists());
        assert_eq!(json(&out.join("trace_paths.json")), value!([PROGRAM, "/srv/count.py"]));
        assert_eq!(json(&out.join("recording.json"))["state"], "complete");
        let metadata = json(&out.join("trace_metadata.json"));
        assert_eq!((&metadata["workdir"], &metadata["program"]), (&value!("/work"), &value!("another")));
        assert_eq!(metadata["process_exit_status"]["code"], 3);
        assert_eq!(metadata["streams"][0]["directory"], ".");
        assert_eq!(metadata["streams"][0]["counts"]["values"], 3_000);
        assert!(metadata.get("recorder_failure").is_none());
        let size = std::fs::metadata(out.join(format.events_file())).unwrap().len();
        assert_eq!(report.stats.bytes_on_disk, size);
        assert_eq!((report.stats.lost, report.stats.streams.len()), (0, 1));
        assert!(report.stats.events > 6_000 && report.stats.bytes_in > 0);
    }
}

#[test]
fn each_thread_has_a_trace_of_its_own_and_an_idle_one_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(config(dir.path(), TraceFormat::Binary));
    let mut main = Counter::start(&pipeline, "MainThread");
    let idle = Counter::start(&pipeline, "idle");
    std::thread::scope(|scope| {
        for n in 2..6u32 {
            let mut counter = Counter::start(&pipeline, &format!("worker/{n}"));
            scope.spawn(move || counter.steps(n * 500));
        }
        main.steps(100);
    });
    drop((main, idle));
    let report = pipeline.stop(Exit::Code(0), Map::new()).unwrap();
    assert_eq!(lines(&dir.path().join("trace.bin")), 100);
    for n in 2..6u32 {
        let thread = dir.path().join(format!("threads/0{n}-worker_{n}"));
        assert_eq!(lines(&thread.join("trace.bin")), n * 500);
        let metadata = json(&thread.join("trace_metadata.json"));
        assert_eq!(metadata["thread"]["name"], format!("worker/{n}"));
        assert_eq!(metadata["workdir"], "/work");
        assert_eq!(json(&thread.join("trace_paths.json"))[1], "/srv/count.py");
    }
    // The index is there, too.
    assert_eq!(std::fs::read_dir(dir.path().join("threads")).unwrap().count(), 4 + 1);
    let ids: Vec<u32> = report.stats.streams.iter().map(|stream| stream.id).collect();
    assert_eq!(ids, [0, 2, 3, 4, 5]);
}

#[test]
fn after_a_flush_everything_pushed_before_is_readable_while_recording_goes_on() {
    for format in FORMATS {
        let dir = tempfile::tempdir().unwrap();
        let pipeline = spawn(config(dir.path(), format));
        let mut counter = Counter::start(&pipeline, "MainThread");
        let (pushed, enough) = (AtomicU32::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    counter.steps(10);
                    pushed.store(counter.line, Ordering::Release);
                    std::thread::sleep(Duration::from_micros(200));
                }
            });
            for _ in 0..10 {
                let before = pushed.load(Ordering::Acquire);
                pipeline.flush().unwrap();
                let file = dir.path().join(format.events_file());
                let mut read = None;
                eventually("the file opens", || {
                    read = lines_meanwhile(&file);
                    read.is_some()
                });
                assert!(read.unwrap() >= before, "{read:?} of {before} lines");
                std::thread::sleep(Duration::from_millis(3));
            }
            enough.store(true, Ordering::Relaxed);
        });
        let all = counter.line;
        drop(counter);
        pipeline.stop(Exit::Unknown, Map::new()).unwrap();
        assert_eq!(lines(&dir.path().join(format.events_file())), all);
    }
}

#[test]
fn a_trace_opens_from_its_first_moment_on() {
    for format in FORMATS {
        let dir = tempfile::tempdir().unwrap();
        let pipeline = spawn(config(dir.path(), format));
        let file = dir.path().join(format.events_file());
        assert_eq!(lines(&file), 0);
        assert_eq!(json(&dir.path().join("recording.json"))["state"], "recording");
        assert_eq!(json(&dir.path().join("trace_metadata.json"))["workdir"], "/work");
        pipeline.flush().unwrap();
        assert_eq!(lines(&file), 0);
        pipeline.stop(Exit::Code(0), Map::new()).unwrap();
        assert_eq!(lines(&file), 0);
    }
}

#[test]
fn the_clock_puts_events_on_disk_and_ends_the_traces_of_threads_that_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        PipelineConfig { flush_interval: Duration::from_millis(20), ..config(dir.path(), TraceFormat::Binary) };
    let pipeline = spawn(config);
    let mut main = Counter::start(&pipeline, "MainThread");
    let mut thread = Counter::start(&pipeline, "t");
    main.steps(5);
    thread.steps(6);
    eventually("the steps are in the files", || {
        lines_meanwhile(&dir.path().join("trace.bin")) == Some(5)
            && lines_meanwhile(&dir.path().join("threads/01-t/trace.bin")) == Some(6)
    });
    thread.steps(1);
    let shared = std::sync::Arc::clone(thread.producer.shared());
    drop(thread);
    eventually("the thread's memory is free", || shared.open.load().is_none());
    main.steps(1);
    drop(main);
    pipeline.stop(Exit::Code(0), Map::new()).unwrap();
    assert_eq!(lines(&dir.path().join("threads/01-t/trace.bin")), 7);
    assert_eq!(lines(&dir.path().join("trace.bin")), 6);
}

#[test]
fn segments_that_are_compressed_out_of_order_are_stored_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let config = PipelineConfig {
        segment_bytes: 256,
        compression_threads: 8,
        batch_bytes: 1024,
        ..config(dir.path(), TraceFormat::Binary)
    };
    let pipeline = spawn(config);
    let mut counter = Counter::start(&pipeline, "MainThread");
    counter.steps(20_000);
    drop(counter);
    pipeline.stop(Exit::Code(0), Map::new()).unwrap();
    assert_eq!(lines(&dir.path().join("trace.bin")), 20_000);
}

#[test]
fn more_threads_than_segment_buffers_and_open_files_share_them() {
    let dir = tempfile::tempdir().unwrap();
    let config = PipelineConfig { compression_threads: 1, ..config(dir.path(), TraceFormat::Binary) };
    let pipeline = spawn(config);
    let mut counters: Vec<_> = (0..50).map(|n| Counter::start(&pipeline, &format!("t{n}"))).collect();
    for round in 0..20 {
        for counter in &mut counters {
            counter.steps(40);
        }
        if round % 5 == 0 {
            pipeline.flush().unwrap();
        }
    }
    drop(counters);
    let report = pipeline.stop(Exit::Code(0), Map::new()).unwrap();
    for stream in &report.stats.streams {
        assert_eq!(lines(&dir.path().join(&stream.directory).join("trace.bin")), 800, "{}", stream.name);
    }
    assert_eq!(report.stats.streams.len(), 50);
}

#[test]
fn short_lived_threads_are_recorded_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(config(dir.path(), TraceFormat::Binary));
    let mut main = Counter::start(&pipeline, "MainThread");
    main.steps(1);
    for n in 0..120u32 {
        let mut thread = Counter::start(&pipeline, "t");
        thread.steps(n % 3);
    }
    drop(main);
    let report = pipeline.stop(Exit::Code(0), Map::new()).unwrap();
    let with_steps = (0..120).filter(|n| n % 3 > 0).count();
    assert_eq!(report.stats.streams.len(), 1 + with_steps);
    assert_eq!(std::fs::read_dir(dir.path().join("threads")).unwrap().count(), with_steps + 1);
    assert_eq!(lines(&dir.path().join("threads/03-t/trace.bin")), 2);
}

#[test]
fn the_exit_status_is_the_last_return_of_the_first_stream() {
    use runtime_tracing::{TraceLowLevelEvent as Event, ValueRecord};
    for (exit, expected) in [(Exit::Code(5), Some(5)), (Exit::Unknown, None)] {
        let dir = tempfile::tempdir().unwrap();
        let pipeline = spawn(config(dir.path(), TraceFormat::Binary));
        Counter::start(&pipeline, "MainThread").steps(1);
        pipeline.stop(exit, Map::new()).unwrap();
        let last = events(&dir.path().join("trace.bin")).pop();
        let Some(Event::Return(last)) = last else { panic!("{last:?}") };
        match (last.return_value, expected) {
            (ValueRecord::Int { i, .. }, Some(code)) => assert_eq!(i, code),
            (ValueRecord::String { text, .. }, None) => assert_eq!(text, "<exit>"),
            (other, _) => panic!("{other:?}"),
        }
    }
}

#[test]
fn after_a_stop_everything_is_answered_and_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(config(dir.path(), TraceFormat::Binary));
    let mut counter = Counter::start(&pipeline, "MainThread");
    counter.steps(10);
    let report = pipeline.stop(Exit::Code(0), Map::new()).unwrap();
    let before = std::fs::read(dir.path().join("trace.bin")).unwrap();
    assert_eq!(pipeline.stop(Exit::Code(9), Map::new()).unwrap().stats.events, report.stats.events);
    pipeline.flush().unwrap();
    eventually("the producer learns that it is over", || counter.try_step() == Pushed::Ended);
    assert_eq!(counter.try_step(), Pushed::Ended);
    assert_eq!(counter.producer.wait_for_room(Duration::ZERO), Pushed::Ended);
    pipeline.abandon(true);
    assert_eq!(pipeline.flush().unwrap_err().kind, ErrorKind::Internal);
    assert_eq!(std::fs::read(dir.path().join("trace.bin")).unwrap(), before);
    assert_eq!(json(&dir.path().join("recording.json"))["state"], "complete");
}

#[test]
fn an_abandoned_recording_leaves_nothing_or_what_it_had() {
    for keep in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let pipeline = spawn(config(dir.path(), TraceFormat::Binary));
        Counter::start(&pipeline, "MainThread").steps(2_000);
        Counter::start(&pipeline, "t").steps(10);
        pipeline.flush().unwrap();
        pipeline.abandon(keep);
        if keep {
            assert_eq!(lines(&dir.path().join("trace.bin")), 2_000);
            assert_eq!(lines(&dir.path().join("threads/01-t/trace.bin")), 10);
            let recording = json(&dir.path().join("recording.json"));
            assert_eq!(
                (&recording["state"], &recording["failure"]["stage"]),
                (&value!("failed"), &value!("lifecycle"))
            );
        } else {
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }
}

#[test]
fn a_handle_dropped_without_a_stop_still_finishes_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(config(dir.path(), TraceFormat::Json));
    Counter::start(&pipeline, "MainThread").steps(50);
    drop(pipeline);
    eventually("the state is written", || json(&dir.path().join("recording.json"))["state"] == "failed");
    assert_eq!(lines(&dir.path().join("trace.json")), 50);
}

#[test]
fn stats_follow_a_running_recording() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(config(dir.path(), TraceFormat::Binary));
    let mut counter = Counter::start(&pipeline, "MainThread");
    counter.steps(100);
    counter.producer.shared().lost.add(crate::pipeline::layout::LossCause::RecorderError, 4);
    pipeline.flush().unwrap();
    let stats = pipeline.stats();
    assert_eq!((stats.lost, stats.streams[0].counts.values), (4, 100));
    assert!(stats.bytes_encoded > stats.bytes_on_disk && stats.bytes_on_disk > 0);
    assert_eq!((stats.queue_depth, stats.queue_capacity), (0, 16));
    drop(counter);
    pipeline.stop(Exit::Code(0), Map::new()).unwrap();
    let metadata = json(&dir.path().join("trace_metadata.json"));
    assert_eq!(metadata["lost_events"], Value::from(4));
    assert_eq!(metadata["losses"], value!({"recorder_error": 4}));
    assert_eq!(metadata["streams"][0]["losses"], value!({"recorder_error": 4}));
}

#[test]
fn what_a_thread_lost_last_is_marked_at_the_end_of_its_trace() {
    use crate::pipeline::layout::LossCause;
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(config(dir.path(), TraceFormat::Binary));
    for name in ["MainThread", "worker"] {
        let mut counter = Counter::start(&pipeline, name);
        counter.steps(10);
        counter.producer.lose(LossCause::QueueFull);
        counter.producer.lose(LossCause::QueueFull);
        counter.producer.lose(LossCause::RecorderError);
    }
    let report = pipeline.stop(Exit::Code(0), Map::new()).unwrap();
    assert_eq!(report.stats.streams.len(), 2);
    for stream in &report.stats.streams {
        assert_eq!((stream.counts.gaps, stream.counts.lost, stream.losses.total()), (2, 3, 3));
        let events = events(&dir.path().join(&stream.directory).join("trace.bin"));
        let marks: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                runtime_tracing::TraceLowLevelEvent::Event(mark) => Some(mark.metadata.as_str()),
                _ => None,
            })
            .collect();
        let expected = [
            r#"{"kind":"lost","cause":"queue_full","count":2}"#,
            r#"{"kind":"lost","cause":"recorder_error","count":1}"#,
        ];
        assert_eq!(marks, expected);
    }
}
