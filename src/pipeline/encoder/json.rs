//! JSON, character for character what `serde_json::to_string` writes for a `runtime_tracing::TraceLowLevelEvent`.
//!
//! Invariants:
//! - A stream is the inside of one array, one event per line; whoever writes the file adds the brackets.
//! - Text is escaped the way `serde_json` does it, and otherwise left as the UTF-8 it is.

use runtime_tracing::{EventLogKind, TypeKind};

use super::codec::{Compound, EventCodec, put_base64};

/// The codec of `trace.json`.
#[derive(Debug, Clone)]
pub(super) struct Json;

/// Appends a string literal, quotes included.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        let byte = rest[at];
        out.extend_from_slice(&rest[..at]);
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 0xf)]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends a number in decimal.
pub(super) fn put_uint(out: &mut Vec<u8>, mut n: u64) {
    // 20 digits hold every u64.
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Ends a value, whose last field is always its type.
fn put_type_id(out: &mut Vec<u8>, type_id: u32) {
    out.extend_from_slice(b",\"type_id\":");
    put_uint(out, type_id.into());
    out.push(b'}');
}

const fn bool_text(b: bool) -> &'static [u8] {
    if b { b"true" } else { b"false" }
}

impl EventCodec for Json {
    const SEPARATOR: &'static [u8] = b",\n";
    const ITEM_SEPARATOR: &'static [u8] = b",";
    const VALUE_HEAD: &'static [u8] = b",\n{\"Value\":";
    const VALUE_TAIL: &'static [u8] = b"}";

    fn path(out: &mut Vec<u8>, path: &str) {
        out.extend_from_slice(b",\n{\"Path\":");
        put_text(out, path);
        out.push(b'}');
    }

    fn variable_name(out: &mut Vec<u8>, name: &str) {
        out.extend_from_slice(b",\n{\"VariableName\":");
        put_text(out, name);
        out.push(b'}');
    }

    fn function(out: &mut Vec<u8>, path_id: u32, line: u32, name: &str) {
        out.extend_from_slice(b",\n{\"Function\":{\"path_id\":");
        put_uint(out, path_id.into());
        out.extend_from_slice(b",\"line\":");
        put_uint(out, line.into());
        out.extend_from_slice(b",\"name\":");
        put_text(out, name);
        out.extend_from_slice(b"}}");
    }

    fn type_record(out: &mut Vec<u8>, kind: TypeKind, name: &str, fields: Option<&[String]>) {
        out.extend_from_slice(b",\n{\"Type\":{\"kind\":");
        put_uint(out, kind as u64);
        out.extend_from_slice(b",\"lang_type\":");
        put_text(out, name);
        let Some(fields) = fields else {
            out.extend_from_slice(b",\"specific_info\":{\"kind\":\"None\"}}}");
            return;
        };
        out.extend_from_slice(b",\"specific_info\":{\"kind\":\"Struct\",\"fields\":[");
        for (i, field) in fields.iter().enumerate() {
            out.extend_from_slice(if i == 0 { b"{\"name\":" } else { b",{\"name\":" });
            put_text(out, field);
            put_type_id(out, 0);
        }
        out.extend_from_slice(b"]}}}");
    }

    fn step(out: &mut Vec<u8>, path_id: u32, line: u32) {
        out.extend_from_slice(b",\n{\"Step\":{\"path_id\":");
        put_uint(out, path_id.into());
        out.extend_from_slice(b",\"line\":");
        put_uint(out, line.into());
        out.extend_from_slice(b"}}");
    }

    fn begin_call(out: &mut Vec<u8>, function_id: u32, _: usize) {
        out.extend_from_slice(b",\n{\"Call\":{\"function_id\":");
        put_uint(out, function_id.into());
        out.extend_from_slice(b",\"args\":[");
    }

    fn end_call(out: &mut Vec<u8>) {
        out.extend_from_slice(b"]}}");
    }

    fn begin_return(out: &mut Vec<u8>) {
        out.extend_from_slice(b",\n{\"Return\":{\"return_value\":");
    }

    fn end_return(out: &mut Vec<u8>) {
        out.extend_from_slice(b"}}");
    }

    fn event(out: &mut Vec<u8>, kind: EventLogKind, metadata: &str, content: &str) {
        out.extend_from_slice(b",\n{\"Event\":{\"kind\":");
        put_uint(out, kind as u64);
        out.extend_from_slice(b",\"metadata\":");
        put_text(out, metadata);
        out.extend_from_slice(b",\"content\":");
        put_text(out, content);
        out.extend_from_slice(b"}}");
    }

    fn begin_record(out: &mut Vec<u8>, variable_id: u32) {
        out.extend_from_slice(b"{\"variable_id\":");
        put_uint(out, variable_id.into());
        out.extend_from_slice(b",\"value\":");
    }

    fn end_record(out: &mut Vec<u8>) {
        out.push(b'}');
    }

    fn none(out: &mut Vec<u8>, type_id: u32) {
        out.extend_from_slice(b"{\"kind\":\"None\"");
        put_type_id(out, type_id);
    }

    fn bool(out: &mut Vec<u8>, b: bool, type_id: u32) {
        out.extend_from_slice(b"{\"kind\":\"Bool\",\"b\":");
        out.extend_from_slice(bool_text(b));
        put_type_id(out, type_id);
    }

    fn int(out: &mut Vec<u8>, i: i64, type_id: u32) {
        out.extend_from_slice(if i < 0 { b"{\"kind\":\"Int\",\"i\":-" } else { b"{\"kind\":\"Int\",\"i\":" });
        put_uint(out, i.unsigned_abs());
        put_type_id(out, type_id);
    }

    fn big_int(out: &mut Vec<u8>, negative: bool, magnitude: &[u8], type_id: u32) {
        out.extend_from_slice(b"{\"kind\":\"BigInt\",\"b\":\"");
        put_base64(out, magnitude);
        out.extend_from_slice(b"\",\"negative\":");
        out.extend_from_slice(bool_text(negative));
        put_type_id(out, type_id);
    }

    fn string(out: &mut Vec<u8>, text: &str, type_id: u32) {
        out.extend_from_slice(b"{\"kind\":\"String\",\"text\":");
        put_text(out, text);
        put_type_id(out, type_id);
    }

    fn raw(out: &mut Vec<u8>, text: &str, type_id: u32) {
        out.extend_from_slice(b"{\"kind\":\"Raw\",\"r\":");
        put_text(out, text);
        put_type_id(out, type_id);
    }

    fn error(out: &mut Vec<u8>, message: &str, type_id: u32) {
        out.extend_from_slice(b"{\"kind\":\"Error\",\"msg\":");
        put_text(out, message);
        put_type_id(out, type_id);
    }

    fn begin_compound(out: &mut Vec<u8>, compound: Compound, _: u32) {
        out.extend_from_slice(match compound {
            Compound::Sequence => b"{\"kind\":\"Sequence\",\"elements\":[",
            Compound::Tuple => b"{\"kind\":\"Tuple\",\"elements\":[",
            Compound::Struct => b"{\"kind\":\"Struct\",\"field_values\":[",
        });
    }

    fn end_compound(out: &mut Vec<u8>, compound: Compound, type_id: u32) {
        out.extend_from_slice(if compound == Compound::Sequence { b"],\"is_slice\":false" } else { b"]" });
        put_type_id(out, type_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_below_0x100_is_escaped_like_serde_json_does() {
        let text: String = (0..0x100).filter_map(char::from_u32).chain("…🐍".chars()).collect();
        let mut out = Vec::new();
        put_text(&mut out, &text);
        assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
    }

    #[test]
    fn numbers_are_decimal_at_the_extremes() {
        for n in [0, 9, 10, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_uint(&mut out, n);
            assert_eq!(out, n.to_string().as_bytes());
        }
        let mut out = Vec::new();
        Json::int(&mut out, i64::MIN, 2);
        assert_eq!(out, format!("{{\"kind\":\"Int\",\"i\":{},\"type_id\":2}}", i64::MIN).as_bytes());
    }
}
