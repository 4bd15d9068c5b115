//! What makes the flight recorder dump by itself: exceptions, requests, a signal.
//!
//! Invariants:
//! - A trigger only asks for a dump: the thread that meets it goes on at once, and none of the program's code runs.
//! - Triggers of one process are no closer together than `min_interval` and no more than `max_dumps`; the rest is
//!   counted.
//! - An exception that passes through several calls is one event.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::ffi::frame::Frame;
use crate::ffi::object::Type;
use crate::ffi::object::{Kind, Obj, lossy};
use crate::pipeline::Pipeline;
use crate::pipeline::ring::dump::DumpRequest;
use crate::policy::flight::TriggersSection;

/// Exceptions that end a thread or the program in good order.
const QUIET_EXITS: [&str; 3] = ["SystemExit", "KeyboardInterrupt", "GeneratorExit"];

/// Frames that lie below the program's own in a thread, or below its main module; they catch, and tell of it.
const STARTERS: [(&str, &str); 5] = [
    ("Thread.run", "threading.py"),
    ("Thread._bootstrap_inner", "threading.py"),
    ("Thread._bootstrap", "threading.py"),
    ("_run_code", "<frozen runpy>"),
    ("_run_module_as_main", "<frozen runpy>"),
];

/// The import system's own modules. The interpreter calls them by itself, too (to learn whether a script is an archive),
/// and takes their exceptions for an answer; what a program imports has a frame of the program below.
const IMPORT_SYSTEM: [&str; 3] =
    ["<frozen zipimport>", "<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>"];

thread_local! {
    /// The exception that was unwound last in this thread, and the frame it went to.
    static UNWINDING: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// See the module docs.
#[derive(Debug)]
pub struct Triggers {
    wanted: TriggersSection,
    /// Qualified names.
    exceptions: Vec<String>,
    started: Instant,
    /// Milliseconds from `started` to the last dump, and one more; 0 before the first.
    last: AtomicU64,
    fired: AtomicU64,
    suppressed: AtomicU64,
}

impl Triggers {
    pub fn new(wanted: &TriggersSection) -> Self {
        let names = wanted.exceptions.as_deref().unwrap_or_default().split(',');
        let plain = |name: &str| name.trim().trim_start_matches("builtins.").to_owned();
        Self {
            wanted: wanted.clone(),
            exceptions: names.map(plain).filter(|name| !name.is_empty()).collect(),
            started: Instant::now(),
            last: AtomicU64::new(0),
            fired: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// An exception leaves a call; `recorded` if the call is recorded.
    #[cold]
    pub fn unwound(&self, pipeline: &Pipeline, frame: Frame<'_>, exception: Obj<'_>, recorded: bool) {
        let back = frame.previous();
        let before = UNWINDING.replace((exception.address(), back.map_or(0, Frame::id)));
        let goes_on = before == (exception.address(), frame.id());
        if recorded && !goes_on && !self.exceptions.is_empty() {
            let ty = exception.ty();
            if ty.bases().any(|base| self.exceptions.iter().any(|name| *name == base.full_name())) {
                self.fire(pipeline, "exception", &ty.full_name(), Map::new());
                return;
            }
        }
        if self.wanted.uncaught_exception && nobody_catches(frame) {
            let name = exception.ty().full_name();
            if !exception.ty().bases().any(|base| QUIET_EXITS.contains(&base.full_name().as_str())) {
                self.fire(pipeline, "uncaught", &name, Map::new());
            }
        }
    }

    /// A request has ended. `label` is `METHOD /path`.
    pub fn request_finished(&self, pipeline: &Pipeline, label: &str, took: Duration, status: u16) {
        let details = || {
            let mut details = Map::new();
            details.insert("request".to_owned(), json!(label));
            details.insert("status".to_owned(), json!(status));
            details.insert("duration_ms".to_owned(), json!(took.as_secs_f64() * 1000.0));
            details
        };
        if self.wanted.server_errors && status >= 500 {
            self.fire(pipeline, "status", &status.to_string(), details());
        } else if !self.wanted.slow_request.is_zero() && took > self.wanted.slow_request {
            self.fire(pipeline, "slow", label, details());
        }
    }

    /// The signal of the policy has come.
    pub fn signalled(&self, pipeline: &Pipeline) {
        self.fire(pipeline, "signal", self.wanted.signal.as_str(), Map::new());
    }

    /// Dumps that were asked for, and events that came too soon or too late for one.
    pub fn counts(&self) -> (u64, u64) {
        (self.fired.load(Ordering::Relaxed), self.suppressed.load(Ordering::Relaxed))
    }

    fn fire(&self, pipeline: &Pipeline, trigger: &str, what: &str, mut details: Map<String, Value>) {
        if !self.may_fire(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1)) {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        details.insert("trigger".to_owned(), json!(trigger));
        pipeline.request_dump(DumpRequest { reason: format!("{trigger}-{what}"), details });
    }

    fn may_fire(&self, now: u64) -> bool {
        let interval = u64::try_from(self.wanted.min_interval.as_millis()).unwrap_or(u64::MAX);
        let last = self.last.load(Ordering::Relaxed);
        if last > 0 && now.saturating_sub(last - 1) < interval {
            return false;
        }
        // Of several threads that come at once one wins.
        if interval > 0 && self.last.compare_exchange(last, now + 1, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return false;
        }
        let max = self.wanted.max_dumps;
        let counted = self
            .fired
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |fired| (max == 0 || fired < max).then_some(fired + 1));
        counted.is_ok()
    }
}

/// Whether an exception that leaves this frame has left the program's code.
fn nobody_catches(frame: Frame<'_>) -> bool {
    if is_starter(frame) || is_command_line(frame) || is_import_system(frame) {
        return false;
    }
    let mut next = frame.previous();
    while let Some(frame) = next {
        if is_command_line(frame) {
            return true;
        }
        if !is_starter(frame) {
            return false;
        }
        next = frame.previous();
    }
    true
}

fn is_starter(frame: Frame<'_>) -> bool {
    has_code(frame, |name, file| {
        STARTERS.iter().any(|(starter, of)| name == *starter && file.rsplit('/').next() == Some(of))
    })
}

fn is_import_system(frame: Frame<'_>) -> bool {
    has_code(frame, |_, file| IMPORT_SYSTEM.contains(&file))
}

/// Whether it is the recorder's own command line, which tells of an exception as the interpreter does. Its frames are
/// below the program's where frames are read through the public API.
fn is_command_line(frame: Frame<'_>) -> bool {
    has_code(frame, |name, file| name == "main" && file.ends_with("/codetracer_python_recorder/cli.py"))
}

fn has_code(frame: Frame<'_>, wanted: impl Fn(&str, &str) -> bool) -> bool {
    let Some((name, file)) = frame.code().and_then(crate::ffi::code::name_and_file) else { return false };
    wanted(&lossy(name), &lossy(file))
}

impl<'a> Type<'a> {
    /// The class and those it derives from.
    fn bases(self) -> impl Iterator<Item = Type<'a>> {
        let mro = self.mro().filter(|mro| mro.kind().0 == Kind::Tuple);
        mro.into_iter().flat_map(|mro| mro.items().flatten().collect::<Vec<_>>()).map(Type::of_type_object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn triggers(min_interval: u64, max_dumps: u64) -> Triggers {
        let min_interval = Duration::from_millis(min_interval);
        Triggers::new(&TriggersSection { min_interval, max_dumps, ..TriggersSection::default() })
    }

    #[test]
    fn triggers_are_apart_and_their_number_is_bounded() {
        let often = triggers(100, 3);
        let fired: Vec<_> = [0, 1, 99, 100, 150, 200, 300, 10_000].map(|now| often.may_fire(now)).to_vec();
        assert_eq!(fired, [true, false, false, true, false, true, false, false]);
        let unlimited = triggers(0, 0);
        assert!((0..10).all(|_| unlimited.may_fire(5)));
    }

    #[test]
    fn names_of_exceptions_are_separated_by_commas() {
        let exceptions = Some(" app.Error, builtins.OSError,,".to_owned());
        let triggers = Triggers::new(&TriggersSection { exceptions, ..TriggersSection::default() });
        assert_eq!(triggers.exceptions, ["app.Error", "OSError"]);
    }
}
