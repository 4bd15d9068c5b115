//! The order of what several threads recorded, as the index tells it.

use std::path::Path;

use serde_json::Map;

use super::support::{Counter, config, spawn};
use crate::format::thread_index::{Line, read_index};
use crate::format::verify::verify;
use crate::pipeline::PipelineConfig;
use crate::pipeline::model::{Exit, TraceFormat};

/// Turns of a part in their order, as (thread, steps of its trace before).
fn turns(directory: &Path) -> Vec<(u32, u64)> {
    let mut found: Vec<_> = read_index(directory)
        .unwrap()
        .unwrap()
        .into_iter()
        .filter_map(|line| match line.unwrap() {
            Line::Turn { turn, thread, step, .. } => Some((turn, thread, step)),
            Line::Thread { .. } => None,
        })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, thread, step)| (thread, step)).collect()
}

#[test]
fn the_index_has_the_order_in_which_threads_took_turns_whatever_came_first_to_the_encoder() {
    for format in [TraceFormat::Binary, TraceFormat::Json] {
        let dir = tempfile::tempdir().unwrap();
        let pipeline = spawn(config(dir.path(), format));
        let mut counters: Vec<_> = (0..5).map(|n| Counter::start(&pipeline, &format!("t{n}"))).collect();
        let mut expected = Vec::new();
        let mut chance = 7u32;
        for n in 0..3_000 {
            chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let who = (chance >> 16) as usize % counters.len();
            // The call has a step of its own, before the first line.
            let before = if counters[who].line == 0 { 0 } else { u64::from(counters[who].line) + 1 };
            if expected.last().is_none_or(|(last, _)| *last != who as u32) {
                expected.push((who as u32, before));
            }
            counters[who].steps(1 + (chance >> 24) % 3);
            if n % 1000 == 500 {
                pipeline.flush().unwrap();
                assert_eq!(turns(dir.path()), expected);
            }
        }
        drop(counters);
        pipeline.stop(Exit::Code(0), Map::new()).unwrap();
        assert_eq!(turns(dir.path()), expected);
        assert_eq!(verify(dir.path()).unwrap(), [""; 0]);
    }
}

#[test]
fn a_thread_alone_has_no_index() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(config(dir.path(), TraceFormat::Binary));
    Counter::start(&pipeline, "MainThread").steps(5);
    drop(Counter::start(&pipeline, "idle"));
    pipeline.stop(Exit::Code(0), Map::new()).unwrap();
    assert!(!dir.path().join("threads").exists());
}

#[test]
fn every_part_has_an_index_of_its_own_that_begins_with_who_had_the_turn() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(PipelineConfig { durable: true, ..config(dir.path(), TraceFormat::Binary) });
    let (mut main, mut thread) = (Counter::start(&pipeline, "MainThread"), Counter::start(&pipeline, "t"));
    main.steps(2);
    thread.steps(3);
    pipeline.rotate("test").unwrap();
    thread.steps(1);
    main.steps(1);
    thread.steps(1);
    drop((main, thread));
    pipeline.stop(Exit::Code(0), Map::new()).unwrap();
    assert_eq!(turns(dir.path()), [(0, 0), (1, 0)]);
    // Each repeats its call and the line it was at: two steps.
    assert_eq!(turns(&dir.path().join("parts/0001")), [(1, 2), (0, 2), (1, 3)]);
    assert_eq!(verify(dir.path()).unwrap(), [""; 0]);
}

#[test]
fn an_earlier_recordings_index_goes() {
    let dir = tempfile::tempdir().unwrap();
    for threads in [2, 1] {
        let pipeline = spawn(config(dir.path(), TraceFormat::Binary));
        for n in 0..threads {
            Counter::start(&pipeline, &format!("t{n}")).steps(1);
        }
        pipeline.stop(Exit::Code(0), Map::new()).unwrap();
        assert_eq!(dir.path().join("threads").exists(), threads > 1);
    }
}
