//! Where lines go: stderr, or a file that is appended to.
//!
//! Invariants:
//! - A line is one write, so lines of several threads and processes do not mix.
//! - No lock is taken: stderr is written through a duplicate of its descriptor as it is at that moment.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::ScopedMute;
use crate::enverr;
use crate::errors::RecorderResult;

/// A destination of whole lines.
#[derive(Debug, Default)]
pub(super) enum Sink {
    #[default]
    Stderr,
    File(File),
}

impl Sink {
    /// Opens `path` for appending; only the user may read what is created.
    pub(super) fn open(path: &Path) -> RecorderResult<Self> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            Ok(file) => Ok(Self::File(file)),
            Err(error) => Err(enverr!(Io, "cannot open log file {} for appending", path.display())
                .with_context("path", path.display().to_string())
                .with_source(error)),
        }
    }

    /// Writes a line, which has no newline yet. What cannot be written is lost: there is nobody to tell.
    pub(super) fn write_line(&self, mut line: String) {
        let _mute = ScopedMute::new();
        line.push('\n');
        let _ = match self {
            Self::Stderr => write_stderr(line.as_bytes()),
            Self::File(file) => (&*file).write_all(line.as_bytes()),
        };
    }
}

#[cfg(unix)]
fn write_stderr(bytes: &[u8]) -> io::Result<()> {
    use std::os::fd::AsFd;
    File::from(io::stderr().as_fd().try_clone_to_owned()?).write_all(bytes)
}

#[cfg(not(unix))]
fn write_stderr(bytes: &[u8]) -> io::Result<()> {
    io::stderr().write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::{ErrorCode, ErrorKind};

    #[test]
    fn a_file_is_private_and_appended_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        for line in ["one", "two"] {
            Sink::open(&path).unwrap().write_line(line.into());
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_of_the_environment() {
        let error = Sink::open(Path::new("/nonexistent/x.log")).unwrap_err();
        assert_eq!((error.kind, error.code), (ErrorKind::Environment, ErrorCode::Io));
        assert_eq!(error.context["path"], "/nonexistent/x.log");
    }
}
