//! Values as short human text: what stands inside `Raw`.
//!
//! Invariants: no Python code runs; the text is bounded by the given limit plus a constant.

use std::fmt::Write;

use crate::ffi::object::{Int, Kind, Obj, Type, lossy};
use crate::ffi::python_types;

// Writing to a String cannot fail, so the results of `write!` are dropped in this file.

/// Appends `… +N more`.
pub fn push_more(out: &mut String, left_out: usize) {
    let _ = write!(out, "… +{left_out} more");
}

/// Appends `b'…'` as Python would write it, `limit` bytes at most.
pub fn push_bytes(out: &mut String, bytes: &[u8], limit: usize) {
    let shown = &bytes[..bytes.len().min(limit)];
    let quote = if shown.contains(&b'\'') && !shown.contains(&b'"') { '"' } else { '\'' };
    out.push('b');
    out.push(quote);
    for &byte in shown {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            byte if byte as char == quote => {
                out.push('\\');
                out.push(quote);
            }
            0x20..0x7f => out.push(byte as char),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    if bytes.len() > limit {
        push_more(out, bytes.len() - limit);
    }
    out.push(quote);
}

/// Appends a str in quotes, `limit` characters at most.
pub fn push_quoted(out: &mut String, object: Obj<'_>, limit: usize) {
    let text = object.text();
    let mut plain = String::new();
    text.push_to(&mut plain, limit);
    if text.len() > limit {
        push_more(&mut plain, text.len() - limit);
    }
    push_quoted_text(out, &plain);
}

/// Appends text in quotes.
pub fn push_quoted_text(out: &mut String, plain: &str) {
    let quote = if plain.contains('\'') && !plain.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in plain.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// Appends exceptions, functions, classes, modules and enum members.
pub fn describe(object: Obj<'_>, out: &mut String, limit: usize) {
    match object.kind().0 {
        Kind::Exception => exception(object, out, limit, 0),
        Kind::Type => {
            let _ = write!(out, "<class '{}'>", Type::of_type_object(object).full_name());
        }
        Kind::Module => {
            let mut name = None;
            object.instance_attributes(&mut |key, value| {
                if name.is_none() && lossy(key) == "__name__" {
                    name = Some(lossy(value));
                }
            });
            let _ = write!(out, "<module '{}'>", name.unwrap_or_else(|| "?".to_owned()));
        }
        Kind::Function => {
            let _ = write!(out, "<function {}>", python_types::function_name(object));
        }
        _ => {
            let name = super::special::enum_member_name(object).map(lossy).unwrap_or_default();
            let _ = write!(out, "<{}.{name}>", object.ty().full_name());
        }
    }
}

/// `Type: message`, notes and cause; the chain is followed three deep.
fn exception(object: Obj<'_>, out: &mut String, limit: usize, depth: usize) {
    let name = object.ty().full_name();
    out.push_str(name.strip_prefix("__main__.").unwrap_or(&name));
    if let Some(args) = object.exception_args()
        && args.kind().0 == Kind::Tuple
    {
        let mut items = args.items().flatten();
        match (args.items().len(), items.next()) {
            (0, _) => {}
            (1, Some(only)) => {
                out.push_str(": ");
                if only.kind() == (Kind::Str, true) {
                    let text = only.text();
                    text.push_to(out, limit);
                    if text.len() > limit {
                        push_more(out, text.len() - limit);
                    }
                } else {
                    brief(only, out, limit, depth + 1);
                }
            }
            _ => {
                out.push_str(": ");
                brief(args, out, limit, depth + 1);
            }
        }
    }
    let cause = object.exception_cause().filter(|cause| cause.kind().0 == Kind::Exception);
    let context = object.exception_context().filter(|context| context.kind().0 == Kind::Exception);
    if let Some((how, reason)) = cause.map(|it| ("caused by", it)).or(context.map(|it| ("while handling", it))) {
        let _ = write!(out, " ({how} ");
        if depth < 3 {
            exception(reason, out, limit, depth + 1);
        } else {
            out.push('…');
        }
        out.push(')');
    }
    if let Some(notes) = object.exception_notes()
        && notes.kind().0 == Kind::List
    {
        for note in notes.items().flatten().take(8) {
            out.push_str(" [note: ");
            brief(note, out, limit, depth + 1);
            out.push(']');
        }
    }
}

/// A short text for values inside texts: scalars in full, containers two levels deep and eight items wide.
pub fn brief(object: Obj<'_>, out: &mut String, limit: usize, depth: usize) {
    let (kind, _) = object.kind();
    match kind {
        Kind::None => out.push_str("None"),
        Kind::Bool => out.push_str(if object.is_true() { "True" } else { "False" }),
        Kind::Int => match object.int_value() {
            Int::Small(n) => {
                let _ = write!(out, "{n}");
            }
            Int::Big { .. } => {
                let _ = write!(out, "<int of {} bits>", object.int_bits());
            }
        },
        Kind::Float => out.push_str(&crate::pipeline::encoder::float_text(object.float_value())),
        Kind::Str => push_quoted(out, object, limit),
        Kind::Bytes => push_bytes(out, object.bytes_value(), limit),
        Kind::List | Kind::Tuple => {
            if depth >= 2 {
                out.push('…');
                return;
            }
            let (open, close) = if kind == Kind::List { ('[', ']') } else { ('(', ')') };
            out.push(open);
            let length = object.items().len();
            for (index, item) in object.items().flatten().take(8).enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                brief(item, out, limit, depth + 1);
            }
            if length > 8 {
                out.push_str(", ");
                push_more(out, length - 8);
            } else if length == 1 && kind == Kind::Tuple {
                out.push(',');
            }
            out.push(close);
        }
        Kind::Exception if depth < 4 => exception(object, out, limit, depth),
        Kind::Function | Kind::Module | Kind::Type => describe(object, out, limit),
        _ if depth >= 4 => out.push('…'),
        _ => {
            if !super::special::describe(super::special::recognise(object.ty()), object, out, limit, depth) {
                let _ = write!(out, "<{}>", object.ty().full_name());
            }
        }
    }
}
