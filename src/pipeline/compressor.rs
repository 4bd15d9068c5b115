//! The compressors: a pool of threads that turn segments into independent zstd frames.
//!
//! Invariants:
//! - Every frame stands alone, carries its content size and a checksum, and is made by one call with one context.
//! - Whatever happens to a job, its ordinal reaches the writer or the pipeline has failed; a panic is caught here.
//! - The pool ends when its owner, the encoder, drops it, after the jobs it has.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::Arc;

use crossbeam_channel::{SendTimeoutError, Sender};
use rayon::{ThreadPool, ThreadPoolBuilder};
use zstd::bulk::Compressor;

use crate::enverr;
use crate::errors::RecorderResult;
use crate::ffi::{priority, signals};

use super::messages::{Segment, WriterItem, WriterWork};
use super::supervisor::{PATIENCE, Supervisor};

/// Name of this stage in failures.
pub(super) const STAGE: &str = "compressor";

/// Compresses with one reused context.
pub struct FrameCompressor(Compressor<'static>);

impl fmt::Debug for FrameCompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameCompressor")
    }
}

impl FrameCompressor {
    /// `level` as zstd understands it.
    pub fn new(level: i32) -> io::Result<Self> {
        let mut compressor = Compressor::new(level)?;
        compressor.include_checksum(true)?;
        compressor.include_contentsize(true)?;
        Ok(Self(compressor))
    }

    /// Puts `raw` as one frame into `frame`, whose former contents go and whose memory is reused.
    pub fn compress(&mut self, raw: &[u8], frame: &mut Vec<u8>) -> io::Result<()> {
        frame.clear();
        frame.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        self.0.compress_to_buffer(raw, frame)?;
        Ok(())
    }
}

thread_local! {
    /// The context of this pool thread; a pool has one level for all its life.
    static CONTEXT: RefCell<Option<FrameCompressor>> = const { RefCell::new(None) };
}

/// The encoder's way to the writer: directly, or through the pool.
#[derive(Debug)]
pub(super) struct CompressorPool {
    /// `None` if segments are stored as they are.
    pool: Option<ThreadPool>,
    level: i32,
    writer: Sender<WriterItem>,
    supervisor: Arc<Supervisor>,
    #[cfg(test)]
    pub panic_now: bool,
}

impl CompressorPool {
    /// Starts `threads` threads; none if there is nothing to compress.
    pub fn start(
        threads: Option<usize>,
        level: i32,
        writer: Sender<WriterItem>,
        supervisor: Arc<Supervisor>,
    ) -> RecorderResult<Self> {
        let build = |threads: usize| {
            signals::with_signals_blocked(|| {
                ThreadPoolBuilder::new()
                    .num_threads(threads.max(1))
                    .thread_name(|n| format!("ct-zstd-{n}"))
                    .start_handler(|_| priority::lower_this_thread())
                    .build()
            })
            .map_err(|error| enverr!(Io, "cannot start the recorder's compression threads").with_source(error))
        };
        Ok(Self {
            pool: threads.map(build).transpose()?,
            level,
            writer,
            supervisor,
            #[cfg(test)]
            panic_now: false,
        })
    }

    /// Sends work to the writer as it is.
    pub fn pass(&self, ordinal: u64, work: WriterWork) {
        send(&self.writer, &self.supervisor, WriterItem { ordinal, work });
    }

    /// Sends a segment to the writer, compressed if this trace is.
    pub fn submit(&self, ordinal: u64, mut segment: Box<Segment>) {
        let Some(pool) = &self.pool else { return self.pass(ordinal, WriterWork::Segment(segment)) };
        let (writer, supervisor, level) = (self.writer.clone(), Arc::clone(&self.supervisor), self.level);
        #[cfg(test)]
        let panic_now = self.panic_now;
        pool.spawn_fifo(move || {
            supervisor.guard(STAGE, || {
                #[cfg(test)]
                assert!(!panic_now, "injected");
                compress(level, &mut segment)
                    .map_err(|error| enverr!(Io, "cannot compress a part of the trace").with_source(error))?;
                send(&writer, &supervisor, WriterItem { ordinal, work: WriterWork::Segment(segment) });
                Ok(())
            });
        });
    }
}

/// Waits for room at the writer, but not for one that has failed or is stuck past the deadline.
fn send(writer: &Sender<WriterItem>, supervisor: &Supervisor, mut item: WriterItem) {
    while let Err(SendTimeoutError::Timeout(back)) = writer.send_timeout(item, PATIENCE) {
        if supervisor.has_failed() {
            return;
        }
        item = back;
    }
}

fn compress(level: i32, segment: &mut Segment) -> io::Result<()> {
    CONTEXT.with_borrow_mut(|context| {
        let compressor = match context {
            Some(compressor) => compressor,
            None => context.insert(FrameCompressor::new(level)?),
        };
        compressor.compress(&segment.buffer.raw, &mut segment.buffer.frame)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_stand_alone_and_a_flipped_bit_is_noticed() {
        let mut compressor = FrameCompressor::new(1).unwrap();
        let (mut one, mut two) = (Vec::new(), Vec::new());
        compressor.compress(b"first first first", &mut one).unwrap();
        compressor.compress(b"second", &mut two).unwrap();
        assert_eq!(zstd::bulk::decompress(&two, 100).unwrap(), b"second");
        assert_eq!(zstd::decode_all(&[one.clone(), two].concat()[..]).unwrap(), b"first first firstsecond");
        let last = one.len() - 1;
        one[last] ^= 1;
        assert!(zstd::bulk::decompress(&one, 100).is_err());
    }
}
