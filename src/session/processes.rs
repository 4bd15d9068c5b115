//! Child processes: who records them, and where.
//!
//! Invariants:
//! - A child never touches a file of its parent. It has `processes/PID-START/` below the directory of the recording
//!   that its first recorded ancestor was started with, whatever came between.
//! - [`process_dir_name`] is the only place that gives these names.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Directories of recorded child processes.
pub const PROCESSES_DIR: &str = "processes";

/// Which child processes are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordProcesses {
    /// Those of runs that the command line or the environment started; not those of `start()` and `trace()`.
    #[default]
    Auto,
    /// All that can be.
    Always,
    /// None.
    Never,
}

/// Who wanted a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origin {
    /// The program itself.
    #[default]
    Program,
    /// The command line or the environment: the program knows nothing of it.
    Outside,
    /// The session of the parent process, or of one that was there first.
    Parent {
        /// Directory of the first ancestor's recording.
        root: PathBuf,
        parent_pid: u32,
    },
}

static FROM_OUTSIDE: AtomicBool = AtomicBool::new(false);
/// Touched while a session is started from outside only, so a fork never finds it locked.
static BELOW: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The next session is started by the command line or the environment.
pub fn next_session_is_from_outside() {
    FROM_OUTSIDE.store(true, Ordering::Relaxed);
}

/// The next session, if it is started from outside, is one of several in the directory `root`.
pub(super) fn next_session_is_below(root: &Path) {
    *BELOW.lock().unwrap_or_else(PoisonError::into_inner) = Some(root.to_owned());
}

/// Who wants the session that is being started.
pub(super) fn take_origin() -> Origin {
    if !FROM_OUTSIDE.swap(false, Ordering::Relaxed) {
        return Origin::Program;
    }
    match BELOW.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(root) => Origin::Parent { root, parent_pid: parent_pid() },
        None => Origin::Outside,
    }
}

fn parent_pid() -> u32 {
    #[cfg(unix)]
    return std::os::unix::process::parent_id();
    #[cfg(not(unix))]
    0
}

impl Origin {
    /// Whether children of this process are recorded.
    pub(super) fn follows_children(&self, policy: RecordProcesses) -> bool {
        match policy {
            RecordProcesses::Always => true,
            RecordProcesses::Never => false,
            RecordProcesses::Auto => !matches!(self, Self::Program),
        }
    }

    /// The directory below which children are recorded.
    pub(super) fn root<'a>(&'a self, own: &'a Path) -> &'a Path {
        match self {
            Self::Parent { root, .. } => root,
            Self::Program | Self::Outside => own,
        }
    }
}

/// Where this process is recorded when its parent's recording is in `root`.
pub fn process_dir(root: &Path) -> PathBuf {
    root.join(PROCESSES_DIR).join(process_dir_name(std::process::id(), SystemTime::now()))
}

/// The name of a process's directory: its id and when its recording began, in milliseconds since 1970.
pub fn process_dir_name(pid: u32, start: SystemTime) -> String {
    let millis = start.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    format!("{pid}-{millis}")
}

/// Whether a directory below `processes/` has a name that the recorder gives.
pub fn is_process_dir(path: &Path) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split_once('-').is_some_and(|(pid, start)| is_number(pid) && is_number(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_process_and_when_it_began() {
        let name = process_dir_name(77, UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_123));
        assert_eq!(name, "77-1700000000123");
        assert!(is_process_dir(&Path::new("processes").join(name)));
        for other in ["77", "77-", "-1", "a-1", "1-b"] {
            assert!(!is_process_dir(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn children_of_programs_that_know_nothing_of_the_recorder_are_recorded_by_default() {
        let own = Path::new("/own");
        let parent = Origin::Parent { root: "/root-dir".into(), parent_pid: 1 };
        for (origin, auto, root) in
            [(Origin::Program, false, "/own"), (Origin::Outside, true, "/own"), (parent, true, "/root-dir")]
        {
            assert_eq!(origin.follows_children(RecordProcesses::Auto), auto, "{origin:?}");
            assert!(origin.follows_children(RecordProcesses::Always));
            assert!(!origin.follows_children(RecordProcesses::Never));
            assert_eq!(origin.root(own), Path::new(root));
        }
    }

    #[test]
    fn who_started_a_session_counts_for_that_session_only() {
        next_session_is_from_outside();
        assert_eq!(take_origin(), Origin::Outside);
        assert_eq!(take_origin(), Origin::Program);
    }
}
