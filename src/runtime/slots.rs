//! What was last sent of each variable, and the sending of what changed.
//!
//! Invariants:
//! - A variable is compared by content: numbers by value, strings by their characters, everything else by the bytes
//!   of its snapshot. Identity is never taken for equality: an address can be reused, a list can change in place.
//! - What the snapshotter remembers is known by the number of its content, the same for equal bytes of one object only.
//! - Nothing refers to the program's objects: a cache holds copies of bytes only, and addresses of objects that never go
//!   away.
//! - Buffers are reused: in the steady state an update allocates nothing.

use crate::ffi::object::{Kind, Obj, Text};
use crate::pipeline::layout::{Put, end_whole, record, value as tag, value::WHOLE_HEAD};
use crate::runtime::value::memo::Recalled;
use crate::runtime::value::{NamePolicy, Snapshotter, redacted};
use crate::trace_filter::ValueAction;

/// Not bound.
const UNBOUND: u8 = 0;
/// Not known to the encoder; differs from everything.
const STALE: u8 = 1;
/// Hidden.
const REDACTED: u8 = 2;
/// `bytes` holds the whole snapshot.
const SNAPSHOT: u8 = 3;
/// `scalar` is the number of a content that the snapshotter remembers.
const CONTENT: u8 = 4;

/// What the encoder knows of one variable.
#[derive(Debug, Default)]
pub struct SlotCache {
    /// One of the constants above, or the tag of a scalar in the compact layout.
    state: u8,
    /// Where the snapshotter remembered the last object.
    hint: u32,
    /// The address of an object that never changes and never goes away, 0 where there is none: whatever has this address
    /// is what the encoder has. Else [`NO_ADDRESS`].
    lasting: usize,
    /// The bits of a number, the number of a content.
    scalar: u64,
    bytes: Vec<u8>,
}

/// No object is there.
const NO_ADDRESS: usize = usize::MAX;

impl SlotCache {
    /// A new frame: nothing is bound.
    #[inline]
    pub fn reset(&mut self) {
        self.now(UNBOUND, 0);
    }

    #[inline]
    fn now(&mut self, state: u8, lasting: usize) {
        self.state = state;
        self.lasting = lasting;
    }

    /// The encoder may hold anything.
    #[inline]
    pub fn invalidate(&mut self) {
        self.now(STALE, NO_ADDRESS);
    }

    /// Whether the value stays what it is for as long as the variable refers to the same object.
    #[inline]
    pub fn is_settled(&self) -> bool {
        !matches!(self.state, STALE | SNAPSHOT | CONTENT)
    }

    /// Whatever it refers to, it is shown as hidden, or not at all.
    pub fn is_hidden(&self) -> bool {
        self.state == REDACTED
    }

    #[inline]
    pub fn is_unbound(&self) -> bool {
        self.state == UNBOUND
    }

    /// Whether the encoder has this value already, as far as a glance tells: `false` says nothing. Inlined: it is the
    /// inner loop of a step.
    #[inline(always)]
    pub fn has(&self, object: Option<Obj<'_>>, snapshotter: &mut Snapshotter) -> bool {
        if object.map_or(0, Obj::address) == self.lasting {
            return true;
        }
        let Some(object) = object else { return false };
        if self.state == tag::INT {
            return object.is_exact_int() && object.small_int() == Some(self.scalar as i64);
        }
        if self.state == tag::FLOAT {
            return object.is_exact_float() && object.float_value().to_bits() == self.scalar;
        }
        self.has_other(object, snapshotter)
    }

    /// The same for what is no number.
    #[inline(never)]
    fn has_other(&self, object: Obj<'_>, snapshotter: &mut Snapshotter) -> bool {
        match self.state {
            CONTENT => snapshotter.still_is(object, self.scalar, self.hint),
            tag::STR => {
                object.common_kind() == Some(Kind::Str)
                    && matches!(object.text(), Text::Ascii(text) if text.as_bytes() == self.bytes)
            }
            _ => false,
        }
    }

    /// Sends that the variable is not bound (any more), if the encoder does not know.
    #[inline]
    pub fn unset(&mut self, slot: u16, out: &mut Vec<u8>) {
        if self.state != UNBOUND {
            self.now(UNBOUND, 0);
            out.put_u8(record::UNSET);
            out.put_u16(slot);
        }
    }

    /// Sends the mark of a hidden value, if the encoder does not have it; true if it was sent.
    #[inline]
    pub fn redact(&mut self, slot: u16, out: &mut Vec<u8>) -> bool {
        if self.state == REDACTED {
            return false;
        }
        self.now(REDACTED, NO_ADDRESS);
        head(slot, out);
        redacted(out);
        true
    }

    /// Sends the value, if it is not what the encoder has.
    #[inline]
    pub fn set(
        &mut self,
        slot: u16,
        object: Obj<'_>,
        snapshotter: &mut Snapshotter,
        policy: &mut impl NamePolicy,
        out: &mut Vec<u8>,
    ) {
        match object.common_kind() {
            Some(Kind::Int) => match object.small_int() {
                Some(n) => self.scalar(slot, tag::INT, n as u64, object, out),
                None => self.snapshot(slot, object, snapshotter, policy, out),
            },
            Some(Kind::Float) => self.scalar(slot, tag::FLOAT, object.float_value().to_bits(), object, out),
            Some(Kind::None) => self.constant(slot, tag::NONE, object, out),
            Some(Kind::Bool) => self.constant(slot, if object.is_true() { tag::TRUE } else { tag::FALSE }, object, out),
            Some(Kind::Str) => match object.text() {
                Text::Ascii(text) if text.len() <= snapshotter.limits.max_string => self.text(slot, text, object, out),
                _ => self.snapshot(slot, object, snapshotter, policy, out),
            },
            _ => self.snapshot(slot, object, snapshotter, policy, out),
        }
    }

    #[inline]
    fn scalar(&mut self, slot: u16, tag: u8, bits: u64, object: Obj<'_>, out: &mut Vec<u8>) {
        let is_known = self.state == tag && self.scalar == bits;
        self.now(tag, lasting(object));
        self.scalar = bits;
        if is_known {
            return;
        }
        let slot = slot.to_le_bytes();
        let b = bits.to_le_bytes();
        out.put_array([record::SET, slot[0], slot[1], tag, b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
    }

    /// [`Self::set`] for a [`number`]; false, and nothing done, for anything else.
    #[inline(always)]
    pub fn set_number(&mut self, slot: u16, object: Obj<'_>, out: &mut Vec<u8>) -> bool {
        let Some((tag, bits)) = number(object) else { return false };
        self.scalar(slot, tag, bits, object, out);
        true
    }

    #[inline]
    fn constant(&mut self, slot: u16, tag: u8, object: Obj<'_>, out: &mut Vec<u8>) {
        if self.state != tag {
            head(slot, out);
            out.put_u8(tag);
        }
        self.now(tag, lasting(object));
    }

    #[inline]
    fn text(&mut self, slot: u16, text: &str, object: Obj<'_>, out: &mut Vec<u8>) {
        let is_known = self.state == tag::STR && self.bytes == text.as_bytes();
        self.now(tag::STR, lasting(object));
        if is_known {
            return;
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(text.as_bytes());
        head(slot, out);
        out.put_str(text);
    }

    fn snapshot(
        &mut self,
        slot: u16,
        object: Obj<'_>,
        snapshotter: &mut Snapshotter,
        policy: &mut impl NamePolicy,
        out: &mut Vec<u8>,
    ) {
        if self.state == SNAPSHOT && snapshotter.is_same(object, policy, out.len() + HEAD + WHOLE_HEAD, &self.bytes) {
            return;
        }
        let known = if self.state == CONTENT { self.scalar } else { 0 };
        match snapshotter.recall(object, policy, known, &mut self.hint, |out| head(slot, out), out) {
            Recalled::Content(number) => {
                self.now(CONTENT, NO_ADDRESS);
                self.scalar = number;
            }
            Recalled::Written(value_at) => self.keep(&out[value_at..]),
            Recalled::Nothing => {
                head(slot, out);
                out.put_whole(0, 0);
                let value_at = out.len();
                snapshotter.write(object, policy, out);
                end_whole(out, value_at, 0);
                self.keep(&out[value_at..]);
            }
        }
    }

    fn keep(&mut self, snapshot: &[u8]) {
        self.now(SNAPSHOT, NO_ADDRESS);
        self.bytes.clear();
        self.bytes.extend_from_slice(snapshot);
    }
}

/// Tag and bits of an exact int of 60 bits at most, or float.
#[inline(always)]
pub fn number(object: Obj<'_>) -> Option<(u8, u64)> {
    if object.is_exact_int() {
        Some((tag::INT, object.small_int()? as u64))
    } else if object.is_exact_float() {
        Some((tag::FLOAT, object.float_value().to_bits()))
    } else {
        None
    }
}

#[inline]
fn lasting(object: Obj<'_>) -> usize {
    if object.is_immortal() { object.address() } else { NO_ADDRESS }
}

/// Bytes of [`head`].
const HEAD: usize = 3;

#[inline]
fn head(slot: u16, out: &mut Vec<u8>) {
    let slot = slot.to_le_bytes();
    out.put_array([record::SET, slot[0], slot[1]]);
}

/// Sends one variable as the filter says; returns true if a value was hidden or dropped by this call.
#[inline]
pub fn update(
    cache: &mut SlotCache,
    slot: u16,
    object: Option<Obj<'_>>,
    action: ValueAction,
    snapshotter: &mut Snapshotter,
    policy: &mut impl NamePolicy,
    out: &mut Vec<u8>,
) -> bool {
    match (object, action) {
        (None, _) => cache.unset(slot, out),
        (Some(object), ValueAction::Allow) => cache.set(slot, object, snapshotter, policy, out),
        (Some(object), ValueAction::RedactData) if object.is_code() => {
            cache.set(slot, object, snapshotter, policy, out)
        }
        (Some(_), ValueAction::Redact | ValueAction::RedactData) => return cache.redact(slot, out),
        (Some(_), ValueAction::Drop) => {
            let first = cache.state == STALE || cache.state == UNBOUND;
            if cache.state == STALE {
                // The call may have shown it.
                cache.unset(slot, out);
            }
            cache.now(REDACTED, NO_ADDRESS);
            return first;
        }
    }
    false
}
