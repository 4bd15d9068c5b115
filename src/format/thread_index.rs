//! Reads the index of threads (see [`crate::pipeline::index`]), checks it, and mends one that was cut.
//!
//! Invariants:
//! - A line that was cut short at the end is no line; anything else that is no line of an index is a finding.
//! - What is checked of positions needs the traces' own counts: the index of a killed recording may be ahead of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::read::io_error;
use crate::errors::RecorderResult;
use crate::pipeline::artifacts::THREADS_DIR;
use crate::pipeline::index::INDEX_FILE;

/// A line of the index.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// A thread has the turn, from here on in its trace.
    Turn { turn: u64, thread: u32, step: u64, event: u64, monotonic_ns: u64 },
    /// A thread, and where its trace is.
    Thread { thread: u32, name: String, native_id: u64, directory: String, step: u64, event: u64 },
}

/// How many steps and events, without definitions, a trace has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extent {
    pub steps: u64,
    pub events: u64,
}

/// Where the index of a part is.
pub(super) fn index_file(directory: &Path) -> PathBuf {
    directory.join(THREADS_DIR).join(INDEX_FILE)
}

/// The text of the index without a line that was cut short; nothing if there is none.
fn whole_lines(file: &Path) -> io::Result<Option<(Vec<u8>, usize)>> {
    let text = match std::fs::read(file) {
        // An events file was named, not its directory: there is nothing below it.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        other => other?,
    };
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    Ok(Some((text, end)))
}

/// The index of the part in a directory; nothing if there is none.
///
/// # Errors
/// `ERR_IO` if it cannot be read.
pub fn read_index(directory: &Path) -> RecorderResult<Option<Vec<Result<Line, String>>>> {
    let file = index_file(directory);
    let Some((text, end)) = whole_lines(&file).map_err(|error| io_error(&file, error))? else { return Ok(None) };
    let lines = text[..end].split_inclusive(|byte| *byte == b'\n');
    Ok(Some(lines.map(|line| serde_json::from_slice(line).map_err(|error| error.to_string())).collect()))
}

/// Cuts the index before the first line that is none (a kill cuts the last one short, a power cut may leave zeros); says
/// whether there was one.
pub(super) fn mend_index(directory: &Path) -> RecorderResult<Option<String>> {
    let file = index_file(directory);
    let failed = |error| io_error(&file, error);
    let Some((text, whole)) = whole_lines(&file).map_err(failed)? else { return Ok(None) };
    let lines = text[..whole].split_inclusive(|byte| *byte == b'\n');
    let end = lines.take_while(|line| serde_json::from_slice::<Line>(line).is_ok()).map(<[u8]>::len).sum::<usize>();
    if end == text.len() {
        return Ok(None);
    }
    let opened = std::fs::OpenOptions::new().write(true).open(&file).map_err(failed)?;
    opened.set_len(end as u64).and_then(|()| opened.sync_all()).map_err(failed)?;
    Ok(Some(format!("{}: cut {} bytes behind the last whole line", file.display(), text.len() - end)))
}

/// What is wrong with the index of the part in a directory. `extents` has the traces that it may speak of, by their
/// directories; of a recording that is not complete, the index may know more than these.
pub(super) fn check_index(
    directory: &Path,
    extents: &BTreeMap<String, Extent>,
    complete: bool,
) -> RecorderResult<Vec<String>> {
    let Some(lines) = read_index(directory)? else { return Ok(Vec::new()) };
    let mut findings = Vec::new();
    let shown = format!("{THREADS_DIR}/{INDEX_FILE}");
    let mut find = |line: usize, what: String| {
        let at = if line > 0 { format!(" line {line}:") } else { String::new() };
        findings.push(format!("{shown}:{at} {what}"));
    };
    let mut threads = BTreeMap::<u32, (String, Extent, Option<u64>)>::new();
    let mut times = BTreeMap::new();
    for (at, line) in (1..).zip(lines) {
        let (thread, here) = match &line {
            Err(error) => {
                find(at, error.clone());
                continue;
            }
            Ok(Line::Turn { thread, step, event, .. } | Line::Thread { thread, step, event, .. }) => {
                (*thread, Extent { steps: *step, events: *event })
            }
        };
        match line {
            Ok(Line::Thread { directory, .. }) => {
                if threads.insert(thread, (directory, here, None)).is_some() {
                    find(at, format!("thread {thread} is introduced twice"));
                }
            }
            Ok(Line::Turn { turn, monotonic_ns, .. }) => {
                if times.insert(turn, (monotonic_ns, at)).is_some() {
                    find(at, format!("turn {turn} is there twice"));
                }
                match threads.get_mut(&thread) {
                    None => find(at, format!("thread {thread} has not been introduced")),
                    Some((_, before, last)) => {
                        if here.steps < before.steps || here.events < before.events || last.is_some_and(|n| n >= turn) {
                            find(at, format!("turn {turn} of thread {thread} goes backwards"));
                        }
                        (*before, *last) = (here, Some(turn));
                    }
                }
            }
            Err(_) => {}
        }
    }
    let mut before = 0;
    for (turn, (time, at)) in times {
        if time < before {
            find(at, format!("turn {turn} is earlier than the one before"));
        }
        before = time;
    }
    if complete {
        let mut known = BTreeSet::new();
        for (thread, (directory, last, _)) in &threads {
            match extents.get(directory) {
                None => find(0, format!("thread {thread} has no trace in {directory}")),
                Some(extent) if last.steps > extent.steps || last.events > extent.events => {
                    find(0, format!("thread {thread} is said to be further than its trace reaches"));
                }
                Some(_) => {}
            }
            known.insert(directory.as_str());
        }
        for directory in extents.keys().filter(|directory| *directory != "." && !known.contains(directory.as_str())) {
            find(0, format!("it does not know {directory}"));
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREADS: &str = concat!(
        r#"{"thread":0,"name":"MainThread","native_id":7,"directory":".","step":0,"event":1}"#,
        "\n",
        r#"{"thread":1,"name":"t","native_id":8,"directory":"threads/01-t","step":0,"event":1}"#,
        "\n",
    );

    fn turn(number: u64, thread: u32, at: u64) -> String {
        let nanos = 100 * number;
        format!("{{\"turn\":{number},\"thread\":{thread},\"step\":{at},\"event\":{at},\"monotonic_ns\":{nanos}}}\n")
    }

    fn findings(text: &str, complete: bool) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let file = index_file(dir.path());
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        let extent = Extent { steps: 10, events: 20 };
        let extents = [".", "threads/01-t"].map(|name| (name.to_owned(), extent)).into_iter().collect();
        check_index(dir.path(), &extents, complete).unwrap()
    }

    #[test]
    fn a_true_index_has_no_findings_also_when_it_is_cut() {
        let text = format!("{THREADS}{}{}{}", turn(0, 0, 1), turn(2, 0, 5), turn(1, 1, 1));
        assert_eq!(findings(&text, true), [""; 0]);
        assert_eq!(findings(&text[..text.len() - 5], false), [""; 0]);
    }

    #[test]
    fn each_kind_of_mistake_is_found() {
        for (lines, found) in [
            ("nonsense\n".to_owned(), "line 3: "),
            (turn(0, 2, 1), "line 3: thread 2 has not been introduced"),
            (turn(0, 0, 1) + &turn(0, 1, 1), "line 4: turn 0 is there twice"),
            (turn(0, 0, 5) + &turn(1, 0, 4), "line 4: turn 1 of thread 0 goes backwards"),
            (turn(3, 0, 5) + &turn(1, 0, 5), "line 4: turn 1 of thread 0 goes backwards"),
            (turn(7, 0, 1).replace("700", "1") + &turn(6, 1, 1), "turn 7 is earlier than the one before"),
            (turn(0, 1, 11), "thread 1 is said to be further than its trace reaches"),
            (THREADS.lines().next().unwrap().to_owned() + "\n", "thread 0 is introduced twice"),
            (
                THREADS.lines().next().unwrap().replace(":0,\"name", ":3,\"name").replace("\".\"", "\"x\"") + "\n",
                "in x",
            ),
        ] {
            let all = findings(&format!("{THREADS}{lines}"), true);
            assert!(all.iter().any(|finding| finding.contains(found)), "{found}: {all:?}");
        }
        let one = THREADS.split_inclusive('\n').next().unwrap();
        assert_eq!(findings(one, true), ["threads/index.jsonl: it does not know threads/01-t"]);
    }

    #[test]
    fn a_line_that_was_cut_is_removed_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = index_file(dir.path());
        assert_eq!(mend_index(dir.path()).unwrap(), None);
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        std::fs::write(&file, format!("{THREADS}{{\"turn\":")).unwrap();
        assert!(mend_index(dir.path()).unwrap().unwrap().ends_with("cut 8 bytes behind the last whole line"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), THREADS);
        assert_eq!(mend_index(dir.path()).unwrap(), None);
    }
}
