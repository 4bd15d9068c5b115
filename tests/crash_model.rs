//! Random recordings that are killed or lose power at random moments: what `recover` makes of the disk is a prefix of
//! what was pushed, and holds everything that was flushed before.

mod pipeline_support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use codetracer_python_recorder::format::recover::recover;
use codetracer_python_recorder::format::verify::verify;
use codetracer_python_recorder::pipeline::model::{Exit, TraceFormat};
use codetracer_python_recorder::pipeline::{Pipeline, PipelineConfig, StreamInfo, StreamProducer};
use codetracer_python_recorder::storage::crash::restore;
use codetracer_python_recorder::storage::{CrashStorage, Storage};
use proptest::prelude::*;
use runtime_tracing::TraceLowLevelEvent as Event;
use serde_json::{Map, json};

use pipeline_support::{config, events, step, tables};

const STREAMS: usize = 3;

#[derive(Debug, Clone)]
enum Action {
    /// A thread makes so many steps.
    Steps(usize, u32),
    /// Everything goes to disk, so that it survives a power cut.
    Flush,
    /// Time for a tick: everything goes to disk, as far as the operating system keeps it.
    Pause,
    /// A thread ends; another one of its name begins when there are further steps.
    End(usize),
    Rotate,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        8 => (0..STREAMS, 1..300u32).prop_map(|(stream, steps)| Action::Steps(stream, steps)),
        3 => Just(Action::Flush),
        2 => Just(Action::Pause),
        1 => (1..STREAMS).prop_map(Action::End),
        1 => Just(Action::Rotate),
    ];
    proptest::collection::vec(action, 1..20)
}

/// What is recorded in one thread, in the parts it was flushed in.
struct Thread {
    producer: Option<StreamProducer>,
    /// Its number among the streams.
    id: u32,
    steps: u32,
}

/// A moment at which a flush had returned, and how many steps each thread had made then.
struct Promise {
    moment: usize,
    steps: Vec<(u32, u32)>,
}

/// The lines of the steps in a file, and whether it begins with one that an earlier part has.
fn lines_in(file: &Path, format: TraceFormat) -> Result<Vec<i64>, TestCaseError> {
    Ok(events(file, format)?
        .iter()
        .filter_map(|event| if let Event::Step(step) = event { Some(step.line.0) } else { None })
        .collect())
}

/// How far each thread got, by its number, from all parts: no line is missing, none is there twice.
fn recovered(dir: &Path, format: TraceFormat) -> Result<Vec<(u32, u32)>, TestCaseError> {
    let mut parts = vec![dir.to_path_buf()];
    for number in 1..100 {
        let part = dir.join(format!("parts/{number:04}"));
        if part.join(format.events_file()).exists() {
            parts.push(part);
        }
    }
    let mut reached = std::collections::BTreeMap::<u32, u32>::new();
    for part in parts {
        let mut traces = vec![(0, part.clone())];
        for entry in std::fs::read_dir(part.join("threads")).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            let id = name.split('-').next().and_then(|id| id.parse().ok());
            if let Some(id) = id.filter(|_| entry.path().join(format.events_file()).exists()) {
                traces.push((id, entry.path()));
            }
        }
        for (id, trace) in traces {
            let lines = lines_in(&trace.join(format.events_file()), format)?;
            let last = reached.entry(id).or_default();
            for line in lines.into_iter().filter(|line| *line > 0) {
                // A part repeats the line at which its calls are.
                if line != i64::from(*last) {
                    prop_assert_eq!(line, i64::from(*last) + 1, "thread {} in {}", id, trace.display());
                    *last += 1;
                }
            }
        }
    }
    Ok(reached.into_iter().collect())
}

fn check(
    disk: &codetracer_python_recorder::storage::crash::Disk,
    from: &Path,
    promised: Option<&Promise>,
    all: &[(u32, u32)],
    format: TraceFormat,
    what: &str,
) -> Result<(), TestCaseError> {
    let found = tempfile::tempdir()?;
    restore(disk, from, found.path())?;
    // The process that records is taken for dead: this one is not.
    let state = found.path().join("recording.json");
    if let Ok(text) = std::fs::read_to_string(&state) {
        std::fs::write(&state, text.replace(&format!("\"pid\": {}", std::process::id()), "\"pid\": 4194305"))?;
    }
    if !found.path().join(format.events_file()).exists() {
        prop_assert!(promised.is_none(), "{}: nothing is left of what was flushed", what);
        return Ok(());
    }
    recover(found.path()).map_err(|e| TestCaseError::fail(format!("{what}: {e}")))?;
    prop_assert_eq!(verify(found.path()).map_err(|e| TestCaseError::fail(e.to_string()))?, Vec::<String>::new());
    prop_assert_eq!(recover(found.path()).map_err(|e| TestCaseError::fail(e.to_string()))?, Vec::<String>::new());
    let kept: std::collections::BTreeMap<_, _> = recovered(found.path(), format)?.into_iter().collect();
    for (id, steps) in all {
        prop_assert!(kept.get(id).is_none_or(|kept| kept <= steps), "{}: more than there was", what);
    }
    for (id, steps) in promised.map(|promise| &promise.steps).into_iter().flatten() {
        let kept = kept.get(id).copied().unwrap_or(0);
        prop_assert!(kept >= *steps, "{}: thread {} has {} of the {} steps that were flushed", what, id, kept, steps);
    }
    Ok(())
}

fn run(actions: Vec<Action>, format: TraceFormat, segment_bytes: usize, seed: u64) -> Result<(), TestCaseError> {
    let root = tempfile::tempdir()?;
    let dir = root.path().join("trace");
    let metadata: Map<_, _> = [("workdir", json!("/srv")), ("program", json!("/srv/program.py")), ("args", json!([]))]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let config = PipelineConfig { durable: true, metadata, ..config(&dir, format, segment_bytes) };
    let storage = Arc::new(CrashStorage::default());
    let shared: Arc<dyn Storage> = Arc::<CrashStorage>::clone(&storage);
    let pipeline =
        Pipeline::spawn(config, Arc::new(tables()), shared).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let mut next = 0;
    let mut open = || {
        next += 1;
        let info = StreamInfo { name: "t".to_owned(), native_id: u64::from(next) };
        Thread { producer: Some(pipeline.open_stream(info)), id: next - 1, steps: 0 }
    };
    let mut threads: Vec<Thread> = (0..STREAMS).map(|_| open()).collect();
    let mut ended: Vec<(u32, u32)> = Vec::new();
    let mut promises = Vec::new();
    let reached = |threads: &[Thread], ended: &[(u32, u32)]| -> Vec<(u32, u32)> {
        ended.iter().copied().chain(threads.iter().map(|thread| (thread.id, thread.steps))).collect()
    };
    for action in actions {
        match action {
            Action::Steps(stream, steps) => {
                let thread = &mut threads[stream];
                for _ in 0..steps {
                    thread.steps += 1;
                    if let Some(producer) = &mut thread.producer {
                        step(producer, thread.steps);
                    }
                }
            }
            Action::Pause => std::thread::sleep(Duration::from_millis(5)),
            Action::End(stream) => {
                let old = std::mem::replace(&mut threads[stream], open());
                ended.push((old.id, old.steps));
            }
            Action::Flush | Action::Rotate => {
                let done = match action {
                    Action::Flush => pipeline.flush(),
                    _ => pipeline.rotate("test").map(drop),
                };
                done.map_err(|e| TestCaseError::fail(e.to_string()))?;
                promises.push(Promise { moment: storage.moments(), steps: reached(&threads, &ended) });
            }
        }
    }
    let all = reached(&threads, &ended);
    threads.clear();
    pipeline.stop(Exit::Code(0), Map::new()).map_err(|e| TestCaseError::fail(e.to_string()))?;
    promises.push(Promise { moment: storage.moments(), steps: all.clone() });

    let mut state = seed | 1;
    let mut chance = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below.max(1)
    };
    let moments = storage.moments();
    for round in 0..12 {
        let moment = if round == 0 { moments } else { chance(moments + 1) };
        let promised = promises.iter().rev().find(|promise| promise.moment <= moment);
        let killed = storage.after_kill(moment, chance(100) as f64 / 100.0);
        check(&killed, &dir, promised, &all, format, &format!("killed at {moment} of {moments}"))?;
        let cut = storage.after_power_cut(moment, &mut chance);
        check(&cut, &dir, promised, &all, format, &format!("power cut at {moment} of {moments}"))?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_moment_a_crash_comes_a_prefix_with_all_that_was_flushed_is_recovered(
        actions in actions(), json in any::<bool>(), segment_bytes in 64..8_192usize, seed in any::<u64>(),
    ) {
        let format = if json { TraceFormat::Json } else { TraceFormat::Binary };
        run(actions, format, segment_bytes, seed)?;
    }
}
