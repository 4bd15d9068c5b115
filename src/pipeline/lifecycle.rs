//! The lifecycle actor: the state machine of a recording, and the files that say how it ended.
//!
//! ```text
//!            Stop                 workers ended
//! Running ─────────► Stopping ─────────────────► Finished
//!    │ ╲  a limit    ╱  │ a failure, or the deadline
//!    │  ╰► Limited ─╯   │
//!    └──────────────────┴──────────────────────► Failed
//! ```
//!
//! Invariants:
//! - One message at a time, each answered; a message that the state has no use for is answered as well.
//! - After a failure what was handed over and is in no file is counted before the final files are written.
//! - The final files are written after the workers have ended, or been given up at the deadline.
//! - `Abandon` is the last message: the actor ends with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use serde_json::{Map, Value};

use crate::errors::{ErrorCode, ErrorKind, RecorderResult};
use crate::storage::Storage;

use super::artifacts::{Outcome, RecordingState, conclude, remove_traces, write_recording};
use super::config::PipelineConfig;
use super::messages::{EncoderControl, LifecycleMessage, Reply};
use super::model::Exit;
use super::ring::files::remove_ring;
use super::stats::{Meters, StopReport};
use super::stream::{SealedChunk, StreamShared};
use super::supervisor::{PipelineFailure, Supervisor, Worker};

/// Name of this stage in failures.
pub(super) const STAGE: &str = "lifecycle";

/// How long a writer that was told to hurry gets to put its files right.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// How long an abandoned recording is waited for: nobody wants its files.
const ABANDON_DEADLINE: Duration = Duration::from_secs(5);

#[derive(Debug)]
enum State {
    Running,
    /// A limit ended it; the files are complete but for what only `Stop` knows.
    Limited,
    Stopping,
    Finished(Box<StopReport>),
    Failed,
}

/// The lifecycle's state; [`Lifecycle::run`] is its thread.
#[derive(Debug)]
pub(super) struct Lifecycle {
    pub mailbox: flume::Receiver<LifecycleMessage>,
    pub config: Arc<PipelineConfig>,
    pub storage: Arc<dyn Storage>,
    pub supervisor: Arc<Supervisor>,
    pub meters: Arc<Meters>,
    pub encoder: Sender<EncoderControl>,
    /// Only for its length.
    pub queue: Sender<SealedChunk>,
    /// Threads that the encoder did not come to know.
    pub opened: Receiver<Arc<StreamShared>>,
    pub encoder_worker: Worker,
    pub writer_worker: Worker,
    /// Writes the dumps, if there is a flight recorder.
    pub dumper_worker: Option<Worker>,
    /// Where the flight recorder keeps its files, if it does: they go when all of them is in a trace.
    pub ring_dir: Option<PathBuf>,
}

impl Lifecycle {
    pub fn run(self) {
        let mut state = State::Running;
        while let Ok(message) = self.mailbox.recv() {
            match message {
                LifecycleMessage::Flush { reply } => self.flush(&state, reply),
                LifecycleMessage::Stop { exit, metadata, reply } => {
                    let outcome = self.stop(&mut state, exit, metadata);
                    // Whoever asked may have lost patience.
                    let _ = reply.send(outcome);
                }
                LifecycleMessage::Rotate { reason, reply } => self.rotate(&state, reason, reply),
                // Unless it runs the reply is dropped: there is nothing to suspend or resume any more.
                LifecycleMessage::Suspend { reason, reply } if matches!(state, State::Running) => {
                    let _ = self.encoder.send(EncoderControl::Suspend { reason, reply });
                }
                LifecycleMessage::Resume { reason, sample, reply } if matches!(state, State::Running) => {
                    let _ = self.encoder.send(EncoderControl::Resume { reason, sample, reply });
                }
                LifecycleMessage::Suspend { .. } | LifecycleMessage::Resume { .. } => {}
                // Otherwise the reply is dropped: there is nothing to dump any more.
                LifecycleMessage::Dump { request, reply } if matches!(state, State::Running) => {
                    let _ = self.encoder.send(EncoderControl::Dump { request, reply });
                }
                LifecycleMessage::Dump { .. } => {}
                LifecycleMessage::LimitReached => self.limit_reached(&mut state),
                LifecycleMessage::WorkerFailed => self.worker_failed(&mut state),
                LifecycleMessage::Abandon { keep_files, reply } => {
                    self.abandon(&state, keep_files);
                    // Whoever hears of it finds the mailbox closed.
                    drop(self);
                    let _ = reply.send(());
                    return;
                }
            }
        }
    }

    fn flush(&self, state: &State, reply: Reply<()>) {
        match state {
            // The writer answers, or drops the reply when it cannot.
            State::Running => drop(self.encoder.send(EncoderControl::Flush { reply })),
            State::Finished(_) | State::Limited => drop(reply.send(())),
            State::Stopping | State::Failed => drop(reply),
        }
    }

    fn rotate(&self, state: &State, reason: String, reply: Reply<PathBuf>) {
        // Otherwise the reply is dropped: there is nothing to rotate any more.
        if matches!(state, State::Running) {
            let _ = self.encoder.send(EncoderControl::Rotate { reason, reply });
        }
    }

    /// The encoder has ended by itself, because of a limit. Stop writes the files again, with what it knows.
    fn limit_reached(&self, state: &mut State) {
        if matches!(state, State::Running) {
            self.end_workers(EncoderControl::Abandon, self.config.stop_deadline);
            let failure = self.supervisor.failure();
            let concluded = self.conclude(Map::new(), failure.as_deref());
            if let Err(error) = concluded {
                self.supervisor.fail(PipelineFailure::new(STAGE, &error));
            }
            *state = if self.supervisor.has_failed() { State::Failed } else { State::Limited };
        }
    }

    /// What was handed over and is not written is lost, if that was not what a limit is for.
    fn count_losses(&self) {
        if self.supervisor.has_failed() && self.supervisor.limit().is_none() {
            self.meters.remember(self.opened.try_iter());
            self.meters.count_unwritten();
        }
    }

    fn conclude(&self, metadata: Map<String, Value>, failure: Option<&PipelineFailure>) -> RecorderResult<()> {
        let stats = self.meters.snapshot(self.queue.len(), self.config.queue_chunks());
        let outcome = Outcome { failure, limit: self.supervisor.limit() };
        conclude(&*self.storage, &self.config, &self.meters.streams(), &stats, metadata, outcome)
    }

    fn stop(&self, state: &mut State, exit: Exit, metadata: Map<String, Value>) -> RecorderResult<StopReport> {
        match state {
            State::Finished(report) => return Ok((**report).clone()),
            State::Running | State::Limited | State::Stopping | State::Failed => {}
        }
        *state = State::Stopping;
        self.end_workers(EncoderControl::Stop { exit }, self.config.stop_deadline);
        let failure = self.supervisor.failure();
        let stats = self.meters.snapshot(self.queue.len(), self.config.queue_chunks());
        let concluded = self.conclude(metadata, failure.as_deref());
        *state = State::Failed;
        match failure {
            Some(failure) => {
                if let Err(error) = concluded {
                    // The failure that counts is the first one.
                    crate::logging::report(&error);
                }
                Err(failure.to_error())
            }
            None => {
                concluded.inspect_err(|error| self.supervisor.fail(PipelineFailure::new(STAGE, error)))?;
                self.remove_ring();
                let report = StopReport { stats };
                *state = State::Finished(Box::new(report.clone()));
                Ok(report)
            }
        }
    }

    /// Tells the encoder to end and waits for it and the writer, no longer than `patience` and a little.
    fn end_workers(&self, order: EncoderControl, patience: Duration) {
        let deadline = Instant::now() + patience;
        // An encoder that has ended needs no order.
        let _ = self.encoder.send(order);
        let workers = [Some(&self.encoder_worker), Some(&self.writer_worker), self.dumper_worker.as_ref()];
        if workers.into_iter().flatten().all(|worker| worker.ended_by(deadline)) {
            self.count_losses();
            return;
        }
        self.supervisor.hurry();
        self.supervisor.fail(PipelineFailure {
            stage: STAGE,
            kind: ErrorKind::Environment,
            code: ErrorCode::TraceIncomplete,
            message: format!(
                "the trace could not be written within {} s; the disk is too slow",
                patience.as_secs_f32()
            ),
        });
        let last = Instant::now() + LAST_GRACE;
        self.writer_worker.ended_by(last);
        self.encoder_worker.ended_by(last);
        self.count_losses();
    }

    fn worker_failed(&self, state: &mut State) {
        if matches!(state, State::Running) {
            *state = State::Failed;
            // Best effort: the process may be killed before anybody calls stop. Stop writes it again.
            let failure = self.supervisor.failure();
            let failed = RecordingState::Failed;
            let _ = write_recording(&*self.storage, &self.config, failed, failure.as_deref(), false);
        }
    }

    /// The trace is complete and needs it no more.
    fn remove_ring(&self) {
        if let Some(dir) = &self.ring_dir
            && let Err(error) = remove_ring(&*self.storage, dir)
        {
            crate::logging::report(&error);
        }
    }

    fn abandon(&self, state: &State, keep_files: bool) {
        let patience = self.config.stop_deadline.min(ABANDON_DEADLINE);
        match state {
            State::Finished(_) => {}
            // Files that stay are finished like any: balanced, and open.
            _ if keep_files => self.end_workers(EncoderControl::Stop { exit: Exit::Unknown }, patience),
            _ => self.end_workers(EncoderControl::Abandon, patience),
        }
        if !keep_files {
            // Best effort: there is nobody to tell.
            let _ = remove_traces(&*self.storage, &self.config.out_dir);
            self.remove_ring();
        } else if !matches!(state, State::Finished(_)) {
            let failure = self.supervisor.failure();
            let abandoned = failure.as_deref().cloned().unwrap_or_else(|| PipelineFailure {
                stage: STAGE,
                kind: ErrorKind::Environment,
                code: ErrorCode::TraceIncomplete,
                message: "the recording was abandoned".to_owned(),
            });
            if let Err(error) = self.conclude(Map::new(), Some(&abandoned)) {
                crate::logging::report(&error);
            }
        }
    }
}
