//! The callbacks: one load to the decision about the code object, then to the thread's recorder.
//!
//! Invariants:
//! - A code object that is not recorded is disabled at its first event and has no line events; one that opens the
//!   activation gate keeps those of entering and leaving it.
//! - While the activation gate is closed nothing is recorded, and code is not instrumented before it is needed.

use std::sync::atomic::Ordering;

use pyo3::Python;

use super::filtering;
use super::lifecycle::RuntimeTracer;
use crate::errors::RecorderError;
use crate::ffi;
use crate::ffi::frame::Frame;
use crate::ffi::object::Obj;
use crate::monitoring::{CallbackOutcome, CallbackResult, CodeObjectWrapper, EventSet, Tracer, install};
use crate::runtime::code_entry::{CodeEntry, TracedCode};
use crate::runtime::inject::Stage;
use crate::runtime::thread::{Entry, ThreadRecorder, with_recorder};

const CONTINUE: CallbackResult = Ok(CallbackOutcome::Continue);
const DISABLE: CallbackResult = Ok(CallbackOutcome::DisableLocation);

/// How a frame is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Return,
    /// It may go on later.
    Yield,
    Raise,
}

impl RuntimeTracer {
    /// The decision of this session about a code object, if one was made.
    #[inline]
    fn known<'a>(&self, code: CodeObjectWrapper<'a>) -> Option<&'a CodeEntry> {
        filtering::known_entry(&self.shared, code)
    }

    /// The decision, made now if need be.
    #[inline]
    pub(super) fn decide<'a>(
        &self,
        code: CodeObjectWrapper<'a>,
        frame: Frame<'_>,
    ) -> Result<&'a CodeEntry, Box<RecorderError>> {
        match self.known(code) {
            Some(entry) => Ok(entry),
            None => self.shared.overhead.charged(|| filtering::decide(&self.shared, code, frame)),
        }
    }

    /// A frame is entered by `entry`.
    #[inline]
    fn enter(&self, code: CodeObjectWrapper<'_>, entry: &Entry<'_>) -> CallbackResult {
        let Some(frame) = ffi::current_frame() else { return CONTINUE };
        let mut decision = self.decide(code, frame)?;
        if decision.traced.as_deref().is_some_and(|traced| !filtering::fits_namespace(&self.shared, traced, frame)) {
            decision = self.shared.overhead.charged(|| filtering::decide(&self.shared, code, frame))?;
        }
        let Some(traced) = decision.traced.as_deref() else { return self.enter_unrecorded(code, decision) };
        if !self.shared.state.is_recording() || self.shared.injection.is(Stage::SuppressEvents) {
            return CONTINUE;
        }
        if !traced.activates && !self.shared.gate.is_open() {
            return CONTINUE;
        }
        if self.shared.entries.is_some() && !self.is_of_sample(frame, entry) {
            return CONTINUE;
        }
        if !filtering::is_instrumented(&self.shared, traced) {
            self.shared.overhead.charged(|| filtering::instrument(&self.shared, code, traced))?;
            // That can run a finalizer, and so another thread, which may have paused the recording.
            if !self.shared.state.is_recording() {
                return CONTINUE;
            }
        }
        self.shared.injection.check(Stage::PyStart)?;
        self.record(|recorder| recorder.enter(frame, traced, entry))
    }

    /// A frame is entered of which nothing is shown.
    #[cold]
    fn enter_unrecorded(&self, code: CodeObjectWrapper<'_>, decision: &CodeEntry) -> CallbackResult {
        let Some(gatekeeper) = &decision.gatekeeper else { return DISABLE };
        if gatekeeper.instrumented.load(Ordering::Relaxed) != self.shared.state.epoch() {
            self.shared.overhead.charged(|| filtering::instrument_gatekeeper(&self.shared, code, gatekeeper))?;
        }
        self.shared.gate.enter();
        CONTINUE
    }

    #[inline]
    pub(super) fn record(
        &self,
        work: impl FnOnce(&mut ThreadRecorder) -> Result<(), Box<RecorderError>>,
    ) -> CallbackResult {
        let outcome = with_recorder(&self.shared, |recorder| {
            let clock = recorder.timer.start();
            let result = work(recorder);
            if let Some(clock) = clock {
                recorder.timer.stop(clock, &self.shared.overhead);
            }
            if result.is_err() {
                recorder.abandon_event();
            }
            result
        });
        self.shared.state.mark_recorded();
        if self.shared.state.has_ended() {
            ffi::attached(|py| self.fall_silent(py));
        }
        match outcome {
            Some(Err(error)) => Err(error),
            _ => CONTINUE,
        }
    }

    /// The recording has ended of itself, by a limit or a failure: the program is to run at its own speed from here on.
    #[cold]
    pub(super) fn fall_silent(&self, py: Python<'_>) {
        if self.shared.state.falls_silent() {
            install::unwatch_entries(py);
            install::silence(py);
        }
    }

    /// A frame is left with `value`.
    #[inline]
    fn leave(&self, code: CodeObjectWrapper<'_>, value: Obj<'_>, way: Way) -> CallbackResult {
        let Some(traced) = self.recorded(code) else {
            if self.known(code).is_some_and(|decision| decision.gatekeeper.is_some()) {
                self.shared.gate.leave_if_entered();
            }
            return CONTINUE;
        };
        let Some(frame) = ffi::current_frame() else { return CONTINUE };
        let mut sample_left = false;
        let result = self.record(|recorder| {
            if self.shared.entries.is_some() && !recorder.has(frame) {
                return Ok(());
            }
            recorder.leave(frame, traced, value, way == Way::Raise);
            sample_left = way != Way::Yield && self.shared.entries.is_some() && !recorder.is_within_calls();
            Ok(())
        });
        if sample_left {
            self.frame_is_left(frame);
        }
        result
    }

    /// How frames of this code object are recorded, if they are, now.
    #[inline]
    fn recorded<'a>(&self, code: CodeObjectWrapper<'a>) -> Option<&'a TracedCode> {
        let traced = self.known(code)?.traced.as_deref()?;
        let now = self.shared.state.is_recording()
            && self.shared.gate.is_open()
            && !self.shared.injection.is(Stage::SuppressEvents);
        now.then_some(traced)
    }
}

impl Tracer for RuntimeTracer {
    fn global_events(&self) -> EventSet {
        self.global_events
    }

    fn on_py_start(&self, code: CodeObjectWrapper<'_>) -> CallbackResult {
        self.enter(code, &Entry::Call)
    }

    fn on_py_resume(&self, code: CodeObjectWrapper<'_>) -> CallbackResult {
        self.enter(code, &Entry::Resume)
    }

    fn on_py_throw(&self, code: CodeObjectWrapper<'_>, exception: Obj<'_>) -> CallbackResult {
        self.enter(code, &Entry::Throw(exception))
    }

    fn on_py_return(&self, code: CodeObjectWrapper<'_>, value: Obj<'_>) -> CallbackResult {
        self.leave(code, value, Way::Return)
    }

    fn on_py_yield(&self, code: CodeObjectWrapper<'_>, value: Obj<'_>) -> CallbackResult {
        self.leave(code, value, Way::Yield)
    }

    fn on_py_unwind(&self, code: CodeObjectWrapper<'_>, exception: Obj<'_>) -> CallbackResult {
        let left = self.leave(code, exception, Way::Raise);
        if let Some(triggers) = &self.shared.triggers
            && self.shared.state.is_recording()
            && let Some(frame) = ffi::current_frame()
        {
            triggers.unwound(&self.shared.pipeline, frame, exception, self.recorded(code).is_some());
        }
        left
    }

    fn on_entry(&self, code: CodeObjectWrapper<'_>) -> CallbackResult {
        self.entry_starts(code)
    }

    fn on_line(&self, code: CodeObjectWrapper<'_>, line: u32) -> CallbackResult {
        let Some(traced) = self.recorded(code) else { return CONTINUE };
        let Some(frame) = ffi::current_frame() else { return CONTINUE };
        self.shared.injection.check(Stage::Line)?;
        if self.shared.injection.is(Stage::Panic) {
            inject_panic();
        }
        self.record(|recorder| {
            if self.shared.entries.is_some() && !recorder.has(frame) {
                return Ok(());
            }
            recorder.step(frame, traced, line)
        })
    }

    fn on_failure(&self, py: Python<'_>, error: RecorderError) -> Option<RecorderError> {
        self.failed(py, error)
    }

    fn flush(&self, py: Python<'_>) -> Result<(), RecorderError> {
        self.flush_recording(py)
    }
}

/// The injected panic of the tests: the one panic outside tests, compiled in only with `integration-test`.
#[cold]
#[allow(clippy::panic)]
fn inject_panic() {
    if cfg!(feature = "integration-test") {
        panic!("test-injected failure at panic");
    }
}
