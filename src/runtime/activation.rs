//! The activation gate: recording is held until the interpreter enters one file, and while any frame of it is active.
//!
//! Invariants:
//! - Without an activation path the gate is always open.
//! - `enter` and `leave` are called in pairs by the shadow stacks, with the GIL held; the count is exact whatever way
//!   a frame is left.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustc_hash::FxHashMap;

/// Decides whether events are recorded now.
#[derive(Debug)]
pub struct ActivationGate {
    /// Canonical path of the file, symlinks resolved.
    file: Option<PathBuf>,
    /// Whether a path is that file: resolving links asks the file system, and a file has many code objects.
    known: Mutex<FxHashMap<PathBuf, bool>>,
    active: AtomicUsize,
    /// How often it was opened.
    openings: AtomicUsize,
}

/// Paths that are remembered; after that they are forgotten all at once.
const KNOWN_PATHS: usize = 8192;

impl ActivationGate {
    /// `path`: the file that switches recording on; relative to `cwd`.
    pub fn new(path: Option<&Path>, cwd: &Path) -> Self {
        let file = path.map(|path| canonical(&cwd.join(path)));
        Self { file, known: Mutex::default(), active: AtomicUsize::new(0), openings: AtomicUsize::new(0) }
    }

    /// No file was named: everything is recorded.
    pub fn is_unconditional(&self) -> bool {
        self.file.is_none()
    }

    /// Events are recorded.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.file.is_none() || self.active.load(Ordering::Relaxed) > 0
    }

    /// Code of this (absolute) path switches recording on.
    pub fn is_activated_by(&self, path: &Path) -> bool {
        let Some(file) = self.file.as_deref() else { return false };
        if file == path {
            return true;
        }
        // Only paths are looked up while the lock is held.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&is_file) = known.get(path) {
            return is_file;
        }
        if known.len() >= KNOWN_PATHS {
            known.clear();
        }
        let is_file = file == canonical(path);
        known.insert(path.to_owned(), is_file);
        is_file
    }

    /// A frame of the file is entered.
    #[inline]
    pub fn enter(&self) {
        if self.active.fetch_add(1, Ordering::Relaxed) == 0 {
            self.openings.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often it was opened: a thread that finds another number than before may have missed something.
    #[inline]
    pub fn openings(&self) -> usize {
        self.openings.load(Ordering::Relaxed)
    }

    /// A frame of the file is left.
    #[inline]
    pub fn leave(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// A frame of the file is left that may have been active before anybody counted.
    pub fn leave_if_entered(&self) {
        let _ = self.active.try_update(Ordering::Relaxed, Ordering::Relaxed, |active| active.checked_sub(1));
    }

    /// So many frames of the file are running, whatever was counted until now.
    pub fn rebase(&self, running: usize) {
        self.active.store(running, Ordering::Relaxed);
        self.openings.fetch_add(1, Ordering::Relaxed);
    }
}

fn canonical(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_path_the_gate_is_open() {
        assert!(ActivationGate::new(None, Path::new("/")).is_open());
    }

    #[test]
    fn the_gate_is_open_while_any_frame_of_the_file_is_active() {
        let gate = ActivationGate::new(Some(Path::new("main.py")), Path::new("/nowhere"));
        assert!(!gate.is_open());
        assert!(gate.is_activated_by(Path::new("/nowhere/main.py")));
        assert!(!gate.is_activated_by(Path::new("/nowhere/other.py")));
        gate.enter();
        gate.enter();
        gate.leave();
        assert!(gate.is_open());
        gate.leave();
        assert!(!gate.is_open());
        gate.leave_if_entered();
        gate.enter();
        assert!(gate.is_open());
    }

    #[test]
    fn frames_that_run_when_recording_is_resumed_are_counted_anew() {
        let gate = ActivationGate::new(Some(Path::new("main.py")), Path::new("/nowhere"));
        gate.enter();
        gate.rebase(2);
        gate.leave_if_entered();
        assert!(gate.is_open());
        gate.leave_if_entered();
        gate.leave_if_entered();
        assert!(!gate.is_open());
    }

    #[cfg(unix)]
    #[test]
    fn a_symlink_to_the_file_activates_too() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real.py");
        std::fs::write(&real, "").unwrap();
        let link = dir.path().join("link.py");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let gate = ActivationGate::new(Some(&link), dir.path());
        assert!(gate.is_activated_by(&real) && gate.is_activated_by(&link));
    }
}
