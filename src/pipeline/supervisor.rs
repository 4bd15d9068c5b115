//! Starts workers, notices how they end, and never waits for one forever.
//!
//! Invariants:
//! - The first failure wins and is never replaced; [`Supervisor::has_failed`] is one relaxed load.
//! - A panic in a worker is a failure of the recording, never of the program.
//! - Every wait of a worker is short enough to notice a failure; every wait for a worker has a deadline. A worker
//!   stuck in the operating system is left behind.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::errors::{ErrorCode, ErrorKind, RecorderError, RecorderResult};
use crate::ffi::{priority, signals};

use super::messages::LifecycleMessage;
use super::worker_time::Counted;

/// How long a worker waits at most before it looks for a failure elsewhere.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// Why a recording ended before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineFailure {
    /// The worker that failed, as named in [`super::spawn`].
    pub stage: &'static str,
    pub kind: ErrorKind,
    pub code: ErrorCode,
    /// What happened, for people.
    pub message: String,
}

impl PipelineFailure {
    pub(super) fn new(stage: &'static str, error: &RecorderError) -> Self {
        Self { stage, kind: error.kind, code: error.code, message: error.to_string() }
    }

    fn panicked(stage: &'static str, payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        Self {
            stage,
            kind: ErrorKind::Internal,
            code: ErrorCode::TraceIncomplete,
            message: format!("panic in {stage}: {text}"),
        }
    }

    /// The failure as an error, for callers of the pipeline.
    pub fn to_error(&self) -> RecorderError {
        RecorderError::new(self.kind, self.code, format!("the recording ended early: {}", self.message))
            .with_context("stage", self.stage)
    }
}

/// What all parts of one pipeline know about its health.
#[derive(Debug)]
pub(super) struct Supervisor {
    failed: AtomicBool,
    failure: OnceLock<Arc<PipelineFailure>>,
    /// Out of time: store nothing more, not even what is ready.
    hurry: AtomicBool,
    /// The limit that ends, or has ended, the recording.
    limit: OnceLock<&'static str>,
    lifecycle: flume::Sender<LifecycleMessage>,
}

impl Supervisor {
    pub fn new(lifecycle: flume::Sender<LifecycleMessage>) -> Arc<Self> {
        Arc::new(Self {
            failed: AtomicBool::new(false),
            failure: OnceLock::new(),
            hurry: AtomicBool::new(false),
            limit: OnceLock::new(),
            lifecycle,
        })
    }

    #[inline]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub fn failure(&self) -> Option<Arc<PipelineFailure>> {
        self.failure.get().cloned()
    }

    /// Ends the recording, for this reason if there is none yet.
    pub fn fail(&self, failure: PipelineFailure) {
        if self.failure.set(Arc::new(failure)).is_ok() {
            self.failed.store(true, Ordering::Release);
            // The lifecycle actor may have ended already; then nobody needs to know.
            let _ = self.lifecycle.send(LifecycleMessage::WorkerFailed);
        }
    }

    /// Asks the encoder to end the recording because of a limit.
    pub fn reach_limit(&self, limit: &'static str) {
        let _ = self.limit.set(limit);
    }

    /// The limit that ends, or has ended, the recording.
    pub fn limit(&self) -> Option<&'static str> {
        self.limit.get().copied()
    }

    /// The encoder has ended because of a limit: the files can be completed.
    pub fn ended_at_limit(&self) {
        // The lifecycle actor may have ended already; then nobody needs to know.
        let _ = self.lifecycle.send(LifecycleMessage::LimitReached);
    }

    /// Runs one part of a worker; an error or a panic in it becomes the failure. `true` if neither came.
    pub fn guard(&self, stage: &'static str, body: impl FnOnce() -> RecorderResult<()>) -> bool {
        match catch_unwind(AssertUnwindSafe(body)) {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => self.fail(PipelineFailure::new(stage, &error)),
            Err(payload) => self.fail(PipelineFailure::panicked(stage, &*payload)),
        }
        false
    }

    /// From now on the writer stores nothing more.
    pub fn hurry(&self) {
        self.hurry.store(true, Ordering::Release);
    }

    pub fn is_in_a_hurry(&self) -> bool {
        self.hurry.load(Ordering::Acquire)
    }
}

/// What the names of all threads of the recorder start with.
pub(crate) const THREAD_PREFIX: &str = "ct-";

/// A started worker thread.
#[derive(Debug)]
pub(crate) struct Worker {
    thread: JoinHandle<()>,
    /// Disconnected when the worker has ended.
    ended: Receiver<()>,
}

impl Worker {
    /// Starts `body` on a named thread that gets no signals and leaves the program the first go. `body` itself
    /// deals with panics (see [`Supervisor::guard`]).
    pub fn start(name: &str, body: impl FnOnce() + Send + 'static) -> RecorderResult<Self> {
        let (alive, ended) = bounded::<()>(0);
        let thread = signals::with_signals_blocked(|| {
            std::thread::Builder::new().name(name.to_owned()).spawn(move || {
                let _alive = alive;
                priority::lower_this_thread();
                let _counted = Counted::this_thread();
                body();
            })
        });
        match thread {
            Ok(thread) => Ok(Self { thread, ended }),
            Err(error) => {
                Err(crate::enverr!(Io, "cannot start the recorder's thread {name}; raise the limit on threads")
                    .with_source(error))
            }
        }
    }

    /// Waits for the worker to end; `false` if it has not by `deadline`.
    pub fn ended_by(&self, deadline: Instant) -> bool {
        match self.ended.recv_deadline(deadline) {
            Err(RecvTimeoutError::Timeout) => self.thread.is_finished(),
            // Nothing is ever sent: the worker has dropped its end.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bug;

    fn supervisor() -> (Arc<Supervisor>, flume::Receiver<LifecycleMessage>) {
        let (sender, mailbox) = flume::unbounded();
        (Supervisor::new(sender), mailbox)
    }

    #[test]
    fn the_first_failure_wins_and_the_lifecycle_hears_of_it_once() {
        let (supervisor, mailbox) = supervisor();
        assert!(supervisor.guard("writer", || Ok(())));
        assert!(!supervisor.has_failed());
        assert!(!supervisor.guard("writer", || Err(bug!(Io, "first"))));
        assert!(!supervisor.guard("encoder", || panic!("second")));
        assert!(supervisor.has_failed());
        let failure = supervisor.failure().unwrap();
        assert_eq!((failure.stage, failure.message.as_str()), ("writer", "first"));
        assert_eq!(mailbox.drain().count(), 1);
    }

    #[test]
    fn a_panic_becomes_an_internal_error_that_names_the_stage() {
        let (supervisor, _mailbox) = supervisor();
        supervisor.guard("encoder", || panic!("at {}", 7));
        let error = supervisor.failure().unwrap().to_error();
        assert_eq!(error.kind, ErrorKind::Internal);
        assert!(error.to_string().contains("panic in encoder: at 7"), "{error}");
        assert_eq!(error.context["stage"], "encoder");
    }

    #[test]
    fn waiting_for_a_stuck_worker_ends_at_the_deadline() {
        let (release, stuck) = bounded::<()>(0);
        let worker = Worker::start("ct-test", move || assert!(stuck.recv().is_err())).unwrap();
        assert!(!worker.ended_by(Instant::now() + Duration::from_millis(20)));
        drop(release);
        assert!(worker.ended_by(Instant::now() + Duration::from_secs(10)));
    }
}
