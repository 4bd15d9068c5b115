//! Types with a meaning of their own: enum members, named tuples, dates, ranges, generators, …
//!
//! Invariants:
//! - A type is recognised by identity (it *is* `sys.modules[m].T`) or by plain data in its own namespace, never by
//!   asking it.
//! - Recognition is done once per type and cached by [`super::TypeNames`].

use std::fmt::Write;

use super::text::{brief, push_bytes, push_more};
use super::{arrays, frames, moments};
use crate::ffi::object::{Int, Kind, Obj, Type, lossy};
use crate::ffi::python_types as py;
use crate::ffi::{c_types, numpy};

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
    Delta,
    TzInfo,
    Weak,
    MemoryView,
    Array,
    ArrayScalar,
    DataFrame,
    Series,
    Index,
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
}

/// Where the well-known types live: module, name, meaning.
const WELL_KNOWN: [(&str, &str, Trait); 26] = [
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
    ("collections", "deque", Trait::Deque),
    ("re", "Pattern", Trait::Pattern),
    ("re", "Match", Trait::Match),
    ("pathlib", "PosixPath", Trait::Path),
    ("pathlib", "WindowsPath", Trait::Path),
    ("pathlib", "PurePosixPath", Trait::Path),
    ("pathlib", "PureWindowsPath", Trait::Path),
    ("uuid", "UUID", Trait::Uuid),
    ("pandas", "DataFrame", Trait::DataFrame),
    ("pandas", "Series", Trait::Series),
    ("pandas", "Index", Trait::Index),
    ("pandas", "RangeIndex", Trait::Index),
    ("pandas", "DatetimeIndex", Trait::Index),
    ("pandas", "TimedeltaIndex", Trait::Index),
];

/// C types, by the name in their struct, whose derived classes are shown as they are; derived ones first.
const WITH_DERIVED: [(&std::ffi::CStr, Trait); 6] = [
    (c"datetime.datetime", Trait::DateTime),
    (c"datetime.date", Trait::Date),
    (c"datetime.time", Trait::Time),
    (c"datetime.timedelta", Trait::Delta),
    (c"datetime.timezone", Trait::TzInfo),
    (c"memoryview", Trait::MemoryView),
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
    if ty.is_weak_reference() {
        return Trait::Weak;
    }
    if let Some((_, meaning)) = WITH_DERIVED.into_iter().find(|(name, _)| ty.derives_from_c_type(name)) {
        return meaning;
    }
    if ty.is_c_type(c"zoneinfo.ZoneInfo") {
        return Trait::TzInfo;
    }
    if numpy::is_array_type(ty) {
        return Trait::Array;
    }
    if numpy::is_scalar_type(ty) {
        return Trait::ArrayScalar;
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
    derived(ty)
}

/// What a class is by what it derives from, where that tells how its instances are kept.
fn derived(ty: Type<'_>) -> Trait {
    let bases = ty.mro().into_iter().flat_map(|mro| mro.items().flatten().skip(1));
    for base in bases.map(Type::of_type_object) {
        let full = base.full_name();
        let last = full.rsplit('.').next().unwrap_or(&full);
        for (module, name, meaning) in WELL_KNOWN {
            let told = matches!(
                meaning,
                Trait::SafeRepr | Trait::Deque | Trait::Path | Trait::Uuid | Trait::DataFrame | Trait::Series
            );
            if told && name == last && py::is_type_named(base, module, name) {
                return meaning;
            }
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
pub fn describe(meaning: Trait, object: Obj<'_>, out: &mut String, limit: usize, depth: usize) -> bool {
    // Writing to a String cannot fail, so the results of `write!` are dropped.
    match meaning {
        Trait::SafeRepr => match py::c_repr(object) {
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
                    Some(value) => value.get().into_iter().for_each(|value| brief(value, out, limit, depth + 1)),
                    None => out.push('?'),
                }
            }
            out.push(')');
        }
        Trait::Date => moments::push_date(out, object),
        Trait::DateTime => moments::push_datetime(out, object),
        Trait::Time => moments::push_time(out, object),
        Trait::Delta => moments::push_delta(out, object),
        Trait::TzInfo => moments::push_tzinfo(out, object),
        Trait::Array | Trait::ArrayScalar | Trait::DataFrame | Trait::Series | Trait::Index => {
            let limits = arrays::Limits { items: 8, text: limit, depth };
            return describe_array(meaning, object, out, limits);
        }
        Trait::Weak => push_weak(out, object, None),
        Trait::MemoryView => push_memory_view(out, object, limit),
        Trait::Method => {
            let Some((function, owner)) = py::method_parts(object) else { return false };
            let name = py::function_name(function);
            let _ = write!(out, "<bound method {name} of {}>", owner.ty().full_name());
        }
        Trait::Generator => push_coroutine(out, object, "generator", [c"gi_running", c"gi_suspended", c"gi_frame"]),
        Trait::Coroutine => push_coroutine(out, object, "coroutine", [c"cr_running", c"cr_suspended", c"cr_frame"]),
        Trait::AsyncGenerator => {
            push_coroutine(out, object, "async_generator", [c"ag_running", c"ag_suspended", c"ag_frame"])
        }
        Trait::Pattern => {
            out.push_str("re.compile(");
            if let Some(pattern) = py::exact_attribute(object, c"pattern") {
                pattern.get().into_iter().for_each(|pattern| brief(pattern, out, limit, depth + 1));
            }
            out.push(')');
        }
        Trait::Match => {
            out.push_str("<re.Match span=");
            if let Some(span) = py::exact_call(object, c"span") {
                span.get().into_iter().for_each(|span| brief(span, out, limit, depth + 1));
            }
            out.push('>');
        }
        Trait::Path => return push_path(out, object, limit),
        Trait::Uuid => return push_uuid(out, object),
        _ => return false,
    }
    true
}

/// The same for what has as many items as its limits say.
pub fn describe_array(meaning: Trait, object: Obj<'_>, out: &mut String, limits: arrays::Limits) -> bool {
    match meaning {
        Trait::Array => arrays::push_array(out, object, limits),
        Trait::ArrayScalar => arrays::push_scalar(out, object, limits),
        Trait::DataFrame => frames::push_frame(out, object, limits),
        Trait::Series => frames::push_series(out, object, limits),
        Trait::Index => frames::push_index(out, object, limits),
        _ => false,
    }
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

fn push_coroutine(out: &mut String, object: Obj<'_>, what: &str, [running, suspended, frame]: [&std::ffi::CStr; 3]) {
    let is = |name| py::exact_attribute(object, name).is_some_and(|value| value.get().is_some_and(Obj::is_true));
    let state = if is(running) {
        "running"
    } else if is(suspended) {
        "suspended"
    } else if c_types::has_not_begun(object, frame) {
        "not started"
    } else {
        "finished"
    };
    let name = py::exact_attribute(object, c"__qualname__").and_then(|name| name.get().map(lossy)).unwrap_or_default();
    let _ = write!(out, "<{what} {name} ({state})>");
}

/// `identity`: the number of the referent, where numbers are given.
pub fn push_weak(out: &mut String, object: Obj<'_>, identity: Option<u64>) {
    let what = if object.ty().full_name().contains("roxy") { "weak proxy" } else { "weak reference" };
    let _ = match (c_types::referent(object), identity) {
        (None, _) => write!(out, "<{what} (dead)>"),
        (Some(referent), None) => write!(out, "<{what} to {}>", referent.ty().full_name()),
        (Some(referent), Some(identity)) => write!(out, "<{what} to {} #{identity}>", referent.ty().full_name()),
    };
}

fn push_memory_view(out: &mut String, object: Obj<'_>, limit: usize) {
    let Some(view) = c_types::memory_view(object, limit.saturating_add(1)) else {
        out.push_str("<released memoryview>");
        return;
    };
    let _ = write!(out, "<memoryview shape={:?} format={:?}", view.shape, view.format);
    match view.head {
        Some(head) => {
            out.push(' ');
            push_bytes(out, &head[..head.len().min(limit)], limit);
            if view.length > limit {
                push_more(out, view.length - limit);
            }
        }
        None => {
            let _ = write!(out, " of {} bytes", view.length);
        }
    }
    out.push('>');
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
