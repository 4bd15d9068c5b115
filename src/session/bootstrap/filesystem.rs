//! The trace directory and the format of the files in it.
//!
//! Invariants:
//! - The returned path is absolute: the program may change its working directory afterwards.
//! - Directories we create are for their owner only (0700), because a trace holds the program's data;
//!   a directory that exists keeps its mode.

use std::io;
use std::path::{Path, PathBuf};

use crate::errors::RecorderResult;
use crate::pipeline::model::TraceFormat;
use crate::{enverr, usage};

/// Makes sure that the trace directory exists, and returns its absolute path.
///
/// # Errors
/// `ERR_TRACE_DIR_CONFLICT`: the path is something else. `ERR_TRACE_DIR_CREATE_FAILED`: it cannot be created.
pub fn prepare_trace_dir(path: &Path) -> RecorderResult<PathBuf> {
    let failed = |path: &Path, error: io::Error| {
        enverr!(TraceDirCreateFailed, "failed to create trace directory {}", path.display())
            .with_context("path", path.display().to_string())
            .with_context("io", error.to_string())
            .with_source(error)
    };
    // Fails for an empty path, and when the working directory is gone.
    let absolute = std::path::absolute(path).map_err(|error| failed(path, error))?;
    match std::fs::metadata(&absolute) {
        Ok(found) if found.is_dir() => return Ok(absolute),
        Ok(_) => {
            return Err(usage!(
                TraceDirConflict,
                "trace path exists and is not a directory: {}; choose another one or move it away",
                absolute.display()
            )
            .with_context("path", absolute.display().to_string()));
        }
        // It does not exist, or creating it will tell best why it cannot be used.
        Err(_) => {}
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&absolute).map_err(|error| failed(&absolute, error))?;
    Ok(absolute)
}

/// The format of this name, in any case. `binaryv0` and `b0`, names of release 0.3.0, mean today's binary format.
///
/// # Errors
/// `ERR_UNSUPPORTED_FORMAT`.
pub fn parse_format(name: &str) -> RecorderResult<TraceFormat> {
    match name.to_ascii_lowercase().as_str() {
        "binary" | "binaryv0" | "b0" => Ok(TraceFormat::Binary),
        "json" => Ok(TraceFormat::Json),
        _ => Err(usage!(UnsupportedFormat, "unsupported trace format '{name}'. Expected one of: binary, json")
            .with_context("format", name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::{ErrorCode, ErrorKind};

    #[test]
    fn missing_directories_are_created_for_their_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        assert_eq!(prepare_trace_dir(&path).unwrap(), path);
        assert!(path.is_dir());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            for created in [&path, path.parent().unwrap()] {
                assert_eq!(std::fs::metadata(created).unwrap().permissions().mode() & 0o777, 0o700);
            }
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            prepare_trace_dir(&path).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
        }
    }

    #[test]
    fn a_relative_path_becomes_absolute() {
        let path = prepare_trace_dir(Path::new(".")).unwrap();
        assert!(path.is_absolute() && path.is_dir());
    }

    #[test]
    fn a_file_in_the_way_is_a_conflict_and_below_it_nothing_can_be_created() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("f");
        std::fs::write(&file, "").unwrap();
        let error = prepare_trace_dir(&file).unwrap_err();
        assert_eq!((error.kind, error.code), (ErrorKind::Usage, ErrorCode::TraceDirConflict));
        assert!(error.message().starts_with("trace path exists and is not a directory"), "{error}");
        assert_eq!(error.context["path"], file.display().to_string());

        for (path, shown) in [(file.join("sub"), file.join("sub")), (PathBuf::new(), PathBuf::new())] {
            let error = prepare_trace_dir(&path).unwrap_err();
            assert_eq!((error.kind, error.code), (ErrorKind::Environment, ErrorCode::TraceDirCreateFailed));
            assert!(error.message().contains("failed to create trace directory"), "{error}");
            assert_eq!(error.context["path"], shown.display().to_string());
            assert!(!error.context["io"].is_empty());
        }
    }

    #[cfg(unix)]
    #[test]
    fn symbolic_links_are_followed_and_a_dangling_one_is_no_directory() {
        let root = tempfile::tempdir().unwrap();
        let (target, link) = (root.path().join("real"), root.path().join("link"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert_eq!(prepare_trace_dir(&link).unwrap_err().code, ErrorCode::TraceDirCreateFailed);
        std::fs::create_dir(&target).unwrap();
        assert_eq!(prepare_trace_dir(&link).unwrap(), link);
    }

    #[test]
    fn formats_are_known_in_any_case() {
        for (name, format) in [
            ("binary", TraceFormat::Binary),
            ("BINARY", TraceFormat::Binary),
            ("BinaryV0", TraceFormat::Binary),
            ("b0", TraceFormat::Binary),
            ("Json", TraceFormat::Json),
        ] {
            assert_eq!(parse_format(name).unwrap(), format);
        }
        for name in ["", " json ", "cbor", "binaryv1"] {
            let error = parse_format(name).unwrap_err();
            assert_eq!((error.kind, error.code), (ErrorKind::Usage, ErrorCode::UnsupportedFormat));
            assert!(error.message().starts_with(&format!("unsupported trace format '{name}'")), "{error}");
        }
    }
}
