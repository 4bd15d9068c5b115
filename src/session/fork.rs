//! A child made by `fork`: it forgets its parent's recording and, if the policy says so, begins one of its own.
//!
//! Invariants:
//! - Nothing that a worker of the parent may have held at the fork is touched: the session is forgotten, not dropped,
//!   and every lock of ours that is used again is only ever taken with the GIL, which the forking thread has.
//! - None of the parent's files is written; a pipeline knows its process and refuses any other.
//! - Nothing that goes wrong here reaches the program: a child that cannot be recorded runs unrecorded, and the log
//!   says why.

use std::time::Duration;

use pyo3::prelude::*;

use crate::pipeline::supervisor::THREAD_PREFIX;

use super::processes::{Origin, process_dir};
use super::{StartOptions, active, start};
use crate::ffi::quiet_fork;
use crate::logging;
use crate::monitoring::install;
use crate::runtime::thread::forget_recorder;

/// How often, and how far apart, the threads are looked at until those of a new recording have their names.
const NAMING_LOOKS: u32 = 8;
const NAMING_PAUSE: Duration = Duration::from_micros(300);

/// Registers [`in_child`] with the interpreter, once per process.
pub(super) fn register_handler(py: Python<'_>) {
    static REGISTERED: std::sync::Once = std::sync::Once::new();
    REGISTERED.call_once(|| {
        if let Err(error) = quiet_fork::silence_warning(py, || is_active_here() && program_has_one_thread()) {
            // Then CPython may warn of threads that are the recorder's.
            tracing::debug!(%error, "os.fork is not watched");
        }
        let register = || -> PyResult<()> {
            use pyo3::types::{PyCFunction, PyDict};
            let handler = PyCFunction::new_closure(py, None, None, |args, _| in_child(args.py()))?;
            let kwargs = PyDict::new(py);
            kwargs.set_item("after_in_child", handler)?;
            py.import("os")?.call_method("register_at_fork", (), Some(&kwargs))?;
            Ok(())
        };
        if let Err(error) = register() {
            // Platforms without fork have no such function.
            tracing::debug!(%error, "no fork handler");
        }
    });
}

fn is_active_here() -> bool {
    active().as_ref().is_some_and(|session| session.pid == std::process::id())
}

/// Whether all threads of the process but one are the recorder's; false where that cannot be seen.
fn program_has_one_thread() -> bool {
    let others = || -> Option<usize> {
        let tasks = std::fs::read_dir("/proc/self/task").ok()?;
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        Some(tasks.flatten().map(name).filter(|name| !name.starts_with(THREAD_PREFIX)).count())
    };
    // A thread takes its name a moment after it has started.
    for _ in 0..NAMING_LOOKS {
        match others() {
            None => return false,
            Some(1) => return true,
            Some(_) => std::thread::sleep(NAMING_PAUSE),
        }
    }
    false
}

/// Runs in the child, in the forking thread, which is the only one there.
fn in_child(py: Python<'_>) {
    if let Some(options) = forget_parent(py)
        && let Err(error) = start(py, options)
    {
        logging::report(&error);
    }
}

/// Forgets the parent's session; returns what the child's own is started with, if it is to have one.
fn forget_parent(py: Python<'_>) -> Option<StartOptions> {
    let _ = install::uninstall_tracer(py);
    if let Some(capture) = active().as_mut().and_then(|session| session.capture.take()) {
        capture.abandon(py);
    }
    #[cfg(target_os = "linux")]
    if let Some(signals) = active().as_mut().and_then(|session| session.signals.take()) {
        signals.forget();
    }
    #[cfg(target_os = "linux")]
    if let Some(watch) = active().as_mut().and_then(|session| session.dump_signal.take()) {
        watch.forget();
    }
    #[cfg(target_os = "linux")]
    if let Some(remote) = active().as_mut().and_then(|session| session.remote.take()) {
        remote.forget();
    }
    forget_recorder();
    let session = active().take()?;
    logging::set_trace_id(None);
    let follows = session.origin.follows_children(session.policy.processes.record);
    let options = follows.then(|| {
        let root = session.origin.root(&session.out_dir).to_path_buf();
        let gate = &session.tracer.shared().gate;
        StartOptions {
            path: process_dir(&root),
            // In the middle of the file that switches recording on, the child is to go on at once.
            activation_path: session.options.activation_path.clone().filter(|_| !gate.is_open()),
            origin: Some(Origin::Parent { root, parent_pid: session.pid }),
            ..session.options.clone()
        }
    });
    std::mem::forget(session);
    options
}
