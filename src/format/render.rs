//! Values of a trace as short text for people.
//!
//! Invariants: bounded length; Python's way of writing where there is one.

use std::fmt::Write;

use runtime_tracing::{TypeId, TypeRecord, TypeSpecificInfo, ValueRecord};

/// Longest text of one value, in characters.
const MAX_TEXT: usize = 200;
/// Integers beyond so many bytes are shown by their size.
const MAX_INTEGER: usize = 256;

/// Writes values with the names of their types.
#[derive(Debug, Clone, Copy)]
pub struct Renderer<'a> {
    types: &'a [TypeRecord],
}

impl<'a> Renderer<'a> {
    pub fn new(types: &'a [TypeRecord]) -> Self {
        Self { types }
    }

    /// The value, shortened to a line.
    pub fn text(&self, value: &ValueRecord) -> String {
        let mut out = String::new();
        self.push(value, &mut out);
        match out.char_indices().nth(MAX_TEXT) {
            Some((end, _)) => format!("{}…", &out[..end]),
            None => out,
        }
    }

    fn type_name(&self, id: TypeId) -> &'a str {
        self.types.get(id.0).map_or("?", |info| &info.lang_type)
    }

    fn push(&self, value: &ValueRecord, out: &mut String) {
        // Nobody will see more than `MAX_TEXT` characters, of up to four bytes each.
        if out.len() > 4 * MAX_TEXT {
            return;
        }
        match value {
            ValueRecord::None { .. } => out.push_str("None"),
            ValueRecord::Int { i, .. } => push(out, format_args!("{i}")),
            ValueRecord::Float { f, .. } => push(out, format_args!("{f:?}")),
            ValueRecord::Bool { b, .. } => out.push_str(if *b { "True" } else { "False" }),
            ValueRecord::String { text, .. } => push_quoted(text, out),
            ValueRecord::Raw { r, .. } => out.push_str(first_chars(r)),
            ValueRecord::Error { msg, .. } => out.push_str(first_chars(msg)),
            ValueRecord::BigInt { b, negative, .. } => push_big_int(b, *negative, out),
            ValueRecord::Sequence { elements, type_id, .. } => self.push_sequence(elements, *type_id, out),
            ValueRecord::Tuple { elements, .. } => {
                let close = if elements.len() == 1 { ",)" } else { ")" };
                self.push_list("(", close, elements, out, Self::push);
            }
            ValueRecord::Struct { field_values, type_id } => self.push_struct(field_values, *type_id, out),
            ValueRecord::Variant { discriminator, contents, .. } => {
                out.push_str(discriminator);
                self.push_list("(", ")", std::slice::from_ref(contents.as_ref()), out, Self::push);
            }
            ValueRecord::Reference { dereferenced, .. } => self.push(dereferenced, out),
            ValueRecord::Cell { place } => push(out, format_args!("<cell {}>", place.0)),
        }
    }

    fn push_sequence(&self, elements: &[ValueRecord], type_id: TypeId, out: &mut String) {
        match self.type_name(type_id) {
            "Dict" => self.push_list("{", "}", elements, out, |this, item, out| match item {
                ValueRecord::Tuple { elements, .. } if elements.len() == 2 => {
                    this.push(&elements[0], out);
                    out.push_str(": ");
                    this.push(&elements[1], out);
                }
                other => this.push(other, out),
            }),
            "Set" if elements.is_empty() => out.push_str("set()"),
            "Set" => self.push_list("{", "}", elements, out, Self::push),
            "FrozenSet" if elements.is_empty() => out.push_str("frozenset()"),
            "FrozenSet" => self.push_list("frozenset({", "})", elements, out, Self::push),
            _ => self.push_list("[", "]", elements, out, Self::push),
        }
    }

    fn push_struct(&self, values: &[ValueRecord], type_id: TypeId, out: &mut String) {
        out.push_str(self.type_name(type_id));
        let fields = match self.types.get(type_id.0).map(|info| &info.specific_info) {
            Some(TypeSpecificInfo::Struct { fields }) => fields.as_slice(),
            _ => &[],
        };
        out.push('(');
        for (index, item) in values.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            if let Some(field) = fields.get(index) {
                push(out, format_args!("{}=", field.name));
            }
            self.push(item, out);
        }
        out.push(')');
    }

    fn push_list(
        &self,
        open: &str,
        close: &str,
        items: &[ValueRecord],
        out: &mut String,
        push: impl Fn(&Self, &ValueRecord, &mut String),
    ) {
        out.push_str(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            push(self, item, out);
            if out.len() > 4 * MAX_TEXT {
                return;
            }
        }
        out.push_str(close);
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

/// As much of a text as can be shown.
fn first_chars(text: &str) -> &str {
    text.char_indices().nth(MAX_TEXT + 1).map_or(text, |(end, _)| &text[..end])
}

/// A string as Python's `repr` writes it.
fn push_quoted(text: &str, out: &mut String) {
    let shown = first_chars(text);
    let quote = if shown.contains('\'') && !shown.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in shown.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => push(out, format_args!("\\{c}")),
            c if c.is_ascii_control() => push(out, format_args!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// A big-endian magnitude in decimal.
fn push_big_int(magnitude: &[u8], negative: bool, out: &mut String) {
    if magnitude.len() > MAX_INTEGER {
        return push(out, format_args!("<int of {} bits>", magnitude.len() * 8));
    }
    // Groups of nine decimal digits, the least significant first.
    const GROUP: u64 = 1_000_000_000;
    let mut groups = vec![0u64];
    for &byte in magnitude {
        let mut carry = u64::from(byte);
        for group in &mut groups {
            let sum = *group * 256 + carry;
            *group = sum % GROUP;
            carry = sum / GROUP;
        }
        if carry > 0 {
            groups.push(carry);
        }
    }
    if negative {
        out.push('-');
    }
    let mut groups = groups.iter().rev();
    push(out, format_args!("{}", groups.next().unwrap_or(&0)));
    groups.for_each(|group| push(out, format_args!("{group:09}")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime_tracing::{FieldTypeRecord, TypeKind};

    fn types() -> Vec<TypeRecord> {
        let fields = |names: &[&str]| {
            names.iter().map(|name| FieldTypeRecord { name: (*name).to_owned(), type_id: TypeId(0) }).collect()
        };
        ["None", "Dict", "List", "Set", "FrozenSet", "Point"]
            .into_iter()
            .map(|name| TypeRecord {
                kind: TypeKind::Seq,
                lang_type: name.to_owned(),
                specific_info: match name {
                    "Point" => TypeSpecificInfo::Struct { fields: fields(&["x", "y"]) },
                    _ => TypeSpecificInfo::None,
                },
            })
            .collect()
    }

    const T: TypeId = TypeId(0);

    fn int(i: i64) -> ValueRecord {
        ValueRecord::Int { i, type_id: T }
    }
    fn text(text: &str) -> ValueRecord {
        ValueRecord::String { text: text.to_owned(), type_id: T }
    }
    fn tuple(elements: Vec<ValueRecord>) -> ValueRecord {
        ValueRecord::Tuple { elements, type_id: T }
    }
    fn sequence(id: usize, elements: Vec<ValueRecord>) -> ValueRecord {
        ValueRecord::Sequence { elements, is_slice: false, type_id: TypeId(id) }
    }

    #[test]
    fn values_are_written_the_python_way() {
        let types = types();
        let big = ValueRecord::BigInt { b: vec![1, 0, 0, 0, 0, 0, 0, 0, 0], negative: true, type_id: T };
        let table = [
            (ValueRecord::None { type_id: T }, "None"),
            (ValueRecord::Bool { b: true, type_id: T }, "True"),
            (ValueRecord::Float { f: 2.0, type_id: T }, "2.0"),
            (ValueRecord::Raw { r: "1.5".into(), type_id: T }, "1.5"),
            (ValueRecord::Error { msg: "<redacted>".into(), type_id: T }, "<redacted>"),
            (big, "-18446744073709551616"),
            (text("it's\n\x07\\"), "\"it's\\n\\x07\\\\\""),
            (text("'\""), "'\\'\"'"),
            (tuple(vec![]), "()"),
            (tuple(vec![int(1)]), "(1,)"),
            (sequence(1, vec![tuple(vec![text("a"), int(1)]), text("…")]), "{'a': 1, '…'}"),
            (sequence(2, vec![sequence(1, vec![]), int(3)]), "[{}, 3]"),
            (sequence(3, vec![]), "set()"),
            (sequence(3, vec![int(1)]), "{1}"),
            (sequence(4, vec![int(1), int(2)]), "frozenset({1, 2})"),
            (ValueRecord::Struct { field_values: vec![int(1), int(2)], type_id: TypeId(5) }, "Point(x=1, y=2)"),
            (sequence(99, vec![]), "[]"),
        ];
        for (value, expected) in table {
            assert_eq!(Renderer::new(&types).text(&value), expected);
        }
    }

    #[test]
    fn long_wide_and_deep_values_are_cut() {
        let deep = (0..10_000).fold(int(1), |inner, _| sequence(2, vec![inner]));
        let wide = sequence(2, (0..100_000).map(int).collect());
        for value in [text(&"é".repeat(10_000)), wide, deep] {
            let text = Renderer::new(&types()).text(&value);
            assert_eq!(text.chars().count(), MAX_TEXT + 1);
            assert!(text.ends_with('…'));
            // Dropping so deep a value recurses as deep; the trace readers never make one.
            std::mem::forget(value);
        }
        let huge = ValueRecord::BigInt { b: vec![255; 10_000], negative: false, type_id: T };
        assert_eq!(Renderer::new(&[]).text(&huge), "<int of 80000 bits>");
    }
}
