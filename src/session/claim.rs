//! One directory for a whole tree of processes: `CODETRACER_TRACE` is inherited by children that `exec` starts.
//!
//! Invariants:
//! - The first process that claims a directory records into it; one that comes while any process of the tree lives
//!   gets `processes/PID-START/` below it. So nobody's files are removed while they are written.
//! - A recording that ended only after this process had begun is of the same run (a launcher that does not wait for its
//!   server, a program that replaced itself by `exec`) and is not replaced either.
//! - The claim is an advisory lock of the directory itself: it leaves no file, ends with the process however that ends,
//!   and children made by `fork` share it. Exclusive while the first one prepares the directory, shared from then on.
//! - Claiming never fails: where a directory cannot be locked, the process records as if it were alone, and starting the
//!   session says what is wrong.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::processes::{self, process_dir};
use crate::format::recover::recording_process;
use crate::pipeline::artifacts::RECORDING_FILE;

/// How long a process waits for another that prepares the directory. That takes milliseconds; a process that was
/// stopped in the middle of it must not stop the others.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(2);

/// The directory while it is locked for preparing it.
static PREPARING: Mutex<Option<File>> = Mutex::new(None);

/// Where this process records when the environment says `directory`. To be followed by [`settle`] once the session has
/// started, or has not.
pub fn claim(directory: &Path) -> PathBuf {
    // What is wrong with the directory is said by starting a session there.
    let Ok(directory) = super::filesystem::prepare_trace_dir(directory) else { return directory.to_owned() };
    let Ok(lock) = File::open(&directory) else { return directory };
    let first = match lock.try_lock() {
        // Somebody may have come between the two steps of making a lock a shared one, or started without a claim.
        Ok(()) => {
            recording_process(&directory).is_none_or(|pid| pid == u64::from(std::process::id()))
                && !is_of_this_run(&directory, process_start())
        }
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(_)) => return directory,
    };
    if first {
        *PREPARING.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
        return directory;
    }
    share(lock);
    processes::next_session_is_below(&directory);
    process_dir(&directory)
}

/// Whether the recording in `directory`, if there is one, was still written when this process had begun.
fn is_of_this_run(directory: &Path, began: SystemTime) -> bool {
    let written = std::fs::metadata(directory.join(RECORDING_FILE)).and_then(|file| file.modified());
    written.is_ok_and(|written| written > began)
}

/// When this process began, to some hundredths of a second; now, where that cannot be seen.
fn process_start() -> SystemTime {
    let now = SystemTime::now();
    age().and_then(|age| now.checked_sub(age)).unwrap_or(now)
}

/// How old this process is, from Linux' `/proc`.
fn age() -> Option<Duration> {
    // What user space sees as a clock tick has been a hundredth of a second on every Linux that runs CPython 3.12.
    const TICKS: f64 = 100.0;
    let uptime: f64 = std::fs::read_to_string("/proc/uptime").ok()?.split(' ').next()?.parse().ok()?;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Field 22; the second one, the name in parentheses, may hold spaces and parentheses of its own.
    let start: f64 = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
    // Negative where a container shows an uptime of its own.
    Duration::try_from_secs_f64(uptime - start / TICKS).ok()
}

/// The session has started or failed: others may come.
pub fn settle() {
    if let Some(lock) = PREPARING.lock().unwrap_or_else(PoisonError::into_inner).take() {
        share(lock);
    }
}

/// Keeps a shared lock until the process ends.
fn share(lock: File) {
    let start = Instant::now();
    while matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)) && start.elapsed() < PATIENCE {
        std::thread::sleep(PAUSE);
    }
    // Not to be closed by us: a program that becomes a daemon closes every descriptor, and may then own this number.
    std::mem::forget(lock);
}

#[cfg(test)]
mod tests {
    use super::*;
    use processes::{Origin, is_process_dir, take_origin};

    #[test]
    fn the_first_has_the_directory_and_those_who_come_while_it_lives_a_place_below_it() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("out");
        assert_eq!(claim(&dir), dir);
        settle();
        processes::next_session_is_from_outside();
        assert_eq!(take_origin(), Origin::Outside);

        // A second opening of the directory is to the lock what another process is.
        let second = claim(&dir);
        assert!(second.starts_with(dir.join("processes")) && is_process_dir(&second), "{second:?}");
        processes::next_session_is_from_outside();
        assert!(matches!(take_origin(), Origin::Parent { root, .. } if root == dir));
    }

    #[test]
    fn a_directory_in_which_another_process_records_is_not_taken() {
        let root = tempfile::tempdir().unwrap();
        let state = |pid: u32, state: &str| {
            let text = format!(r#"{{"state": "{state}", "pid": {pid}}}"#);
            std::fs::write(root.path().join("recording.json"), text).unwrap();
        };
        state(std::os::unix::process::parent_id(), "recording");
        assert_ne!(claim(root.path()), root.path());
        take_origin();
    }

    #[test]
    fn what_a_dead_or_finished_process_left_is_taken_over() {
        for (pid, state) in [
            (std::os::unix::process::parent_id(), "complete"),
            (u32::MAX, "recording"),
            (std::process::id(), "recording"),
        ] {
            let root = tempfile::tempdir().unwrap();
            let text = format!(r#"{{"state": "{state}", "pid": {pid}}}"#);
            let path = root.path().join("recording.json");
            std::fs::write(&path, text).unwrap();
            let before = process_start() - Duration::from_secs(1);
            File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
            assert_eq!(claim(root.path()), root.path(), "{pid} {state}");
            settle();
        }
    }

    #[test]
    fn a_recording_that_ended_after_this_process_began_is_not_replaced() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("recording.json");
        std::fs::write(&path, r#"{"state": "complete", "pid": 1}"#).unwrap();
        let began = SystemTime::now();
        let second = Duration::from_secs(1);
        for (written, same_run) in [(began - second, false), (began + second, true)] {
            File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
            assert_eq!(is_of_this_run(root.path(), began), same_run, "{written:?}");
        }
        assert!(!is_of_this_run(&root.path().join("none"), began));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_knows_how_old_it_is() {
        let before = age().unwrap();
        assert!(before < Duration::from_secs(60), "{before:?}");
        std::thread::sleep(Duration::from_millis(50));
        assert!(age().unwrap() > before);
    }

    #[test]
    fn a_path_that_is_no_directory_is_left_to_the_session_to_refuse() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("f");
        std::fs::write(&file, "").unwrap();
        assert_eq!(claim(&file), file);
        settle();
    }
}
