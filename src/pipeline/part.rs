//! Parts: a long recording as several traces, one after the other, each opening by itself.
//!
//! Invariants:
//! - Part 0 is the out dir itself, so a recording that is never rotated looks as if there were no parts. Part n is
//!   `parts/NNNN/` below it, a whole trace directory with its own threads.
//! - A part starts with the calls in progress and their variables and returns from them all at its end. What the
//!   parts hold besides that, put together, is what one part would hold.
//! - The parts of all streams change at once.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};

use super::encoder::EventCounts;
use super::stats::{StreamSummary, lock};

/// Directories of the parts but the first.
pub const PARTS_DIR: &str = "parts";

/// One part of a recording.
#[derive(Debug)]
pub(super) struct Part {
    pub number: u32,
    pub dir: PathBuf,
    /// `dir` relative to the out dir.
    pub shown: String,
    /// Why it was begun: why the part before ended, or `start`.
    pub begun_by: String,
    pub started: SystemTime,
    /// Why and how it was chosen, if it is a sample; several where samples of entries overlapped.
    samples: Mutex<Vec<Value>>,
    /// Its directory is there.
    pub created: AtomicBool,
    /// Size of its index of threads.
    pub index_bytes: AtomicU64,
}

impl Part {
    /// The first part of a recording into `out_dir`, which exists.
    pub fn first(out_dir: &Path) -> Self {
        Self {
            number: 0,
            dir: out_dir.to_path_buf(),
            shown: ".".to_owned(),
            begun_by: "start".to_owned(),
            started: SystemTime::now(),
            samples: Mutex::default(),
            created: AtomicBool::new(true),
            index_bytes: AtomicU64::new(0),
        }
    }

    /// The part after this one.
    pub fn next(&self, out_dir: &Path, reason: &str, sample: Option<Value>) -> Self {
        let number = self.number + 1;
        let name = part_dir_name(number);
        Self {
            number,
            dir: out_dir.join(PARTS_DIR).join(&name),
            shown: format!("{PARTS_DIR}/{name}"),
            begun_by: reason.to_owned(),
            started: SystemTime::now(),
            samples: Mutex::new(sample.into_iter().collect()),
            created: AtomicBool::new(false),
            index_bytes: AtomicU64::new(0),
        }
    }

    /// The key `part` of its metadata while it is being recorded.
    pub fn to_json(&self) -> Value {
        let mut part = json!({"number": self.number, "begun_by": self.begun_by, "started": unix_seconds(self.started)});
        if let Some(sample) = lock(&self.samples).first() {
            part["sample"] = sample.clone();
        }
        part
    }

    /// A further sample began while the part was being recorded.
    pub fn add_sample(&self, sample: Value) {
        lock(&self.samples).push(sample);
    }
}

/// A part that has ended; the key `part` of its metadata and an entry of `parts` in that of the recording.
#[derive(Debug, Clone, Serialize)]
pub struct PartSummary {
    pub number: u32,
    /// Relative to the out dir.
    pub directory: String,
    pub begun_by: String,
    /// Why it ended: the name of a limit, what the caller of a rotation said, or `stop`.
    pub ended_by: String,
    /// Seconds since 1970.
    pub started: f64,
    pub ended: f64,
    /// What its streams hold, the calls in progress at its start included.
    pub counts: EventCounts,
    pub bytes_on_disk: u64,
    /// Why and how it was chosen, if it is a sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Value>,
    /// All of them, where samples of entries overlapped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Value>,
    /// Of the first part only, whose metadata is also that of the recording; the others have them in theirs.
    #[serde(skip)]
    pub streams: Vec<StreamSummary>,
}

impl PartSummary {
    pub(super) fn new(part: &Part, ended_by: &str, streams: &[StreamSummary]) -> Self {
        let mut counts = EventCounts::default();
        let samples = lock(&part.samples).clone();
        streams.iter().for_each(|stream| counts += stream.counts);
        Self {
            number: part.number,
            directory: part.shown.clone(),
            begun_by: part.begun_by.clone(),
            ended_by: ended_by.to_owned(),
            started: unix_seconds(part.started),
            ended: unix_seconds(SystemTime::now()),
            counts,
            sample: samples.first().cloned(),
            samples: if samples.len() > 1 { samples } else { Vec::new() },
            streams: if part.number == 0 { streams.to_vec() } else { Vec::new() },
            bytes_on_disk: streams.iter().map(|stream| stream.bytes_on_disk).sum(),
        }
    }
}

/// Name of a part's directory below `parts/`.
fn part_dir_name(number: u32) -> String {
    format!("{number:04}")
}

/// Whether a directory below `parts/` has a name that the recorder gives.
pub(crate) fn is_part_dir(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    directory_number(name).is_some_and(|number| part_dir_name(number) == name)
}

/// The number that a directory's name is, or begins with, as the recorder writes it: of four digits or more.
pub(super) fn directory_number(digits: &str) -> Option<u32> {
    (digits.len() >= 4 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Seconds since 1970, to the microsecond.
pub(super) fn unix_seconds(time: SystemTime) -> f64 {
    let micros = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_part_is_the_out_dir_and_the_others_lie_below_it() {
        let first = Part::first(Path::new("/t"));
        let next = first.next(Path::new("/t"), "max_steps", None);
        assert_eq!((first.dir.as_path(), first.shown.as_str()), (Path::new("/t"), "."));
        assert_eq!((next.dir.as_path(), next.shown.as_str()), (Path::new("/t/parts/0001"), "parts/0001"));
        assert_eq!((next.number, next.begun_by.as_str()), (1, "max_steps"));
    }

    #[test]
    fn only_names_that_the_recorder_gives_are_parts() {
        for (name, is_part) in
            [("0001", true), ("12345", true), ("001", false), ("00001", false), ("000a", false), ("+001", false)]
        {
            assert_eq!(is_part_dir(&Path::new("parts").join(name)), is_part, "{name}");
        }
    }
}
