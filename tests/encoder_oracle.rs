//! The encoder against a naive model of its rules, serialised by serde: any stream, byte for byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says what is wrong by failing

#[allow(dead_code)] // shared by several test files, each of which uses its part
mod encoder_support;

use codetracer_python_recorder::pipeline::encoder::{EventCounts, Packed, StreamEncoder};
use codetracer_python_recorder::pipeline::layout::{LossCause, Take, record};
use codetracer_python_recorder::pipeline::model::{Exit, TraceFormat};
use encoder_support::model::Model;
use encoder_support::{any_exit, any_stream, encode_all, new_encoder, parse_json};
use proptest::prelude::*;
use runtime_tracing::{EventLogKind, TraceLowLevelEvent};

fn any_format() -> impl Strategy<Value = TraceFormat> {
    prop::sample::select(vec![TraceFormat::Binary, TraceFormat::Json])
}

/// Feeds records in pieces that end where records do, with these limits in turn, into one buffer per call.
fn encode_in_pieces(encoder: &mut StreamEncoder, pieces: &[&[u8]], limits: &[usize]) -> Vec<u8> {
    let mut all = Vec::new();
    let mut limits = limits.iter().cycle();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let mut out = Vec::new();
            let taken = encoder.encode(rest, &mut out, *limits.next().unwrap()).unwrap();
            assert!(taken > 0, "every call makes progress");
            rest = &rest[taken..];
            all.extend(out);
        }
    }
    all
}

fn count(events: &[TraceLowLevelEvent]) -> EventCounts {
    let mut counts = EventCounts::default();
    for event in events {
        match event {
            TraceLowLevelEvent::Step(_) => counts.steps += 1,
            TraceLowLevelEvent::Call(_) => counts.calls += 1,
            TraceLowLevelEvent::Return(_) => counts.returns += 1,
            TraceLowLevelEvent::Value(_) => counts.values += 1,
            TraceLowLevelEvent::Event(event) if event.metadata.starts_with("{\"kind\":\"lost\"") => counts.gaps += 1,
            TraceLowLevelEvent::Event(event) if event.metadata.starts_with("{\"stream\"") => counts.io += 1,
            TraceLowLevelEvent::Event(_) => counts.other += 1,
            _ => {}
        }
    }
    counts
}

/// What CodeTracer refuses: more returns than calls, ids before their definition, a step before the first call, none.
fn assert_loads(events: &[TraceLowLevelEvent]) {
    let (mut depth, mut steps, mut paths, mut functions) = (0, 0, 0, 0);
    for event in events {
        match event {
            TraceLowLevelEvent::Path(_) => paths += 1,
            TraceLowLevelEvent::Function(function) => {
                assert!(function.path_id.0 < paths);
                functions += 1;
            }
            TraceLowLevelEvent::Step(step) => {
                assert!(depth > 0 && step.path_id.0 < paths);
                steps += 1;
            }
            TraceLowLevelEvent::Call(call) => {
                assert!(call.function_id.0 < functions);
                depth += 1;
            }
            TraceLowLevelEvent::Return(_) => {
                depth -= 1;
                assert!(depth >= 0);
            }
            _ => {}
        }
    }
    assert_eq!(depth, 0, "balanced");
    assert!(steps > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn cbor_is_what_cbor4ii_writes_for_the_same_events(stream in any_stream(), exit in any_exit()) {
        let (out, _) = encode_all(TraceFormat::Binary, &stream.records, exit);
        let mut expected = Vec::new();
        for event in Model::events_of(&stream.records, exit) {
            expected = cbor4ii::serde::to_vec(expected, &event).unwrap();
        }
        prop_assert_eq!(out, expected);
    }

    #[test]
    fn json_is_what_serde_json_writes_for_the_same_events(stream in any_stream(), exit in any_exit()) {
        let (out, _) = encode_all(TraceFormat::Json, &stream.records, exit);
        let events = Model::events_of(&stream.records, exit);
        let expected: Vec<String> = events.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        prop_assert_eq!(String::from_utf8(out).unwrap(), expected.join(",\n"));
    }

    #[test]
    fn paths_and_counts_are_those_of_the_events(stream in any_stream(), format in any_format()) {
        let (_, encoder) = encode_all(format, &stream.records, Exit::Unknown);
        let events = Model::events_of(&stream.records, Exit::Unknown);
        let paths: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                TraceLowLevelEvent::Path(path) => path.to_str(),
                _ => None,
            })
            .collect();
        prop_assert_eq!(encoder.paths(), paths);
        let counts = encoder.counts();
        let expected = count(&events);
        prop_assert_eq!(*counts, EventCounts { lost: counts.lost, ..expected });
        prop_assert_eq!(counts.total(), expected.total());
        prop_assert_eq!(encoder.depth(), 0);
    }

    #[test]
    fn how_the_records_are_cut_makes_no_difference(
        stream in any_stream(),
        format in any_format(),
        limits in prop::collection::vec(0..2_000_usize, 1..8),
        cuts in prop::collection::vec(any::<bool>(), 1..50),
    ) {
        let (whole, _) = encode_all(format, &stream.records, Exit::Code(3));
        let mut pieces = Vec::new();
        let mut start = 0;
        for (&end, &cut) in stream.ends.iter().zip(cuts.iter().cycle()) {
            if cut {
                pieces.push(&stream.records[start..end]);
                start = end;
            }
        }
        pieces.push(&stream.records[start..]);
        let mut encoder = new_encoder(format);
        let mut out = encode_in_pieces(&mut encoder, &pieces, &limits);
        encoder.finish(Exit::Code(3), &mut out);
        prop_assert_eq!(out, whole);
    }

    #[test]
    fn encoding_stops_after_the_record_that_reaches_the_limit(stream in any_stream(), limit in 0..5_000_usize) {
        let mut encoder = new_encoder(TraceFormat::Binary);
        let mut out = Vec::new();
        let taken = encoder.encode(&stream.records, &mut out, limit).unwrap();
        if taken < stream.records.len() {
            prop_assert!(out.len() >= limit);
            let last = stream.ends.iter().position(|&end| end == taken).expect("stops between records");
            // Without the last record the limit is not reached, unless the prologue alone had reached it.
            if let Some(before) = last.checked_sub(1) {
                let (mut encoder, mut out) = (new_encoder(TraceFormat::Binary), Vec::new());
                encoder.encode(&stream.records[..stream.ends[before]], &mut out, usize::MAX).unwrap();
                prop_assert!(out.len() < limit);
            }
        }
    }

    #[test]
    fn a_provisional_end_is_the_end_and_changes_nothing(
        stream in any_stream(),
        format in any_format(),
        exit in any_exit(),
        at in any::<prop::sample::Index>(),
    ) {
        let ends: Vec<usize> = std::iter::once(0).chain(stream.ends.iter().copied()).collect();
        let cut = ends[at.index(ends.len())];
        let mut encoder = new_encoder(format);
        let mut fresh = Vec::new();
        encoder.provisional_end(exit, &mut fresh);
        prop_assert_eq!(fresh, encode_all(format, &[], exit).0);

        let mut out = Vec::new();
        encoder.encode(&stream.records[..cut], &mut out, usize::MAX).unwrap();
        let (counts, depth, paths) = (*encoder.counts(), encoder.depth(), encoder.paths().len());
        let mut flushed = out.clone();
        encoder.provisional_end(exit, &mut flushed);
        prop_assert_eq!(flushed, encode_all(format, &stream.records[..cut], exit).0);
        prop_assert_eq!((*encoder.counts(), encoder.depth(), encoder.paths().len()), (counts, depth, paths));

        encoder.encode(&stream.records[cut..], &mut out, usize::MAX).unwrap();
        encoder.finish(exit, &mut out);
        prop_assert_eq!(out, encode_all(format, &stream.records, exit).0);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..0x30_u8], 0..400),
        format in any_format(),
    ) {
        let mut encoder = new_encoder(format);
        let mut out = Vec::new();
        let result = encoder.encode(&bytes, &mut out, usize::MAX);
        encoder.finish(Exit::Unknown, &mut out);
        // It stops in front of the marks of samples, which are not its business.
        let is_mark = |tag: &u8| matches!(*tag, record::SAMPLE_BEGIN | record::SAMPLE_END);
        prop_assert!(result.is_err() || result.is_ok_and(|taken| bytes.get(taken).is_none_or(is_mark)));
    }

    #[test]
    fn a_damaged_stream_still_ends_as_a_valid_trace(
        stream in any_stream(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        length in any::<prop::sample::Index>(),
    ) {
        let mut records = stream.records;
        records.truncate(length.index(records.len() + 1));
        for (at, byte) in damage {
            if !records.is_empty() {
                let at = at.index(records.len());
                records[at] = byte;
            }
        }
        let mut encoder = new_encoder(TraceFormat::Json);
        let mut out = Vec::new();
        let _ = encoder.encode(&records, &mut out, usize::MAX);
        encoder.finish(Exit::Unknown, &mut out);
        assert_loads(&parse_json(&out));
    }

    #[test]
    fn a_stream_cut_inside_a_record_is_malformed(stream in any_stream(), at in any::<prop::sample::Index>()) {
        let cut = at.index(stream.records.len() + 1);
        if cut > 0 && !stream.ends.contains(&cut) {
            let mut encoder = new_encoder(TraceFormat::Binary);
            prop_assert!(encoder.encode(&stream.records[..cut], &mut Vec::new(), usize::MAX).is_err());
        }
    }

    #[test]
    fn losses_are_counted(counts in prop::collection::vec(0..1_000_000_u64, 0..5)) {
        let mut records = Vec::new();
        for count in &counts {
            records.push(record::LOST);
            records.push(LossCause::QueueFull as u8);
            records.extend(count.to_le_bytes());
        }
        let (out, encoder) = encode_all(TraceFormat::Json, &records, Exit::Unknown);
        prop_assert_eq!(encoder.counts().lost, counts.iter().sum::<u64>());
        let kinds = parse_json(&out).into_iter().filter(|event| {
            matches!(event, TraceLowLevelEvent::Event(event) if event.kind == EventLogKind::TraceLogEvent)
        });
        prop_assert_eq!(kinds.count(), counts.len());
    }
}

/// Were the generated streams trivial, the tests above would prove nothing.
#[test]
fn the_generated_streams_contain_every_record() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = [0; 17];
    for _ in 0..200 {
        let stream = any_stream().new_tree(&mut runner).unwrap().current();
        let mut start = 0;
        for end in stream.ends {
            seen[usize::from(Take::new(&stream.records[start..end]).u8().unwrap())] += 1;
            start = end;
        }
    }
    for tag in (record::SET..=record::EVENT).chain([record::OUTPUT_PART]) {
        assert!(seen[usize::from(tag)] > 50, "record {tag}: {seen:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// However the content is cut into segments, and whatever repeats in it.
    #[test]
    fn packed_output_expands_to_the_plain_one(
        streams in prop::collection::vec(any_stream(), 1..4),
        repeats in 1..4_usize,
        limits in prop::collection::vec(prop_oneof![0..2_000_usize, Just(usize::MAX)], 1..8),
    ) {
        let mut records = Vec::new();
        for _ in 0..repeats {
            streams.iter().for_each(|stream| records.extend_from_slice(&stream.records));
        }
        let mut plain = Vec::new();
        let mut encoder = new_encoder(TraceFormat::Binary);
        let whole = encoder.encode(&records, &mut plain, usize::MAX);
        encoder.finish(Exit::Code(3), &mut plain);

        let mut encoder = new_encoder(TraceFormat::Binary);
        let (mut expanded, mut packed) = (Vec::new(), Packed::default());
        let (mut rest, mut limits) = (&records[..], limits.iter().cycle());
        while !rest.is_empty() && whole.is_ok() {
            packed.clear();
            let taken = encoder.encode(rest, &mut packed, *limits.next().unwrap()).unwrap();
            prop_assert!(taken > 0);
            rest = &rest[taken..];
            packed.expand(&mut expanded);
        }
        if whole.is_err() {
            packed.clear();
            prop_assert_eq!(encoder.encode(rest, &mut packed, usize::MAX), whole);
            packed.expand(&mut expanded);
        }
        packed.clear();
        encoder.finish(Exit::Code(3), &mut packed);
        packed.expand(&mut expanded);
        prop_assert!(expanded == plain);
    }
}
