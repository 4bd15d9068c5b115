//! A storage that remembers everything that was done, so that a test can look at the disk as it would have been found
//! after a kill or a power cut at any moment.
//!
//! Only tests use it, but it is always compiled: tests outside the crate need it, and it costs nothing.
//!
//! Invariants:
//! - After a kill the disk has everything that was done until then, and the last write perhaps in part.
//! - After a power cut it has what was synced; of what came later it has any part: of a write any of its sectors, of a
//!   replaced file the old one or the new one, the new one perhaps empty; of a new name nothing, until its directory was
//!   synced. That is more than file systems take from one, and no less.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{FsStorage, Storage, StorageFile};

/// What reaches the disk at once.
const SECTOR: usize = 512;

#[derive(Debug, Clone)]
enum Op {
    Write(PathBuf, u64, Vec<u8>),
    Truncate(PathBuf, u64),
    Replace(PathBuf, Vec<u8>, bool),
    Remove(PathBuf),
    SyncFile(PathBuf),
    SyncDir(PathBuf),
}

/// The real file system, and what was done to it.
#[derive(Debug, Default)]
pub struct CrashStorage {
    log: Arc<Mutex<Vec<Op>>>,
}

/// Files by their paths.
pub type Disk = BTreeMap<PathBuf, Vec<u8>>;

fn lock(log: &Mutex<Vec<Op>>) -> MutexGuard<'_, Vec<Op>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CrashStorage {
    fn note(&self, op: Op) {
        lock(&self.log).push(op);
    }

    /// How many things were done so far.
    pub fn moments(&self) -> usize {
        lock(&self.log).len()
    }

    /// The disk after a kill at this moment, `share` (0 to 1) of what is being written then done.
    pub fn after_kill(&self, moment: usize, share: f64) -> Disk {
        let log = lock(&self.log);
        let mut disk = Disk::new();
        for op in &log[..moment] {
            apply(&mut disk, op);
        }
        if let Some(Op::Write(path, offset, bytes)) = log.get(moment) {
            let done = (bytes.len() as f64 * share) as usize;
            apply(&mut disk, &Op::Write(path.clone(), *offset, bytes[..done.min(bytes.len())].to_vec()));
        }
        disk
    }

    /// A disk after a power cut at this moment; `choose(n)` gives a number below n and decides what is lost.
    pub fn after_power_cut(&self, moment: usize, choose: &mut dyn FnMut(usize) -> usize) -> Disk {
        let log = lock(&self.log);
        let mut names = BTreeMap::<&Path, Name<'_>>::new();
        for op in &log[..moment] {
            match op {
                Op::SyncDir(dir) => {
                    names.iter_mut().filter(|(path, _)| path.parent() == Some(dir)).for_each(|(_, name)| name.sync());
                }
                Op::Replace(path, contents, durable) => {
                    let name = names.entry(path).or_default();
                    name.files.push(Some(File { synced: Vec::new(), later: vec![Change::Write(0, contents)] }));
                    if *durable {
                        name.sync_file();
                        name.sync();
                    }
                }
                Op::Remove(path) => names.entry(path).or_default().files.push(None),
                Op::SyncFile(path) => names.entry(path).or_default().sync_file(),
                Op::Write(path, offset, bytes) => {
                    names.entry(path).or_default().change(Change::Write(*offset as usize, bytes));
                }
                Op::Truncate(path, len) => names.entry(path).or_default().change(Change::Truncate(*len as usize)),
            }
        }
        names.into_iter().filter_map(|(path, name)| Some((path.to_owned(), name.after_power_cut(choose)?))).collect()
    }
}

/// Puts a disk into a directory: what was below `from` is below `to`.
///
/// # Errors
/// Those of the file system.
pub fn restore(disk: &Disk, from: &Path, to: &Path) -> io::Result<()> {
    for (path, contents) in disk {
        let Ok(below) = path.strip_prefix(from) else { continue };
        let file = to.join(below);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(file, contents)?;
    }
    Ok(())
}

fn write(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if file.len() < offset + bytes.len() {
        file.resize(offset + bytes.len(), 0);
    }
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn apply(disk: &mut Disk, op: &Op) {
    match op {
        Op::Write(path, offset, bytes) => {
            if let Some(file) = disk.get_mut(path) {
                write(file, *offset as usize, bytes);
            }
        }
        Op::Truncate(path, len) => {
            if let Some(file) = disk.get_mut(path) {
                file.resize(*len as usize, 0);
            }
        }
        Op::Replace(path, contents, _) => drop(disk.insert(path.clone(), contents.clone())),
        Op::Remove(path) => drop(disk.remove(path)),
        Op::SyncFile(_) | Op::SyncDir(_) => {}
    }
}

/// The files that one name may stand for after a power cut, the latest last; `None` is that there is none.
#[derive(Debug)]
struct Name<'a> {
    files: Vec<Option<File<'a>>>,
}

#[derive(Debug)]
struct File<'a> {
    synced: Vec<u8>,
    later: Vec<Change<'a>>,
}

#[derive(Debug, Clone, Copy)]
enum Change<'a> {
    Write(usize, &'a [u8]),
    Truncate(usize),
}

impl Default for Name<'_> {
    fn default() -> Self {
        Self { files: vec![None] }
    }
}

impl<'a> Name<'a> {
    fn change(&mut self, change: Change<'a>) {
        if let Some(Some(file)) = self.files.last_mut() {
            file.later.push(change);
        }
    }

    fn sync_file(&mut self) {
        if let Some(Some(file)) = self.files.last_mut() {
            for change in std::mem::take(&mut file.later) {
                change.apply(&mut file.synced);
            }
        }
    }

    fn sync(&mut self) {
        self.files.drain(..self.files.len() - 1);
    }

    fn after_power_cut(mut self, choose: &mut dyn FnMut(usize) -> usize) -> Option<Vec<u8>> {
        let File { synced: mut contents, later } = self.files.swap_remove(choose(self.files.len()))?;
        for change in later {
            match change {
                Change::Truncate(_) if choose(2) == 0 => {}
                Change::Truncate(_) => change.apply(&mut contents),
                Change::Write(mut offset, mut bytes) => {
                    // Mostly all of it or nothing: else hardly anything whole would be left of a longer recording.
                    let luck = choose(3);
                    while !bytes.is_empty() {
                        let (sector, rest) = bytes.split_at(bytes.len().min(SECTOR - offset % SECTOR));
                        if luck == 1 || (luck == 2 && choose(2) == 0) {
                            Change::Write(offset, sector).apply(&mut contents);
                        }
                        (offset, bytes) = (offset + sector.len(), rest);
                    }
                }
            }
        }
        Some(contents)
    }
}

impl Change<'_> {
    fn apply(self, file: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => write(file, offset, bytes),
            Self::Truncate(len) => file.resize(len, 0),
        }
    }
}

impl Storage for CrashStorage {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        FsStorage.create_dir(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let inner = FsStorage.open(path)?;
        Ok(Box::new(CrashFile { inner, path: path.to_owned(), log: Arc::clone(&self.log) }))
    }
    fn replace(&self, path: &Path, contents: &[u8], durable: bool) -> io::Result<()> {
        self.note(Op::Replace(path.to_owned(), contents.to_vec(), durable));
        FsStorage.replace(path, contents, false)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.note(Op::Remove(path.to_owned()));
        FsStorage.remove_file(path)
    }
    fn remove_empty_dir(&self, path: &Path) -> io::Result<()> {
        FsStorage.remove_empty_dir(path)
    }
    fn subdirectories(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        FsStorage.subdirectories(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.note(Op::SyncDir(path.to_owned()));
        Ok(())
    }
    fn free_space(&self, path: &Path) -> io::Result<u64> {
        FsStorage.free_space(path)
    }
}

#[derive(Debug)]
struct CrashFile {
    inner: Box<dyn StorageFile>,
    path: PathBuf,
    log: Arc<Mutex<Vec<Op>>>,
}

impl StorageFile for CrashFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write_at(offset, bytes)?;
        lock(&self.log).push(Op::Write(self.path.clone(), offset, bytes[..written].to_vec()));
        Ok(written)
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.inner.truncate(len)?;
        lock(&self.log).push(Op::Truncate(self.path.clone(), len));
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        lock(&self.log).push(Op::SyncFile(self.path.clone()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_kill_leaves_what_was_done_and_a_power_cut_what_was_synced() {
        let dir = tempfile::tempdir().unwrap();
        let storage = CrashStorage::default();
        let path = dir.path().join("f");
        storage.replace(&path, b"one", false).unwrap();
        let mut file = storage.open(&path).unwrap();
        file.write_all_at(1, b"NE two").unwrap();
        assert_eq!(storage.after_kill(2, 0.0)[&path], b"oNE two");
        assert_eq!(storage.after_kill(1, 0.5)[&path], b"oNE ");

        // Every disk that a power cut can leave.
        let outcomes = |moment| {
            let mut found = BTreeSet::new();
            for mut n in 0..3usize.pow(6) {
                let mut choose = |below: usize| {
                    let digit = n % 3;
                    n /= 3;
                    digit % below
                };
                found.insert(storage.after_power_cut(moment, &mut choose).remove(&path));
            }
            found
        };
        let some = |texts: &[&[u8]]| texts.iter().map(|text| Some(text.to_vec())).collect::<BTreeSet<_>>();
        let mut expected = some(&[b"", b"one", b"oNE two", b"\0NE two"]);
        expected.insert(None);
        assert_eq!(outcomes(2), expected);
        file.sync().unwrap();
        storage.sync_dir(dir.path()).unwrap();
        assert_eq!(outcomes(storage.moments()), some(&[b"oNE two"]));
        file.truncate(2).unwrap();
        assert_eq!(outcomes(storage.moments()), some(&[b"oNE two", b"oN"]));
        storage.replace(&path, b"new", true).unwrap();
        assert_eq!(outcomes(storage.moments()), some(&[b"new"]));
        storage.remove_file(&path).unwrap();
        let mut expected = some(&[b"new"]);
        expected.insert(None);
        assert_eq!(outcomes(storage.moments()), expected);
    }

    #[test]
    fn sectors_of_a_write_are_lost_one_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let storage = CrashStorage::default();
        let path = dir.path().join("f");
        storage.replace(&path, &[b'a'; 3 * SECTOR], true).unwrap();
        storage.open(&path).unwrap().write_all_at(10, &[b'b'; 2 * SECTOR]).unwrap();
        // The one file; some sectors; then the second of three.
        let mut choices = [0, 2, 1, 0, 1].into_iter();
        let disk = storage.after_power_cut(storage.moments(), &mut |_| choices.next().unwrap());
        let of_b: Vec<usize> =
            disk[&path].iter().enumerate().filter(|(_, byte)| **byte == b'b').map(|(at, _)| at).collect();
        assert_eq!(of_b, (SECTOR..2 * SECTOR).collect::<Vec<_>>());
    }
}
