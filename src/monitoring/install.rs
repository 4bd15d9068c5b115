//! Installing a tracer: the tool id, the callbacks, and which code objects have events of their own.
//!
//! Invariants:
//! - The locks here are held only for reading and writing our own state, never while Python can run: a code object
//!   may die at any allocation and its entry calls [`forget`].
//! - After [`uninstall_tracer`] no event of ours is on anywhere and the tool id is free again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use rustc_hash::FxHashSet;

use super::api::{EventSet, Tracer};
use super::callbacks::{CALLBACKS, ENTRY};
use super::code::CodeObjectWrapper;
use crate::errors::{RecorderError, RecorderResult};
use crate::ffi::monitoring as c;

/// Name under which `sys.monitoring.get_tool` shows us.
pub const TOOL_NAME: &str = "codetracer_python_recorder";

/// Ids tried in this order: first those without a documented purpose, then profiler, coverage, debugger; 5 is the
/// optimizer's and left alone.
const TOOL_IDS: [u8; 5] = [3, 4, 2, 1, 0];

struct Installed {
    tool_id: u8,
    monitoring: Py<PyAny>,
    set_local_events: Py<PyAny>,
}

static INSTALLED: Mutex<Option<Arc<Installed>>> = Mutex::new(None);
/// The tool that watches entries, if there is one.
static ENTRY_TOOL: Mutex<Option<u8>> = Mutex::new(None);
static INSTRUMENTED: Mutex<Option<FxHashSet<usize>>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The state is plain data that every writer leaves consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn conflict(what: &str, error: &PyErr) -> RecorderError {
    crate::enverr!(TracerInstallConflict, "cannot {what}: {error}")
}

/// The bit of an event of `sys.monitoring`.
pub fn event(py: Python<'_>, name: &str) -> PyResult<EventSet> {
    let events = py.import("sys")?.getattr("monitoring")?.getattr("events")?;
    Ok(EventSet(events.getattr(name)?.extract()?))
}

/// Takes a free tool id, registers the callbacks and switches the tracer's global events on.
///
/// # Errors
/// `ERR_TRACER_INSTALL_CONFLICT` if a tracer of ours is installed already or no tool id is free.
pub fn install_tracer(py: Python<'_>, tracer: Arc<dyn Tracer>) -> RecorderResult<()> {
    if lock(&INSTALLED).is_some() {
        return Err(crate::usage!(TracerInstallConflict, "a tracer is installed already; uninstall it first"));
    }
    let installed = Arc::new(claim(py)?);
    let events = tracer.global_events();
    drop(c::publish(py, Some(tracer)));
    *lock(&INSTRUMENTED) = Some(FxHashSet::default());
    *lock(&INSTALLED) = Some(Arc::clone(&installed));
    if let Err(error) = register(py, &installed, events) {
        drop(uninstall_tracer(py));
        return Err(conflict("register monitoring callbacks", &error));
    }
    Ok(())
}

fn claim(py: Python<'_>) -> RecorderResult<Installed> {
    let find = || -> PyResult<Option<Installed>> {
        let monitoring = py.import("sys")?.getattr("monitoring")?;
        c::remember_disable(&monitoring.getattr("DISABLE")?);
        for tool_id in TOOL_IDS {
            if monitoring.call_method1("get_tool", (tool_id,))?.is_none() {
                monitoring.call_method1("use_tool_id", (tool_id, TOOL_NAME))?;
                let set_local_events = monitoring.getattr("set_local_events")?.unbind();
                return Ok(Some(Installed { tool_id, monitoring: monitoring.unbind(), set_local_events }));
            }
        }
        Ok(None)
    };
    find().map_err(|error| conflict("claim a sys.monitoring tool id", &error))?.ok_or_else(|| {
        crate::enverr!(
            TracerInstallConflict,
            "no sys.monitoring tool id is free: a debugger, coverage tool and profiler use all of them; stop one of them"
        )
    })
}

fn register(py: Python<'_>, installed: &Installed, events: EventSet) -> PyResult<()> {
    let monitoring = installed.monitoring.bind(py);
    for (index, callback) in CALLBACKS[..ENTRY].iter().enumerate() {
        let bit = event(py, callback.event)?;
        monitoring.call_method1("register_callback", (installed.tool_id, bit.0, c::callable(py, index)?))?;
    }
    // Locations that an earlier session disabled must speak again.
    monitoring.call_method0("restart_events")?;
    monitoring.call_method1("set_events", (installed.tool_id, events.0))?;
    Ok(())
}

/// Takes a second tool id that watches the starts of functions and nothing else, and calls the tracer's `on_entry`. What
/// one tool disables the other does not.
///
/// # Errors
/// `ERR_TRACER_INSTALL_CONFLICT` if no tool id is free.
pub fn watch_entries(py: Python<'_>) -> RecorderResult<()> {
    if lock(&INSTALLED).is_none() || lock(&ENTRY_TOOL).is_some() {
        return Ok(());
    }
    let watcher = claim(py)?;
    let begin = || -> PyResult<()> {
        let monitoring = watcher.monitoring.bind(py);
        let start = event(py, CALLBACKS[ENTRY].event)?;
        monitoring.call_method1("register_callback", (watcher.tool_id, start.0, c::callable(py, ENTRY)?))?;
        monitoring.call_method0("restart_events")?;
        monitoring.call_method1("set_events", (watcher.tool_id, start.0)).map(drop)
    };
    *lock(&ENTRY_TOOL) = Some(watcher.tool_id);
    begin().map_err(|error| conflict("watch entries", &error))
}

/// Frees the tool id of [`watch_entries`], if it was taken.
pub fn unwatch_entries(py: Python<'_>) {
    let Some(tool_id) = lock(&ENTRY_TOOL).take() else { return };
    let end = || -> PyResult<()> {
        let monitoring = py.import("sys")?.getattr("monitoring")?;
        monitoring.call_method1("set_events", (tool_id, 0))?;
        let start = event(py, CALLBACKS[ENTRY].event)?;
        monitoring.call_method1("register_callback", (tool_id, start.0, py.None()))?;
        monitoring.call_method1("free_tool_id", (tool_id,)).map(drop)
    };
    // It can only fail if somebody else freed our tool id; then there is nothing left to switch off.
    let _ = end();
}

/// Switches events on for one code object.
pub fn instrument(py: Python<'_>, code: CodeObjectWrapper<'_>, events: EventSet) -> RecorderResult<()> {
    let Some(installed) = lock(&INSTALLED).clone() else { return Ok(()) };
    if let Some(codes) = lock(&INSTRUMENTED).as_mut() {
        codes.insert(code.id());
    }
    installed
        .set_local_events
        .bind(py)
        .call1((installed.tool_id, crate::ffi::bound(py, code.object()), events.0))
        .map(drop)
        .map_err(|error| conflict("switch events on for a code object", &error))
}

/// The code object at this address is dying.
pub fn forget(code: usize) {
    if let Some(codes) = lock(&INSTRUMENTED).as_mut() {
        codes.remove(&code);
    }
}

/// Switches all events off and leaves the tracer installed (it still owns the recording).
pub fn silence(py: Python<'_>) {
    let Some(installed) = lock(&INSTALLED).clone() else { return };
    let codes: Vec<Py<PyAny>> = {
        let mut guard = lock(&INSTRUMENTED);
        // Only reference counts change while the lock is held.
        guard.as_mut().map(|codes| codes.drain().map(|code| crate::ffi::revive(py, code)).collect()).unwrap_or_default()
    };
    let monitoring = installed.monitoring.bind(py);
    // Each of these can only fail if somebody else freed our tool id; then there is nothing left to switch off.
    let _ = monitoring.call_method1("set_events", (installed.tool_id, 0));
    for code in codes {
        let _ = installed.set_local_events.bind(py).call1((installed.tool_id, code, 0));
    }
}

/// Switches global events on again after [`silence`]; code objects get theirs one by one, by [`instrument`].
///
/// # Errors
/// `ERR_TRACER_INSTALL_CONFLICT` if the tool id is not ours any more.
pub fn arm(py: Python<'_>, events: EventSet) -> RecorderResult<()> {
    let Some(installed) = lock(&INSTALLED).clone() else { return Ok(()) };
    installed
        .monitoring
        .bind(py)
        .call_method1("set_events", (installed.tool_id, events.0))
        .map(drop)
        .map_err(|error| conflict("switch events on again", &error))
}

/// Switches all events off, frees the tool id and returns the tracer, if one was installed.
///
/// # Errors
/// `ERR_TRACER_INSTALL_CONFLICT` if the tool id is not ours any more.
pub fn uninstall_tracer(py: Python<'_>) -> RecorderResult<Option<Arc<dyn Tracer>>> {
    silence(py);
    unwatch_entries(py);
    let installed = lock(&INSTALLED).take();
    *lock(&INSTRUMENTED) = None;
    let tracer = c::publish(py, None);
    if let Some(installed) = installed {
        let release = || -> PyResult<()> {
            let monitoring = installed.monitoring.bind(py);
            for callback in &CALLBACKS[..ENTRY] {
                let bit = event(py, callback.event)?;
                monitoring.call_method1("register_callback", (installed.tool_id, bit.0, py.None()))?;
            }
            monitoring.call_method1("free_tool_id", (installed.tool_id,))?;
            Ok(())
        };
        release().map_err(|error| conflict("free the sys.monitoring tool id", &error))?;
    }
    Ok(tracer)
}

/// Makes everything the installed tracer recorded so far durable; nothing to do without one.
pub fn flush_installed_tracer(py: Python<'_>) -> RecorderResult<()> {
    match c::installed(py) {
        Some(tracer) => tracer.flush(py),
        None => Ok(()),
    }
}
