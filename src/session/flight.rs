//! The flight recorder of the active session: dumps on demand, and the signal that asks for one.
//!
//! Invariants: nobody waits for a dump with the GIL held; asking for one without waiting never blocks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use serde_json::Map;

use super::active;
use crate::errors::RecorderResult;
use crate::pipeline::ring::RingLimits;
use crate::pipeline::ring::dump::DumpRequest;
use crate::policy::flight::RingStorage;
use crate::policy::model::RecorderPolicy;
use crate::runtime::tracer::shared::Shared;
use crate::runtime::triggers::Triggers;

/// How much of the past the policy wants kept, if it wants a flight recorder.
pub(super) fn ring_limits(policy: &RecorderPolicy) -> Option<RingLimits> {
    let ring = &policy.ring;
    (ring.storage != RingStorage::Off).then(|| RingLimits {
        duration: Duration::from_secs(ring.seconds),
        max_bytes: ring.max_bytes,
        in_files: ring.storage == RingStorage::Files,
        max_steps: ring.max_steps,
        keep_at_exit: ring.keep_at_exit,
    })
}

/// The triggers of the policy, if there is a flight recorder.
pub(super) fn triggers(policy: &RecorderPolicy) -> Option<Triggers> {
    (policy.ring.storage != RingStorage::Off).then(|| Triggers::new(&policy.triggers))
}

fn shared() -> Option<Arc<Shared>> {
    active().as_ref().map(|session| Arc::clone(session.tracer.shared()))
}

/// Writes what the flight recorder holds as a trace of its own and returns its directory.
///
/// # Errors
/// `ERR_TRACE_MISSING` without a recording, `ERR_INVALID_POLICY_VALUE` if it is no flight recorder, `ERR_IO`.
pub fn dump(py: Python<'_>, reason: String) -> RecorderResult<PathBuf> {
    py.detach(|| dump_now(reason))
}

/// The same, for a thread without the GIL.
///
/// # Errors
/// As [`dump`].
pub(super) fn dump_now(reason: String) -> RecorderResult<PathBuf> {
    let Some(shared) = shared() else {
        return Err(crate::usage!(TraceMissing, "nothing to dump: no recording is running"));
    };
    shared.pipeline.dump(DumpRequest { reason, details: Map::new() })
}

/// Tells the triggers that a request has ended.
pub fn request_finished(label: &str, took: Duration, status: u16) {
    if let Some(shared) = shared()
        && let Some(triggers) = &shared.triggers
    {
        triggers.request_finished(&shared.pipeline, label, took, status);
    }
}

#[cfg(target_os = "linux")]
pub(super) use signal::SignalWatch;

#[cfg(target_os = "linux")]
mod signal {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use crate::ffi::wake_signal;
    use crate::logging;
    use crate::pipeline::supervisor::Worker;
    use crate::policy::flight::TriggerSignal;
    use crate::runtime::tracer::shared::Shared;

    /// How long the end of the thread is waited for; it has nothing to do.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// While it lives, the signal of the policy asks for a dump.
    #[derive(Debug)]
    pub struct SignalWatch {
        worker: Worker,
        process: u32,
    }

    impl SignalWatch {
        /// Starts to watch, if the policy names a signal and the program has no handler for it.
        pub fn start(signal: TriggerSignal, shared: &Arc<Shared>) -> Option<Self> {
            let number = match signal {
                TriggerSignal::None => return None,
                TriggerSignal::Usr1 => libc::SIGUSR1,
                TriggerSignal::Usr2 => libc::SIGUSR2,
            };
            if !wake_signal::watch(number) {
                tracing::warn!(signal = signal.as_str(), "the program handles this signal: it triggers no dump");
                return None;
            }
            let shared = Arc::clone(shared);
            let started = Worker::start("ct-trigger", move || {
                while wake_signal::wait() {
                    if let Some(triggers) = &shared.triggers {
                        triggers.signalled(&shared.pipeline);
                    }
                }
            });
            match started {
                Ok(worker) => Some(Self { worker, process: std::process::id() }),
                Err(error) => {
                    wake_signal::unwatch();
                    logging::report(&error);
                    None
                }
            }
        }

        /// In a forked child: the thread does not exist there, and the handler knows it.
        pub fn forget(self) {
            std::mem::forget(self);
        }
    }

    impl Drop for SignalWatch {
        fn drop(&mut self) {
            if self.process == std::process::id() {
                wake_signal::unwatch();
                self.worker.ended_by(Instant::now() + PATIENCE);
            }
        }
    }
}
