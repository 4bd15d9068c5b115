//! How events and values are spelled; what is spelled, and when, is the business of the rest of the encoder.
//!
//! Invariants:
//! - A codec only appends, keeps no state and cannot fail: all checks happen before it is called.
//! - The bytes are those serde writes for the `runtime_tracing` type of the same name; `tests/encoder_oracle.rs` holds
//!   every codec to that.
//! - A whole event starts with [`EventCodec::SEPARATOR`], so fragments can be cached and copied anywhere; only the
//!   very first event of a stream loses it.

use runtime_tracing::{EventLogKind, TypeKind};

/// Values that contain values; they differ only in the names of their fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compound {
    Sequence,
    Tuple,
    Struct,
}

/// An integer as it stands in a value.
#[derive(Debug, Clone, Copy)]
pub struct IntBytes {
    bytes: [u8; 9],
    len: u8,
}

impl IntBytes {
    pub(super) const fn new(bytes: [u8; 9], len: u8) -> Self {
        Self { bytes, len }
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len).min(9)]
    }
}

/// A way to write `runtime_tracing` events.
pub trait EventCodec: Send + 'static {
    /// What every event but the first of a stream starts with.
    const SEPARATOR: &'static [u8];
    /// Between the elements of a list (the head of the list says how many there are).
    const ITEM_SEPARATOR: &'static [u8];
    /// What a `Value` event has before and after its record. The record alone is an argument of a `Call`.
    const VALUE_HEAD: &'static [u8];
    const VALUE_TAIL: &'static [u8];

    // Definitions.
    fn path(out: &mut Vec<u8>, path: &str);
    fn variable_name(out: &mut Vec<u8>, name: &str);
    fn function(out: &mut Vec<u8>, path_id: u32, line: u32, name: &str);
    /// `fields` for structs, whose field types are all written as type 0: CodeTracer reads only the names.
    fn type_record(out: &mut Vec<u8>, kind: TypeKind, name: &str, fields: Option<&[String]>);

    // Execution.
    fn step(out: &mut Vec<u8>, path_id: u32, line: u32);
    /// `arg_count` records follow, separated by [`Self::ITEM_SEPARATOR`], then [`Self::end_call`].
    fn begin_call(out: &mut Vec<u8>, function_id: u32, arg_count: usize);
    fn end_call(out: &mut Vec<u8>);
    /// One value follows, then [`Self::end_return`].
    fn begin_return(out: &mut Vec<u8>);
    fn end_return(out: &mut Vec<u8>);
    fn event(out: &mut Vec<u8>, kind: EventLogKind, metadata: &str, content: &str);

    /// Head of a variable's record; one value follows, then [`Self::end_record`].
    fn begin_record(out: &mut Vec<u8>, variable_id: u32);
    fn end_record(out: &mut Vec<u8>);

    // Values.
    fn none(out: &mut Vec<u8>, type_id: u32);
    fn bool(out: &mut Vec<u8>, b: bool, type_id: u32);
    fn int(out: &mut Vec<u8>, i: i64, type_id: u32);
    /// The bytes of an integer alone, and how many bytes of [`Self::int`] come after them; `None` if an integer is never
    /// to be replaced within its value.
    fn int_in_place(_i: i64, _type_id: u32) -> Option<(IntBytes, usize)> {
        None
    }
    fn big_int(out: &mut Vec<u8>, negative: bool, magnitude: &[u8], type_id: u32);
    fn string(out: &mut Vec<u8>, text: &str, type_id: u32);
    fn raw(out: &mut Vec<u8>, text: &str, type_id: u32);
    fn error(out: &mut Vec<u8>, message: &str, type_id: u32);
    /// `count` values follow, separated by [`Self::ITEM_SEPARATOR`], then [`Self::end_compound`].
    fn begin_compound(out: &mut Vec<u8>, compound: Compound, count: u32);
    fn end_compound(out: &mut Vec<u8>, compound: Compound, type_id: u32);
}

/// Appends `bytes` in base64, the form `runtime_tracing` gives big integers. `len` is that of [`base64_len`].
pub(super) fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    use base64::Engine;
    let start = out.len();
    out.resize(start + base64_len(bytes.len()), 0);
    let written = base64::engine::general_purpose::STANDARD.encode_slice(bytes, &mut out[start..]);
    debug_assert_eq!(written.ok(), Some(out.len() - start), "padded base64 has exactly this length");
}

/// Length of `len` bytes in padded base64.
pub(super) const fn base64_len(len: usize) -> usize {
    len.div_ceil(3) * 4
}
