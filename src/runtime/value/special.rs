//! Types with a meaning of their own: enum members, named tuples, dates, ranges, generators, …
//!
//! Invariants:
//! - A type is recognised by identity (it *is* `sys.modules[m].T`) or by plain data in its own namespace, never by
//!   asking it.
//! - Recognition is done once per type and cached by [`super::TypeNames`].

use std::fmt::Write;

use super::text::{brief, push_more};
use crate::ffi::object::{Int, Kind, Obj, Type, lossy};
use crate::ffi::python_types as py;

/// What is special about a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trait {
    Nothing,
    EnumMember,
    NamedTuple,
    /// The C repr cannot reach Python code.
    SafeRepr,
    Range,
    Slice,
    Date,
    DateTime,
    Time,
    Method,
    Generator,
    Coroutine,
    AsyncGenerator,
    MappingProxy,
    Deque,
    Pattern,
    Match,
    Path,
    Uuid,
    NotStructured,
}

/// Where the well-known types live: module, name, meaning.
const WELL_KNOWN: [(&str, &str, Trait); 24] = [
    ("builtins", "complex", Trait::SafeRepr),
    ("builtins", "bytearray", Trait::SafeRepr),
    ("builtins", "range", Trait::Range),
    ("builtins", "slice", Trait::Slice),
    ("types", "EllipsisType", Trait::SafeRepr),
    ("types", "NotImplementedType", Trait::SafeRepr),
    ("types", "MethodType", Trait::Method),
    ("types", "GeneratorType", Trait::Generator),
    ("types", "CoroutineType", Trait::Coroutine),
    ("types", "AsyncGeneratorType", Trait::AsyncGenerator),
    ("types", "MappingProxyType", Trait::MappingProxy),
    ("_decimal", "Decimal", Trait::SafeRepr),
    ("_datetime", "timedelta", Trait::SafeRepr),
    ("_datetime", "date", Trait::Date),
    ("_datetime", "datetime", Trait::DateTime),
    ("_datetime", "time", Trait::Time),
    ("collections", "deque", Trait::Deque),
    ("re", "Pattern", Trait::Pattern),
    ("re", "Match", Trait::Match),
    ("pathlib", "PosixPath", Trait::Path),
    ("pathlib", "WindowsPath", Trait::Path),
    ("pathlib", "PurePosixPath", Trait::Path),
    ("pathlib", "PureWindowsPath", Trait::Path),
    ("uuid", "UUID", Trait::Uuid),
];

/// What is special about `ty`. Slow: ask through [`super::TypeNames::special`].
pub fn recognise(ty: Type<'_>) -> Trait {
    if py::in_type_dict(ty, "_member_map_").is_some() {
        return Trait::EnumMember;
    }
    if py::in_type_dict(ty, "_fields").is_some_and(|fields| fields.kind().0 == Kind::Tuple)
        && py::in_type_dict(ty, "_field_defaults").is_some()
    {
        return Trait::NamedTuple;
    }
    let full = ty.full_name();
    let last = full.rsplit('.').next().unwrap_or(&full);
    for (module, name, meaning) in WELL_KNOWN {
        let plausible = name == last || module == "types";
        if plausible && py::is_type_named(ty, module, name) {
            return meaning;
        }
        // `types` may not be imported; its types are the interpreter's own.
        if module == "types" && types_module_name(name) == full && !is_heap(ty) {
            return meaning;
        }
    }
    Trait::Nothing
}

fn is_heap(ty: Type<'_>) -> bool {
    ty.is_heap_type()
}

fn types_module_name(name: &str) -> &'static str {
    match name {
        "EllipsisType" => "ellipsis",
        "NotImplementedType" => "NotImplementedType",
        "MethodType" => "method",
        "GeneratorType" => "generator",
        "CoroutineType" => "coroutine",
        "AsyncGeneratorType" => "async_generator",
        "MappingProxyType" => "mappingproxy",
        _ => "",
    }
}

/// The field names of a named tuple class.
pub fn named_tuple_fields(ty: Type<'_>) -> Option<Vec<String>> {
    let fields = py::in_type_dict(ty, "_fields")?;
    (fields.kind().0 == Kind::Tuple).then(|| fields.items().flatten().map(lossy).collect())
}

/// The name of a field of a named tuple.
pub fn named_tuple_field(object: Obj<'_>, index: usize) -> Option<Obj<'_>> {
    let fields = py::in_type_dict(object.ty(), "_fields")?;
    if fields.kind().0 != Kind::Tuple {
        return None;
    }
    fields.items().nth(index).flatten().map(|name| object.kept_alive(name.address()))
}

/// The name of an enum member (`_name_` of the instance).
pub fn enum_member_name(object: Obj<'_>) -> Option<Obj<'_>> {
    let mut name = None;
    object.instance_attributes(&mut |key, value| {
        if name.is_none() && lossy(key) == "_name_" && value.kind().0 == Kind::Str {
            name = Some(value);
        }
    });
    name
}

/// Writes the text of an object whose type has this meaning; false if it has no text of its own.
pub fn describe(meaning: Trait, object: Obj<'_>, out: &mut String, limit: usize) -> bool {
    // Writing to a String cannot fail, so the results of `write!` are dropped.
    match meaning {
        Trait::SafeRepr => match py::exact_repr(object) {
            Some(text) => push_limited(out, &text, limit),
            None => return false,
        },
        Trait::Range | Trait::Slice => {
            let _ = write!(out, "{}(", if meaning == Trait::Range { "range" } else { "slice" });
            for (index, name) in [c"start", c"stop", c"step"].into_iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                match py::exact_attribute(object, name) {
                    Some(value) => value.get().into_iter().for_each(|value| brief(value, out, limit, 1)),
                    None => out.push('?'),
                }
            }
            out.push(')');
        }
        Trait::Date => push_date(out, object),
        Trait::DateTime => {
            push_date(out, object);
            out.push('T');
            push_time(out, &py::datetime_time(object));
        }
        Trait::Time => push_time(out, &py::time_parts(object)),
        Trait::Method => {
            let Some((function, owner)) = py::method_parts(object) else { return false };
            let name = py::function_name(function);
            let _ = write!(out, "<bound method {name} of {}>", owner.ty().full_name());
        }
        Trait::Generator => push_coroutine(out, object, "generator", c"gi_running", c"gi_suspended"),
        Trait::Coroutine => push_coroutine(out, object, "coroutine", c"cr_running", c"cr_suspended"),
        Trait::AsyncGenerator => push_coroutine(out, object, "async_generator", c"ag_running", c"ag_suspended"),
        Trait::Pattern => {
            out.push_str("re.compile(");
            if let Some(pattern) = py::exact_attribute(object, c"pattern") {
                pattern.get().into_iter().for_each(|pattern| brief(pattern, out, limit, 1));
            }
            out.push(')');
        }
        Trait::Match => {
            out.push_str("<re.Match span=");
            if let Some(span) = py::exact_call(object, c"span") {
                span.get().into_iter().for_each(|span| brief(span, out, limit, 1));
            }
            out.push('>');
        }
        Trait::Path => return push_path(out, object, limit),
        Trait::Uuid => return push_uuid(out, object),
        _ => return false,
    }
    true
}

fn push_limited(out: &mut String, text: &str, limit: usize) {
    match text.char_indices().nth(limit) {
        None => out.push_str(text),
        Some((end, _)) => {
            out.push_str(&text[..end]);
            push_more(out, text[end..].chars().count());
        }
    }
}

fn push_date(out: &mut String, object: Obj<'_>) {
    let date = py::date_parts(object);
    let _ = write!(out, "{:04}-{:02}-{:02}", date.year, date.month, date.day);
}

fn push_time(out: &mut String, time: &py::TimeParts) {
    let _ = write!(out, "{:02}:{:02}:{:02}", time.hour, time.minute, time.second);
    if time.microsecond != 0 {
        let _ = write!(out, ".{:06}", time.microsecond);
    }
}

fn push_coroutine(out: &mut String, object: Obj<'_>, what: &str, running: &std::ffi::CStr, suspended: &std::ffi::CStr) {
    let is = |name| py::exact_attribute(object, name).is_some_and(|value| value.get().is_some_and(Obj::is_true));
    // A frame object would have to be made to tell a generator that has not begun from one that has ended.
    let state = if is(running) {
        "running"
    } else if is(suspended) {
        "suspended"
    } else {
        "not running"
    };
    let name = py::exact_attribute(object, c"__qualname__").and_then(|name| name.get().map(lossy)).unwrap_or_default();
    let _ = write!(out, "<{what} {name} ({state})>");
}

fn push_path(out: &mut String, object: Obj<'_>, limit: usize) -> bool {
    let (mut text, mut raw) = (None, None);
    object.instance_attributes(&mut |key, value| match lossy(key).as_str() {
        "_str" if value.kind() == (Kind::Str, true) => text = Some(lossy(value)),
        "_raw_paths" if value.kind() == (Kind::List, true) => {
            raw = Some(value.items().flatten().map(lossy).collect::<Vec<_>>().join("/"));
        }
        _ => {}
    });
    let Some(text) = text.or(raw) else { return false };
    push_limited(out, &text, limit);
    true
}

fn push_uuid(out: &mut String, object: Obj<'_>) -> bool {
    let mut number = None;
    object.instance_attributes(&mut |key, value| {
        if lossy(key) == "int" && value.kind() == (Kind::Int, true) && value.int_bits() <= 150 {
            number = Some(match value.int_value() {
                Int::Small(n) => n as u128,
                Int::Big { magnitude, .. } => magnitude.iter().fold(0u128, |sum, &byte| sum << 8 | u128::from(byte)),
            });
        }
    });
    let Some(number) = number else { return false };
    out.push_str(&uuid::Uuid::from_u128(number).to_string());
    true
}
