//! A recording is finished when a signal is about to end the program.
//!
//! Invariants:
//! - Nothing happens to a signal that the program handles or ignores.
//! - The process ends by the signal, as without the recorder, a moment later: at most [`PATIENCE`], however slow the
//!   disk is. Meanwhile the program's threads may go on for as long.
//! - No GIL and no lock that needs it: the program may be busy anywhere.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use serde_json::json;

use super::Final;
use crate::ffi::termination;
use crate::logging;
use crate::pipeline::model::Exit;
use crate::pipeline::supervisor::Worker;

/// How long the end of the process is put off, at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// While it lives, signals that end the program finish its recording first.
#[derive(Debug)]
pub(super) struct Watch {
    worker: Worker,
    process: u32,
}

impl Watch {
    /// Starts to watch; without a thread to be had, such a signal leaves what was written at the last interval.
    pub fn start(last: Final) -> Option<Self> {
        termination::watch();
        follow_changes();
        let last = Arc::new(last);
        let started = Worker::start("ct-signals", move || {
            let Some(signal) = termination::wait() else { return };
            let finishing = Arc::clone(&last);
            let finisher = Worker::start("ct-finish", move || finish(&finishing, signal));
            if let Ok(finisher) = finisher {
                finisher.ended_by(Instant::now() + PATIENCE);
            }
            termination::proceed();
        });
        match started {
            Ok(worker) => Some(Self { worker, process: std::process::id() }),
            Err(error) => {
                termination::unwatch();
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

/// A server that handled a signal gives it its default action back, and ends by it.
fn follow_changes() {
    static FOLLOWING: std::sync::Once = std::sync::Once::new();
    FOLLOWING.call_once(|| {
        Python::attach(|py| {
            if let Err(error) = termination::follow_changes(py) {
                tracing::debug!(%error, "signal.signal is not followed");
            }
        });
    });
}

fn finish(last: &Final, signal: &'static str) {
    last.shared.state.end();
    let mut metadata = last.metadata(None);
    metadata.insert("ended_by_signal".to_owned(), json!(signal));
    if let Err(error) = last.shared.pipeline.stop(Exit::Unknown, metadata) {
        logging::report(&error);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            termination::unwatch();
            // It has nothing more to do; a moment is enough.
            self.worker.ended_by(Instant::now() + PATIENCE);
        }
    }
}
