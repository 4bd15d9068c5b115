//! Traces made by the pipeline and by others, whole and damaged, read back.

use std::path::Path;

use runtime_tracing::{Line, TraceEventsFileFormat, TraceLowLevelEvent as Event, TraceWriter, create_trace_writer};
use serde_json::{Map, Value};

use super::convert::convert;
use super::frames::{Frames, HEADER_LEN, check_seek_table};
use super::inspect::{Mode, inspect};
use super::read::{Container, locate, read_trace, thread_directories};
use super::recover::recover;
use super::verify::verify;
use crate::errors::ErrorCode;
use crate::pipeline::model::{Exit, TraceFormat};
use crate::pipeline::tests::support::{Counter, config, events, json, lines, spawn};

const FORMATS: [TraceFormat; 2] = [TraceFormat::Binary, TraceFormat::Json];
const STEPS: u32 = 2_000;

/// A complete trace with one thread.
fn record(dir: &Path, format: TraceFormat) {
    let pipeline = spawn(config(dir, format));
    Counter::start(&pipeline, "MainThread").steps(STEPS);
    Counter::start(&pipeline, "worker").steps(10);
    pipeline.stop(Exit::Code(3), Map::new()).unwrap();
}

fn shown(path: &Path, mode: Mode) -> String {
    let mut out = Vec::new();
    inspect(path, mode, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Says in `recording.json` that a process that is gone was recording.
fn pretend_killed(dir: &Path) {
    let file = dir.join("recording.json");
    let mut recording = json(&file);
    recording["state"] = "recording".into();
    recording["pid"] = u64::from(u32::MAX).into();
    std::fs::write(file, recording.to_string()).unwrap();
}

#[test]
fn what_the_official_reader_reads_is_read() {
    for format in FORMATS {
        let dir = tempfile::tempdir().unwrap();
        record(dir.path(), format);
        let official = events(&dir.path().join(format.events_file()));
        let ours = read_trace(dir.path()).unwrap();
        assert_eq!(ours.damage, None);
        assert_eq!(format!("{:?}", ours.events), format!("{official:?}"));
        assert_eq!(verify(dir.path()).unwrap(), [""; 0]);
        assert_eq!(recover(dir.path()).unwrap(), [""; 0]);
    }
}

#[test]
fn traces_of_other_recorders_are_read_and_converted() {
    let dir = tempfile::tempdir().unwrap();
    for (format, name, container) in [
        (TraceEventsFileFormat::BinaryV0, "v0.bin", Container::Packed),
        (TraceEventsFileFormat::Binary, "v1.bin", Container::Binary),
        (TraceEventsFileFormat::Json, "trace.json", Container::Json),
    ] {
        let path = dir.path().join(name);
        let mut writer = create_trace_writer("p", &[], format);
        writer.begin_writing_trace_events(&path).unwrap();
        TraceWriter::start(&mut *writer, Path::new("/p.py"), Line(1));
        (1..50).for_each(|line| TraceWriter::register_step(&mut *writer, Path::new("/p.py"), Line(line)));
        writer.finish_writing_trace_events().unwrap();
        assert_eq!(locate(&path).unwrap().container, container);
        let trace = read_trace(&path).unwrap();
        assert_eq!(trace.damage, None, "{name}");
        assert_eq!(trace.events.iter().filter(|event| matches!(event, Event::Step(_))).count(), 49, "{name}");
        for (to, new) in [(Container::Binary, "bin"), (Container::Json, "json")] {
            let target = dir.path().join(format!("{name}.{new}"));
            assert_eq!(convert(&path, &target, to, |_| Ok(())).unwrap(), trace.events.len() as u64);
            assert_eq!(format!("{:?}", read_trace(&target).unwrap().events), format!("{:?}", trace.events), "{name}");
        }
    }
}

#[test]
fn what_is_no_trace_is_refused_with_a_code() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(locate(dir.path()).unwrap_err().code, ErrorCode::TraceMissing);
    std::fs::write(dir.path().join("trace.bin"), "hello, this is text").unwrap();
    assert_eq!(verify(dir.path()).unwrap_err().code, ErrorCode::UnsupportedFormat);
    std::fs::write(dir.path().join("trace.bin"), "hello").unwrap();
    assert_eq!(recover(dir.path()).unwrap_err().code, ErrorCode::UnsupportedFormat);
}

#[test]
fn a_file_of_which_a_power_cut_left_nothing_becomes_an_empty_trace() {
    for left in [&[][..], &[0; 4], &[0; 3000], &[0xC0, 0xDE]] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("trace.bin");
        std::fs::write(&file, left).unwrap();
        assert!(verify(dir.path()).is_err(), "{left:?}");
        assert!(!recover(dir.path()).unwrap().is_empty());
        assert_eq!(lines(&file), 0);
        assert_eq!(verify(dir.path()).unwrap(), [""; 0]);
        assert_eq!(recover(dir.path()).unwrap(), [""; 0]);
    }
}

#[test]
fn the_summary_counts_and_shows_threads() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), TraceFormat::Binary);
    let text = shown(dir.path(), Mode::Summary);
    assert!(text.contains("Value                 2000\n"), "{text}");
    assert!(text.contains("threads/01-worker/trace.bin\n"), "{text}");
    assert!(!text.contains("damaged"));
}

#[test]
fn the_tree_shows_calls_with_values_and_keeps_its_limits() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), TraceFormat::Json);
    let tree = |max_depth, max_calls| shown(dir.path(), Mode::Tree { max_depth, max_calls });
    assert_eq!(tree(9, 9), "<toplevel>()\n  count() → None\n→ 3\n");
    assert_eq!(tree(1, 9), "<toplevel>() → 3\n");
    assert_eq!(tree(9, 1), "<toplevel>() → 3\n… +1 more calls\n");
    assert_eq!(tree(9, 0), "… +2 more calls\n");
}

#[test]
fn json_lines_are_the_events() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), TraceFormat::Binary);
    let text = shown(dir.path(), Mode::JsonLines);
    let lines: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(format!("{lines:?}"), format!("{:?}", events(&dir.path().join("trace.bin"))));
}

#[test]
fn a_binary_trace_cut_anywhere_is_recovered_to_a_balanced_prefix() {
    let whole = tempfile::tempdir().unwrap();
    record(whole.path(), TraceFormat::Binary);
    let bytes = std::fs::read(whole.path().join("trace.bin")).unwrap();
    let mut kept = Vec::new();
    for cut in
        (0..24).map(|n| HEADER_LEN as usize + n * (bytes.len() - HEADER_LEN as usize) / 24).chain([bytes.len() - 1])
    {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("trace.bin");
        std::fs::write(&file, &bytes[..cut]).unwrap();
        assert!(read_trace(dir.path()).unwrap().damage.unwrap().contains("not finished"));
        let done = recover(dir.path()).unwrap();
        // The events, the paths, the metadata, the state.
        assert_eq!(done.len(), 4, "{done:?}");
        if !events(&file).is_empty() {
            kept.push(lines(&file));
        }
        let recovered = std::fs::read(&file).unwrap();
        assert_eq!(recover(dir.path()).unwrap(), [""; 0]);
        assert_eq!(std::fs::read(&file).unwrap(), recovered, "recovering twice changes nothing");
    }
    assert!(kept.is_sorted() && kept.last() == Some(&STEPS) && kept[0] < STEPS, "{kept:?}");
}

#[test]
fn a_json_trace_cut_anywhere_is_recovered_to_a_balanced_prefix() {
    let whole = tempfile::tempdir().unwrap();
    record(whole.path(), TraceFormat::Json);
    let text = std::fs::read(whole.path().join("trace.json")).unwrap();
    for cut in [0, 1, 5, 500, text.len() / 3, text.len() / 2, text.len() - 4, text.len() - 2] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("trace.json");
        std::fs::write(&file, &text[..cut]).unwrap();
        assert!(read_trace(dir.path()).unwrap().damage.is_some());
        assert!(!recover(dir.path()).unwrap().is_empty());
        if cut > 500 {
            assert!(lines(&file) <= STEPS);
        }
        events(&file);
        assert_eq!(recover(dir.path()).unwrap(), [""; 0]);
    }
}

#[test]
fn a_json_trace_whose_last_writing_ended_among_the_returns_of_the_one_before_returns_from_all_calls() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), TraceFormat::Json);
    let file = dir.path().join("trace.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let returned = text.rfind(",\n{\"Return\"").unwrap();
    let (before, last) = text.split_at(returned);
    // A list that parses, in which a step stands where the outermost call returned.
    let torn = format!("{before},\n{{\"Step\":{{\"path_id\":0,\"line\":1}}}}\n]\n");
    assert!(last.ends_with("}\n]\n"), "{last}");
    std::fs::write(&file, &torn).unwrap();
    assert_eq!(read_trace(dir.path()).unwrap().damage, None);
    assert_eq!(verify(dir.path()).unwrap().len(), 1);
    assert_eq!(recover(dir.path()).unwrap().len(), 1);
    assert_eq!(verify(dir.path()).unwrap(), [""; 0]);
    assert_eq!(recover(dir.path()).unwrap(), [""; 0]);
    assert_eq!(events(&file).len(), 2 + torn.matches(",\n").count());
}

#[test]
fn a_killed_recording_with_threads_is_found_recovered_and_then_sound() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), TraceFormat::Binary);
    pretend_killed(dir.path());
    for file in ["trace.bin", "threads/01-worker/trace.bin"] {
        let path = dir.path().join(file);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    }
    std::fs::remove_file(dir.path().join("trace_paths.json")).unwrap();
    let findings = verify(dir.path()).unwrap();
    for expected in ["the official reader refuses", "trace_paths.json", "was killed", "threads/01-worker: the official"]
    {
        assert!(findings.iter().any(|finding| finding.contains(expected)), "{expected} in {findings:?}");
    }
    recover(dir.path()).unwrap();
    assert_eq!(verify(dir.path()).unwrap(), [""; 0]);
    assert_eq!(json(&dir.path().join("recording.json"))["state"], "recovered");
    assert_eq!(thread_directories(dir.path()).unwrap().len(), 1);
}

#[test]
fn an_events_file_is_inspected_verified_and_recovered_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), TraceFormat::Binary);
    pretend_killed(dir.path());
    let file = dir.path().join("trace.bin");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 5]).unwrap();
    assert!(!verify(&file).unwrap().is_empty());
    assert_eq!(recover(&file).unwrap().len(), 1);
    assert_eq!(recover(&file).unwrap(), [""; 0]);
    assert_eq!(verify(&file).unwrap(), [""; 0]);
    let summary = shown(&file, Mode::Summary);
    assert!(summary.contains(&file.display().to_string()) && !summary.contains("damaged"), "{summary}");
    assert!(!summary.contains("worker"), "{summary}");
}

#[cfg(unix)]
#[test]
fn the_socket_of_a_killed_recording_goes_and_one_that_is_listened_at_stays() {
    use std::os::unix::net::UnixListener;
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), TraceFormat::Binary);
    let socket = dir.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    assert_eq!(recover(dir.path()).unwrap(), [""; 0]);
    assert!(socket.exists());
    drop(listener);
    assert_eq!(recover(dir.path()).unwrap(), [format!("{}: removed, nobody listens at it", socket.display())]);
    assert!(!socket.exists());
    assert_eq!(recover(dir.path()).unwrap(), [""; 0]);
    // What has the name and is no socket is not the recorder's.
    std::fs::write(&socket, "mine").unwrap();
    assert_eq!(recover(dir.path()).unwrap(), [""; 0]);
    assert!(socket.exists());
}

#[test]
fn a_trace_that_is_being_recorded_is_not_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = spawn(config(dir.path(), TraceFormat::Binary));
    let error = recover(dir.path()).unwrap_err();
    assert_eq!(error.code, ErrorCode::TraceIncomplete);
    assert_eq!(error.context["pid"], std::process::id().to_string());
    std::fs::write(dir.path().join("trace.json"), "[").unwrap();
    let error = recover(&dir.path().join("trace.json")).unwrap_err();
    assert_eq!(error.code, ErrorCode::TraceIncomplete);
    assert_eq!(std::fs::read(dir.path().join("trace.json")).unwrap(), b"[");
    std::fs::remove_file(dir.path().join("trace.json")).unwrap();
    assert!(verify(dir.path()).unwrap().iter().any(|finding| finding.contains("under way")));
    pipeline.abandon(false);
}

#[test]
fn a_flipped_bit_is_found_or_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), TraceFormat::Binary);
    let file = dir.path().join("trace.bin");
    let bytes = std::fs::read(&file).unwrap();
    let whole = format!("{:?}", events(&file));
    let (mut found, mut tried) = (0, 0u32);
    for position in (HEADER_LEN as usize..bytes.len()).step_by(bytes.len() / 200 + 1) {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x20;
        std::fs::write(&file, &damaged).unwrap();
        // A few bits only fill up bytes: then the checksum is right, and so is every event.
        let read = read_trace(dir.path()).unwrap();
        let same = || format!("{:?}", read.events) == whole;
        assert!(read.damage.is_some() || same(), "byte {position} of {}", bytes.len());
        found += u32::from(read.damage.is_some());
        tried += 1;
    }
    assert!(found * 10 > tried * 9, "{found} of {tried}");
}

#[test]
fn the_seek_table_is_checked_against_the_file() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), TraceFormat::Binary);
    let path = dir.path().join("trace.bin");
    let open = || std::fs::File::open(&path).unwrap();
    let promised = check_seek_table(&mut open()).unwrap().unwrap();
    let mut frames = Frames::new(open()).unwrap();
    let (mut count, mut decompressed) = (0u32, 0);
    while let Some(frame) = frames.next_frame().unwrap() {
        count += 1;
        decompressed += frame.decompressed as u64;
    }
    assert_eq!(decompressed, promised);
    assert!(count > 3);
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(frames.position() + 17 + 8 * u64::from(count), bytes.len() as u64);
    // One frame less in the middle: the table is there, but tells of another file.
    let mut shorter = bytes.clone();
    shorter.drain(20..50);
    std::fs::write(&path, &shorter).unwrap();
    assert!(check_seek_table(&mut open()).unwrap().unwrap_err().contains("does not match"));
}

#[test]
fn each_broken_rule_is_a_finding() {
    let path = r#"{"Path":"/p.py"}"#;
    let function = r#"{"Function":{"path_id":0,"line":1,"name":"<toplevel>"}}"#;
    let call = r#"{"Call":{"function_id":0,"args":[]}}"#;
    let none = r#"{"Type":{"kind":30,"lang_type":"None","specific_info":{"kind":"None"}}}"#;
    let step = r#"{"Step":{"path_id":0,"line":1}}"#;
    let returned = r#"{"Return":{"return_value":{"kind":"None","type_id":0}}}"#;
    let start = [path, function, call, none, step];
    let nested = (0..61).fold(r#"{"kind":"None","type_id":0}"#.to_owned(), |inner, _| {
        format!(r#"{{"kind":"Tuple","elements":[{inner}],"type_id":0}}"#)
    });
    let nested = format!(r#"{{"Return":{{"return_value":{nested}}}}}"#);
    let structure =
        r#"{"Return":{"return_value":{"kind":"Struct","field_values":[{"kind":"None","type_id":0}],"type_id":0}}}"#;
    let table: [(&[&str], &str); 14] = [
        (&[returned], ""),
        (&[], "1 calls never return"),
        (&[returned, returned], "event 6: a return without a call"),
        (&[r#"{"Step":{"path_id":1,"line":1}}"#, returned], "event 5: path 1 is used before it is defined"),
        (&[r#"{"Step":{"path_id":0,"line":-1}}"#, returned], "event 5: a step has a negative line"),
        (&[r#"{"Call":{"function_id":7,"args":[]}}"#, returned, returned], "function 7"),
        (&[r#"{"Value":{"variable_id":0,"value":{"kind":"None","type_id":0}}}"#, returned], "variable 0"),
        (&[r#"{"Return":{"return_value":{"kind":"Int","i":1,"type_id":4}}}"#], "type 4"),
        (&[r#"{"Return":{"return_value":{"kind":"Float","f":1.5,"type_id":0}}}"#], "a Float"),
        (&[r#"{"Return":{"return_value":{"kind":"Cell","place":1}}}"#], "a Cell"),
        (&[&nested], "deeper than 60"),
        (&[structure], "1 values for 0 fields"),
        (&[r#""DropLastStep""#, returned], "DropLastStep"),
        (&[r#"{"Type":{"kind":11,"lang_type":"c","specific_info":{"kind":"None"}}}"#, returned], "Char"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trace.json");
    for (rest, expected) in table {
        let events = [&start, rest].concat().join(",");
        std::fs::write(&file, format!("[{events}]")).unwrap();
        let findings = verify(&file).unwrap();
        assert_eq!(findings.is_empty(), expected.is_empty(), "{findings:?}");
        assert!(findings.iter().all(|finding| finding.contains(expected)), "{expected} in {findings:?}");
    }
    std::fs::write(&file, format!("[{path},{function},{call},{returned}]")).unwrap();
    assert!(verify(&file).unwrap().contains(&"there is no step".to_owned()));
    std::fs::write(&file, format!("[{path},{step}]")).unwrap();
    assert!(verify(&file).unwrap()[0].contains("before the first call"));
}

#[test]
fn the_files_beside_the_events_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), TraceFormat::Json);
    let found = |expected: &str| {
        let findings = verify(dir.path()).unwrap();
        assert!(findings.iter().any(|finding| finding.contains(expected)), "{expected} in {findings:?}");
    };
    std::fs::write(dir.path().join("trace.bin"), "").unwrap();
    found("both trace.json and trace.bin");
    std::fs::write(dir.path().join("trace_metadata.json"), Value::Object(Map::new()).to_string()).unwrap();
    found("'workdir' is missing");
    std::fs::write(dir.path().join("trace_paths.json"), "[\"/other.py\"]").unwrap();
    found("does not list the paths");
    std::fs::remove_file(dir.path().join("trace_paths.json")).unwrap();
    found("trace_paths.json: ");
}
