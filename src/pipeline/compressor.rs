//! The compressors: a pool of threads that turn segments into independent zstd frames.
//!
//! Invariants:
//! - Every frame stands alone, carries its content size, and is made by one call with one context.
//! - A frame can be checked: it has zstd's checksum of its content, or, where the content never exists in one piece, is
//!   followed by a skippable frame with a checksum of itself (see [`check_frame`]). Readers pass over that.
//! - Whatever happens to a job, its ordinal reaches the writer or the pipeline has failed; a panic is caught here.
//! - The pool ends when its owner, the encoder, drops it, after the jobs it has.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::ffi::sequence_compressor::SequenceCompressor;
use crossbeam_channel::{SendTimeoutError, Sender};
use rayon::{ThreadPool, ThreadPoolBuilder};
use twox_hash::XxHash3_64;
use zstd::bulk::Compressor;

use crate::enverr;
use crate::errors::RecorderResult;
use crate::ffi::{priority, signals};

use super::encoder::Packed;
use super::messages::{Content, Segment, SegmentBuffer, WriterItem, WriterWork};
use super::supervisor::{PATIENCE, Supervisor};
use super::worker_time::Counted;

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

/// Number that starts the skippable frame that checks the frame before it.
pub(crate) const CHECK_MAGIC: u32 = 0x184D_2A5C;

/// The skippable frame that goes behind a frame without a checksum.
pub(crate) fn check_frame(frame: &[u8]) -> [u8; 16] {
    let mut check = [0; 16];
    check[..4].copy_from_slice(&CHECK_MAGIC.to_le_bytes());
    check[4..8].copy_from_slice(&8u32.to_le_bytes());
    check[8..].copy_from_slice(&XxHash3_64::oneshot(frame).to_le_bytes());
    check
}

/// What a pool thread compresses with.
struct Contexts {
    from_sequences: SequenceCompressor,
    /// For what does not get smaller by its sequences.
    from_content: FrameCompressor,
    content: Vec<u8>,
}

impl Contexts {
    fn new(level: i32) -> io::Result<Self> {
        Ok(Self {
            from_sequences: SequenceCompressor::new(level)?,
            from_content: FrameCompressor::new(level)?,
            content: Vec::new(),
        })
    }

    fn compress(&mut self, packed: &mut Packed, frame: &mut Vec<u8>) -> io::Result<()> {
        let len = packed.len();
        if len == 0 {
            frame.clear();
            return Ok(());
        }
        let (sequences, literals) = packed.sequences().finished();
        if self.from_sequences.compress(sequences, literals, len, frame)? {
            let check = check_frame(frame);
            frame.extend_from_slice(&check);
            return Ok(());
        }
        packed.expand(&mut self.content);
        let outcome = self.from_content.compress(&self.content, frame);
        self.content = Vec::new();
        outcome
    }
}

thread_local! {
    /// The contexts of this pool thread; a pool has one level for all its life.
    static CONTEXTS: RefCell<Option<Contexts>> = const { RefCell::new(None) };
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
                    .spawn_handler(|thread| {
                        let mut builder = std::thread::Builder::new();
                        if let Some(name) = thread.name() {
                            builder = builder.name(name.to_owned());
                        }
                        builder.spawn(move || {
                            priority::lower_this_thread();
                            let _counted = Counted::this_thread();
                            thread.run();
                        })?;
                        Ok(())
                    })
                    .build()
            })
            .map_err(|error| enverr!(Io, "cannot start the recorder's compression threads").with_source(error))
        };
        let pool = threads.map(build).transpose()?;
        if let Some(pool) = &pool {
            // What these threads initialise once for the whole process is initialised now, not when the program forks:
            // a child would wait forever for an initialisation that was under way in a thread that it does not have.
            pool.broadcast(|_| ());
        }
        Ok(Self {
            pool,
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
                compress(level, &mut segment.buffer)
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

/// Makes the frame of a buffer whose content is to be compressed, with the contexts of this thread.
pub(super) fn compress(level: i32, buffer: &mut SegmentBuffer) -> io::Result<()> {
    let SegmentBuffer { content, frame } = buffer;
    let Content::Packed(packed) = content else { return Ok(()) };
    CONTEXTS.with_borrow_mut(|contexts| {
        let contexts = match contexts {
            Some(contexts) => contexts,
            None => contexts.insert(Contexts::new(level)?),
        };
        contexts.compress(packed, frame)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::encoder::StreamEncoder;
    use crate::pipeline::layout::{Put, output, record};
    use crate::pipeline::model::TraceFormat;
    use crate::pipeline::tables::Tables;

    /// A stream that has this text as output.
    fn packed(text: &str) -> (Packed, Vec<u8>) {
        let mut records = Vec::new();
        records.put_u8(record::OUTPUT);
        records.put_bytes(&[output::STDOUT, 0]);
        records.put_u32(output::NO_CODE);
        records.put_u32(1);
        records.put_u64(1);
        records.put_text(text);
        let encoder = || StreamEncoder::new(Arc::new(Tables::new()), TraceFormat::Binary, "/p.py");
        let (mut packed, mut plain) = (Packed::default(), Vec::new());
        encoder().encode(&records, &mut packed, usize::MAX).unwrap();
        encoder().encode(&records, &mut plain, usize::MAX).unwrap();
        (packed, plain)
    }

    #[test]
    fn one_context_makes_frame_after_frame_from_sequences() {
        let mut contexts = Contexts::new(1).unwrap();
        let mut frame = Vec::new();
        for round in 1..5 {
            let (mut packed, plain) = packed(&"again and ".repeat(round * 40_000));
            contexts.compress(&mut packed, &mut frame).unwrap();
            assert!(zstd::decode_all(&frame[..]).unwrap() == plain);
            assert!(frame.len() < 1000, "{} bytes", frame.len());
            let (data, check) = frame.split_at(frame.len() - 16);
            assert_eq!(check, check_frame(data));
        }
    }

    #[test]
    fn what_zstd_refuses_to_make_of_sequences_is_made_of_the_content() {
        let mut contexts = Contexts::new(1).unwrap();
        let mut state = 1u64;
        let noise = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from_u32(0x4_0000 + (state >> 46) as u32).unwrap()
        };
        let (mut packed, plain) = packed(&(0..100_000).map(noise).collect::<String>());
        let mut frame = Vec::new();
        contexts.compress(&mut packed, &mut frame).unwrap();
        assert!(zstd::decode_all(&frame[..]).unwrap() == plain);
        let len = packed.len();
        let (sequences, literals) = packed.sequences().finished();
        let refused = !contexts.from_sequences.compress(sequences, literals, len, &mut Vec::new()).unwrap();
        let checked = frame[frame.len() - 16..].starts_with(&CHECK_MAGIC.to_le_bytes());
        assert_eq!(checked, !refused, "every frame has one checksum");
    }

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
