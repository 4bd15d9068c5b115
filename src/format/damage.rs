//! Whatever happens to the bytes of a trace: reading says so, recovering makes it load, and nothing panics.

use proptest::prelude::*;
use runtime_tracing::{TraceEventsFileFormat, create_trace_reader};
use serde_json::Map;

use super::inspect::{Mode, inspect};
use super::read::read_trace;
use super::recover::recover;
use super::verify::verify;
use crate::pipeline::model::{Exit, TraceFormat};
use crate::pipeline::tests::support::{Counter, config, spawn};

/// One thing that goes wrong with a file; places are shares of its length.
#[derive(Debug, Clone)]
enum Damage {
    Flip(f64, u8),
    Cut(f64),
    Insert(f64, Vec<u8>),
    Remove(f64, usize),
    /// A piece is doubled behind itself, as by a write that was done twice.
    Repeat(f64, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = 0.0..1.0f64;
    prop_oneof![
        (place.clone(), 1u8..).prop_map(|(at, mask)| Damage::Flip(at, mask)),
        place.clone().prop_map(Damage::Cut),
        (place.clone(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (place.clone(), 1usize..2000).prop_map(|(at, len)| Damage::Remove(at, len)),
        (place, 1usize..2000).prop_map(|(at, len)| Damage::Repeat(at, len)),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let len = bytes.len();
        let place = |share: f64| ((share * len as f64) as usize).min(len.saturating_sub(1));
        match self {
            _ if len == 0 => {}
            Self::Flip(at, mask) => bytes[place(*at)] ^= mask,
            Self::Cut(at) => bytes.truncate(place(*at)),
            Self::Insert(at, new) => drop(bytes.splice(place(*at)..place(*at), new.iter().copied())),
            Self::Remove(at, count) => drop(bytes.drain(place(*at)..(place(*at) + count).min(len))),
            Self::Repeat(at, count) => {
                let piece = bytes[place(*at)..(place(*at) + count).min(len)].to_vec();
                drop(bytes.splice(place(*at)..place(*at), piece));
            }
        }
    }
}

fn sample(format: TraceFormat) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(config(dir.path(), format));
    Counter::start(&pipeline, "MainThread").steps(400);
    pipeline.stop(Exit::Code(0), Map::new()).unwrap();
    std::fs::read(dir.path().join(format.events_file())).unwrap()
}

fn survives(name: &str, bytes: &[u8]) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    std::fs::write(&file, bytes).unwrap();
    let before = read_trace(dir.path());
    let mut out = Vec::new();
    let _ = inspect(dir.path(), Mode::Summary, &mut out);
    let _ = inspect(dir.path(), Mode::Tree { max_depth: 50, max_calls: 100 }, &mut out);
    let _ = verify(dir.path());
    prop_assert_eq!(std::fs::read(&file).unwrap(), bytes, "reading changes nothing");
    // A changed version number may make it a trace of the old packed kind, which is read by another reader.
    let is_ours = name.ends_with("json") || bytes.starts_with(&crate::pipeline::event_file::BINARY_HEADER);
    if recover(dir.path()).is_ok() && is_ours {
        prop_assert_eq!(recover(dir.path()).unwrap(), [""; 0], "there is nothing left to do");
        let json = name.ends_with("json");
        let format = if json { TraceEventsFileFormat::Json } else { TraceEventsFileFormat::Binary };
        let official = create_trace_reader(format).load_trace_events(&file);
        prop_assert!(official.is_ok(), "the official reader refuses it");
        let recovered = read_trace(dir.path()).unwrap();
        prop_assert_eq!(&recovered.damage, &None);
        let _ = verify(dir.path()).unwrap();
        if let Ok(before) = before {
            prop_assert!(recovered.events.len() >= before.events.len() || before.damage.is_some());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_trace_is_read_up_to_the_damage_and_recovered(
        binary in any::<bool>(),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        static SAMPLES: std::sync::LazyLock<[Vec<u8>; 2]> =
            std::sync::LazyLock::new(|| [sample(TraceFormat::Binary), sample(TraceFormat::Json)]);
        let mut bytes = SAMPLES[usize::from(!binary)].clone();
        damages.iter().for_each(|damage| damage.apply(&mut bytes));
        survives(if binary { "trace.bin" } else { "trace.json" }, &bytes)?;
    }

    #[test]
    fn any_bytes_behind_the_header_are_a_trace_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let header = crate::pipeline::event_file::BINARY_HEADER;
        survives("trace.bin", &[&header[..], &bytes].concat())?;
        survives("trace.bin", &bytes)?;
        survives("trace.json", &bytes)?;
    }
}
