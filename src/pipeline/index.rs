//! The index of a part: which thread recorded when, `threads/index.jsonl`.
//!
//! Invariants:
//! - One JSON object per line, only ever appended: whatever is cut off at the end, the lines before it are whole and
//!   say what they said.
//! - A stream is introduced (`thread`) before its first turn (`turn`). Turns of one stream are in order; those of several
//!   are where the encoder came to them, and their numbers tell the order.
//! - There is no index as long as one thread records. What it recorded before others did is in a part without one if it
//!   had a single turn there.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;

use crate::storage::Storage;

use super::artifacts::THREADS_DIR;
use super::encoder::Turn;
use super::names::Names;
use super::part::Part;
use super::stream::StreamInfo;

/// Name of the index, below `threads/`.
pub const INDEX_FILE: &str = "index.jsonl";

/// So many lines are passed on without waiting for the clock.
const MANY_LINES: usize = 4096;
/// The writer stores so many bytes without waiting for the clock.
const MAX_PENDING: usize = 64 * 1024;

/// Lines on their way to the writer.
#[derive(Debug, Default)]
pub(super) struct IndexLines {
    introductions: String,
    turns: Vec<(u32, Turn)>,
    threads: usize,
    /// Threads took turns, in this part or an earlier one.
    several: bool,
}

impl IndexLines {
    /// A stream's first turn in this part is about to come; `directory` is its trace's, relative to the part's.
    pub fn introduce(&mut self, stream: u32, info: &StreamInfo, directory: &str, turn: &Turn) {
        self.threads += 1;
        self.several |= self.threads > 1;
        let line = json!({
            "thread": stream,
            "name": info.name,
            "native_id": info.native_id,
            "directory": directory,
            "step": turn.steps,
            "event": turn.events,
        });
        // Writing to a string cannot fail.
        let _ = writeln!(self.introductions, "{line}");
    }

    /// Turns of a stream that was introduced.
    pub fn add(&mut self, stream: u32, turns: Vec<Turn>) {
        self.turns.extend(turns.into_iter().map(|turn| (stream, turn)));
        self.several |= self.turns.len() > self.threads;
    }

    /// All turns of a stream, with its introduction.
    pub fn add_all(&mut self, stream: u32, info: &StreamInfo, directory: &str, turns: Vec<Turn>) {
        if let Some(first) = turns.first() {
            self.introduce(stream, info, directory, first);
            self.add(stream, turns);
        }
    }

    pub fn are_many(&self) -> bool {
        self.turns.len() >= MANY_LINES
    }

    /// What there is to write, if there is something and threads take turns.
    pub fn take(&mut self) -> Option<String> {
        if !self.several || (self.turns.is_empty() && self.introductions.is_empty()) {
            return None;
        }
        let mut text = std::mem::take(&mut self.introductions);
        self.turns.sort_by_key(|(_, turn)| turn.number);
        for (stream, turn) in self.turns.drain(..) {
            let Turn { number, nanos, steps, events } = turn;
            let _ = writeln!(
                text,
                r#"{{"turn":{number},"thread":{stream},"step":{steps},"event":{events},"monotonic_ns":{nanos}}}"#
            );
        }
        Some(text)
    }

    /// The next part begins.
    pub fn clear(&mut self) {
        *self = Self { several: self.several, ..Self::default() };
    }
}

/// The index of a part on disk.
#[derive(Debug)]
pub(super) struct IndexFile {
    part: Arc<Part>,
    path: PathBuf,
    stored: u64,
    pending: String,
}

impl IndexFile {
    /// An index that does not exist yet.
    pub fn new(part: Arc<Part>) -> Self {
        let path = part.dir.join(THREADS_DIR).join(INDEX_FILE);
        Self { part, path, stored: 0, pending: String::new() }
    }

    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    pub fn append(&mut self, lines: &str) {
        self.pending.push_str(lines);
    }

    pub fn wants_store(&self) -> bool {
        self.pending.len() >= MAX_PENDING
    }

    /// Puts everything appended on disk. The file is not kept open: it is written once in a while.
    pub fn store(&mut self, storage: &dyn Storage) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.stored == 0 {
            if let Some(directory) = self.path.parent() {
                storage.create_dir(directory)?;
            }
            storage.replace(&self.path, self.pending.as_bytes(), false)?;
        } else {
            let mut file = storage.open(&self.path)?;
            if let Err(error) = file.write_all_at(self.stored, self.pending.as_bytes()) {
                // Best effort: readers leave out a line that is cut short.
                let _ = file.truncate(self.stored);
                return Err(error);
            }
        }
        self.stored += self.pending.len() as u64;
        self.part.index_bytes.store(self.stored, Ordering::Relaxed);
        self.pending.clear();
        Ok(())
    }

    /// Waits until what is stored would survive a power cut, but for its name.
    pub fn sync(&self, storage: &dyn Storage, names: &mut Names) -> io::Result<()> {
        if self.stored > 0 {
            storage.open(&self.path)?.sync()?;
            names.of(&self.path);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{FaultPlan, FaultyStorage, FsStorage};

    fn turn(number: u64) -> Turn {
        Turn { number, nanos: 10 * number, steps: number, events: 2 * number }
    }

    #[test]
    fn one_thread_alone_needs_no_index_and_a_second_one_tells_of_both() {
        let info = StreamInfo { name: "a \"b\"".to_owned(), native_id: 7 };
        let mut lines = IndexLines::default();
        lines.introduce(0, &info, ".", &turn(0));
        lines.add(0, vec![turn(0)]);
        assert_eq!(lines.take(), None);
        lines.add(0, vec![turn(2)]);
        lines.add_all(1, &info, "threads/01-a", vec![turn(1)]);
        let text = lines.take().unwrap();
        let values: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(values[0]["name"], "a \"b\"");
        assert_eq!(values[1]["directory"], "threads/01-a");
        let numbers: Vec<_> = values[2..].iter().map(|value| value["turn"].as_u64().unwrap()).collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!(values[4], serde_json::json!({"turn": 2, "thread": 0, "step": 2, "event": 4, "monotonic_ns": 20}));
        assert_eq!(lines.take(), None);
    }

    #[test]
    fn lines_that_do_not_fit_on_the_disk_are_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let storage = FaultyStorage::new(FaultPlan { full_after: Some(15), ..FaultPlan::default() });
        let mut file = IndexFile::new(Arc::new(Part::first(dir.path())));
        file.append("{\"turn\":1}\n");
        file.store(&storage).unwrap();
        file.append("{\"turn\":2}\n{\"turn\":3}\n");
        assert_eq!(file.store(&storage).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "{\"turn\":1}\n");
        file.store(&FsStorage).unwrap();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "{\"turn\":1}\n{\"turn\":2}\n{\"turn\":3}\n");
    }
}
