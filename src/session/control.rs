//! Control of a running session: pause, resume, and what it has done so far.
//!
//! Invariants:
//! - One change at a time; who comes meanwhile waits, without the GIL. What is wanted is written down first and
//!   established then, so the last word counts whoever carries it out.
//! - While recording is paused no event of `sys.monitoring` is on: the program runs at its own speed.
//! - A pause ends the part being recorded, complete and balanced; going on begins a further one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::Python;
use serde_json::{Value, json};

use super::active;
use crate::errors::RecorderResult;
use crate::logging;
use crate::pipeline::layout::LossCause;
use crate::pipeline::worker_time;
use crate::runtime::tracer::RuntimeTracer;

/// How often one who waits for another's change looks whether it is made.
const LOOK: Duration = Duration::from_millis(1);

/// What is wanted of a session, and what is.
#[derive(Debug)]
pub struct Control {
    /// The program, or somebody outside, wants no recording now.
    paused_by_user: AtomicBool,
    /// Sampling wants none now.
    between_samples: AtomicBool,
    /// What the metadata say of the sample that is to begin.
    sample: Mutex<Option<Value>>,
    /// The session is ending: nothing is changed any more.
    closed: AtomicBool,
    /// No event is on.
    paused: AtomicBool,
    /// Somebody is changing that.
    changing: AtomicBool,
    pauses: AtomicU64,
    started: Instant,
    worker_time_before: Duration,
}

impl Control {
    pub(super) fn new() -> Self {
        Self {
            paused_by_user: AtomicBool::new(false),
            between_samples: AtomicBool::new(false),
            sample: Mutex::default(),
            closed: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            changing: AtomicBool::new(false),
            pauses: AtomicU64::new(0),
            started: Instant::now(),
            worker_time_before: worker_time::total(),
        }
    }

    fn wants_pause(&self) -> bool {
        self.paused_by_user.load(Ordering::Acquire) || self.between_samples.load(Ordering::Acquire)
    }

    /// A sample begins: recording goes on, unless somebody paused it.
    pub(super) fn open_sample(&self, py: Python<'_>, tracer: &RuntimeTracer, sample: Value) -> RecorderResult<()> {
        *lock(&self.sample) = Some(sample);
        self.between_samples.store(false, Ordering::Release);
        self.establish(py, tracer)
    }

    /// A sample ends.
    pub(super) fn close_sample(&self, py: Python<'_>, tracer: &RuntimeTracer) -> RecorderResult<()> {
        self.between_samples.store(true, Ordering::Release);
        self.establish(py, tracer)
    }

    /// Nothing is changed from now on: the session is ending.
    pub(super) fn end(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Makes what is what is wanted.
    fn establish(&self, py: Python<'_>, tracer: &RuntimeTracer) -> RecorderResult<()> {
        while self.paused.load(Ordering::Acquire) != self.wants_pause() && !self.closed.load(Ordering::Acquire) {
            if self.changing.swap(true, Ordering::AcqRel) {
                py.detach(|| std::thread::sleep(LOOK));
                continue;
            }
            let wanted = self.wants_pause();
            let changed = if self.paused.load(Ordering::Acquire) == wanted {
                Ok(())
            } else if wanted {
                let sampling = self.between_samples.load(Ordering::Acquire);
                pause_now(py, tracer, if sampling { "sampling" } else { "pause" })
            } else {
                let sample = lock(&self.sample).clone();
                resume_now(py, tracer, if sample.is_some() { "sampling" } else { "resume" }, sample)
            };
            if changed.is_ok() {
                self.paused.store(wanted, Ordering::Release);
                self.pauses.fetch_add(u64::from(wanted), Ordering::Relaxed);
            }
            self.changing.store(false, Ordering::Release);
            changed?;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain data that every writer leaves consistent; only for a moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pause_now(py: Python<'_>, tracer: &RuntimeTracer, reason: &str) -> RecorderResult<()> {
    tracer.pause(py);
    // From here on no thread pushes a record.
    py.detach(|| tracer.shared().pipeline.suspend(reason)).map(drop)
}

fn resume_now(py: Python<'_>, tracer: &RuntimeTracer, reason: &str, sample: Option<Value>) -> RecorderResult<()> {
    // Parts of marked samples begin with them.
    if tracer.shared().entries.is_none() {
        py.detach(|| tracer.shared().pipeline.resume(reason, sample))?;
    }
    tracer.resume(py)
}

fn session() -> Option<(Arc<RuntimeTracer>, Arc<Control>)> {
    let active = active();
    let session = active.as_ref().filter(|session| session.pid == std::process::id())?;
    (!session.tracer.shared().state.has_ended()).then(|| (Arc::clone(&session.tracer), Arc::clone(&session.control)))
}

/// Switches recording off until [`resume`]. `false` if there is nothing to pause.
///
/// # Errors
/// The failure of the pipeline.
pub fn pause(py: Python<'_>) -> RecorderResult<bool> {
    set_paused(py, true)
}

/// Goes on recording. `false` if nothing was paused.
///
/// # Errors
/// The failure of the pipeline.
pub fn resume(py: Python<'_>) -> RecorderResult<bool> {
    set_paused(py, false)
}

fn set_paused(py: Python<'_>, wanted: bool) -> RecorderResult<bool> {
    let Some((tracer, control)) = session() else { return Ok(false) };
    let changes = control.paused_by_user.swap(wanted, Ordering::AcqRel) != wanted;
    control.establish(py, &tracer)?;
    Ok(changes)
}

/// Decides whether the request that the calling Python function handles is sampled; its number if it is. Nothing that
/// goes wrong here breaks the request.
pub fn begin_request(py: Python<'_>, label: &str) -> Option<u64> {
    let (tracer, _) = session()?;
    tracer.begin_request(py, label).unwrap_or_else(|error| {
        logging::report(&error);
        None
    })
}

/// A sampled request goes on below the calling Python function, or (not `here`) nowhere until it is said where.
pub fn move_request(py: Python<'_>, id: u64, here: bool) {
    if let Some((tracer, _)) = session() {
        tracer.move_request(py, id, here);
    }
}

/// A sampled request is over.
pub fn end_request(py: Python<'_>, id: u64) {
    if let Some((tracer, _)) = session() {
        tracer.end_request(py, id);
    }
}

/// What the recording of this process has done so far; `None` without one.
pub fn stats(py: Python<'_>) -> Option<Value> {
    // Locks of the pipeline, which workers hold for moments.
    py.detach(stats_now)
}

/// The same, for a thread without the GIL.
pub(super) fn stats_now() -> Option<Value> {
    let (tracer, control, out_dir) = {
        let active = active();
        let session = active.as_ref().filter(|session| session.pid == std::process::id())?;
        (Arc::clone(&session.tracer), Arc::clone(&session.control), session.out_dir.clone())
    };
    let shared = tracer.shared();
    let pipeline = shared.pipeline.stats();
    let elapsed = control.started.elapsed();
    let (callbacks, workers) =
        (shared.overhead.time(), worker_time::total().saturating_sub(control.worker_time_before));
    let state = match () {
        () if shared.state.failure().is_some() || shared.pipeline.has_failed() => "failed",
        () if shared.state.has_ended() || shared.pipeline.limit_reached().is_some() => "ended",
        () if control.paused.load(Ordering::Acquire) => "paused",
        () => "recording",
    };
    let mut lost = json!(pipeline.losses);
    lost["queue_full"] = json!(pipeline.losses.of(LossCause::QueueFull));
    let mut stats = json!({
        "state": state,
        "directory": out_dir.to_string_lossy(),
        "pid": std::process::id(),
        "elapsed_s": seconds(elapsed),
        "part": shared.pipeline.current_part(),
        "pauses": control.pauses.load(Ordering::Relaxed),
        "events": pipeline.events,
        "bytes_queued": pipeline.bytes_in,
        "bytes_encoded": pipeline.bytes_encoded,
        "bytes_on_disk": pipeline.bytes_on_disk,
        "queue_depth": pipeline.queue_depth,
        "queue_capacity": pipeline.queue_capacity,
        "worker_lag_s": pipeline.worker_lag_micros as f64 / 1e6,
        "lost": lost,
        "threads": pipeline.streams.len(),
        "overhead": {
            "callbacks": shared.overhead.events(),
            "callbacks_s": seconds(callbacks),
            "workers_s": seconds(workers),
            "share": (callbacks + workers).as_secs_f64() / elapsed.as_secs_f64().max(1e-9),
        },
    });
    if let Some(ring) = &pipeline.ring {
        stats["ring"] = json!(ring);
    }
    if let Some(triggers) = &shared.triggers {
        let (fired, suppressed) = triggers.counts();
        stats["triggers"] = json!({"fired": fired, "suppressed": suppressed});
    }
    if let Some(log) = &shared.sampling {
        stats["sampling"] = log.counts();
    }
    Some(stats)
}

/// To the microsecond.
fn seconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e6
}
