//! The flight recorder with the real stages and the official reader: whatever was dropped, what is left is a whole trace
//! of the latest events.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use runtime_tracing::{TraceLowLevelEvent as Event, ValueRecord};

use super::RingLimits;
use super::dump::DumpRequest;
use crate::errors::ErrorCode;
use crate::pipeline::model::{Exit, TraceFormat};
use crate::pipeline::tests::support::*;
use crate::pipeline::{Pipeline, PipelineConfig};
use crate::storage::{FaultPlan, FaultyStorage};

const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn limits() -> RingLimits {
    RingLimits { duration: HOUR, max_bytes: 1 << 20, in_files: false, max_steps: 0, keep_at_exit: true }
}

pub(super) fn flight(dir: &Path, format: TraceFormat, limits: RingLimits) -> PipelineConfig {
    PipelineConfig { ring: Some(limits), ..config(dir, format) }
}

pub(super) fn dump(pipeline: &Pipeline, reason: &str) -> PathBuf {
    let details = [("asked_by".to_owned(), "a test".into())].into_iter().collect();
    pipeline.dump(DumpRequest { reason: reason.to_owned(), details }).unwrap()
}

/// The first and last line that a trace steps through, after checking that it is balanced, that no line between them is
/// missing and that each shows `n`.
pub(super) fn range(file: &Path) -> (i64, i64) {
    let (mut first, mut last, mut depth, mut shown) = (None, 0, 0, None);
    for event in events(file) {
        match event {
            Event::Step(step) if step.line.0 > 0 && depth > 1 => {
                assert!(first.is_none() || step.line.0 == last + 1, "{last} is followed by {}", step.line.0);
                first.get_or_insert(step.line.0);
                last = step.line.0;
                shown = Some(last);
            }
            Event::Value(value) => {
                let expected = shown.take();
                assert!(matches!(value.value, ValueRecord::Int { i, .. } if Some(i) == expected), "{value:?}");
            }
            Event::Call(_) => depth += 1,
            Event::Return(_) => depth -= 1,
            _ => {}
        }
        assert!(depth >= 0);
    }
    assert_eq!(depth, 0, "unbalanced");
    (first.unwrap_or(0), last)
}

#[test]
fn a_dump_is_a_whole_trace_of_the_latest_events_and_the_recording_goes_on() {
    for format in [TraceFormat::Binary, TraceFormat::Json] {
        let dir = tempfile::tempdir().unwrap();
        let pipeline = spawn(flight(dir.path(), format, RingLimits { max_bytes: 40_000, ..limits() }));
        let mut counter = Counter::start(&pipeline, "MainThread");
        counter.steps(100);
        let first = dump(&pipeline, "before anything was dropped");
        assert_eq!(first, dir.path().join("dumps/0001-before_anything_was_dropped"));
        assert_eq!(range(&first.join(format.events_file())), (1, 100));

        counter.steps(60_000);
        let second = dump(&pipeline, "late");
        let (oldest, latest) = range(&second.join(format.events_file()));
        assert_eq!(latest, 60_100);
        assert!(oldest > 10_000, "nothing was dropped before {oldest}");
        assert_eq!(crate::format::verify::verify(&second).unwrap(), Vec::<String>::new());
        let metadata = json(&second.join("trace_metadata.json"));
        assert_eq!((&metadata["program"], &metadata["dump"]["number"]), (&PROGRAM.into(), &2.into()));
        assert_eq!((&metadata["dump"]["reason"], &metadata["dump"]["asked_by"]), (&"late".into(), &"a test".into()));
        assert_eq!(metadata["streams"][0]["counts"]["continued"], 1);
        assert_eq!(json(&second.join("recording.json"))["state"], "complete");
        assert_eq!(json(&second.join("trace_paths.json")), serde_json::json!([PROGRAM, "/srv/count.py"]));

        counter.steps(10);
        drop(counter);
        assert_eq!(json(&dir.path().join("recording.json"))["state"], "recording");
        let ring = pipeline.stop(Exit::Code(0), Default::default()).map(|_| pipeline.stats().ring).unwrap().unwrap();
        assert_eq!((ring.dumps, ring.failed_dumps), (2, 0));
        assert!(ring.evicted_bytes > 0);
        let (oldest_at_end, end) = range(&dir.path().join(format.events_file()));
        assert_eq!(end, 60_110);
        assert!(oldest_at_end >= oldest);
        assert_eq!(crate::format::verify::verify(dir.path()).unwrap(), Vec::<String>::new());
        // The earlier dump is as it was.
        assert_eq!(range(&first.join(format.events_file())), (1, 100));
    }
}

#[test]
fn memory_stays_below_its_limit_however_long_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let max_bytes = 200_000;
    let pipeline = spawn(flight(dir.path(), TraceFormat::Binary, RingLimits { max_bytes, ..limits() }));
    let mut counter = Counter::start(&pipeline, "MainThread");
    let mut peaks = Vec::new();
    for _ in 0..10 {
        counter.steps(40_000);
        pipeline.flush().unwrap();
        peaks.push(pipeline.stats().ring.unwrap().peak_bytes);
    }
    drop(counter);
    assert!(peaks.iter().all(|peak| *peak <= max_bytes as u64), "{peaks:?}");
    assert!(peaks[9] > max_bytes as u64 / 2, "the memory there is gets used: {peaks:?}");
    pipeline.abandon(false);
}

#[test]
fn what_is_older_than_the_time_that_is_kept_goes() {
    let dir = tempfile::tempdir().unwrap();
    let duration = Duration::from_millis(300);
    let config = flight(dir.path(), TraceFormat::Binary, RingLimits { duration, ..limits() });
    let pipeline = spawn(PipelineConfig { flush_interval: Duration::from_millis(10), ..config });
    let mut counter = Counter::start(&pipeline, "MainThread");
    counter.steps(500);
    eventually("what is old has gone", || pipeline.stats().ring.unwrap().evicted_bytes > 0);
    counter.steps(1);
    let (oldest, latest) = range(&dump(&pipeline, "late").join("trace.bin"));
    // The step that the program is at is shown again.
    assert_eq!((oldest, latest), (500, 501));
    drop(counter);
    pipeline.stop(Exit::Unknown, Default::default()).unwrap();
}

#[test]
fn a_dump_has_no_more_steps_than_it_may_have_and_the_latest_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(flight(dir.path(), TraceFormat::Binary, RingLimits { max_steps: 20_000, ..limits() }));
    let mut counter = Counter::start(&pipeline, "MainThread");
    counter.steps(50_000);
    let (oldest, latest) = range(&dump(&pipeline, "all").join("trace.bin"));
    assert_eq!(latest, 50_000);
    assert!((10_000..=20_001).contains(&(latest - oldest)), "{oldest}");
    drop(counter);
    pipeline.stop(Exit::Unknown, Default::default()).unwrap();
    let (oldest, latest) = range(&dir.path().join("trace.bin"));
    assert_eq!(latest, 50_000);
    assert!(latest - oldest <= 20_001, "{oldest}");
}

#[test]
fn threads_have_traces_of_their_own_in_a_dump_those_that_ended_included() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(flight(dir.path(), TraceFormat::Binary, RingLimits { keep_at_exit: false, ..limits() }));
    let mut main = Counter::start(&pipeline, "MainThread");
    let mut ended = Counter::start(&pipeline, "ended");
    let idle = Counter::start(&pipeline, "idle");
    main.steps(3);
    ended.steps(2000);
    drop(ended);
    pipeline.flush().unwrap();
    let dump = dump(&pipeline, "x");
    assert_eq!(range(&dump.join("trace.bin")), (1, 3));
    assert_eq!(range(&dump.join("threads/01-ended/trace.bin")), (1, 2000));
    assert!(!dump.join("threads/02-idle").exists());
    drop((main, idle));
    pipeline.stop(Exit::Unknown, Default::default()).unwrap();
    // Nothing is kept at the end but where the program was.
    assert_eq!(range(&dir.path().join("trace.bin")), (3, 3));
    assert!(!dir.path().join("threads").exists());
}

#[test]
fn without_a_flight_recorder_there_is_nothing_to_dump_and_a_dump_that_fails_ends_nothing() {
    let request = || DumpRequest { reason: "x".to_owned(), details: Default::default() };
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(config(dir.path(), TraceFormat::Binary));
    pipeline.request_dump(request());
    assert_eq!(pipeline.dump(request()).unwrap_err().code, ErrorCode::InvalidPolicyValue);
    pipeline.abandon(false);

    let dir = tempfile::tempdir().unwrap();
    let storage = FaultyStorage::new(FaultPlan { full_after: Some(6_000), ..FaultPlan::default() });
    let pipeline = spawn_on(flight(dir.path(), TraceFormat::Json, limits()), std::sync::Arc::new(storage));
    let mut counter = Counter::start(&pipeline, "MainThread");
    counter.steps(1000);
    assert_eq!(pipeline.dump(request()).unwrap_err().code, ErrorCode::Io);
    assert!(pipeline.failure().is_none());
    let ring = pipeline.stats().ring.unwrap();
    assert_eq!((ring.dumps, ring.failed_dumps), (0, 1));
    drop(counter);
    pipeline.abandon(false);
}

#[test]
fn dumps_of_an_earlier_recording_stay_and_the_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    for number in 1..=2 {
        let pipeline = spawn(flight(dir.path(), TraceFormat::Binary, limits()));
        let mut counter = Counter::start(&pipeline, "MainThread");
        counter.steps(number * 10);
        assert_eq!(dump(&pipeline, "x"), dir.path().join(format!("dumps/{number:04}-x")));
        drop(counter);
        pipeline.stop(Exit::Unknown, Default::default()).unwrap();
    }
    assert_eq!(range(&dir.path().join("dumps/0001-x/trace.bin")), (1, 10));
    assert_eq!(range(&dir.path().join("dumps/0002-x/trace.bin")), (1, 20));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    /// Whatever was dropped, and whenever a dump is taken: it is a suffix of what each thread did until then.
    #[test]
    fn a_dump_is_a_suffix_of_the_undisturbed_recording(
        turns in prop::collection::vec((0usize..3, 1u32..6000, any::<bool>()), 1..12),
        max_bytes in 0usize..60_000,
        max_steps in prop::option::of(1u64..20_000),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let limits = RingLimits { max_bytes, max_steps: max_steps.unwrap_or(0), ..limits() };
        let pipeline = spawn(flight(dir.path(), TraceFormat::Binary, limits));
        let mut counters = ["MainThread", "a", "b"].map(|name| Counter::start(&pipeline, name));
        let check = |root: &Path, made: [i64; 3]| {
            for (made, directory) in made.into_iter().zip(["", "threads/01-a/", "threads/02-b/"]) {
                let file = root.join(format!("{directory}trace.bin"));
                if file.exists() {
                    prop_assert_eq!(range(&file).1, made);
                } else {
                    prop_assert!(!directory.is_empty());
                }
            }
            prop_assert_eq!(crate::format::verify::verify(root).unwrap(), Vec::<String>::new());
            Ok(())
        };
        for (which, steps, wanted) in turns {
            counters[which].steps(steps);
            if wanted {
                let made = counters.each_ref().map(|counter| i64::from(counter.line));
                check(&dump(&pipeline, "x"), made)?;
            }
        }
        let made = counters.each_ref().map(|counter| i64::from(counter.line));
        drop(counters);
        pipeline.stop(Exit::Code(0), Default::default()).unwrap();
        check(dir.path(), made)?;
    }
}
