//! Parts and limits, with the real stages and the official reader.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use runtime_tracing::{TraceLowLevelEvent as Event, ValueRecord};

use super::support::*;
use crate::pipeline::limits::{Limits, OnReached};
use crate::pipeline::model::{Exit, TraceFormat};
use crate::pipeline::{Pipeline, PipelineConfig, Pushed};
use crate::storage::{FaultPlan, FaultyStorage};

const EXIT: Exit = Exit::Code(0);

fn rotating(dir: &Path, format: TraceFormat, limits: Limits) -> PipelineConfig {
    PipelineConfig { limits: Limits { on_reached: OnReached::Rotate, ..limits }, ..config(dir, format) }
}

fn part(dir: &Path, number: u32) -> PathBuf {
    if number == 0 { dir.to_path_buf() } else { dir.join(format!("parts/{number:04}")) }
}

/// Lines that a part steps through, in a trace that is balanced, with the value of `n` at each.
fn part_lines(file: &Path) -> Vec<i64> {
    let (mut lines, mut depth) = (Vec::new(), 0);
    let mut shown = None;
    for event in events(file) {
        match event {
            Event::Step(step) if step.line.0 > 0 && depth > 1 => {
                lines.push(step.line.0);
                shown = Some(step.line.0);
            }
            Event::Value(value) => {
                assert!(
                    matches!(value.value, ValueRecord::Int { i, .. } if Some(i) == shown),
                    "{value:?} at {shown:?}"
                );
                shown = None;
            }
            Event::Call(_) => depth += 1,
            Event::Return(_) => depth -= 1,
            _ => {}
        }
        assert!(shown.is_none() || depth > 0, "a step without its value");
        assert!(depth >= 0);
    }
    assert_eq!(depth, 0, "unbalanced");
    lines
}

/// The lines of all parts; the first of a part that continues must repeat the last of the one before.
fn joined(dir: &Path, file: &str) -> Vec<i64> {
    let mut all: Vec<i64> = Vec::new();
    for number in 0.. {
        let path = part(dir, number).join(file);
        if !path.exists() {
            return all;
        }
        let lines = part_lines(&path);
        let repeated = usize::from(!all.is_empty());
        assert_eq!(all.last().copied(), lines.first().copied().filter(|_| repeated == 1), "part {number}");
        all.extend(&lines[repeated..]);
    }
    all
}

#[test]
fn parts_have_the_steps_they_may_have_and_together_hold_everything_once() {
    for format in [TraceFormat::Binary, TraceFormat::Json] {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { max_steps: 1000, ..Limits::default() };
        let pipeline = spawn(rotating(dir.path(), format, limits));
        let mut counter = Counter::start(&pipeline, "MainThread");
        counter.steps(4500);
        drop(counter);
        let report = pipeline.stop(EXIT, Default::default()).unwrap();
        assert_eq!(joined(dir.path(), format.events_file()), (1..=4500).collect::<Vec<_>>());
        // The step of the definition counts, the calls in progress that a part repeats do not.
        assert_eq!(part_lines(&dir.path().join(format.events_file())).len(), 999);
        assert_eq!(part_lines(&part(dir.path(), 2).join(format.events_file())).len(), 1001);

        let metadata = json(&dir.path().join("trace_metadata.json"));
        assert_eq!(metadata["parts"].as_array().unwrap().len(), 5);
        assert_eq!(metadata["part"]["ended_by"], "max_steps");
        assert_eq!(metadata["streams"][0]["counts"]["steps"], 1000);
        assert_eq!(report.stats.parts.len(), 4);
        let third = json(&part(dir.path(), 2).join("trace_metadata.json"));
        assert_eq!((&third["part"]["number"], &third["part"]["begun_by"]), (&2.into(), &"max_steps".into()));
        assert_eq!((&third["program"], &third["streams"][0]["counts"]["continued"]), (&PROGRAM.into(), &1.into()));
        assert!(third["part"]["ended"].as_f64() >= third["part"]["started"].as_f64());
        let last = json(&part(dir.path(), 4).join("trace_metadata.json"));
        assert_eq!(last["part"]["ended_by"], "stop");
        for number in 0..5 {
            let paths = json(&part(dir.path(), number).join("trace_paths.json"));
            assert_eq!(paths, serde_json::json!([PROGRAM, "/srv/count.py"]));
            assert_eq!(json(&part(dir.path(), number).join("recording.json"))["state"], "complete");
        }
        assert_eq!(crate::format::verify::verify(dir.path()).unwrap(), Vec::<String>::new());
    }
}

#[test]
fn a_part_that_somebody_asks_for_holds_what_was_pushed_before_and_threads_have_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(config(dir.path(), TraceFormat::Binary));
    let mut main = Counter::start(&pipeline, "MainThread");
    let mut busy = Counter::start(&pipeline, "busy");
    let mut idle = Counter::start(&pipeline, "idle");
    main.steps(10);
    busy.steps(3000);
    idle.steps(5);
    assert_eq!(pipeline.rotate("a request").unwrap(), dir.path());
    assert_eq!(part_lines(&dir.path().join("threads/01-busy/trace.bin")), (1..=3000).collect::<Vec<_>>());
    assert_eq!(json(&dir.path().join("trace_metadata.json"))["part"]["ended_by"], "a request");
    assert_eq!(json(&dir.path().join("recording.json"))["state"], "recording");
    busy.steps(2000);
    assert_eq!(pipeline.rotate("another").unwrap(), part(dir.path(), 1));
    idle.steps(1);
    let producers = (main, busy, idle);
    drop(producers);
    pipeline.stop(EXIT, Default::default()).unwrap();
    assert_eq!(joined(dir.path(), "trace.bin"), (1..=10).collect::<Vec<_>>());
    assert_eq!(joined(dir.path(), "threads/01-busy/trace.bin"), (1..=5000).collect::<Vec<_>>());
    // Nothing happened in this thread while the second part was recorded.
    assert!(!part(dir.path(), 1).join("threads/02-idle").exists());
    assert_eq!(part_lines(&part(dir.path(), 2).join("threads/02-idle/trace.bin")), [5, 6]);
    assert!(!part(dir.path(), 2).join("threads/01-busy").exists());
    let second = json(&part(dir.path(), 1).join("trace_metadata.json"));
    assert_eq!(second["part"]["begun_by"], "a request");
    let names: Vec<_> = second["streams"].as_array().unwrap().iter().map(|stream| stream["name"].clone()).collect();
    assert_eq!(names, ["MainThread", "busy"]);
}

#[test]
fn a_limit_ends_the_recording_and_the_producers_learn_it() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { max_steps: 1000, ..Limits::default() };
    let pipeline = spawn(PipelineConfig { limits, ..config(dir.path(), TraceFormat::Binary) });
    let mut counter = Counter::start(&pipeline, "MainThread");
    let patience = Instant::now() + Duration::from_secs(30);
    while counter.try_step() != Pushed::Ended {
        assert!(Instant::now() < patience, "never ended");
    }
    assert_eq!(pipeline.limit_reached(), Some("max_steps"));
    // Complete without anybody's doing, so that a kill changes nothing.
    eventually("complete", || json(&dir.path().join("recording.json"))["state"] == "complete");
    pipeline.flush().unwrap();
    drop(counter);
    let metadata = [("exit".to_owned(), 3.into())].into_iter().collect();
    pipeline.stop(EXIT, metadata).unwrap();
    assert_eq!(part_lines(&dir.path().join("trace.bin")), (1..=999).collect::<Vec<_>>());
    let metadata = json(&dir.path().join("trace_metadata.json"));
    assert_eq!((&metadata["ended_by_limit"], &metadata["exit"]), (&"max_steps".into(), &3.into()));
    assert_eq!(crate::format::verify::verify(dir.path()).unwrap(), Vec::<String>::new());
}

#[test]
fn bytes_and_time_are_limits_too() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { max_bytes: 8 << 10, ..Limits::default() };
    let pipeline = spawn(rotating(dir.path(), TraceFormat::Json, limits));
    let mut counter = Counter::start(&pipeline, "MainThread");
    counter.steps(20_000);
    drop(counter);
    let report = pipeline.stop(EXIT, Default::default()).unwrap();
    assert!(report.stats.parts.len() > 10, "{}", report.stats.parts.len());
    // A part and what was on its way when it reached the limit.
    assert!(report.stats.parts.iter().all(|part| (8 << 10..512 << 10).contains(&part.bytes_on_disk)));
    assert_eq!(joined(dir.path(), "trace.json").len(), 20_000);

    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { max_duration: Duration::from_millis(50), ..Limits::default() };
    let pipeline = spawn(rotating(dir.path(), TraceFormat::Binary, limits));
    let mut counter = Counter::start(&pipeline, "MainThread");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(300) {
        counter.steps(10);
        std::thread::sleep(Duration::from_millis(1));
    }
    let steps = i64::from(counter.line);
    drop(counter);
    let report = pipeline.stop(EXIT, Default::default()).unwrap();
    assert!((2..=6).contains(&report.stats.parts.len()), "{}", report.stats.parts.len());
    assert!(report.stats.parts.iter().all(|part| part.ended_by == "max_duration"));
    assert_eq!(joined(dir.path(), "trace.bin"), (1..=steps).collect::<Vec<_>>());
}

#[test]
fn a_disk_that_is_almost_full_ends_the_recording_while_it_can_still_end_well() {
    let dir = tempfile::tempdir().unwrap();
    let storage = FaultyStorage::new(FaultPlan { full_after: Some(60_000), ..FaultPlan::default() });
    let limits = Limits { min_free_disk: 59_000, on_reached: OnReached::Rotate, ..Limits::default() };
    let config = PipelineConfig { limits, ..config(dir.path(), TraceFormat::Json) };
    let pipeline = spawn_on(config, Arc::new(storage));
    let mut counter = Counter::start(&pipeline, "MainThread");
    counter.steps(10);
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        let pushed = counter.try_step();
        if pushed == Pushed::Ended {
            break;
        }
        if pushed == Pushed::NoRoom {
            counter.producer.wait_for_room(Duration::from_millis(5));
        }
        assert!(Instant::now() < patience, "never ended");
        // The free space is asked for once a second.
        std::thread::sleep(Duration::from_micros(300));
    }
    drop(counter);
    pipeline.stop(EXIT, Default::default()).unwrap();
    assert!(lines(&dir.path().join("trace.json")) > 10);
    assert_eq!(json(&dir.path().join("trace_metadata.json"))["ended_by_limit"], "min_free_disk");
}

#[test]
fn an_earlier_recordings_parts_go() {
    let dir = tempfile::tempdir().unwrap();
    let record = |limits| -> Pipeline {
        let pipeline = spawn(rotating(dir.path(), TraceFormat::Binary, limits));
        let mut counter = Counter::start(&pipeline, "MainThread");
        counter.steps(500);
        drop(counter);
        pipeline.stop(EXIT, Default::default()).unwrap();
        pipeline
    };
    record(Limits { max_steps: 100, ..Limits::default() });
    assert!(part(dir.path(), 4).exists());
    record(Limits::default());
    assert!(!dir.path().join("parts").exists());
    assert_eq!(json(&dir.path().join("trace_metadata.json"))["parts"], serde_json::Value::Null);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whenever parts change, and whatever several threads do meanwhile: together they hold everything once.
    #[test]
    fn nothing_is_lost_or_doubled_where_parts_change(
        turns in prop::collection::vec((0usize..3, 1u32..400, any::<bool>()), 1..12),
        max_steps in prop::option::of(50u64..2000),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { max_steps: max_steps.unwrap_or(0), ..Limits::default() };
        let limits = if max_steps.is_some() { Limits { on_reached: OnReached::Rotate, ..limits } } else { limits };
        let pipeline = spawn(PipelineConfig { limits, ..config(dir.path(), TraceFormat::Binary) });
        let mut counters = ["MainThread", "a", "b"].map(|name| Counter::start(&pipeline, name));
        for (which, steps, rotate) in turns {
            counters[which].steps(steps);
            if rotate {
                pipeline.rotate("asked for").unwrap();
            }
        }
        let made = counters.each_ref().map(|counter| i64::from(counter.line));
        drop(counters);
        pipeline.stop(EXIT, Default::default()).unwrap();
        for (made, directory) in made.into_iter().zip(["", "threads/01-a/", "threads/02-b/"]) {
            let mut all: Vec<i64> = Vec::new();
            for number in 0..=u32::try_from(made).unwrap() + 20 {
                let file = part(dir.path(), number).join(format!("{directory}trace.bin"));
                if file.exists() {
                    let lines = part_lines(&file);
                    let repeated = usize::from(!all.is_empty());
                    prop_assert_eq!(all.last(), lines.first().filter(|_| repeated == 1));
                    all.extend(&lines[repeated..]);
                }
            }
            prop_assert_eq!(all, (1..=made).collect::<Vec<_>>());
        }
        prop_assert_eq!(crate::format::verify::verify(dir.path()).unwrap(), Vec::<String>::new());
    }
}

#[test]
fn a_pause_ends_all_calls_and_what_is_resumed_starts_without_any() {
    for format in [TraceFormat::Binary, TraceFormat::Json] {
        let dir = tempfile::tempdir().unwrap();
        let pipeline = spawn(config(dir.path(), format));
        let mut main = Counter::start(&pipeline, "MainThread");
        let mut busy = Counter::start(&pipeline, "busy");
        main.steps(10);
        busy.steps(3000);
        assert_eq!(pipeline.suspend("pause").unwrap(), dir.path());
        assert_eq!(json(&dir.path().join("trace_metadata.json"))["part"]["ended_by"], "pause");
        let threads = dir.path().join("threads/01-busy").join(format.events_file());
        assert_eq!(part_lines(&threads), (1..=3000).collect::<Vec<_>>());
        // Whoever pushes all the same finds nobody; it is none of the next part's.
        busy.steps(1);
        pipeline.flush().unwrap();
        pipeline.resume("resume", Some(serde_json::json!({"probability": 0.5}))).unwrap();
        busy.line = 0;
        busy.steps(5);
        assert_eq!(pipeline.suspend("pause").unwrap(), part(dir.path(), 1));
        drop((main, busy));
        let report = pipeline.stop(EXIT, Default::default()).unwrap();
        assert_eq!(report.stats.parts.len(), 2);
        let resumed = part(dir.path(), 1);
        assert_eq!(part_lines(&resumed.join("threads/01-busy").join(format.events_file())), [1, 2, 3, 4, 5]);
        assert!(part_lines(&resumed.join(format.events_file())).is_empty());
        let metadata = json(&resumed.join("trace_metadata.json"));
        assert_eq!(metadata["part"]["begun_by"], "resume");
        assert_eq!(metadata["part"]["sample"]["probability"], 0.5);
        assert_eq!(metadata["part"]["counts"]["continued"], 0);
        // Stopped while it is suspended: there is no part after the last one.
        assert!(!part(dir.path(), 2).exists());
        assert_eq!(json(&dir.path().join("trace_metadata.json"))["parts"].as_array().unwrap().len(), 2);
        assert_eq!(crate::format::verify::verify(dir.path()).unwrap(), Vec::<String>::new());
    }
}
