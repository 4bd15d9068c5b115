//! Random recordings over random faults: what a file holds is always a prefix of what was pushed, and all of it
//! when nothing went wrong.

mod pipeline_support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use codetracer_python_recorder::format::recover::recover;
use codetracer_python_recorder::pipeline::model::{Exit, TraceFormat};
use codetracer_python_recorder::pipeline::{Pipeline, PipelineConfig, StreamInfo, StreamProducer};
use codetracer_python_recorder::storage::{FaultPlan, FaultyStorage};
use proptest::prelude::*;
use runtime_tracing::TraceLowLevelEvent as Event;
use serde_json::Map;

use pipeline_support::{config, events, step, tables};

const STREAMS: usize = 3;

/// What a program does, and when somebody looks.
#[derive(Debug, Clone)]
enum Action {
    /// A thread makes so many steps.
    Steps(usize, u32),
    /// Everything goes to disk, and is read back.
    Flush,
    /// Time for a tick.
    Pause,
    /// A thread ends.
    End(usize),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        8 => (0..STREAMS, 1..400u32).prop_map(|(stream, steps)| Action::Steps(stream, steps)),
        2 => Just(Action::Flush),
        1 => Just(Action::Pause),
        1 => (1..STREAMS).prop_map(Action::End),
    ];
    proptest::collection::vec(action, 1..24)
}

fn faults() -> impl Strategy<Value = FaultPlan> {
    let at = || proptest::option::weighted(0.3, 2..40u64);
    (proptest::option::weighted(0.4, 500..40_000u64), at(), at(), proptest::option::weighted(0.4, 1..2_000usize))
        .prop_map(|(full_after, fail_write, panic_on_write, short_writes)| FaultPlan {
            full_after,
            fail_write,
            panic_on_write,
            fail_from: None,
            short_writes,
            write_delay: Duration::ZERO,
        })
}

struct Thread {
    producer: Option<StreamProducer>,
    steps: u32,
}

impl Thread {
    fn step(&mut self) {
        let Some(producer) = &mut self.producer else { return };
        self.steps += 1;
        step(producer, self.steps);
    }
}

/// The number of steps in a file, after checking that they are the first ones, in order, and calls balanced.
fn steps_in(file: &Path, format: TraceFormat) -> Result<u32, TestCaseError> {
    if !file.exists() {
        return Ok(0);
    }
    let (mut steps, mut depth) = (0, 0i64);
    for event in events(file, format)? {
        match event {
            Event::Step(step) if depth > 1 && step.line.0 > 0 => {
                steps += 1;
                prop_assert_eq!(step.line.0, i64::from(steps));
            }
            Event::Call(_) => depth += 1,
            Event::Return(_) => depth -= 1,
            _ => {}
        }
    }
    prop_assert_eq!(depth, 0);
    Ok(steps)
}

fn run(actions: Vec<Action>, plan: FaultPlan, format: TraceFormat, segment_bytes: usize) -> Result<(), TestCaseError> {
    let faults = [plan.full_after.is_some(), plan.fail_write.is_some(), plan.panic_on_write.is_some()];
    let faults = faults.into_iter().filter(|fault| *fault).count();
    let faultless = faults == 0;
    let dir = tempfile::tempdir()?;
    let config = PipelineConfig {
        stop_deadline: Duration::from_secs(20),
        durable: false,
        ..config(dir.path(), format, segment_bytes)
    };
    let storage = Arc::new(FaultyStorage::new(plan));
    // Faults start at the second write or a size that the first file fits: a recording always begins.
    let pipeline =
        Pipeline::spawn(config, Arc::new(tables()), storage).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let mut threads: Vec<Thread> = (0..STREAMS)
        .map(|n| {
            let info = StreamInfo { name: "t".to_owned(), native_id: n as u64 };
            Thread { producer: Some(pipeline.open_stream(info)), steps: 0 }
        })
        .collect();
    let file = |stream: usize| match stream {
        0 => dir.path().join(format.events_file()),
        _ => dir.path().join(format!("threads/0{stream}-t")).join(format.events_file()),
    };
    for action in actions {
        match action {
            Action::Steps(stream, steps) => (0..steps).for_each(|_| threads[stream].step()),
            Action::Pause => std::thread::sleep(Duration::from_millis(5)),
            Action::End(stream) => threads[stream].producer = None,
            Action::Flush => {
                let flushed = pipeline.flush();
                prop_assert_eq!(flushed.is_err() && faultless, false, "{:?}", flushed);
                if flushed.is_ok() {
                    for (stream, thread) in threads.iter().enumerate() {
                        prop_assert_eq!(steps_in(&file(stream), format)?, thread.steps);
                    }
                }
            }
        }
    }
    threads.iter_mut().for_each(|thread| thread.producer = None);
    let stopped = pipeline.stop(Exit::Code(0), Map::new());
    prop_assert_eq!(stopped.is_err() && faultless, false, "{:?}", stopped);
    if faults > 1 {
        // A second fault can hit while the first is put right: then, and only then, opening needs `recover`.
        // The process that records is taken for dead: this one is not.
        let _ = std::fs::remove_file(dir.path().join("recording.json"));
        recover(dir.path()).map_err(|e| TestCaseError::fail(e.to_string()))?;
    }
    for (stream, thread) in threads.iter().enumerate() {
        let kept = steps_in(&file(stream), format)?;
        if stopped.is_ok() {
            prop_assert_eq!(kept, thread.steps);
        } else {
            prop_assert!(kept <= thread.steps);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_arrives_when_nothing_goes_wrong(
        actions in actions(), json in any::<bool>(), segment_bytes in 64..8_192usize,
    ) {
        let format = if json { TraceFormat::Json } else { TraceFormat::Binary };
        run(actions, FaultPlan { short_writes: Some(700), ..FaultPlan::default() }, format, segment_bytes)?;
    }

    #[test]
    fn whatever_the_disk_does_a_prefix_of_every_thread_opens(
        actions in actions(), plan in faults(), json in any::<bool>(), segment_bytes in 64..8_192usize,
    ) {
        let format = if json { TraceFormat::Json } else { TraceFormat::Binary };
        run(actions, plan, format, segment_bytes)?;
    }
}
