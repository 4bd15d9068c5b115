//! Turns one stream's compact records (see [`layout`](super::layout)) into CodeTracer's events.
//!
//! Invariants:
//! - A stream is a trace of its own: it starts with `Path`, `Function <toplevel>`, `Call 0`, `Type None`, and once
//!   finished every `Call` has its `Return` and there is at least one `Step`.
//! - The events do not depend on how the records were cut into calls of [`StreamEncoder::encode`].
//! - Values do not persist in CodeTracer's format, every step repeats every variable. So each variable is kept as the
//!   bytes of its event, each frame as one block of them, and a step copies the block. Nothing is allocated per event
//!   once the buffers have grown.
//! - Records come from this process, but are not trusted: bytes that do not follow the layout are [`Malformed`], and
//!   never a panic.
//!
//! ```text
//!  records ──► records ──► codec (cbor │ json) ──► out
//!                │  └────► stack, frame   variables of the open frames, encoded
//!                ├───────► chunks      output that waits for more
//!                ├───────► values      compact value → codec, or as it was encoded before (known_values)
//!                ├───────► interning   what the stream has defined so far
//!                └───────► packed      the output: plain bytes, or what repeats and what is new (places, sequences, words)
//! ```

mod cbor;
mod chunks;
mod codec;
mod content_hashes;
mod counts;
mod ends;
mod float;
mod frame;
mod hash;
mod interning;
mod json;
mod known_values;
mod log_events;
mod packed;
mod places;
mod records;
mod sequences;
mod stack;
mod turns;
mod values;
mod words;

use std::sync::Arc;

use cbor::Cbor;
use json::Json;
use records::RecordEncoder;

pub use counts::EventCounts;
pub use packed::{Nowhere, Output, Packed};
pub use turns::Turn;
pub use values::MAX_VALUE_DEPTH;

use super::layout::Malformed;
use super::model::{Exit, TraceFormat};
use super::tables::Tables;

/// Encodes the records of one stream, in the order they were written.
///
/// As JSON the output is the inside of one array: events are separated by `,\n`, the brackets are the caller's.
#[derive(Debug, Clone)]
pub struct StreamEncoder {
    records: Records,
}

#[derive(Debug, Clone)]
enum Records {
    Cbor(RecordEncoder<Cbor>),
    Json(RecordEncoder<Json>),
}

/// The format is chosen once per call, not once per event.
macro_rules! with_codec {
    ($encoder:expr, $records:ident => $call:expr) => {
        match $encoder {
            Records::Cbor($records) => $call,
            Records::Json($records) => $call,
        }
    };
}

impl StreamEncoder {
    /// `program` is the absolute path of the program, which becomes path 0.
    pub fn new(tables: Arc<Tables>, format: TraceFormat, program: &str) -> Self {
        let records = match format {
            TraceFormat::Binary => Records::Cbor(RecordEncoder::new(tables, program)),
            TraceFormat::Json => Records::Json(RecordEncoder::new(tables, program)),
        };
        Self { records }
    }

    /// The native id of the stream's thread, shown in the metadata of its output; 0 if never called.
    pub fn set_thread(&mut self, thread: u64) {
        with_codec!(&mut self.records, records => records.thread = thread);
    }

    /// Takes whole records from the front of `records` and appends their events to `out`. Stops after the first
    /// record that makes `out` `limit` bytes long or longer; at least one record is taken, if there is any. The first
    /// call writes the prologue before all else.
    ///
    /// Returns the number of bytes taken.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that do not follow the layout, a record cut short included, and for records after
    /// [`finish`](Self::finish). What was appended to `out` remains valid, and the stream can still be finished; more
    /// records make no sense, as nobody knows where the next one starts.
    pub fn encode<O: Output>(&mut self, records: &[u8], out: &mut O, limit: usize) -> Result<usize, Malformed> {
        with_codec!(&mut self.records, records_encoder => records_encoder.encode(records, out, limit))
    }

    /// [`encode`](Self::encode) stops also when so many steps have been counted, as soon as one record is taken.
    pub fn set_step_limit(&mut self, steps: u64) {
        with_codec!(&mut self.records, records => records.step_limit = steps);
    }

    /// Ends the events written so far as [`finish`](Self::finish) would; records that follow continue the same calls
    /// in a part that starts by itself. After this the counts are those of the part that ended, until
    /// [`begin_part`](Self::begin_part).
    pub fn end_part<O: Output>(&mut self, out: &mut O) {
        with_codec!(&mut self.records, records => records.end_part(out));
    }

    /// Forgets the calls in progress, which [`end_part`](Self::end_part) has ended: the next part starts without any.
    pub fn forget_calls(&mut self) {
        with_codec!(&mut self.records, records => records.forget_calls());
    }

    /// Returns from all calls in progress, without values; what follows starts without any.
    pub fn end_calls<O: Output>(&mut self, out: &mut O) {
        with_codec!(&mut self.records, records => records.end_calls(out));
    }

    /// Which chunk of output waits for more, if one does.
    pub fn waiting_output(&self) -> Option<u64> {
        with_codec!(&self.records, records => records.chunk.number())
    }

    /// Output that waits for more has waited long enough.
    pub fn end_waiting_output<O: Output>(&mut self, out: &mut O) {
        with_codec!(&mut self.records, records => records.end_waiting_output(out));
    }

    /// The next part begins: counts from zero. What it starts with is written with its first record.
    pub fn begin_part(&mut self) {
        with_codec!(&mut self.records, records => records.begin_part());
    }

    /// Writes what the stream or part starts with, before any record has come. Does nothing later.
    pub fn start<O: Output>(&mut self, out: &mut O) {
        with_codec!(&mut self.records, records => records.start(out));
    }

    /// Ends the stream: returns `None` from every open call, then the exit status from `<toplevel>`. Does nothing the
    /// second time.
    pub fn finish<O: Output>(&mut self, exit: Exit, out: &mut O) {
        with_codec!(&mut self.records, records => records.finish(exit, out));
    }

    /// Appends what [`finish`](Self::finish) would, and changes nothing: it makes what is written so far complete,
    /// and can be overwritten when more comes.
    pub fn provisional_end(&self, exit: Exit, out: &mut Vec<u8>) {
        with_codec!(&self.records, records => records.close(exit, out, &mut records.counts().clone()));
    }

    /// The paths defined so far, in id order; the program is the first.
    pub fn paths(&self) -> &[String] {
        with_codec!(&self.records, records => records.paths())
    }

    /// How many events the records were of that [`encode`](Self::encode) took, the one that was malformed included.
    pub fn taken(&self) -> u64 {
        with_codec!(&self.records, records => records.taken)
    }

    /// How many events were written.
    pub fn counts(&self) -> &EventCounts {
        with_codec!(&self.records, records => records.counts())
    }

    /// The turns that began since the last call of this, each where it stands in the trace.
    pub fn take_turns(&mut self) -> Vec<Turn> {
        with_codec!(&mut self.records, records => records.turns.take())
    }

    /// A turn whose record was not given to [`encode`](Self::encode): what comes next belongs to it.
    pub fn announce_turn(&mut self, number: u64, nanos: u64) {
        with_codec!(&mut self.records, records => records.turns.announce(number, nanos));
    }

    /// Calls in progress, `<toplevel>` not counted.
    pub fn depth(&self) -> usize {
        with_codec!(&self.records, records => records.depth())
    }
}

/// A float as Python's `repr` writes it.
pub fn float_text(f: f64) -> String {
    float::FloatText::default().format(f).to_owned()
}
