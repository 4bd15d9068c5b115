//! What stands for `src/pipeline`.

#[path = "../../../src/pipeline/layout.rs"]
pub mod layout;
#[path = "../../../src/pipeline/losses.rs"]
pub mod losses;
#[path = "../../../src/pipeline/stream.rs"]
pub mod stream;
#[path = "../../../src/pipeline/turns.rs"]
pub mod turns;
#[allow(dead_code)]
#[path = "../../../src/pipeline/waiting.rs"]
pub mod waiting;

/// What the encoder sees and does of a stream; as `pull_from` and `take_chunk` in `src/pipeline/encoder_actor.rs`.
pub mod reader {
    use std::sync::Arc;

    use crossbeam_channel::{Receiver, Sender, bounded};

    use super::stream::{SealedChunk, StreamInfo, StreamProducer, StreamShared};
    use super::waiting::Waiting;
    use crate::ffi::chunk::Chunk;
    use crate::ffi::sync::{BLOCK, Ordering};

    pub struct Reader {
        pub shared: Arc<StreamShared>,
        waiting: Arc<Waiting>,
        nudges: Receiver<()>,
        sealed: Receiver<SealedChunk>,
        free: Sender<Arc<Chunk>>,
        expected: u64,
        /// The last byte of every record.
        pub seen: Vec<u8>,
        /// Nothing more will come.
        pub finished: bool,
    }

    /// A producer whose chunks hold two records of a block each, and its reader.
    pub fn stream(queue: usize) -> (StreamProducer, Reader) {
        let (sealed_sender, sealed) = bounded(queue);
        let (free, free_receiver) = bounded(2);
        let info = StreamInfo { name: String::new(), native_id: 0 };
        let (nudge, nudges) = bounded(1);
        let waiting = Waiting::new(nudge);
        let announcing = Arc::clone(&waiting);
        let producer =
            StreamProducer::new(0, info, sealed_sender, free_receiver, Arc::default(), announcing, 2 * BLOCK);
        let shared = Arc::clone(producer.shared());
        let (expected, seen, finished) = (0, Vec::new(), false);
        (producer, Reader { shared, waiting, nudges, sealed, free, expected, seen, finished })
    }

    /// Events that were published and not read, once nobody reads any more.
    pub fn unread(shared: &StreamShared) -> u64 {
        shared.take_unread()
    }

    impl Reader {
        /// As `look` in `src/pipeline/encoder_actor/looks.rs`: only a stream that says that output waits is pulled.
        /// Whether another look follows by itself.
        pub fn look(&mut self) -> bool {
            let mut go_on = self.waiting.was_announced();
            if self.shared.take_output_waits() && self.pull_open() {
                self.shared.leave_output_waiting();
                go_on = true;
            }
            self.drain();
            go_on
        }

        /// Whether the encoder is woken, to look.
        pub fn take_nudge(&self) -> bool {
            self.nudges.try_recv().is_ok()
        }

        pub fn pull(&mut self) {
            self.drain();
            self.pull_open();
        }

        /// Takes what comes by the channel, as the encoder does between two looks.
        fn drain(&mut self) {
            while let Ok(sealed) = self.sealed.try_recv() {
                assert_eq!(self.expected, sealed.chunk.sequence(), "a chunk was passed over");
                self.consume(&sealed.chunk);
                self.expected += 1;
                let _ = self.free.try_send(sealed.into_chunk());
            }
        }

        /// `true` if the producer was faster: chunks before the open one are in the channel.
        fn pull_open(&mut self) -> bool {
            // First this, then the chunk: a closed stream's chunk does not change any more.
            let closed = self.shared.closed.load(Ordering::Acquire);
            let open = self.shared.open.load_full();
            let next = open.as_ref().map_or(0, |chunk| chunk.sequence());
            if next > self.expected {
                return true;
            }
            if let Some(chunk) = open.filter(|_| next == self.expected) {
                self.consume(&chunk);
            }
            self.finished |= closed;
            false
        }

        fn consume(&mut self, chunk: &Chunk) {
            let unread = chunk.take_unread();
            assert_eq!(unread.len() % BLOCK, 0, "half a record");
            self.seen.extend(unread.chunks(BLOCK).map(|record| record[BLOCK - 1]));
        }

        /// As the encoder that has failed: what is open is left, then the queue; then nobody reads any more.
        pub fn leave(self) {
            self.shared.leave();
            self.waiting.leave();
            while self.sealed.try_recv().is_ok() {}
        }
    }
}
