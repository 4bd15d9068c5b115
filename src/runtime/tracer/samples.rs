//! What the tracer does where samples of entries begin and end; see [`crate::runtime::entries`].
//!
//! Invariants:
//! - In the stream of a thread a sample is between two marks, and its frames nest between them. Marks of a sample that
//!   moved with its coroutine may be in two streams.
//! - The recorder's own events go on with the first sample and off with the last, in a new epoch.

use pyo3::Python;

use super::filtering;
use super::lifecycle::RuntimeTracer;
use crate::errors::{RecorderError, RecorderResult};
use crate::ffi;
use crate::ffi::frame::Frame;
use crate::monitoring::{CallbackOutcome, CallbackResult, CodeObjectWrapper, install};
use crate::runtime::entries::Begun;
use crate::runtime::thread::{Entry, with_recorder};

impl RuntimeTracer {
    /// A function starts that may be an entry.
    #[cold]
    pub(super) fn entry_starts(&self, code: CodeObjectWrapper<'_>) -> CallbackResult {
        let (Some(entries), Some(frame)) = (&self.shared.entries, ffi::current_frame()) else {
            return Ok(CallbackOutcome::Continue);
        };
        let decision = self.decide(code, frame)?;
        let Some(traced) = decision.traced.as_deref().filter(|traced| traced.is_entry) else {
            return Ok(CallbackOutcome::DisableLocation);
        };
        let within = || with_recorder(&self.shared, |recorder| recorder.runs_within_calls(frame));
        if !self.shared.state.is_recording() || within() != Some(false) {
            return Ok(CallbackOutcome::Continue);
        }
        let name = self.shared.tables.code_name(traced.id);
        let Some(begun) = entries.draw(frame.id(), &name, false) else { return Ok(CallbackOutcome::Continue) };
        self.switch_on(&begun)?;
        if !filtering::is_instrumented(&self.shared, traced) {
            filtering::instrument(&self.shared, code, traced)?;
        }
        self.record(|recorder| {
            recorder.begin_sample(begun.id, &begun.about);
            recorder.enter(frame, traced, &Entry::Call)
        })
    }

    /// The events of the recorder, for the first sample.
    fn switch_on(&self, begun: &Begun) -> Result<(), Box<RecorderError>> {
        if begun.is_first {
            ffi::attached(|py| install::arm(py, self.global_events)).map_err(Box::new)?;
        }
        Ok(())
    }

    /// Whether a frame that is entered is of a sample. What is not gets no events of its own.
    pub(super) fn is_of_sample(&self, frame: Frame<'_>, entry: &Entry<'_>) -> bool {
        let Some(entries) = &self.shared.entries else { return true };
        with_recorder(&self.shared, |recorder| recorder.enters_sample(frame, entry, entries)) == Some(true)
    }

    /// A frame was left for good: if it was a sample's own, that is over.
    #[inline]
    pub(super) fn frame_is_left(&self, frame: Frame<'_>) {
        if let Some(entries) = &self.shared.entries
            && let Some(id) = entries.left(frame.id())
        {
            self.end_sample(id);
        }
    }

    fn end_sample(&self, id: u64) {
        with_recorder(&self.shared, |recorder| recorder.end_sample(id));
        if self.shared.entries.as_ref().is_some_and(|entries| entries.ended(id)) {
            self.shared.state.next_epoch();
            ffi::attached(install::silence);
        }
    }

    /// Decides whether the request that the calling Python function handles is recorded; its number if it is.
    ///
    /// # Errors
    /// `ERR_TRACER_INSTALL_CONFLICT` if somebody freed the recorder's tool id.
    pub fn begin_request(&self, _py: Python<'_>, label: &str) -> RecorderResult<Option<u64>> {
        let (Some(entries), Some(frame)) = (&self.shared.entries, ffi::current_frame()) else { return Ok(None) };
        let within = || with_recorder(&self.shared, |recorder| recorder.runs_within_calls(frame));
        if !entries.samples_requests() || !self.shared.state.is_recording() || within() != Some(false) {
            return Ok(None);
        }
        let Some(begun) = entries.draw(frame.id(), label, true) else { return Ok(None) };
        self.switch_on(&begun).map_err(|error| *error)?;
        with_recorder(&self.shared, |recorder| recorder.begin_sample(begun.id, &begun.about));
        self.shared.state.mark_recorded();
        Ok(Some(begun.id))
    }

    /// The request goes on below the calling Python function, or (not `here`) nowhere until it is said where.
    pub fn move_request(&self, _py: Python<'_>, id: u64, here: bool) {
        if let (Some(entries), Some(frame)) = (&self.shared.entries, ffi::current_frame()) {
            // No frame is at 0.
            entries.moved(id, if here { frame.id() } else { 0 });
        }
    }

    /// The request is over.
    pub fn end_request(&self, _py: Python<'_>, id: u64) {
        self.end_sample(id);
    }
}
