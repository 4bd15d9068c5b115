//! The compact event layout: what an interpreter thread writes and the encoder reads. This file *is* the format.
//!
//! Invariants:
//! - A stream (one per thread) is a sequence of records; the producer publishes whole records only.
//! - The stream mirrors a call stack. `CALL`/`RESUME`/`THROW` push a frame, `RETURN` pops one; every other
//!   record speaks of the top frame, so no record carries a frame id.
//! - Variables are sent as *changes*: a slot keeps its value for as long as its frame lives, until `SET` or
//!   `UNSET` says otherwise. A `STEP` shows every slot that is set, in slot order.
//! - Slots below `CodeInfo::variables.len()` are named by the code object; higher ones (class bodies, modules,
//!   `exec`) are declared in the stream by `DECLARE` before their first `SET` in that frame.
//! - All integers are little-endian and unaligned; all text is valid UTF-8.
//!
//! | record | fields after the tag | meaning |
//! |---|---|---|
//! | `SET` | slot u16, value | the variable has this value from now on |
//! | `UNSET` | slot u16 | the variable is not bound any more |
//! | `DECLARE` | slot u16, len u16, name | names a dynamic slot of the top frame |
//! | `STEP` | line u32 | the line is about to run |
//! | `CALL` | code u32 | pushes a frame; `SET`s of its parameters follow, then `CALL_END` |
//! | `CALL_END` | | the call is complete: definition step and `Call` with args are due |
//! | `RESUME` | code u32 | pushes a frame; a `Call` without args |
//! | `THROW` | code u32, value | pushes a frame; a `Call` with one arg `exception` |
//! | `RETURN` | value | pops the top frame (return, yield and unwind alike) |
//! | `OUTPUT` | stream u8, flags u8, code u32, line u32, frame u64, len u32, text | program input or output: a chunk, or the end of one |
//! | `LOST` | cause u8, count u64 | so many events are missing here |
//! | `EVENT` | kind u8, len u32, metadata, len u32, content | a `runtime_tracing` event, kind as `EventLogKind` |
//! | `SAMPLE_BEGIN` | id u64, len u32, JSON | a sample begins; what its part's metadata say of it |
//! | `SAMPLE_END` | id u64 | it is over |
//! | `OUTPUT_PART` | as `OUTPUT` | the beginning of a chunk; what follows from the same place, without other records between, continues it |
//! | `TURN` | number u64, nanoseconds u64 | another thread recorded before this: see [`super::turns`] |
//!
//! | value | fields after the tag |
//! |---|---|
//! | `NONE` `TRUE` `FALSE` | |
//! | `INT` | i64 |
//! | `FLOAT` | f64 |
//! | `STR` | len u32, UTF-8 |
//! | `BIGINT` | negative u8, len u32, big-endian magnitude |
//! | `SEQ` `TUPLE` `STRUCT` | type u32, count u32, that many values |
//! | `RAW` `ERROR` | type u32, len u32, UTF-8 |
//! | `TYPED` | type u32, then a scalar value (`TRUE` … `BIGINT`) that is shown with that type |
//! | `WHOLE` | len u32, content u64, a value of that many bytes | only around the value of a record: so it is passed over, or known, without a look into it |
//!
//! Values of one process that stand behind the same `content` have the same bytes; 0 says nothing.

use crate::ffi::append::append;

/// Record tags; see the table in the module docs.
pub mod record {
    pub const SET: u8 = 0x01;
    pub const UNSET: u8 = 0x02;
    pub const DECLARE: u8 = 0x03;
    pub const STEP: u8 = 0x04;
    pub const CALL: u8 = 0x05;
    pub const CALL_END: u8 = 0x06;
    pub const RESUME: u8 = 0x07;
    pub const THROW: u8 = 0x08;
    pub const RETURN: u8 = 0x09;
    pub const OUTPUT: u8 = 0x0a;
    pub const LOST: u8 = 0x0b;
    pub const EVENT: u8 = 0x0c;
    pub const SAMPLE_BEGIN: u8 = 0x0d;
    pub const SAMPLE_END: u8 = 0x0e;
    pub const TURN: u8 = 0x0f;
    pub const OUTPUT_PART: u8 = 0x10;

    /// Whether a record is that of an event. Each event has one of these; the others go with it.
    #[inline]
    pub const fn is_event(tag: u8) -> bool {
        matches!(tag, STEP | CALL_END | RESUME | THROW | RETURN | OUTPUT | OUTPUT_PART | EVENT)
    }
}

/// Value tags; see the table in the module docs.
pub mod value {
    pub const NONE: u8 = 0x20;
    pub const TRUE: u8 = 0x21;
    pub const FALSE: u8 = 0x22;
    pub const INT: u8 = 0x23;
    pub const FLOAT: u8 = 0x24;
    pub const STR: u8 = 0x25;
    pub const BIGINT: u8 = 0x26;
    pub const SEQ: u8 = 0x27;
    pub const TUPLE: u8 = 0x28;
    pub const STRUCT: u8 = 0x29;
    pub const RAW: u8 = 0x2a;
    pub const ERROR: u8 = 0x2b;
    pub const TYPED: u8 = 0x2c;
    pub const WHOLE: u8 = 0x2d;

    /// Bytes in front of the value that a `WHOLE` is around.
    pub const WHOLE_HEAD: usize = 1 + 4 + 8;
}

/// Streams of an `OUTPUT` record.
pub mod output {
    pub const STDOUT: u8 = 0;
    pub const STDERR: u8 = 1;
    pub const STDIN: u8 = 2;

    /// Names of these streams.
    pub const NAMES: [&str; 3] = ["stdout", "stderr", "stdin"];

    /// A chunk of so many bytes does not wait for more.
    pub const LONGEST_CHUNK: usize = 64 * 1024;

    /// The chunk ends with a newline.
    pub const NEWLINE: u8 = 1;
    /// The program flushed the stream after it.
    pub const FLUSH: u8 = 2;
    /// The thread went on to another line.
    pub const STEP_BOUNDARY: u8 = 4;
    /// It had waited long enough.
    pub const TIME_SPLIT: u8 = 8;
    /// The program read it.
    pub const INPUT: u8 = 16;
    /// It was seen at the file descriptor only.
    pub const MIRROR: u8 = 32;
    /// It holds bytes that are no text, as `\xNN`, or lone surrogates, as `\uNNNN`.
    pub const ESCAPED: u8 = 64;
    /// The policy's limit cut it short.
    pub const TRUNCATED: u8 = 128;

    /// Bits of the flags byte, with the names they have in the event's metadata.
    pub const FLAGS: [(u8, &str); 8] = [
        (NEWLINE, "newline"),
        (FLUSH, "flush"),
        (STEP_BOUNDARY, "step_boundary"),
        (TIME_SPLIT, "time_split"),
        (INPUT, "input"),
        (MIRROR, "mirror"),
        (ESCAPED, "escaped"),
        (TRUNCATED, "truncated"),
    ];
    /// `code` of an `OUTPUT` record whose origin is not known.
    pub const NO_CODE: u32 = u32::MAX;
}

/// Why events are missing, the cause byte of a `LOST` record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum LossCause {
    /// The queue was full and the policy is `drop`.
    QueueFull = 0,
    /// The recorder failed on these events.
    RecorderError = 1,
    /// A worker had failed, mostly because of the disk: these came before their thread knew of it.
    RecordingFailed = 2,
}

impl LossCause {
    /// All causes, each at its byte.
    pub const ALL: [Self; 3] = [Self::QueueFull, Self::RecorderError, Self::RecordingFailed];

    /// What people are told.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::QueueFull => "the queue was full; the trace says where",
            Self::RecorderError => "the recorder failed on them",
            Self::RecordingFailed => "the recording had failed",
        }
    }

    /// The name used in metadata and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::RecorderError => "recorder_error",
            Self::RecordingFailed => "recording_failed",
        }
    }

    /// The cause with this byte, if there is one.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::QueueFull),
            1 => Some(Self::RecorderError),
            2 => Some(Self::RecordingFailed),
            _ => None,
        }
    }
}

/// Appends records and values to a byte buffer: the one place that knows the byte order.
pub trait Put {
    fn put_u8(&mut self, n: u8);
    fn put_bytes(&mut self, bytes: &[u8]);

    /// Bytes whose number is known when this is compiled.
    #[inline]
    fn put_array<const N: usize>(&mut self, bytes: [u8; N]) {
        self.put_bytes(&bytes);
    }
    /// A tag and a number of eight bytes.
    #[inline]
    fn put_tagged(&mut self, tag: u8, n: u64) {
        let mut bytes = [0; 9];
        bytes[0] = tag;
        bytes[1..].copy_from_slice(&n.to_le_bytes());
        self.put_array(bytes);
    }
    #[inline]
    fn put_u16(&mut self, n: u16) {
        self.put_array(n.to_le_bytes());
    }
    #[inline]
    fn put_u32(&mut self, n: u32) {
        self.put_array(n.to_le_bytes());
    }
    #[inline]
    fn put_u64(&mut self, n: u64) {
        self.put_array(n.to_le_bytes());
    }
    /// A u32 length and the text; the caller bounds the length far below 4 GiB.
    #[inline]
    fn put_text(&mut self, text: &str) {
        self.put_u32(text.len() as u32);
        self.put_bytes(text.as_bytes());
    }
    #[inline]
    fn put_int(&mut self, n: i64) {
        self.put_tagged(value::INT, n as u64);
    }
    #[inline]
    fn put_float(&mut self, n: f64) {
        self.put_tagged(value::FLOAT, n.to_bits());
    }
    #[inline]
    fn put_str(&mut self, text: &str) {
        let n = (text.len() as u32).to_le_bytes();
        self.put_array([value::STR, n[0], n[1], n[2], n[3]]);
        self.put_bytes(text.as_bytes());
    }
    /// `RAW` or `ERROR` (the tag) with a type and a text.
    #[inline]
    fn put_typed_text(&mut self, tag: u8, type_ref: u32, text: &str) {
        let (ty, n) = (type_ref.to_le_bytes(), (text.len() as u32).to_le_bytes());
        self.put_array([tag, ty[0], ty[1], ty[2], ty[3], n[0], n[1], n[2], n[3]]);
        self.put_bytes(text.as_bytes());
    }
    /// Head of a `WHOLE`: a value of so many bytes follows.
    #[inline]
    fn put_whole(&mut self, len: usize, content: u64) {
        self.put_array(whole(len, content));
    }
    /// Head of a `SEQ`, `TUPLE` or `STRUCT` (the tag); `count` values follow.
    #[inline]
    fn put_compound(&mut self, tag: u8, type_ref: u32, count: u32) {
        let (ty, n) = (type_ref.to_le_bytes(), count.to_le_bytes());
        self.put_array([tag, ty[0], ty[1], ty[2], ty[3], n[0], n[1], n[2], n[3]]);
    }
}

/// The head of a `WHOLE`; the caller bounds the length far below 4 GiB.
#[inline]
fn whole(len: usize, content: u64) -> [u8; value::WHOLE_HEAD] {
    let mut head = [0; value::WHOLE_HEAD];
    head[0] = value::WHOLE;
    head[1..5].copy_from_slice(&(len as u32).to_le_bytes());
    head[5..].copy_from_slice(&content.to_le_bytes());
    head
}

/// What was put behind a `WHOLE` head up to the end is the value.
#[inline]
pub fn end_whole(out: &mut [u8], value_at: usize, content: u64) {
    let len = out.len().saturating_sub(value_at);
    if let Some(head) = value_at.checked_sub(value::WHOLE_HEAD).and_then(|at| out.get_mut(at..value_at)) {
        head.copy_from_slice(&whole(len, content));
    }
}

impl Put for Vec<u8> {
    #[inline(always)]
    fn put_array<const N: usize>(&mut self, bytes: [u8; N]) {
        append(self, bytes);
    }
    #[inline]
    fn put_u8(&mut self, n: u8) {
        self.push(n);
    }
    #[inline]
    fn put_bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// The bytes did not follow the layout; always a bug of the producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed event record")]
pub struct Malformed;

/// Reads records and values from a byte slice.
#[derive(Debug, Clone)]
pub struct Take<'a> {
    rest: &'a [u8],
}

macro_rules! take_number {
    ($name:ident, $type:ty) => {
        #[inline]
        pub fn $name(&mut self) -> Result<$type, Malformed> {
            const SIZE: usize = size_of::<$type>();
            let (head, rest) = self.rest.split_first_chunk::<SIZE>().ok_or(Malformed)?;
            self.rest = rest;
            Ok(<$type>::from_le_bytes(*head))
        }
    };
}

impl<'a> Take<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
    /// The bytes not read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
    take_number!(u8, u8);
    take_number!(u16, u16);
    take_number!(u32, u32);
    take_number!(u64, u64);
    take_number!(i64, i64);
    take_number!(f64, f64);

    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }
    /// The value of a record as it is, without what is around it.
    #[inline]
    pub fn value(&mut self) -> Result<&'a [u8], Malformed> {
        Ok(self.known_value()?.1)
    }

    /// The same, and the number of its content, 0 if it has none.
    #[inline]
    pub fn known_value(&mut self) -> Result<(u64, &'a [u8]), Malformed> {
        if self.rest.first() != Some(&value::WHOLE) {
            return Ok((0, self.plain_value()?));
        }
        self.u8()?;
        let len = self.u32()?;
        Ok((self.u64()?, self.bytes(len as usize)?))
    }

    /// How deep it is nested, and what its texts are, is left to whoever encodes it.
    fn plain_value(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.rest;
        let mut left = 1u64;
        while left > 0 {
            left -= 1;
            match self.u8()? {
                value::NONE | value::TRUE | value::FALSE => {}
                value::INT | value::FLOAT => drop(self.bytes(8)?),
                value::STR => {
                    let len = self.u32()?;
                    self.bytes(len as usize)?;
                }
                value::RAW | value::ERROR => {
                    self.u32()?;
                    let len = self.u32()?;
                    self.bytes(len as usize)?;
                }
                value::BIGINT => {
                    self.u8()?;
                    let len = self.u32()?;
                    self.bytes(len as usize)?;
                }
                value::SEQ | value::TUPLE | value::STRUCT => {
                    self.u32()?;
                    left += u64::from(self.u32()?);
                }
                value::TYPED => {
                    self.u32()?;
                    left += 1;
                }
                _ => return Err(Malformed),
            }
        }
        Ok(&start[..start.len() - self.rest.len()])
    }

    /// Passes over one record and gives its tag.
    fn record(&mut self) -> Result<u8, Malformed> {
        let tag = self.u8()?;
        self.pass(tag)?;
        Ok(tag)
    }

    /// Passes over what a record of this kind has behind its tag.
    pub fn pass(&mut self, tag: u8) -> Result<(), Malformed> {
        match tag {
            record::SET => {
                self.u16()?;
                self.value()?;
            }
            record::UNSET => drop(self.u16()?),
            record::DECLARE => {
                self.u16()?;
                let len = self.u16()?;
                self.bytes(len.into())?;
            }
            record::STEP | record::CALL | record::RESUME => drop(self.u32()?),
            record::CALL_END => {}
            record::THROW => {
                self.u32()?;
                self.value()?;
            }
            record::RETURN => drop(self.value()?),
            record::OUTPUT | record::OUTPUT_PART => {
                self.bytes(1 + 1 + 4 + 4 + 8)?;
                self.text()?;
            }
            record::LOST => drop(self.bytes(1 + 8)?),
            record::EVENT => {
                self.u8()?;
                self.text()?;
                self.text()?;
            }
            record::SAMPLE_BEGIN => {
                self.u64()?;
                self.text()?;
            }
            record::SAMPLE_END => drop(self.u64()?),
            record::TURN => drop(self.bytes(8 + 8)?),
            _ => return Err(Malformed),
        }
        Ok(())
    }

    /// Text with a u32 length.
    #[inline]
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        let len = self.u32()? as usize;
        std::str::from_utf8(self.bytes(len)?).map_err(|_| Malformed)
    }
}

/// How many events these records are of. What comes behind a record that does not follow the layout is not counted:
/// nobody knows what it is.
pub fn events_in(records: &[u8]) -> u64 {
    let mut take = Take::new(records);
    let mut events = 0;
    while let Ok(tag) = take.record() {
        events += u64::from(record::is_event(tag));
    }
    events
}

#[cfg(test)]
mod tests;
