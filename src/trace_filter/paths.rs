//! Tells where a source file comes from: the standard library, installed packages, the recorder, or elsewhere.
//!
//! Invariants:
//! - Installed packages lie below the standard library on most systems, so they are looked for first.
//! - What `sysconfig` says counts most; the classic places (`lib/pythonX.Y`, `pythonXY.zip`, `site-packages`) are
//!   recognised too, with either separator, for interpreters that were moved and code compiled elsewhere.
//! - No file is touched while code is looked at: symlinks of the directories are resolved once, at the start.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Where the interpreter and the recorder live, as `sysconfig.get_paths()` and `__file__` tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimePaths {
    /// `stdlib` and `platstdlib`.
    pub stdlib: Vec<PathBuf>,
    /// `purelib`, `platlib`, and the user's site directory.
    pub site_packages: Vec<PathBuf>,
    /// Directories of the recorder's Python package.
    pub recorder: Vec<PathBuf>,
}

/// The path with `/` between its parts: Windows paths (drive or `\\`) are rewritten, others may hold a real backslash.
pub(super) fn unify(path: &str) -> Cow<'_, str> {
    let bytes = path.as_bytes();
    let drive = bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && bytes[2] == b'\\';
    if drive || path.starts_with(r"\\") || (cfg!(windows) && path.contains('\\')) {
        Cow::Owned(path.strip_prefix(r"\\?\").unwrap_or(path).replace('\\', "/"))
    } else {
        Cow::Borrowed(path)
    }
}

/// What is below `directory` (which ends with `/`).
pub(super) fn below<'p>(path: &'p str, directory: &str) -> Option<&'p str> {
    path.strip_prefix(directory).filter(|rest| !rest.is_empty())
}

/// A directory in every spelling it may appear in, each unified and ending with `/`.
pub(super) fn spellings(directory: &Path) -> Vec<String> {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_path_buf());
    let canonical = absolute.canonicalize().ok();
    let mut found: Vec<String> = Vec::with_capacity(2);
    for path in [Some(absolute), canonical].into_iter().flatten() {
        let unified = unify(&path.to_string_lossy()).trim_end_matches('/').to_owned() + "/";
        if !found.contains(&unified) {
            found.push(unified);
        }
    }
    found
}

/// [`RuntimePaths`], prepared for looking paths up.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownPlaces {
    stdlib: Vec<String>,
    site_packages: Vec<String>,
    recorder: Vec<String>,
}

/// Where one source file comes from; each part is the path below the place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place<'p> {
    pub stdlib: Option<&'p str>,
    pub site_packages: Option<&'p str>,
    pub recorder: bool,
}

impl KnownPlaces {
    pub fn new(paths: &RuntimePaths) -> Self {
        let all = |paths: &[PathBuf]| paths.iter().flat_map(|path| spellings(path)).collect();
        Self { stdlib: all(&paths.stdlib), site_packages: all(&paths.site_packages), recorder: all(&paths.recorder) }
    }

    /// Finds the place of a unified path.
    pub fn locate<'p>(&self, path: &'p str) -> Place<'p> {
        if path.starts_with("<frozen ") {
            return Place { stdlib: Some(path), ..Place::default() };
        }
        let recorder = self.recorder.iter().any(|directory| below(path, directory).is_some());
        let under = |directories: &[String]| directories.iter().find_map(|directory| below(path, directory));
        if let Some(rest) = under(&self.site_packages).or_else(|| classic_site_packages(path)) {
            return Place { site_packages: Some(rest), recorder, ..Place::default() };
        }
        let stdlib = under(&self.stdlib).or_else(|| classic_stdlib(path));
        Place { stdlib, recorder, ..Place::default() }
    }
}

/// What follows `…/site-packages/` or `…/dist-packages/`.
fn classic_site_packages(path: &str) -> Option<&str> {
    ["/site-packages/", "/dist-packages/"]
        .iter()
        .find_map(|marker| path.split_once(marker).map(|(_, rest)| rest))
        .filter(|rest| !rest.is_empty())
}

/// What follows `…/lib/pythonX.Y/` or `…/pythonXY.zip/`; the caller has ruled installed packages out.
fn classic_stdlib(path: &str) -> Option<&str> {
    let mut rest = path;
    let mut after_lib = false;
    loop {
        let end = rest.find(['/', '\\'])?;
        let (part, tail) = (&rest[..end], &rest[end + 1..]);
        if (after_lib && is_versioned_directory(part)) || is_archive(part) {
            return (!tail.is_empty()).then_some(tail);
        }
        after_lib = part.eq_ignore_ascii_case("lib") || part.eq_ignore_ascii_case("lib64");
        rest = tail;
    }
}

/// `python3.12`, `python3.13t`.
fn is_versioned_directory(part: &str) -> bool {
    let Some((major, minor)) = part.strip_prefix("python").and_then(|version| version.split_once('.')) else {
        return false;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(major) && digits(minor.strip_suffix('t').unwrap_or(minor))
}

/// `python312.zip`.
fn is_archive(part: &str) -> bool {
    part.strip_prefix("python")
        .and_then(|rest| rest.strip_suffix(".zip"))
        .is_some_and(|version| version.len() >= 2 && version.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> KnownPlaces {
        KnownPlaces::new(&RuntimePaths {
            stdlib: vec!["/opt/py/odd".into()],
            site_packages: vec!["/opt/py/odd/packages".into()],
            recorder: vec!["/opt/py/odd/packages/codetracer_python_recorder/".into()],
        })
    }

    #[test]
    fn sources_are_found_where_they_are() {
        let stdlib = |rest| Place { stdlib: Some(rest), ..Place::default() };
        let site = |rest| Place { site_packages: Some(rest), ..Place::default() };
        for (path, expected) in [
            ("/opt/py/odd/json/decoder.py", stdlib("json/decoder.py")),
            ("/opt/py/odd/packages/six.py", site("six.py")),
            ("/opt/py/odder/x.py", Place::default()),
            ("/opt/py/odd", Place::default()),
            (
                "/opt/py/odd/packages/codetracer_python_recorder/cli.py",
                Place { recorder: true, ..site("codetracer_python_recorder/cli.py") },
            ),
            ("<frozen importlib._bootstrap>", stdlib("<frozen importlib._bootstrap>")),
            ("/usr/lib/python3.12/os.py", stdlib("os.py")),
            ("/usr/lib64/python3.13t/json/__init__.py", stdlib("json/__init__.py")),
            ("/usr/lib/python312.zip/os.py", stdlib("os.py")),
            ("/usr/lib/python3.12/site-packages/six.py", site("six.py")),
            ("/usr/lib/python3/dist-packages/apt/a.py", site("apt/a.py")),
            ("/home/me/.venv/lib/python3.12/site-packages/a/b.py", site("a/b.py")),
            ("/home/me/python3.12/a.py", Place::default()),
            ("/home/me/lib/python3/a.py", Place::default()),
            ("/home/me/lib/python3.x/a.py", Place::default()),
            ("/home/me/lib/a.py", Place::default()),
            ("/home/me/python.zip/a.py", Place::default()),
            ("<string>", Place::default()),
            ("", Place::default()),
        ] {
            assert_eq!(places().locate(path), expected, "{path}");
        }
    }

    #[test]
    fn windows_paths_are_understood_everywhere() {
        for (path, stdlib) in [
            (r"C:\Python\lib\python3.12\os.py", true),
            (r"\\host\share\Lib\python3.13\os.py", true),
            (r"C:\work\a.py", false),
        ] {
            assert_eq!(places().locate(&unify(path)).stdlib.is_some(), stdlib, "{path}");
        }
        assert!(
            places().locate(r"odd\lib\python3.12\os.py").stdlib.is_some(),
            "backslashes count even in no absolute path"
        );
        assert_eq!(unify(r"C:\a\b.py"), "C:/a/b.py");
        assert_eq!(unify(r"\\?\C:\a.py"), "C:/a.py");
        assert_eq!(unify(r"/home/me/od\d.py"), if cfg!(windows) { "/home/me/od/d.py" } else { r"/home/me/od\d.py" });
    }
}
