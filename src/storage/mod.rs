//! The file system as the recorder sees it: the seam where tests put a full disk.
//!
//! Invariants:
//! - Only worker threads and session start and end touch storage; an interpreter thread never does.
//! - Files are created for the user alone (0600, directories 0700) and never through a symbolic link: a trace
//!   holds what the program held.
//! - [`Storage::replace`] is atomic: a reader finds the old contents or the new ones, nothing else.
//! - Removing what is not there is a success: cleaning up twice is harmless.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

pub mod crash;
pub mod faulty;
pub mod fs;

pub use crash::CrashStorage;
pub use faulty::{FaultPlan, FaultyStorage};
pub use fs::FsStorage;

/// Creates, replaces and removes files.
pub trait Storage: Debug + Send + Sync {
    /// Creates a directory and its missing parents. An existing directory is a success.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Opens an existing file for writing, contents kept.
    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;
    /// Puts a file with these contents at `path` atomically; `durable` also waits until it would survive a power cut.
    fn replace(&self, path: &Path, contents: &[u8], durable: bool) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory if it is empty; one that is not stays, which is a success.
    fn remove_empty_dir(&self, path: &Path) -> io::Result<()>;
    /// Directories directly below `path`, in order of their names; none if `path` does not exist.
    fn subdirectories(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Waits until the names in a directory would survive a power cut.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that a user may still write to the disk of `path`.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
}

/// An open file. Offsets are bytes from its start.
pub trait StorageFile: Debug + Send {
    /// Writes some of `bytes` at `offset` and says how many; fewer than asked for is not an error.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize>;
    /// Sets the length.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Waits until the contents would survive a power cut.
    fn sync(&mut self) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&mut self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(offset, bytes) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::WriteZero, "the file takes no more bytes")),
                Ok(written) => {
                    offset += written as u64;
                    bytes = &bytes[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
