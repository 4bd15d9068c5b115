//! Entry sampling: some calls of some functions are recorded, each whole, with all it calls.
//!
//! Invariants:
//! - Between samples only the starts of entries are watched, by a tool of their own (each other function answers
//!   `DISABLE` there, once). The recorder's own events are on while a sample lives.
//! - A sample is anchored in a frame: what runs below that frame is of the sample, whatever else the thread does in
//!   between. So a coroutine is recorded for as long as it runs, and not the tasks that run while it waits.
//! - The lock is taken with the GIL held and never while Python can run.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use crate::errors::{RecorderError, RecorderResult};
use crate::ffi::frame::Frame;
use crate::policy::units::Share;
use crate::sampling::generator::decides;
use crate::sampling::log::SamplingLog;
use crate::trace_filter::{ExecDecision, Scope, TraceFilterConfig, TraceFilterEngine};

/// The word among the selectors that stands for the requests that the middleware sees.
const REQUESTS: &str = "middleware";

/// See the module docs.
#[derive(Debug)]
pub struct Entries {
    selected: TraceFilterEngine,
    /// Requests of the middleware are entries, too.
    requests: bool,
    rate: Share,
    log: Arc<SamplingLog>,
    living: Mutex<Vec<Living>>,
    any: AtomicBool,
}

/// A sample that has not ended.
#[derive(Debug, Clone, Copy)]
struct Living {
    id: u64,
    /// The frame below which everything is of the sample.
    anchor: usize,
    /// The frame is not the sample's own: whoever began it says when it ends.
    is_request: bool,
}

/// A sample that begins.
#[derive(Debug)]
pub struct Begun {
    pub id: u64,
    /// What the metadata of its part say of it, JSON.
    pub about: String,
    /// No other sample lives.
    pub is_first: bool,
}

impl Entries {
    /// `selectors` are separated by commas; `file:` patterns are relative to `root`.
    ///
    /// # Errors
    /// `ERR_INVALID_POLICY_VALUE` for a selector that is none.
    pub fn new(selectors: &str, rate: Share, log: Arc<SamplingLog>, root: &Path) -> RecorderResult<Self> {
        let (requests, functions): (Vec<&str>, Vec<&str>) =
            selectors.split(',').map(str::trim).filter(|word| !word.is_empty()).partition(|word| *word == REQUESTS);
        let mut filter = "[meta]\nname = \"entries\"\nversion = 1\n[scope]\ndefault_exec = \"skip\"\n\
                          default_value_action = \"allow\"\n"
            .to_owned();
        for function in functions {
            // A JSON string is a TOML one.
            filter.push_str(&format!("[[scope.rules]]\nselector = {}\nexec = \"trace\"\n", json!(function)));
        }
        let config = TraceFilterConfig::builder().inline("sampling.entries", filter, root).build();
        let selected = config.map_err(|error| {
            let message = format!("invalid sampling.entries value '{selectors}': {error}");
            RecorderError::new(error.kind, error.code, message)
        })?;
        Ok(Self {
            selected: TraceFilterEngine::new(selected),
            requests: !requests.is_empty(),
            rate,
            log,
            living: Mutex::default(),
            any: AtomicBool::new(false),
        })
    }

    /// Calls of this function are entries.
    pub fn selects(&self, scope: &Scope<'_>) -> bool {
        self.selected.resolve(scope).exec() == ExecDecision::Trace
    }

    pub const fn samples_requests(&self) -> bool {
        self.requests
    }

    /// Decides about one entry, which `frame` is, or which runs below it.
    pub fn draw(&self, frame: usize, name: &str, is_request: bool) -> Option<Begun> {
        let candidate = self.log.candidate();
        if !decides(self.log.seed, candidate, self.rate) {
            return None;
        }
        let id = self.log.sample();
        let about = json!({
            "number": id, "mode": self.log.mode, "seed": self.log.seed, "probability": self.rate.fraction(),
            "why": if is_request { "a request" } else { "an entry" }, "entry": name, "candidate": candidate,
        });
        self.log.decided(about.clone());
        let mut living = self.lock();
        // A frame that starts where another was: that one is gone, without our being told.
        living.retain(|sample| sample.anchor != frame);
        living.push(Living { id, anchor: frame, is_request });
        let is_first = !self.any.swap(true, Ordering::Relaxed);
        Some(Begun { id, about: about.to_string(), is_first })
    }

    /// Whether a sample runs in this frame: it or one of its callers is an anchor.
    pub fn holds(&self, frame: Frame<'_>) -> bool {
        let living = self.lock();
        let mut next = Some(frame);
        while let Some(frame) = next {
            if living.iter().any(|sample| sample.anchor == frame.id()) {
                return true;
            }
            next = frame.previous();
        }
        false
    }

    /// An anchor's frame is left for good: its sample, if it ends with that.
    pub fn left(&self, frame: usize) -> Option<u64> {
        self.lock().iter().find(|sample| sample.anchor == frame && !sample.is_request).map(|sample| sample.id)
    }

    /// The request goes on below another frame.
    pub fn moved(&self, id: u64, frame: usize) {
        if let Some(sample) = self.lock().iter_mut().find(|sample| sample.id == id) {
            sample.anchor = frame;
        }
    }

    /// A sample is over. `true` if it was the last one living.
    pub fn ended(&self, id: u64) -> bool {
        let mut living = self.lock();
        let before = living.len();
        living.retain(|sample| sample.id != id);
        let was_last = living.is_empty() && before > 0;
        if was_last {
            self.any.store(false, Ordering::Relaxed);
        }
        was_last
    }

    /// All samples are over: recording is paused.
    pub fn end_all(&self) {
        self.lock().clear();
        self.any.store(false, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Living>> {
        // Plain data that every writer leaves consistent.
        self.living.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(selectors: &str, rate: &str) -> RecorderResult<Entries> {
        let log = Arc::new(SamplingLog::new("entries", 1, json!({})));
        Entries::new(selectors, Share::parse(rate).unwrap(), log, Path::new("/srv"))
    }

    #[test]
    fn entries_are_selected_as_filters_select_code() {
        let entries = entries("obj:app.views.*, file:jobs/*.py,middleware", "1%").unwrap();
        let selects = |module, path, qualname| entries.selects(&Scope { module: Some(module), path, qualname });
        assert!(selects("app.views", "/srv/app/views.py", "index"));
        assert!(!selects("app.models", "/srv/app/models.py", "User.save"));
        assert!(selects("jobs.daily", "/srv/jobs/daily.py", "run"));
        assert!(entries.samples_requests());
        let error = self::entries("obj:a,objj:b", "1%").unwrap_err();
        assert!(error.to_string().contains("sampling.entries"), "{error}");
        assert_eq!(error.code, crate::errors::ErrorCode::InvalidPolicyValue);
    }

    #[test]
    fn the_first_sample_and_the_last_one_are_told_from_the_others() {
        let entries = entries("middleware", "100%").unwrap();
        let first = entries.draw(10, "GET /", true).unwrap();
        let second = entries.draw(20, "GET /", true).unwrap();
        assert!(first.is_first && !second.is_first);
        assert!(first.about.contains("\"probability\":1.0"), "{}", first.about);
        assert_eq!(entries.left(10), None, "a request ends when it is said to");
        assert!(!entries.ended(first.id) && entries.ended(second.id) && !entries.ended(second.id));
        assert!(entries.draw(10, "f", false).unwrap().is_first);
        assert_eq!(entries.left(10), Some(3));
    }

    #[test]
    fn a_frame_that_starts_where_another_was_ends_that_ones_sample() {
        let entries = entries("obj:f", "100%").unwrap();
        entries.draw(10, "f", false).unwrap();
        let again = entries.draw(10, "f", false).unwrap();
        assert_eq!(entries.left(10), Some(again.id));
        assert!(entries.ended(again.id));
    }

    #[test]
    fn nothing_is_taken_at_a_rate_of_zero_and_about_the_rate_otherwise() {
        let none = entries("obj:f", "0%").unwrap();
        assert!((0..1000).all(|frame| none.draw(frame, "f", false).is_none()));
        let some = entries("obj:f", "10%").unwrap();
        let taken = (0..10_000).filter(|&frame| some.draw(frame, "f", false).is_some()).count();
        assert!((850..1150).contains(&taken), "{taken}");
    }
}
