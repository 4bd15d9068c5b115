//! The ring in files: as good as the one in memory, bounded, and a trace after the process was killed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::RingLimits;
use super::tests::{dump, flight, limits, range};
use crate::format::recover::recover;
use crate::format::verify::verify;
use crate::pipeline::layout::{Put, output, record, value};
use crate::pipeline::model::{Exit, TraceFormat};
use crate::pipeline::tests::support::*;
use crate::pipeline::{Pipeline, PipelineConfig};
use crate::storage::{FaultPlan, FaultyStorage};

fn in_files() -> RingLimits {
    RingLimits { in_files: true, ..limits() }
}

/// What a kill at this moment leaves: a copy, as the recorder's own process lives on.
fn killed(out_dir: &Path) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let left = tempfile::tempdir().unwrap();
    copy(out_dir, left.path());
    // It says that this process is recording.
    std::fs::remove_file(left.path().join("recording.json")).unwrap();
    left
}

/// The dump that `recover` makes of what was left.
fn recovered(left: &Path) -> PathBuf {
    let done = recover(left).unwrap();
    assert!(done[0].contains("what it held is now"), "{done:?}");
    assert!(!left.join("ring").exists());
    let mut dumps: Vec<_> = std::fs::read_dir(left.join("dumps")).unwrap().map(|dump| dump.unwrap().path()).collect();
    dumps.sort();
    let dump = dumps.pop().unwrap();
    assert!(dump.to_str().unwrap().ends_with("-killed"), "{}", dump.display());
    assert_eq!(verify(&dump).unwrap(), Vec::<String>::new());
    assert_eq!(verify(left).unwrap(), Vec::<String>::new());
    assert_eq!(recover(left).unwrap(), Vec::<String>::new(), "there is nothing left to do");
    dump
}

/// Bytes of the segments on disk.
fn segment_bytes(out_dir: &Path) -> u64 {
    let files = std::fs::read_dir(out_dir.join("ring/0001")).unwrap().map(|file| file.unwrap());
    let segments = files.filter(|file| file.file_name().to_str().unwrap().ends_with(".blocks"));
    segments.map(|file| file.metadata().unwrap().len()).sum()
}

/// Two calls with all that a state has to keep: names of their own, a value in place, output before and after.
fn busy(pipeline: &Pipeline) -> crate::pipeline::StreamProducer {
    let mut producer = Counter::start(pipeline, "MainThread").producer;
    let mut records = Vec::new();
    for line in 0..2 {
        records.put_u8(record::CALL);
        records.put_u32(0);
        records.put_u8(record::DECLARE);
        records.put_u16(1);
        records.put_u16(5);
        records.put_bytes(b"added");
        for slot in 0..2u16 {
            records.put_u8(record::SET);
            records.put_u16(slot);
            records.put_compound(value::TUPLE, crate::pipeline::tables::types::TUPLE, 2);
            records.put_int(7);
            records.put_str("né");
        }
        records.put_u8(record::CALL_END);
        records.put_u8(record::STEP);
        records.put_u32(10 + line);
    }
    records.put_u8(record::UNSET);
    records.put_u16(0);
    records.put_u8(record::OUTPUT_PART);
    records.put_bytes(&[output::STDOUT, 0]);
    records.put_u32(output::NO_CODE);
    records.put_u32(0);
    records.put_u64(0);
    records.put_text("half of ");
    producer.push(&records);
    producer
}

#[test]
fn a_dump_is_that_of_the_ring_in_memory_event_by_event() {
    for format in [TraceFormat::Binary, TraceFormat::Json] {
        let dumped = [limits(), in_files()].map(|limits| {
            let dir = tempfile::tempdir().unwrap();
            let pipeline = spawn(flight(dir.path(), format, limits));
            let mut main = Counter::start(&pipeline, "MainThread");
            let mut other = Counter::start(&pipeline, "other");
            for _ in 0..10 {
                main.steps(700);
                other.steps(300);
                pipeline.flush().unwrap();
            }
            let root = dump(&pipeline, "x");
            let found =
                ["", "threads/01-other"].map(|of| format!("{:?}", events(&root.join(of).join(format.events_file()))));
            drop((main, other));
            pipeline.stop(Exit::Code(0), Default::default()).unwrap();
            assert!(!dir.path().join("ring").exists(), "what is in the trace needs no files");
            assert_eq!(range(&dir.path().join(format.events_file())), (1, 7000));
            found
        });
        let [in_memory, in_files] = dumped;
        assert!(in_memory[0].len() > 7000 && in_memory == in_files, "they differ");
    }
}

#[test]
fn files_stay_below_their_limit_however_long_the_run_and_nobody_else_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let max_bytes = 400_000;
    let pipeline = spawn(flight(dir.path(), TraceFormat::Binary, RingLimits { max_bytes, ..in_files() }));
    let mut counter = Counter::start(&pipeline, "MainThread");
    let mut sizes = Vec::new();
    for _ in 0..12 {
        counter.steps(40_000);
        pipeline.flush().unwrap();
        sizes.push(segment_bytes(dir.path()));
    }
    assert!(sizes.iter().all(|size| *size <= max_bytes as u64), "{sizes:?}");
    assert!(sizes[11] > max_bytes as u64 / 2, "the room there is gets used: {sizes:?}");
    let ring = pipeline.stats().ring.unwrap();
    assert_eq!((ring.storage, ring.failed_writes), ("files", Some(0)));
    assert!(ring.evicted_bytes > 0 && ring.peak_bytes <= max_bytes as u64);
    assert!(ring.file_bytes.unwrap() >= sizes[11], "{ring:?}");
    #[cfg(unix)]
    for (path, mode) in [("ring", 0o700), ("ring/0001", 0o700), ("ring/0001/definitions.jsonl", 0o600)] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(dir.path().join(path).metadata().unwrap().permissions().mode() & 0o777, mode, "{path}");
    }
    let (first, last) = range(&dump(&pipeline, "late").join("trace.bin"));
    assert_eq!(last, 480_000);
    assert!(first > 10_000);
    drop(counter);
    pipeline.abandon(false);
    assert!(!dir.path().join("ring").exists());
}

#[test]
fn a_killed_recording_becomes_the_dump_it_would_have_made() {
    for format in [TraceFormat::Binary, TraceFormat::Json] {
        let dir = tempfile::tempdir().unwrap();
        let pipeline = spawn(flight(dir.path(), format, RingLimits { max_bytes: 300_000, ..in_files() }));
        let mut main = Counter::start(&pipeline, "MainThread");
        let mut other = Counter::start(&pipeline, "other");
        for _ in 0..20 {
            main.steps(9_000);
            other.steps(3_000);
        }
        pipeline.flush().unwrap();
        let left = killed(dir.path());
        let made = recovered(left.path());
        assert_eq!(range(&made.join(format.events_file())).1, 180_000);
        assert_eq!(range(&made.join("threads/01-other").join(format.events_file())).1, 60_000);
        let metadata = json(&made.join("trace_metadata.json"));
        assert_eq!((&metadata["program"], &metadata["dump"]["reason"]), (&PROGRAM.into(), &"killed".into()));
        drop((main, other));
        pipeline.abandon(false);
    }
}

#[test]
fn what_was_going_on_when_the_oldest_file_begins_is_known_as_well_as_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(flight(dir.path(), TraceFormat::Binary, RingLimits { max_bytes: 300_000, ..in_files() }));
    let producer = busy(&pipeline);
    let mut other = Counter::start(&pipeline, "other");
    pipeline.flush().unwrap();
    // All that `busy` did leaves the ring.
    other.steps(200_000);
    pipeline.flush().unwrap();
    let mut producer = producer;
    let mut records = Vec::new();
    for stream in [output::STDOUT, output::STDERR] {
        records.put_u8(record::OUTPUT);
        records.put_bytes(&[stream, output::NEWLINE]);
        records.put_u32(output::NO_CODE);
        records.put_u32(0);
        records.put_u64(0);
        records.put_text("a line\n");
    }
    producer.push(&records);
    pipeline.flush().unwrap();
    let left = killed(dir.path());
    let in_process = dump(&pipeline, "x").join("trace.bin");
    let shown = |file: &Path| -> Vec<String> {
        let events = events(file).into_iter();
        // Definitions may come in another order; these have but one.
        events.filter(|event| !format!("{event:?}").starts_with("Type")).map(|event| format!("{event:?}")).collect()
    };
    let expected = shown(&in_process);
    assert!(expected.iter().any(|event| event.contains("né")) && expected.iter().any(|event| event.contains("a line")));
    assert_eq!(shown(&recovered(left.path()).join("trace.bin")), expected);
    drop((producer, other));
    pipeline.abandon(false);
}

#[test]
fn a_full_disk_or_a_failing_one_leaves_the_ring_in_memory_and_the_recording_goes_on() {
    for plan in [
        FaultPlan { full_after: Some(60_000), ..FaultPlan::default() },
        FaultPlan { fail_write: Some(20), ..FaultPlan::default() },
        FaultPlan { short_writes: Some(1_000), fail_write: Some(60), ..FaultPlan::default() },
    ] {
        let dir = tempfile::tempdir().unwrap();
        let full = plan.full_after.is_some();
        let config = flight(dir.path(), TraceFormat::Binary, RingLimits { max_bytes: 500_000, ..in_files() });
        let pipeline = spawn_on(config, Arc::new(FaultyStorage::new(plan)));
        let mut counter = Counter::start(&pipeline, "MainThread");
        for _ in 0..40 {
            counter.steps(1_000);
            pipeline.flush().unwrap();
        }
        assert!(pipeline.failure().is_none());
        let ring = pipeline.stats().ring.unwrap();
        assert!(ring.failed_writes > Some(0) && ring.peak_bytes <= 500_000, "{ring:?}");
        let left = killed(dir.path());
        let last = range(&recovered(left.path()).join("trace.bin")).1;
        if full {
            assert!((1..40_000).contains(&last), "what fitted is there: {last}");
        } else {
            assert_eq!(last, 40_000);
            assert_eq!(
                range(&dump(&pipeline, "x").join("trace.bin")),
                (1, 40_000),
                "nothing is missing in the process"
            );
        }
        drop(counter);
        pipeline.abandon(false);
    }
}

#[test]
fn the_ring_of_a_killed_recording_outlives_the_next_one_and_no_more_than_one_does() {
    let dir = tempfile::tempdir().unwrap();
    for number in 1..=3u32 {
        let pipeline = spawn(flight(dir.path(), TraceFormat::Binary, in_files()));
        let mut counter = Counter::start(&pipeline, "MainThread");
        counter.steps(number * 100);
        pipeline.flush().unwrap();
        drop(counter);
        let rings = || std::fs::read_dir(dir.path().join("ring")).unwrap().count();
        assert_eq!(rings(), 2.min(number as usize));
        if number < 3 {
            // As if it were killed: it never hears of the next one, which removes what it has.
            std::mem::forget(pipeline);
        } else {
            pipeline.stop(Exit::Code(0), Default::default()).unwrap();
            assert_eq!(rings(), 1);
        }
    }
    assert_eq!(range(&recovered(dir.path()).join("trace.bin")), (1, 200));
    assert_eq!(range(&dir.path().join("trace.bin")), (1, 300));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    /// Whatever was dropped, and wherever the files were torn: what is recovered is a run of what each thread did.
    #[test]
    fn whatever_a_kill_leaves_is_a_trace(
        turns in prop::collection::vec((0usize..3, 1u32..9000, any::<bool>()), 1..12),
        max_bytes in 100_000usize..400_000,
        torn in 0u64..3000,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let config = flight(dir.path(), TraceFormat::Binary, RingLimits { max_bytes, ..in_files() });
        let pipeline = spawn(PipelineConfig { own_thread_traces: 2, ..config });
        let mut counters = ["MainThread", "a", "b"].map(|name| Counter::start(&pipeline, name));
        for (which, steps, flushed) in turns {
            counters[which].steps(steps);
            if flushed {
                pipeline.flush().unwrap();
            }
        }
        pipeline.flush().unwrap();
        let left = killed(dir.path());
        let (_, last) = super::files::segment_files(&left.path().join("ring/0001")).unwrap().pop().unwrap();
        let len = std::fs::metadata(&last).unwrap().len();
        std::fs::OpenOptions::new().write(true).open(&last).unwrap().set_len(len.saturating_sub(torn)).unwrap();
        let done = recover(left.path()).unwrap();
        prop_assert_eq!(verify(left.path()).unwrap(), Vec::<String>::new());
        if done[0].contains("what it held") {
            let root = left.path().join("dumps/0001-killed");
            prop_assert_eq!(verify(&root).unwrap(), Vec::<String>::new());
            for (counter, directory) in counters.iter().zip(["", "threads/01-a/", "threads/02-b/"]) {
                let file = root.join(format!("{directory}trace.bin"));
                if file.exists() {
                    let (_, last) = range(&file);
                    prop_assert!(last == i64::from(counter.line) || (torn > 0 && last < i64::from(counter.line)));
                }
            }
        } else {
            prop_assert!(torn > 0);
        }
        drop(counters);
        pipeline.abandon(false);
    }
}
