//! A tracer's life: made for a session, told of failures, flushed, finished.
//!
//! Invariants:
//! - After the first failure no event is recorded any more, whatever the policy says about the program.
//! - Waiting for workers happens without the GIL.

use std::sync::Arc;

use pyo3::Python;

use super::shared::Shared;
use crate::errors::{RecorderError, RecorderResult};
use crate::logging;
use crate::monitoring::{EventSet, install};
use crate::policy::model::{OnRecorderError, RecorderPolicy};
use crate::runtime::thread::{release_recorder, with_recorder};

/// Records what the program does into the session's pipeline.
#[derive(Debug)]
pub struct RuntimeTracer {
    pub(super) shared: Arc<Shared>,
    pub(super) global_events: EventSet,
    on_error: OnRecorderError,
}

impl RuntimeTracer {
    /// Function starts and resumptions are watched everywhere (skipped code is disabled location by location), because
    /// code may start at any time; unwinding and throwing have no local form in `sys.monitoring`.
    pub fn new(py: Python<'_>, shared: Arc<Shared>, policy: &RecorderPolicy) -> RecorderResult<Self> {
        let names: &[&str] =
            if policy.events.none() { &[] } else { &["PY_START", "PY_RESUME", "PY_THROW", "PY_UNWIND"] };
        let mut global_events = EventSet::NONE;
        for name in names {
            let bit = install::event(py, name)
                .map_err(|error| crate::enverr!(TracerInstallConflict, "sys.monitoring lacks {name}: {error}"))?;
            global_events = global_events.union(bit);
        }
        Ok(Self { shared, global_events, on_error: policy.recorder.on_recorder_error })
    }

    /// The events of recorded code objects.
    pub fn local_events(py: Python<'_>, lines: bool) -> RecorderResult<EventSet> {
        let mut events = EventSet::NONE;
        for name in ["PY_RETURN", "PY_YIELD", "LINE"] {
            if name == "LINE" && !lines {
                continue;
            }
            let bit = install::event(py, name)
                .map_err(|error| crate::enverr!(TracerInstallConflict, "sys.monitoring lacks {name}: {error}"))?;
            events = events.union(bit);
        }
        Ok(events)
    }

    /// What the threads of this session share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Frames that are running already when recording begins: their code gets its events now, and the frames of the
    /// calling thread are entered when their next line runs. Returns how many are of the file that switches recording on.
    pub fn enroll_running_code(&self, py: Python<'_>) -> RecorderResult<usize> {
        let walk = || -> pyo3::PyResult<Vec<pyo3::Py<pyo3::PyAny>>> {
            use pyo3::types::PyAnyMethods;
            let mut codes = Vec::new();
            let frames = py.import("sys")?.call_method0("_current_frames")?;
            for frame in frames.call_method0("values")?.try_iter()? {
                let mut next = Some(frame?);
                while let Some(frame) = next {
                    codes.push(frame.unbind());
                    let frame = codes[codes.len() - 1].bind(py);
                    let back = frame.getattr("f_back")?;
                    next = (!back.is_none()).then_some(back);
                }
            }
            Ok(codes)
        };
        let frames =
            walk().map_err(|error| crate::enverr!(FrameIntrospectionFailed, "cannot list running frames: {error}"))?;
        let mut activating = 0;
        for frame in frames {
            activating += usize::from(super::filtering::enroll(py, &self.shared, frame.bind(py))?);
        }
        Ok(activating)
    }

    /// Whether lines are recorded when recording is resumed, as far as the policy wants them at all.
    pub fn record_lines(&self, wanted: bool) {
        self.shared.only_calls.store(!wanted, std::sync::atomic::Ordering::Relaxed);
    }

    /// Switches all events off: from here on the program runs as if nothing were recorded. No thread pushes a record
    /// after this.
    pub fn pause(&self, py: Python<'_>) {
        self.shared.state.pause();
        if let Some(entries) = &self.shared.entries {
            entries.end_all();
            install::unwatch_entries(py);
        }
        install::silence(py);
    }

    /// Switches events on again. Frames that are running are entered as those that ran before the recording; a file
    /// that switches recording on does so too if it is running.
    ///
    /// # Errors
    /// As [`RuntimeTracer::enroll_running_code`].
    pub fn resume(&self, py: Python<'_>) -> RecorderResult<()> {
        let state = &self.shared.state;
        if state.has_ended() {
            return Ok(());
        }
        state.next_epoch();
        if self.shared.entries.is_some() {
            state.resume();
            return install::watch_entries(py);
        }
        // Paused still, so that no event is recorded before the frames below it are known.
        if !self.shared.gate.is_unconditional() {
            // Closed, so that nothing is instrumented before the count is known.
            self.shared.gate.rebase(0);
            self.shared.gate.rebase(self.enroll_running_code(py)?);
        }
        self.enroll_running_code(py)?;
        state.resume();
        install::arm(py, self.global_events)
    }

    /// Remembers the failure, switches all events off, and says whether the program shall see it.
    pub(super) fn failed(&self, py: Python<'_>, error: RecorderError) -> Option<RecorderError> {
        let first = self.shared.state.failure().is_none();
        self.shared.state.fail(&error);
        logging::report(&error);
        self.fall_silent(py);
        match self.on_error {
            OnRecorderError::Abort if first => Some(error),
            _ => None,
        }
    }

    pub(super) fn flush_recording(&self, py: Python<'_>) -> RecorderResult<()> {
        py.detach(|| self.shared.pipeline.flush())
    }

    /// Closes the calling thread's stack and stream; the other threads' streams are closed by the encoder.
    pub fn close_calling_thread(&self) {
        with_recorder(&self.shared, super::super::thread::ThreadRecorder::close);
        release_recorder();
    }
}
