//! From compact events to files, on threads that never touch Python.
//!
//! An interpreter thread holds a [`StreamProducer`] and pushes records of [`layout`]; everything else happens
//! behind the [`Pipeline`] handle. The picture of the threads and channels is in [`mod@spawn`].

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::errors::{RecorderError, RecorderResult};
use crate::storage::Storage;
use crate::{bug, enverr};

pub mod artifacts;
pub(crate) mod compressor;
pub mod config;
pub mod encoder;
mod encoder_actor;
pub(crate) mod event_file;
pub mod index;
pub mod layout;
mod lifecycle;
pub mod limits;
pub mod losses;
mod messages;
pub mod model;
mod names;
pub mod part;
pub mod ring;
pub mod spawn;
pub mod stats;
pub mod stream;
pub mod supervisor;
pub mod tables;
mod tap;
pub mod turns;
mod waiting;
pub mod worker_time;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

pub use config::PipelineConfig;
pub use stats::{PipelineStats, StopReport, StreamSummary};
pub use stream::{Pushed, StreamInfo, StreamProducer};
pub use supervisor::PipelineFailure;

use messages::LifecycleMessage;
use model::Exit;
use ring::dump::DumpRequest;
use spawn::Handles;
use tables::Tables;
use turns::Turns;

/// How much longer than the workers' own deadlines a caller waits before it gives up on the lifecycle itself.
const CALLER_GRACE: Duration = Duration::from_secs(5);

/// How often a waiting caller looks whether the lifecycle still exists.
const CALLER_STEP: Duration = Duration::from_millis(100);

/// One running recording, from any thread.
///
/// Dropping it ends the workers; without [`Pipeline::stop`] the files stay, marked as failed. In a child made by
/// `fork`, where the workers do not exist, every method is harmless: it fails or does nothing, and touches no file.
#[derive(Debug)]
pub struct Pipeline {
    handles: Handles,
    config: Arc<PipelineConfig>,
    next_stream: AtomicU32,
    turns: Arc<Turns>,
    /// The process whose threads the workers are.
    owner: u32,
}

impl Pipeline {
    /// Prepares the trace directory (whatever an earlier recording left there goes) and starts the workers.
    ///
    /// # Errors
    /// `ERR_TRACE_DIR_CONFLICT`, `ERR_TRACE_DIR_CREATE_FAILED`, or `ERR_IO` if a file or a thread cannot be made.
    pub fn spawn(config: PipelineConfig, tables: Arc<Tables>, storage: Arc<dyn Storage>) -> RecorderResult<Self> {
        let config = Arc::new(config);
        let handles = spawn::spawn(&config, tables, storage)?;
        let turns = Arc::default();
        Ok(Self { handles, config, next_stream: AtomicU32::new(0), turns, owner: std::process::id() })
    }

    /// Opens a stream for the calling thread. The first one is the trace in the out dir itself, the others get
    /// `threads/NN-name/` with their first event.
    pub fn open_stream(&self, info: StreamInfo) -> StreamProducer {
        let id = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let Handles { sealed, free, opened, waiting, .. } = &self.handles;
        let (sealed, free, turns, waiting) =
            (sealed.clone(), free.clone(), Arc::clone(&self.turns), Arc::clone(waiting));
        let producer = StreamProducer::new(id, info, sealed, free, turns, waiting, self.config.batch_bytes);
        // If the encoder has ended, so will the producer: its first full chunk finds the queue closed.
        let _ = opened.send(Arc::clone(producer.shared()));
        producer
    }

    /// Waits until everything pushed before the call is on disk, in files that open by themselves.
    ///
    /// # Errors
    /// The failure that ended the recording, or `ERR_IO` if the disk takes longer than the deadline.
    pub fn flush(&self) -> RecorderResult<()> {
        let (reply, answer) = flume::bounded(1);
        self.ask(LifecycleMessage::Flush { reply }, &answer, self.config.stop_deadline, "flush")
    }

    /// Ends the part being recorded and begins a further one, in `parts/NNNN/`, which starts with the calls in
    /// progress. Returns the directory of the part that ended, once it is complete.
    ///
    /// # Errors
    /// As [`Pipeline::flush`].
    pub fn rotate(&self, reason: &str) -> RecorderResult<PathBuf> {
        let (reply, answer) = flume::bounded(1);
        let message = LifecycleMessage::Rotate { reason: reason.to_owned(), reply };
        self.ask(message, &answer, self.config.stop_deadline, "rotate")
    }

    /// Ends the part being recorded, and with it the calls in progress; returns its directory, once it is complete.
    /// No producer may push until [`Pipeline::resume`] has returned; what one pushes all the same is dropped.
    ///
    /// # Errors
    /// As [`Pipeline::flush`].
    pub fn suspend(&self, reason: &str) -> RecorderResult<PathBuf> {
        let (reply, answer) = flume::bounded(1);
        let message = LifecycleMessage::Suspend { reason: reason.to_owned(), reply };
        self.ask(message, &answer, self.config.stop_deadline, "suspend")
    }

    /// Begins a further part, in which no call is in progress; `sample` is the key of this name in its metadata.
    ///
    /// # Errors
    /// As [`Pipeline::flush`].
    pub fn resume(&self, reason: &str, sample: Option<Value>) -> RecorderResult<()> {
        let (reply, answer) = flume::bounded(1);
        let message = LifecycleMessage::Resume { reason: reason.to_owned(), sample, reply };
        self.turns.forget();
        self.ask(message, &answer, self.config.stop_deadline, "resume")
    }

    /// Writes what the flight recorder holds as a trace of its own, and returns its directory once it is complete.
    ///
    /// # Errors
    /// `ERR_INVALID_POLICY_VALUE` without a flight recorder; `ERR_IO` if it cannot be written or too many are being
    /// written; as [`Pipeline::flush`].
    pub fn dump(&self, request: DumpRequest) -> RecorderResult<PathBuf> {
        self.require_ring()?;
        let (reply, answer) = flume::bounded(1);
        let message = LifecycleMessage::Dump { request, reply: Some(reply) };
        self.ask(message, &answer, self.config.stop_deadline, "dump")?
    }

    /// Asks for a dump and does not wait for it; what goes wrong is logged. Nothing happens without a flight recorder.
    pub fn request_dump(&self, request: DumpRequest) {
        if self.config.ring.is_some() && self.owner == std::process::id() {
            // A recording that has ended has nothing to dump.
            let _ = self.handles.mailbox.send(LifecycleMessage::Dump { request, reply: None });
        }
    }

    fn require_ring(&self) -> RecorderResult<()> {
        match self.config.ring {
            Some(_) => Ok(()),
            None => Err(crate::usage!(
                InvalidPolicyValue,
                "nothing to dump: this recording is no flight recorder; set ring.storage = \"memory\" or \"files\" in its policy"
            )),
        }
    }

    /// The limit that has ended the recording, if one has.
    pub fn limit_reached(&self) -> Option<&'static str> {
        self.handles.supervisor.limit()
    }

    /// Ends the recording: encodes what is published, finishes every file, and writes the metadata (`metadata`
    /// over the base of the configuration). Drop the producers first. A second call gives the first one's report.
    ///
    /// # Errors
    /// The failure that ended the recording early, in which case the files hold what was written until then.
    pub fn stop(&self, exit: Exit, metadata: Map<String, Value>) -> RecorderResult<StopReport> {
        let (reply, answer) = flume::bounded(1);
        let message = LifecycleMessage::Stop { exit, metadata, reply };
        self.ask(message, &answer, self.config.stop_deadline + CALLER_GRACE, "stop")?
    }

    /// Ends the recording without a trace; with `keep_files` what was recorded stays, finished and marked `failed`.
    pub fn abandon(&self, keep_files: bool) {
        let (reply, answer) = flume::bounded(1);
        // An error means that it has ended already, or cannot; either way there is nothing left to do here.
        let _ = self.ask(
            LifecycleMessage::Abandon { keep_files, reply },
            &answer,
            self.config.stop_deadline + CALLER_GRACE,
            "abandon",
        );
    }

    /// Why the recording ended early, if it did.
    pub fn failure(&self) -> Option<Arc<PipelineFailure>> {
        self.handles.supervisor.failure()
    }

    /// Whether the recording ended early: one relaxed load, for the hot path.
    #[inline]
    pub fn has_failed(&self) -> bool {
        self.handles.supervisor.has_failed()
    }

    /// Number of the part that is being written.
    pub fn current_part(&self) -> u32 {
        self.handles.meters.part.load(Ordering::Relaxed)
    }

    /// Counters as they are now; waits for nobody.
    pub fn stats(&self) -> PipelineStats {
        let mut stats = self.handles.meters.snapshot(self.handles.sealed.len(), self.config.queue_chunks());
        stats.ring = self.config.ring.as_ref().map(|limits| self.handles.meters.ring.snapshot(limits));
        stats
    }

    fn ask<T>(
        &self,
        message: LifecycleMessage,
        answer: &flume::Receiver<T>,
        patience: Duration,
        what: &str,
    ) -> RecorderResult<T> {
        if self.owner != std::process::id() {
            return Err(bug!(Unknown, "cannot {what} the recording of the parent process after a fork"));
        }
        if self.handles.mailbox.send(message).is_err() {
            return Err(self.ended(what));
        }
        let deadline = Instant::now() + patience;
        loop {
            match answer.recv_deadline(deadline.min(Instant::now() + CALLER_STEP)) {
                Ok(answer) => return Ok(answer),
                Err(flume::RecvTimeoutError::Disconnected) => return Err(self.ended(what)),
                // The lifecycle ended with our message unread: nobody will answer.
                Err(flume::RecvTimeoutError::Timeout)
                    if self.handles.mailbox.is_disconnected() && answer.is_empty() =>
                {
                    return Err(self.ended(what));
                }
                Err(flume::RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(flume::RecvTimeoutError::Timeout) => {
                    let seconds = patience.as_secs_f32();
                    return Err(enverr!(Io, "{what} took longer than {seconds} s; the disk is too slow"));
                }
            }
        }
    }

    fn ended(&self, what: &str) -> RecorderError {
        match self.failure() {
            Some(failure) => failure.to_error(),
            None => bug!(TraceIncomplete, "cannot {what}: the recording has ended"),
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            // Ends the workers; nobody waits for them here. After a stop nothing is left to do.
            let (reply, _) = flume::bounded(1);
            let _ = self.handles.mailbox.send(LifecycleMessage::Abandon { keep_files: true, reply });
        }
    }
}
