//! The trace directory and the format.
//!
//! Invariants:
//! - A relative directory is resolved when the session starts; a later `chdir` changes nothing.
//! - Directories we create are private to the user (0700).

use std::path::{Path, PathBuf};

use crate::errors::RecorderResult;
use crate::pipeline::model::TraceFormat;

/// Makes sure that `path` is a directory, and returns it absolute.
///
/// # Errors
/// `ERR_TRACE_DIR_CONFLICT` if something else is there, `ERR_TRACE_DIR_CREATE_FAILED` if it cannot be created.
pub fn prepare_trace_dir(path: &Path) -> RecorderResult<PathBuf> {
    let failed = |error: std::io::Error| {
        crate::enverr!(TraceDirCreateFailed, "failed to create trace directory '{}'", path.display())
            .with_context("path", path.display().to_string())
            .with_source(error)
    };
    let absolute = std::path::absolute(path).map_err(failed)?;
    if absolute.is_dir() {
        return Ok(absolute);
    }
    if absolute.exists() {
        return Err(crate::usage!(
            TraceDirConflict,
            "trace path '{}' exists and is not a directory; name another one",
            path.display()
        )
        .with_context("path", path.display().to_string()));
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&absolute).map_err(failed)?;
    Ok(absolute)
}

/// The format of this name, in any case.
///
/// # Errors
/// `ERR_UNSUPPORTED_FORMAT`.
pub fn parse_format(name: &str) -> RecorderResult<TraceFormat> {
    match name.to_ascii_lowercase().as_str() {
        "binary" => Ok(TraceFormat::Binary),
        "json" => Ok(TraceFormat::Json),
        _ => Err(crate::usage!(UnsupportedFormat, "unsupported trace format '{name}' (expected one of: binary, json)")
            .with_context("format", name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::ErrorCode;

    #[test]
    fn a_missing_directory_is_created_for_the_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        assert_eq!(prepare_trace_dir(&path).unwrap(), path);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn a_file_in_the_way_is_a_conflict_and_below_it_nothing_can_be_created() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(prepare_trace_dir(&file).unwrap_err().code, ErrorCode::TraceDirConflict);
        let error = prepare_trace_dir(&file.join("below")).unwrap_err();
        assert_eq!(error.code, ErrorCode::TraceDirCreateFailed);
        assert!(error.to_string().contains("failed to create trace directory"));
    }

    #[test]
    fn formats_are_known_in_any_case() {
        assert_eq!(parse_format("Binary").unwrap(), TraceFormat::Binary);
        assert_eq!(parse_format("JSON").unwrap(), TraceFormat::Json);
        let error = parse_format("yaml").unwrap_err();
        assert!(error.to_string().contains("unsupported trace format"));
    }
}
