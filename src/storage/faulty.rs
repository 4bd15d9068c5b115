//! A storage that misbehaves as told: full disk, failing writes, slow writes, short writes, a panic.
//!
//! Only tests use it, but it is always compiled: tests outside the crate need it, and it costs nothing.
//! The faults concern event files ([`StorageFile`]) and, once the disk is full, replaced files as well.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{FsStorage, Storage, StorageFile};

/// What goes wrong, and when. The default is nothing.
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    /// The disk is full once files have grown by this many bytes together.
    pub full_after: Option<u64>,
    /// The nth write, from 1, fails with an I/O error; later ones succeed.
    pub fail_write: Option<u64>,
    /// Every write from the nth on, from 1, fails with this error, and so does replacing a file from then on.
    pub fail_from: Option<(u64, io::ErrorKind)>,
    /// The nth write, from 1, panics.
    pub panic_on_write: Option<u64>,
    /// Every write takes this long.
    pub write_delay: Duration,
    /// No write takes more bytes than this at once.
    pub short_writes: Option<usize>,
}

#[derive(Debug, Default)]
struct Counters {
    writes: AtomicU64,
    grown: AtomicU64,
}

/// The real file system with the faults of a [`FaultPlan`].
#[derive(Debug)]
pub struct FaultyStorage {
    plan: FaultPlan,
    counters: Arc<Counters>,
}

impl FaultyStorage {
    pub fn new(plan: FaultPlan) -> Self {
        Self { plan, counters: Arc::default() }
    }

    /// Writes asked for so far, failed ones included.
    pub fn writes(&self) -> u64 {
        self.counters.writes.load(Ordering::Relaxed)
    }

    fn wrap(&self, inner: Box<dyn StorageFile>, len: u64) -> Box<dyn StorageFile> {
        Box::new(FaultyFile { inner, len, plan: self.plan.clone(), counters: Arc::clone(&self.counters) })
    }
}

/// How many of `wanted` further bytes a disk with `limit` still has room for; takes them.
fn take_room(counters: &Counters, limit: Option<u64>, wanted: u64) -> io::Result<u64> {
    let Some(limit) = limit else { return Ok(wanted) };
    let room = limit.saturating_sub(counters.grown.load(Ordering::Relaxed));
    if room == 0 && wanted > 0 {
        return Err(io::Error::from(io::ErrorKind::StorageFull));
    }
    let taken = wanted.min(room);
    counters.grown.fetch_add(taken, Ordering::Relaxed);
    Ok(taken)
}

impl Storage for FaultyStorage {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        FsStorage.create_dir(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let len = std::fs::metadata(path)?.len();
        Ok(self.wrap(FsStorage.open(path)?, len))
    }
    fn replace(&self, path: &Path, contents: &[u8], durable: bool) -> io::Result<()> {
        if let Some((from, kind)) = self.plan.fail_from
            && self.counters.writes.load(Ordering::Relaxed) >= from
        {
            return Err(kind.into());
        }
        // They never use up the room, but must fit into it.
        if let Some(limit) = self.plan.full_after
            && self.counters.grown.load(Ordering::Relaxed) + contents.len() as u64 > limit
        {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        FsStorage.replace(path, contents, durable)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        FsStorage.remove_file(path)
    }
    fn remove_empty_dir(&self, path: &Path) -> io::Result<()> {
        FsStorage.remove_empty_dir(path)
    }
    fn subdirectories(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        FsStorage.subdirectories(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        FsStorage.sync_dir(path)
    }
    fn free_space(&self, path: &Path) -> io::Result<u64> {
        match self.plan.full_after {
            Some(limit) => Ok(limit.saturating_sub(self.counters.grown.load(Ordering::Relaxed))),
            None => FsStorage.free_space(path),
        }
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn StorageFile>,
    len: u64,
    plan: FaultPlan,
    counters: Arc<Counters>,
}

impl StorageFile for FaultyFile {
    #[allow(clippy::panic, reason = "a panicking writer is one of the faults")]
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        if !self.plan.write_delay.is_zero() {
            std::thread::sleep(self.plan.write_delay);
        }
        let nth = self.counters.writes.fetch_add(1, Ordering::Relaxed) + 1;
        if self.plan.panic_on_write == Some(nth) {
            panic!("test-injected panic in write {nth}");
        }
        if let Some((from, kind)) = self.plan.fail_from
            && nth >= from
        {
            return Err(kind.into());
        }
        if self.plan.fail_write == Some(nth) {
            return Err(io::Error::other("test-injected I/O error"));
        }
        let wanted = bytes.len().min(self.plan.short_writes.unwrap_or(usize::MAX)) as u64;
        // Overwriting what the file already has needs no room.
        let inside = self.len.saturating_sub(offset).min(wanted);
        let grown = match take_room(&self.counters, self.plan.full_after, wanted - inside) {
            Ok(grown) => grown,
            Err(_) if inside > 0 => 0,
            Err(error) => return Err(error),
        };
        let written = self.inner.write_at(offset, &bytes[..(inside + grown) as usize])?;
        self.len = self.len.max(offset + written as u64);
        Ok(written)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.inner.truncate(len)?;
        self.len = len;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.inner.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_takes_what_fits_and_still_lets_one_overwrite() {
        let dir = tempfile::tempdir().unwrap();
        let storage = FaultyStorage::new(FaultPlan { full_after: Some(5), ..FaultPlan::default() });
        let path = dir.path().join("f");
        storage.replace(&path, b"", false).unwrap();
        let mut file = storage.open(&path).unwrap();
        let error = file.write_all_at(0, b"1234567").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(std::fs::read(&path).unwrap(), b"12345");
        file.write_all_at(0, b"abcde").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abcde");
        assert!(storage.replace(&dir.path().join("m"), b"{}", false).is_err());
    }

    #[test]
    fn short_writes_still_write_everything_and_the_nth_fails() {
        let dir = tempfile::tempdir().unwrap();
        let plan = FaultPlan { short_writes: Some(2), fail_write: Some(4), ..FaultPlan::default() };
        let storage = FaultyStorage::new(plan);
        let path = dir.path().join("f");
        storage.replace(&path, b"", false).unwrap();
        let mut file = storage.open(&path).unwrap();
        file.write_all_at(0, b"12345").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"12345");
        assert!(file.write_all_at(5, b"6").is_err());
        file.write_all_at(5, b"6").unwrap();
        assert_eq!(storage.writes(), 5);
    }
}
