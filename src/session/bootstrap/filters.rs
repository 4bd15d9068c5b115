//! The filter chain of a session: built-in, framework, project, environment, caller.
//!
//! Invariants:
//! - The order is the contract's: later files override earlier ones.
//! - The paths of the standard library, of site-packages and of the recorder are asked of the running interpreter.

use std::path::{Path, PathBuf};

use pyo3::prelude::*;

use crate::errors::RecorderResult;
use crate::trace_filter::{Framework, RuntimePaths, TraceFilterConfig, find_project_filter};

/// Builds the chain. `script` is where the search for the project's filter begins; `files` are the caller's (the
/// environment's first).
///
/// # Errors
/// `ERR_INVALID_POLICY_VALUE` for a filter that cannot be read or understood.
pub fn chain(
    paths: &RuntimePaths,
    framework: Option<Framework>,
    script: Option<&Path>,
    files: &[PathBuf],
) -> RecorderResult<TraceFilterConfig> {
    let mut builder = TraceFilterConfig::builder().builtin_default(paths);
    if let Some(framework) = framework {
        builder = builder.framework(framework);
    }
    if let Some(project) = script.and_then(find_project_filter) {
        builder = builder.file(project);
    }
    for file in files {
        builder = builder.file(file.clone());
    }
    builder.build()
}

/// Where the interpreter keeps code that is not the program's.
///
/// # Errors
/// `ERR_UNKNOWN` if `sysconfig` cannot be asked.
pub fn runtime_paths(py: Python<'_>) -> RecorderResult<RuntimePaths> {
    let ask = || -> PyResult<RuntimePaths> {
        let Places { stdlib, site_packages } = match Places::of_posix(py) {
            Some(places) => places,
            None => Places::of_sysconfig(py)?,
        };
        let with_real = |paths: Vec<Option<PathBuf>>| -> Vec<PathBuf> {
            let mut all: Vec<PathBuf> = Vec::new();
            for path in paths.into_iter().flatten() {
                if all.contains(&path) {
                    continue;
                }
                if let Ok(real) = std::fs::canonicalize(&path)
                    && real != path
                {
                    all.push(real);
                }
                all.push(path);
            }
            all.dedup();
            all
        };
        let package: Option<PathBuf> = py
            .import("codetracer_python_recorder")
            .and_then(|module| module.getattr("__file__"))
            .and_then(|file| file.extract::<PathBuf>())
            .ok()
            .and_then(|file| file.parent().map(Path::to_path_buf));
        Ok(RuntimePaths {
            stdlib: with_real(stdlib),
            site_packages: with_real(site_packages),
            recorder: with_real(vec![package]),
        })
    };
    ask().map_err(|error| crate::bug!(Unknown, "cannot ask sysconfig for the interpreter's paths: {error}"))
}

/// Where the standard library and installed packages are.
struct Places {
    stdlib: Vec<Option<PathBuf>>,
    site_packages: Vec<Option<PathBuf>>,
}

impl Places {
    /// From what every process has at hand. `sysconfig` takes milliseconds, and to import it brings modules that the
    /// program has not asked for, or the program's own of these names.
    fn of_posix(py: Python<'_>) -> Option<Self> {
        let sys = py.import("sys").ok()?;
        let modules = sys.getattr("modules").ok()?;
        let os = modules.get_item("os").ok()?;
        if os.getattr("name").ok()?.extract::<String>().ok()? != "posix" {
            return None;
        }
        let stdlib = os.getattr("__file__").ok()?.extract::<PathBuf>().ok()?.parent()?.to_path_buf();
        let text = |name: &str| sys.getattr(name).ok()?.extract::<String>().ok();
        let version = py.version_info();
        let python = format!("python{}.{}", version.major, version.minor);
        let platlib = text("platlibdir").unwrap_or_else(|| "lib".to_owned());
        let below = |prefix: &str, lib: &str| Some(PathBuf::from(text(prefix)?).join(lib).join(&python));
        let packages = |prefix: &str, lib: &str| below(prefix, lib).map(|path| path.join("site-packages"));
        let mut site_packages = vec![packages("prefix", "lib"), packages("exec_prefix", &platlib)];
        // Debian and others have more; where `site` did not run, there are none of them.
        if let Ok(site) = modules.get_item("site") {
            let more = site.call_method0("getsitepackages").and_then(|all| all.extract::<Vec<PathBuf>>());
            site_packages.extend(more.unwrap_or_default().into_iter().map(Some));
            site_packages.push(site.getattr("USER_SITE").ok().and_then(|path| path.extract().ok()));
        }
        let stdlib = vec![Some(stdlib), below("base_prefix", &platlib), below("base_exec_prefix", &platlib)];
        Some(Self { stdlib, site_packages })
    }

    fn of_sysconfig(py: Python<'_>) -> PyResult<Self> {
        let sysconfig = py.import("sysconfig")?.call_method0("get_paths")?;
        let path = |key: &str| -> Option<PathBuf> { sysconfig.get_item(key).ok()?.extract().ok() };
        Ok(Self {
            stdlib: vec![path("stdlib"), path("platstdlib")],
            site_packages: vec![path("purelib"), path("platlib")],
        })
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_hand_tells_what_sysconfig_does() {
        Python::initialize();
        Python::attach(|py| {
            let real = |paths: Vec<Option<PathBuf>>| -> Vec<PathBuf> {
                paths.into_iter().flatten().map(|path| path.canonicalize().unwrap_or(path)).collect()
            };
            let ours = Places::of_posix(py).unwrap();
            let theirs = Places::of_sysconfig(py).unwrap();
            let (stdlib, site_packages) = (real(ours.stdlib), real(ours.site_packages));
            assert!(real(theirs.stdlib).iter().all(|path| stdlib.contains(path)), "{stdlib:?}");
            assert!(real(theirs.site_packages).iter().all(|path| site_packages.contains(path)), "{site_packages:?}");
        });
    }
}
