//! The real file system.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{Storage, StorageFile};

/// Files and directories of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct FsStorage;

impl Storage for FsStorage {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(FsFile(OpenOptions::new().write(true).open(path)?)))
    }

    fn replace(&self, path: &Path, contents: &[u8], durable: bool) -> io::Result<()> {
        let temporary = temporary_name(path);
        let written = create_new(&temporary).and_then(|mut file| {
            file.write_all(contents)?;
            if durable { file.sync_all() } else { Ok(()) }
        });
        if let Err(error) = written.and_then(|()| fs::rename(&temporary, path)) {
            // Best effort: the error that counts is the first one.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        match path.parent() {
            Some(parent) if durable => self.sync_dir(parent),
            _ => Ok(()),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        absent_is_fine(fs::remove_file(path))
    }

    fn remove_empty_dir(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            other => absent_is_fine(other),
        }
    }

    fn subdirectories(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            // `DirEntry::file_type` does not follow links: a linked directory is not ours.
            if entry.file_type()?.is_dir() {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // Only Unix lets one open a directory for that.
        #[cfg(unix)]
        File::open(if path.as_os_str().is_empty() { Path::new(".") } else { path })?.sync_all()?;
        let _ = path;
        Ok(())
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        crate::ffi::disk::free_space(path)
    }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A new file for the user alone. What was there is unlinked first, so that a link is not followed and a reader
/// of the old file keeps what it has open.
fn create_new(path: &Path) -> io::Result<File> {
    absent_is_fine(fs::remove_file(path))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A name beside `path` that no other process uses.
fn temporary_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

#[derive(Debug)]
struct FsFile(File);

impl StorageFile for FsFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.seek(SeekFrom::Start(offset))?;
        self.0.write(bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_where_they_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        FsStorage.replace(&path, b"hello", false).unwrap();
        let mut file = FsStorage.open(&path).unwrap();
        file.write_all_at(5, b" world").unwrap();
        file.write_all_at(6, b"there").unwrap();
        file.truncate(9).unwrap();
        file.sync().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"hello the");
        let mut again = FsStorage.open(&path).unwrap();
        again.write_all_at(0, b"J").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"Jello the");
    }

    #[test]
    fn replacing_leaves_no_temporary_file_and_the_new_contents() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.json");
        FsStorage.replace(&path, b"1", true).unwrap();
        FsStorage.replace(&path, b"22", false).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"22");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(FsStorage.replace(&dir.path().join("no/such/dir"), b"x", true).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn files_are_private_and_links_are_not_followed() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        let path = dir.path().join("trace.bin");
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        FsStorage.replace(&path, b"x", false).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        FsStorage.create_dir(&dir.path().join("a/b")).unwrap();
        assert_eq!(fs::metadata(dir.path().join("a")).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn removing_what_is_not_there_is_fine_and_full_directories_stay() {
        let dir = tempfile::tempdir().unwrap();
        FsStorage.remove_file(&dir.path().join("nothing")).unwrap();
        FsStorage.remove_empty_dir(&dir.path().join("nothing")).unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/f"), "x").unwrap();
        FsStorage.remove_empty_dir(&dir.path().join("d")).unwrap();
        assert!(dir.path().join("d/f").exists());
        assert_eq!(FsStorage.subdirectories(dir.path()).unwrap(), [dir.path().join("d")]);
        assert!(FsStorage.subdirectories(&dir.path().join("nothing")).unwrap().is_empty());
    }
}
