//! Names that are to survive a power cut: a file that was synced is lost all the same if its name is.
//!
//! Invariants:
//! - Every directory between a file and the one that holds the out dir is synced, each once however many files are in it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::storage::Storage;

/// Directories to sync.
#[derive(Debug)]
pub(super) struct Names {
    out_dir: PathBuf,
    directories: BTreeSet<PathBuf>,
}

impl Names {
    pub fn new(out_dir: &Path) -> Self {
        Self { out_dir: out_dir.to_path_buf(), directories: BTreeSet::new() }
    }

    /// The name of this file below the out dir, and those of the directories it is in.
    pub fn of(&mut self, file: &Path) {
        let below = file.ancestors().skip(1).take_while(|directory| directory.starts_with(&self.out_dir));
        self.directories.extend(below.map(Path::to_path_buf));
    }

    /// Waits until they are safe.
    pub fn sync(self, storage: &dyn Storage) -> io::Result<()> {
        for directory in self.directories.iter().rev() {
            storage.sync_dir(directory)?;
        }
        if !self.directories.is_empty()
            && let Some(parent) = self.out_dir.parent()
        {
            // It may not be ours to open: then its owner has to see to it.
            let _ = storage.sync_dir(parent);
        }
        Ok(())
    }
}
