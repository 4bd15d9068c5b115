//! Threads beyond the first hundred share traces, so that thousands of short-lived ones leave a bounded number of files.
//!
//! Invariants:
//! - Threads that share a trace do not overlap: one takes a trace over when the one before has ended, and the calls of
//!   that one are over. So the trace is balanced, and there are as many shared traces as such threads ran at a time.
//! - A trace is shared only within a part. A thread whose calls a part repeats has a trace of its own there.
//! - The index says which thread has which events of a shared trace.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Encoding, Stream};
use crate::errors::RecorderResult;
use crate::pipeline::stats::StreamMeter;

impl Encoding {
    /// Before the first record of a stream in a part: decides whose trace it goes to.
    pub(super) fn place(&mut self, id: u32) -> RecorderResult<()> {
        let own = self.parts.config.own_thread_traces;
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.placed) else { return Ok(()) };
        stream.placed = true;
        if id == 0 || self.owned < own {
            self.owned += usize::from(id != 0);
            return Ok(());
        }
        let continues = stream.continues;
        if !continues && self.parked().is_none() {
            self.finish_ended(id)?;
        }
        let parked = if continues { None } else { self.parked() };
        let taken = parked.and_then(|parked| self.streams.remove(&parked));
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let unused = Arc::clone(&stream.meter);
        if let Some(taken) = taken {
            let Stream { expected, shared, .. } = stream;
            let (expected, shared) = (*expected, Arc::clone(shared));
            *stream = Stream { expected, shared, parked: false, introduced: false, ..taken };
            stream.encoder.set_thread(stream.shared.info.native_id);
        } else {
            stream.meter = StreamMeter::pooled(Arc::clone(&stream.shared), Arc::clone(&self.part));
            self.parts.meters.add(Arc::clone(&stream.meter));
        }
        stream.meter.enter(&stream.shared);
        self.parts.meters.forget(&unused);
        Ok(())
    }

    /// A trace that waits for another thread.
    fn parked(&self) -> Option<u32> {
        self.streams.iter().find(|(_, stream)| stream.parked).map(|(id, _)| *id)
    }

    /// Finishes the streams of threads that have ended, `except` one.
    fn finish_ended(&mut self, except: u32) -> RecorderResult<()> {
        if std::mem::replace(&mut self.placing, true) {
            return Ok(());
        }
        let has_ended = |stream: &Stream| !stream.parked && stream.shared.closed.load(Ordering::Acquire);
        let ended: Vec<u32> = self.streams.iter().filter(|(_, stream)| has_ended(stream)).map(|(id, _)| *id).collect();
        let outcome = ended.into_iter().filter(|id| *id != except).try_for_each(|id| self.pull_from(id).map(drop));
        self.placing = false;
        outcome
    }

    /// Keeps the trace of a thread that has ended for another one, if it is a shared one; says whether it is.
    pub(super) fn park(&mut self, id: u32) -> RecorderResult<bool> {
        if !self.streams.get(&id).is_some_and(|stream| stream.meter.pooled && !stream.parked) {
            return Ok(false);
        }
        self.mark_losses(id)?;
        self.end_calls(id)?;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.shared.leave();
            stream.meter.leave(&stream.shared);
            stream.meter.set_counts(stream.encoder.counts());
            stream.parked = true;
        }
        Ok(true)
    }
}
