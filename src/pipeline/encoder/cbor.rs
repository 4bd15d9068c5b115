//! CBOR, byte for byte what `cbor4ii::serde::to_vec` writes for a `runtime_tracing::TraceLowLevelEvent`.
//!
//! Invariants:
//! - Heads have the shortest form; maps, arrays and text are always of definite length.
//! - In the literals `\xaN` is a map of N pairs, `\x6N`/`\x7N` a text of N/16+N bytes, `\x8N` an array.

use runtime_tracing::{EventLogKind, TypeKind};

use super::codec::{Compound, EventCodec, IntBytes, base64_len, put_base64};

/// The codec of `trace.bin`.
#[derive(Debug, Clone)]
pub(super) struct Cbor;

/// Major types, as they stand in the three high bits of a head.
mod major {
    pub const UNSIGNED: u8 = 0 << 5;
    pub const NEGATIVE: u8 = 1 << 5;
    pub const TEXT: u8 = 3 << 5;
    pub const ARRAY: u8 = 4 << 5;
}

#[inline]
fn put_head(out: &mut Vec<u8>, major: u8, n: u64) {
    if n < 24 {
        out.push(major | n as u8);
    } else if n <= 0xff {
        out.extend_from_slice(&[major | 24, n as u8]);
    } else {
        put_long_head(out, major, n);
    }
}

/// How many bytes [`put_head`] appends.
#[inline]
const fn head_len(n: u64) -> usize {
    match n {
        0..24 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

fn put_long_head(out: &mut Vec<u8>, major: u8, n: u64) {
    if let Ok(n) = u16::try_from(n) {
        let [a, b] = n.to_be_bytes();
        out.extend_from_slice(&[major | 25, a, b]);
    } else if let Ok(n) = u32::try_from(n) {
        let [a, b, c, d] = n.to_be_bytes();
        out.extend_from_slice(&[major | 26, a, b, c, d]);
    } else {
        let mut head = [major | 27, 0, 0, 0, 0, 0, 0, 0, 0];
        head[1..].copy_from_slice(&n.to_be_bytes());
        out.extend_from_slice(&head);
    }
}

#[inline]
fn put_uint(out: &mut Vec<u8>, n: u32) {
    put_head(out, major::UNSIGNED, n.into());
}

#[inline]
fn put_text(out: &mut Vec<u8>, text: &str) {
    put_head(out, major::TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[inline]
fn put_type_id(out: &mut Vec<u8>, type_id: u32) {
    out.extend_from_slice(b"\x67type_id");
    put_uint(out, type_id);
}

impl EventCodec for Cbor {
    const SEPARATOR: &'static [u8] = b"";
    const ITEM_SEPARATOR: &'static [u8] = b"";
    const VALUE_HEAD: &'static [u8] = b"\xa1\x65Value";
    const VALUE_TAIL: &'static [u8] = b"";

    fn path(out: &mut Vec<u8>, path: &str) {
        out.extend_from_slice(b"\xa1\x64Path");
        put_text(out, path);
    }

    fn variable_name(out: &mut Vec<u8>, name: &str) {
        out.extend_from_slice(b"\xa1\x6cVariableName");
        put_text(out, name);
    }

    fn function(out: &mut Vec<u8>, path_id: u32, line: u32, name: &str) {
        out.extend_from_slice(b"\xa1\x68Function\xa3\x67path_id");
        put_uint(out, path_id);
        out.extend_from_slice(b"\x64line");
        put_uint(out, line);
        out.extend_from_slice(b"\x64name");
        put_text(out, name);
    }

    fn type_record(out: &mut Vec<u8>, kind: TypeKind, name: &str, fields: Option<&[String]>) {
        out.extend_from_slice(b"\xa1\x64Type\xa3\x64kind");
        put_uint(out, kind as u32);
        out.extend_from_slice(b"\x69lang_type");
        put_text(out, name);
        out.extend_from_slice(b"\x6dspecific_info");
        let Some(fields) = fields else {
            out.extend_from_slice(b"\xa1\x64kind\x64None");
            return;
        };
        out.extend_from_slice(b"\xa2\x64kind\x66Struct\x66fields");
        put_head(out, major::ARRAY, fields.len() as u64);
        for field in fields {
            out.extend_from_slice(b"\xa2\x64name");
            put_text(out, field);
            put_type_id(out, 0);
        }
    }

    #[inline]
    fn step(out: &mut Vec<u8>, path_id: u32, line: u32) {
        out.extend_from_slice(b"\xa1\x64Step\xa2\x67path_id");
        put_uint(out, path_id);
        out.extend_from_slice(b"\x64line");
        put_uint(out, line);
    }

    #[inline]
    fn begin_call(out: &mut Vec<u8>, function_id: u32, arg_count: usize) {
        out.extend_from_slice(b"\xa1\x64Call\xa2\x6bfunction_id");
        put_uint(out, function_id);
        out.extend_from_slice(b"\x64args");
        put_head(out, major::ARRAY, arg_count as u64);
    }

    fn end_call(_: &mut Vec<u8>) {}

    #[inline]
    fn begin_return(out: &mut Vec<u8>) {
        out.extend_from_slice(b"\xa1\x66Return\xa1\x6creturn_value");
    }

    fn end_return(_: &mut Vec<u8>) {}

    fn event(out: &mut Vec<u8>, kind: EventLogKind, metadata: &str, content: &str) {
        out.extend_from_slice(b"\xa1\x65Event\xa3\x64kind");
        put_uint(out, kind as u32);
        out.extend_from_slice(b"\x68metadata");
        put_text(out, metadata);
        out.extend_from_slice(b"\x67content");
        put_text(out, content);
    }

    #[inline]
    fn begin_record(out: &mut Vec<u8>, variable_id: u32) {
        out.extend_from_slice(b"\xa2\x6bvariable_id");
        put_uint(out, variable_id);
        out.extend_from_slice(b"\x65value");
    }

    fn end_record(_: &mut Vec<u8>) {}

    fn none(out: &mut Vec<u8>, type_id: u32) {
        out.extend_from_slice(b"\xa2\x64kind\x64None");
        put_type_id(out, type_id);
    }

    fn bool(out: &mut Vec<u8>, b: bool, type_id: u32) {
        out.extend_from_slice(if b { b"\xa3\x64kind\x64Bool\x61b\xf5" } else { b"\xa3\x64kind\x64Bool\x61b\xf4" });
        put_type_id(out, type_id);
    }

    #[inline]
    fn int(out: &mut Vec<u8>, i: i64, type_id: u32) {
        out.extend_from_slice(b"\xa3\x64kind\x63Int\x61i");
        // A negative n is the number -1 - n, which in two's complement is the inversion of all its bits.
        match u64::try_from(i) {
            Ok(n) => put_head(out, major::UNSIGNED, n),
            Err(_) => put_head(out, major::NEGATIVE, !i as u64),
        }
        put_type_id(out, type_id);
    }

    #[inline]
    fn int_in_place(i: i64, type_id: u32) -> Option<(IntBytes, usize)> {
        let (major, n) = match u64::try_from(i) {
            Ok(n) => (major::UNSIGNED, n),
            Err(_) => (major::NEGATIVE, !i as u64),
        };
        let mut bytes = [0; 9];
        bytes[1..].copy_from_slice(&n.to_be_bytes());
        let (info, len) = match n {
            0..24 => (n as u8, 0),
            24..=0xff => (24, 1),
            0x100..=0xffff => (25, 2),
            0x1_0000..=0xffff_ffff => (26, 4),
            _ => (27, 8),
        };
        bytes.copy_within(9 - len.., 1);
        bytes[0] = major | info;
        Some((IntBytes::new(bytes, 1 + len as u8), 8 + head_len(type_id.into())))
    }

    fn big_int(out: &mut Vec<u8>, negative: bool, magnitude: &[u8], type_id: u32) {
        out.extend_from_slice(b"\xa4\x64kind\x66BigInt\x61b");
        put_head(out, major::TEXT, base64_len(magnitude.len()) as u64);
        put_base64(out, magnitude);
        out.extend_from_slice(if negative { b"\x68negative\xf5" } else { b"\x68negative\xf4" });
        put_type_id(out, type_id);
    }

    #[inline]
    fn string(out: &mut Vec<u8>, text: &str, type_id: u32) {
        out.extend_from_slice(b"\xa3\x64kind\x66String\x64text");
        put_text(out, text);
        put_type_id(out, type_id);
    }

    fn raw(out: &mut Vec<u8>, text: &str, type_id: u32) {
        out.extend_from_slice(b"\xa3\x64kind\x63Raw\x61r");
        put_text(out, text);
        put_type_id(out, type_id);
    }

    fn error(out: &mut Vec<u8>, message: &str, type_id: u32) {
        out.extend_from_slice(b"\xa3\x64kind\x65Error\x63msg");
        put_text(out, message);
        put_type_id(out, type_id);
    }

    fn begin_compound(out: &mut Vec<u8>, compound: Compound, count: u32) {
        out.extend_from_slice(match compound {
            Compound::Sequence => b"\xa4\x64kind\x68Sequence\x68elements",
            Compound::Tuple => b"\xa3\x64kind\x65Tuple\x68elements",
            Compound::Struct => b"\xa3\x64kind\x66Struct\x6cfield_values",
        });
        put_head(out, major::ARRAY, count.into());
    }

    fn end_compound(out: &mut Vec<u8>, compound: Compound, type_id: u32) {
        if compound == Compound::Sequence {
            out.extend_from_slice(b"\x68is_slice\xf4");
        }
        put_type_id(out, type_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_have_the_shortest_form_on_both_sides_of_every_boundary() {
        for (n, expected) in [
            (23, &[0x17][..]),
            (24, &[0x18, 24]),
            (0xff, &[0x18, 0xff]),
            (0x100, &[0x19, 1, 0]),
            (0xffff, &[0x19, 0xff, 0xff]),
            (0x1_0000, &[0x1a, 0, 1, 0, 0]),
            (0xffff_ffff, &[0x1a, 0xff, 0xff, 0xff, 0xff]),
            (0x1_0000_0000, &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0]),
        ] {
            let mut out = Vec::new();
            put_head(&mut out, major::UNSIGNED, n);
            assert_eq!(out, expected, "{n}");
        }
    }

    #[test]
    fn an_integer_in_place_is_the_middle_of_its_value() {
        for type_id in [0, 7, 23, 24, 255, 256, 70_000] {
            for i in [0, 1, 23, 24, 255, 256, 65_535, 65_536, 1 << 32, i64::MAX, -1, -24, -25, -256, -257, i64::MIN] {
                let mut value = Vec::new();
                Cbor::int(&mut value, i, type_id);
                let (bytes, behind) = Cbor::int_in_place(i, type_id).unwrap();
                let end = value.len() - behind;
                assert_eq!(&value[end - bytes.as_slice().len()..end], bytes.as_slice(), "{i} of type {type_id}");
                assert!(value[..end - bytes.as_slice().len()].ends_with(b"\x61i"));
            }
        }
    }

    #[test]
    fn integers_are_those_of_cbor4ii() {
        for i in [0, 1, -1, -24, -25, -256, -257, 70_000, -70_000, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            Cbor::int(&mut out, i, 300);
            let value = runtime_tracing::ValueRecord::Int { i, type_id: runtime_tracing::TypeId(300) };
            assert_eq!(out, cbor4ii::serde::to_vec(Vec::new(), &value).unwrap(), "{i}");
        }
    }
}
