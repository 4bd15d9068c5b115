//! Many short-lived threads share traces.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use runtime_tracing::TraceLowLevelEvent as Event;
use serde_json::{Map, json as value};

use super::support::{Counter, config, events, json, lines, spawn};
use crate::format::thread_index::{Line, read_index};
use crate::format::verify::verify;
use crate::pipeline::PipelineConfig;
use crate::pipeline::layout::LossCause;
use crate::pipeline::model::{Exit, TraceFormat};

fn few_own(dir: &Path, own_thread_traces: usize) -> PipelineConfig {
    PipelineConfig { own_thread_traces, ..config(dir, TraceFormat::Binary) }
}

fn thread_dirs(part: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        std::fs::read_dir(part.join("threads")).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    found.sort();
    found
}

/// Lines stepped through in a trace, thread by thread: those of each begin with 1, and none is missing.
fn runs(file: &Path) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::new();
    for event in events(file) {
        let Event::Step(step) = event else { continue };
        let line = u32::try_from(step.line.0).unwrap();
        match line {
            0 => {}
            1 => found.push(1),
            _ => {
                assert_eq!(found.last(), Some(&(line - 1)), "a step is missing");
                *found.last_mut().unwrap() = line;
            }
        }
    }
    found
}

#[test]
fn five_thousand_threads_one_after_the_other_leave_a_few_files_with_all_that_they_did() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(few_own(dir.path(), 10));
    let mut main = Counter::start(&pipeline, "MainThread");
    main.steps(1);
    for n in 0..5_000u32 {
        Counter::start(&pipeline, &format!("t{n}")).steps(1 + n % 3);
    }
    main.steps(1);
    drop(main);
    let report = pipeline.stop(Exit::Code(0), Map::new()).unwrap();
    let found = thread_dirs(dir.path());
    assert!(found.len() <= 12, "{found:?}");
    assert_eq!(report.stats.streams.len(), 1 + found.len());
    let all: Vec<u32> = found.iter().flat_map(|dir| runs(&dir.join("trace.bin"))).collect();
    assert_eq!((all.len() as u32, all.iter().sum::<u32>()), (5_000, (0..5_000).map(|n| 1 + n % 3).sum()));
    assert_eq!(verify(dir.path()).unwrap(), [""; 0]);

    let shared: u32 = report.stats.streams.iter().filter_map(|stream| stream.threads).sum();
    assert_eq!(shared, 4_990);
    let pooled = report.stats.streams.iter().find(|stream| stream.threads.is_some()).unwrap();
    let metadata = json(&dir.path().join(&pooled.directory).join("trace_metadata.json"));
    assert_eq!(metadata["thread"]["name"], "pooled");
    assert_eq!(metadata["thread"]["threads"], value!(pooled.threads));

    // The index knows each thread, and whose events are whose.
    let mut where_in = BTreeMap::<String, Vec<(u64, String)>>::new();
    for line in read_index(dir.path()).unwrap().unwrap() {
        if let Line::Thread { name, directory, step, .. } = line.unwrap() {
            where_in.entry(directory).or_default().push((step, name));
        }
    }
    assert_eq!(where_in.values().map(Vec::len).sum::<usize>(), 5_001);
    for dir_of in found {
        let shown = format!("threads/{}", dir_of.file_name().unwrap().to_str().unwrap());
        let mut starts = where_in[&shown].clone();
        starts.sort();
        let mut step = 0;
        for ((start, name), length) in starts.iter().zip(runs(&dir_of.join("trace.bin"))) {
            let number: u32 = name[1..].parse().unwrap();
            // The call has a step of its own.
            assert_eq!((*start, length), (step, 1 + number % 3), "{name}");
            step += u64::from(length) + 1;
        }
    }
}

#[test]
fn threads_that_overlap_do_not_share() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(few_own(dir.path(), 1));
    Counter::start(&pipeline, "MainThread").steps(1);
    for round in 0..20u32 {
        let mut together: Vec<_> = (0..5).map(|n| Counter::start(&pipeline, &format!("t{n}"))).collect();
        for turn in 0..10 {
            for counter in &mut together {
                counter.steps(1 + turn);
            }
            if round % 4 == 0 {
                pipeline.flush().unwrap();
            }
        }
    }
    pipeline.stop(Exit::Code(0), Map::new()).unwrap();
    assert_eq!(verify(dir.path()).unwrap(), [""; 0]);
    let found = thread_dirs(dir.path());
    assert!(found.len() <= 1 + 20, "{found:?}");
    let all: Vec<u32> = found.iter().flat_map(|dir| runs(&dir.join("trace.bin"))).collect();
    assert_eq!(all, [55; 100]);
}

#[test]
fn a_thread_that_goes_on_in_another_part_has_a_trace_of_its_own_there() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(few_own(dir.path(), 0));
    Counter::start(&pipeline, "MainThread").steps(1);
    Counter::start(&pipeline, "before").steps(3);
    let mut across = Counter::start(&pipeline, "across");
    across.steps(5);
    pipeline.flush().unwrap();
    pipeline.rotate("test").unwrap();
    Counter::start(&pipeline, "after").steps(2);
    pipeline.flush().unwrap();
    Counter::start(&pipeline, "later").steps(2);
    across.steps(4);
    pipeline.flush().unwrap();
    drop(across);
    pipeline.stop(Exit::Code(0), Map::new()).unwrap();
    assert_eq!(verify(dir.path()).unwrap(), [""; 0]);
    let first: Vec<_> = thread_dirs(dir.path()).iter().map(|dir| runs(&dir.join("trace.bin"))).collect();
    assert_eq!(first, [vec![3, 5]]);
    let part = dir.path().join("parts/0001");
    let second: Vec<_> = thread_dirs(&part).iter().map(|dir| dir.join("trace.bin")).collect();
    assert_eq!(second.len(), 2, "{second:?}");
    // `across` starts with where it was.
    assert_eq!(events(&second[0]).iter().filter(|event| matches!(event, Event::Step(_))).count(), 2 + 4);
    assert_eq!(runs(&second[1]), [2, 2]);
    assert_eq!(lines(&part.join("trace.bin")), 1);
}

#[test]
fn what_threads_of_a_shared_trace_lost_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(few_own(dir.path(), 0));
    Counter::start(&pipeline, "MainThread").steps(1);
    for n in 1..=3u32 {
        let mut counter = Counter::start(&pipeline, "t");
        counter.producer.shared().lost.add(LossCause::RecorderError, 1);
        counter.steps(1);
        pipeline.flush().unwrap();
        counter.producer.shared().lost.add(LossCause::QueueFull, u64::from(n));
        assert_eq!(pipeline.stats().lost, u64::from(n + n * (n + 1) / 2));
    }
    let report = pipeline.stop(Exit::Code(0), Map::new()).unwrap();
    assert_eq!(report.stats.lost, 9);
    let metadata = json(&dir.path().join("trace_metadata.json"));
    assert_eq!(metadata["losses"], value!({"queue_full": 6, "recorder_error": 3}));
}
