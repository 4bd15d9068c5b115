//! Whatever the order in which a producer and its reader take their steps: every record is read once, whole, in order.

use std::sync::Arc;
use std::time::Duration;

use codetracer_python_recorder_loom::ffi::sync::BLOCK;
use codetracer_python_recorder_loom::pipeline::layout::record;
use codetracer_python_recorder_loom::pipeline::reader::{stream, unread};
use codetracer_python_recorder_loom::pipeline::stream::{Pushed, StreamProducer};

/// The first record comes with the one of a turn, and fills a block with it.
const TURN: usize = 17;

fn push(producer: &mut StreamProducer, n: u8) -> Pushed {
    let len = if n == 0 { BLOCK - TURN } else { BLOCK };
    producer.push(&vec![n; len])
}

#[test]
fn what_is_published_is_read_once_and_whole_whenever_the_reader_looks() {
    loom::model(|| {
        let (mut producer, mut reader) = stream(2);
        let writer = loom::thread::spawn(move || {
            for n in 0..3 {
                assert_eq!(push(&mut producer, n), Pushed::Stored);
            }
        });
        reader.pull();
        assert!(reader.seen.iter().copied().eq(0..reader.seen.len() as u8), "{:?}", reader.seen);
        writer.join().unwrap();
        reader.pull();
        reader.pull();
        assert!(reader.finished);
        assert_eq!(reader.seen, [0, 1, 2]);
    });
}

#[test]
fn a_stream_that_is_found_closed_has_been_read_to_its_end() {
    loom::model(|| {
        let (mut producer, mut reader) = stream(2);
        let writer = loom::thread::spawn(move || {
            assert_eq!(push(&mut producer, 0), Pushed::Stored);
            assert_eq!(push(&mut producer, 1), Pushed::Stored);
        });
        reader.pull();
        if reader.finished {
            assert_eq!(reader.seen, [0, 1]);
        }
        writer.join().unwrap();
        reader.pull();
        assert!(reader.finished);
        assert_eq!(reader.seen, [0, 1]);
    });
}

#[test]
fn chunks_that_come_back_are_used_again_and_nothing_is_mixed_up() {
    loom::model(|| {
        let (mut producer, mut reader) = stream(1);
        // One chunk is full and one is begun; the reader gives the first one back while the producer goes on.
        for n in 0..3 {
            assert_eq!(push(&mut producer, n), Pushed::Stored);
        }
        let writer = loom::thread::spawn(move || {
            for n in 3..5 {
                let mut pushed = push(&mut producer, n);
                if pushed == Pushed::NoRoom {
                    pushed = producer.wait_for_room(Duration::ZERO);
                    if pushed == Pushed::Stored {
                        pushed = push(&mut producer, n);
                    }
                }
                if pushed != Pushed::Stored {
                    return n;
                }
            }
            5
        });
        reader.pull();
        let stored = writer.join().unwrap();
        reader.pull();
        reader.pull();
        assert!(reader.seen.iter().copied().eq(0..stored), "{:?} of {stored}", reader.seen);
    });
}

#[test]
fn a_producer_whose_reader_is_gone_learns_it_and_never_hangs() {
    loom::model(|| {
        let (mut producer, reader) = stream(1);
        let leaving = loom::thread::spawn(move || drop(reader));
        let mut outcomes = Vec::new();
        for n in 0..5 {
            outcomes.push(push(&mut producer, n));
        }
        leaving.join().unwrap();
        assert_ne!(producer.wait_for_room(Duration::ZERO), Pushed::NoRoom);
        for n in 5..9 {
            outcomes.push(push(&mut producer, n));
        }
        assert_eq!(outcomes.last(), Some(&Pushed::Ended), "{outcomes:?}");
    });
}

#[test]
fn output_that_waits_is_seen_by_the_last_look_or_another_look_is_asked_for() {
    // What comes last fits into the chunk that is open, or not.
    for before in [1, 2] {
        loom::model(move || {
            let (mut producer, mut reader) = stream(2);
            // The encoder knows that output waits, and has been woken for it.
            for number in 0..before {
                assert_eq!(push(&mut producer, number), Pushed::Stored);
            }
            producer.output_waits();
            assert!(reader.take_nudge());
            let writer = loom::thread::spawn(move || {
                assert_eq!(push(&mut producer, before), Pushed::Stored);
                producer.output_waits();
                producer
            });
            while reader.look() {}
            let producer = writer.join().unwrap();
            if reader.take_nudge() {
                while reader.look() {}
            }
            let all: Vec<u8> = (0..=before).collect();
            assert_eq!(reader.seen, all, "output waits and nobody looks");
            drop(producer);
        });
    }
}

#[test]
fn what_a_reader_that_leaves_has_not_read_is_counted_once_whenever_it_leaves() {
    // With a queue for one chunk, and one for all.
    for queue in [1, 2] {
        loom::model(move || {
            let (mut producer, mut reader) = stream(queue);
            let shared = Arc::clone(&reader.shared);
            let mut stored = 0;
            // Every byte is an event, but for those of the turn.
            let mut record = |producer: &mut StreamProducer, n| {
                let len = if n == 0 { BLOCK - TURN } else { BLOCK };
                if producer.push(&vec![record::CALL_END; len]) == Pushed::Stored {
                    stored += len as u64;
                }
            };
            record(&mut producer, 0);
            reader.pull();
            record(&mut producer, 1);
            let leaving = loom::thread::spawn(move || {
                reader.leave();
            });
            for n in 2..5 {
                record(&mut producer, n);
            }
            drop(producer);
            leaving.join().unwrap();
            assert_eq!(unread(&shared) + (BLOCK - TURN) as u64, stored);
            assert_eq!(unread(&shared), 0, "told twice");
        });
    }
}
