//! Paths of code as traces show them, and the module names that the legacy way derives from them.
//!
//! Invariants:
//! - Breakpoints compare the text of paths: absolute, without `.` and `..`, symlinks kept.
//! - No system call: every code object has a path.

use std::path::{Component, Path, PathBuf};

#[cfg(unix)]
fn is_normal(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;

    let mut parts = path.as_os_str().as_bytes().split(|&byte| byte == b'/');
    let rooted = parts.next().is_some_and(<[u8]>::is_empty);
    rooted && parts.all(|part| !matches!(part, b"" | b"." | b".."))
}

#[cfg(not(unix))]
fn is_normal(_path: &Path) -> bool {
    false
}

/// Absolute and without `.` and `..`; symlinks stay (breakpoints compare the text).
pub fn absolute(cwd: &Path, path: &Path) -> PathBuf {
    // Most paths are so already, and every code object has one.
    if is_normal(path) {
        return path.to_owned();
    }
    let mut out = PathBuf::new();
    for part in cwd.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

/// `pkg.mod` for a file below an import directory: the legacy way, used when the policy says so or a frame has no name.
pub fn module_name_from_path(search_path: &[PathBuf], path: &Path) -> Option<String> {
    let relative =
        search_path.iter().filter_map(|dir| path.strip_prefix(dir).ok()).min_by_key(|rest| rest.components().count());
    let relative = relative.or_else(|| path.file_name().map(Path::new))?.with_extension("");
    let parts: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let parts = match parts.split_last() {
        Some((last, rest)) if last == "__init__" && !rest.is_empty() => rest.to_vec(),
        _ => parts,
    };
    (!parts.is_empty()).then(|| parts.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_names_follow_the_import_directories() {
        let search = [PathBuf::from("/app"), PathBuf::from("/app/lib")];
        let name = |path: &str| module_name_from_path(&search, Path::new(path));
        assert_eq!(name("/app/pkg/mod.py").as_deref(), Some("pkg.mod"));
        assert_eq!(name("/app/pkg/__init__.py").as_deref(), Some("pkg"));
        assert_eq!(name("/app/lib/deep/m.py").as_deref(), Some("deep.m"));
        assert_eq!(name("/elsewhere/m.py").as_deref(), Some("m"));
    }

    #[test]
    fn paths_become_absolute_without_dots() {
        assert_eq!(absolute(Path::new("/w/d"), Path::new("./a/../b.py")), Path::new("/w/d/b.py"));
        for path in ["/x/./y.py", "/x//y.py", "/x/z/../y.py", "/x/y.py/", "//x/y.py", "/x/y.py"] {
            assert_eq!(absolute(Path::new("/w"), Path::new(path)).as_os_str(), "/x/y.py", "{path}");
        }
        assert_eq!(absolute(Path::new("/w"), Path::new("/x/.y/..z.py")), Path::new("/x/.y/..z.py"));
    }
}
