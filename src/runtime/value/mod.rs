//! Snapshots of Python values as bytes of the compact layout.
//!
//! Invariants:
//! - No Python code of the program runs, nothing is kept alive, nothing is materialised.
//! - Work is bounded by [`Limits`] whatever the value: depth, items per container, characters per string, bytes per
//!   step. What is left out says so.
//! - A container that encloses itself is written as `<cycle>` where it recurs.
//! - Redaction happens here: a hidden value's bytes are never written.

use std::sync::Arc;

use crate::ffi::c_types::referent;
use crate::ffi::object::{Int, Kind, Obj, Text};
use crate::ffi::python_types::proxied_mapping;
use crate::pipeline::layout::{Put, value as tag};
use crate::pipeline::tables::types;
use crate::trace_filter::ValueAction;

mod arrays;
mod containers;
mod deque;
pub mod facts;
mod frames;
mod instance;
pub mod memo;
mod moments;
pub mod names;
#[cfg(test)]
pub mod show_all;
pub mod special;
pub mod target;
pub mod text;

use memo::Memo;
pub use names::TypeNames;
use special::Trait;
use target::{Compare, Target};

/// Bounds of one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Containers inside containers; CodeTracer refuses more than about 60 levels.
    pub max_depth: usize,
    /// Items of one container, fields of one object.
    pub max_items: usize,
    /// Characters of one string.
    pub max_string: usize,
    /// Bytes of all values newly walked at one step.
    pub max_bytes_per_step: usize,
}

/// Decides about attributes and dict keys met inside a value.
pub trait NamePolicy {
    /// False when nothing can be hidden: then the two questions below are not asked.
    fn hides_names(&self) -> bool;
    /// A number that names what the two questions below are answered by: equal numbers, equal answers. `None`: ask.
    fn identity(&self) -> Option<usize>;
    fn attribute(&mut self, name: Obj<'_>) -> ValueAction;
    fn dict_key(&mut self, key: Obj<'_>) -> ValueAction;
}

/// `…`, for a value that is left out, as `put_typed_text` would write it.
const TRUNCATED: [u8; 12] = {
    let (ty, mark) = (types::TRUNCATED.to_le_bytes(), "…".as_bytes());
    [tag::RAW, ty[0], ty[1], ty[2], ty[3], mark.len() as u8, 0, 0, 0, mark[0], mark[1], mark[2]]
};

/// Integers of more bits than this are described, not shown: their decimal text would have thousands of digits.
const MAX_INT_BITS: usize = 16 * 1024;

/// Writes values; one per thread, reused.
#[derive(Debug)]
pub struct Snapshotter {
    pub limits: Limits,
    names: TypeNames,
    /// Addresses of the containers being written, outermost first.
    enclosing: Vec<usize>,
    /// Length of the output at which this step's budget ends.
    budget_end: usize,
    scratch: String,
    memo: Memo,
    /// Taken by whoever counts.
    pub hidden: Hidden,
}

/// How many attributes and dict values were written as hidden since records were published last: mostly those of one event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hidden {
    pub redacted: u32,
    pub dropped: u32,
}

impl Hidden {
    fn since(self, before: Self) -> Self {
        Self { redacted: self.redacted - before.redacted, dropped: self.dropped - before.dropped }
    }
}

impl Snapshotter {
    pub fn new(limits: Limits, names: Arc<names::SharedTypes>) -> Self {
        Self {
            limits,
            names: TypeNames::new(names),
            enclosing: Vec::new(),
            budget_end: usize::MAX,
            scratch: String::new(),
            memo: Memo::default(),
            hidden: Hidden::default(),
        }
    }

    /// Starts a step: the budget counts from here.
    #[inline]
    pub fn begin_step(&mut self, written: usize) {
        self.budget_end = written + self.limits.max_bytes_per_step;
        self.memo.begin_event();
    }

    /// Writes `object`.
    #[inline]
    pub fn write(&mut self, object: Obj<'_>, policy: &mut impl NamePolicy, out: &mut Vec<u8>) {
        debug_assert!(self.enclosing.is_empty());
        self.value(object, policy, out);
    }

    /// Whether [`Snapshotter::write`] at this position of the output would produce just these bytes.
    #[inline]
    pub fn is_same(&mut self, object: Obj<'_>, policy: &mut impl NamePolicy, position: usize, expected: &[u8]) -> bool {
        debug_assert!(self.enclosing.is_empty());
        let mut compare = Compare::new(expected, position);
        self.value(object, policy, &mut compare);
        compare.is_same()
    }

    fn value(&mut self, object: Obj<'_>, policy: &mut impl NamePolicy, out: &mut impl Target) {
        match object.common_kind() {
            Some(Kind::None) => out.put_u8(tag::NONE),
            Some(Kind::Bool) => out.put_u8(if object.is_true() { tag::TRUE } else { tag::FALSE }),
            Some(Kind::Int) => {
                out.guard(|guards, place| guards.number(object, place));
                self.int(object, out);
            }
            Some(Kind::Float) => {
                out.guard(|guards, place| guards.number(object, place));
                out.put_float(object.float_value());
            }
            Some(Kind::Str) => {
                out.guard(|guards, _| guards.text(object));
                self.str(object.text(), out);
            }
            Some(kind @ (Kind::List | Kind::Tuple)) => self.sequence(kind, None, object, policy, out),
            Some(Kind::Dict) => self.dict(None, object, policy, out),
            Some(Kind::Function) => self.described(object, out),
            _ => self.uncommon(object, policy, out),
        }
    }

    /// A value whose type is none of the commonest.
    fn uncommon(&mut self, object: Obj<'_>, policy: &mut impl NamePolicy, out: &mut impl Target) {
        let at = self.names.facts_of(object.ty());
        let facts = self.names.facts.at(at);
        let (kind, exact, special) = (facts.kind, facts.exact, facts.special);
        if kind == Kind::Other && special == Trait::Nothing {
            return self.instance(at, object, policy, out);
        }
        match kind {
            Kind::Int | Kind::Float | Kind::Str => self.derived_scalar(kind, special, object, out),
            Kind::Bytes => self.bytes(object, exact, out),
            Kind::List | Kind::Tuple => self.sequence(kind, Some(special), object, policy, out),
            Kind::Dict => self.dict(Some(object.ty()), object, policy, out),
            Kind::Set | Kind::FrozenSet => self.set(kind, exact, object, policy, out),
            Kind::Exception | Kind::Function | Kind::Module | Kind::Type => self.described(object, out),
            Kind::None | Kind::Bool | Kind::Other => self.other(at, special, object, policy, out),
        }
    }

    #[inline]
    fn int(&mut self, object: Obj<'_>, out: &mut impl Target) {
        if let Some(n) = object.small_int() {
            return out.put_int(n);
        }
        self.large_int(object, out);
    }

    #[cold]
    fn large_int(&mut self, object: Obj<'_>, out: &mut impl Target) {
        let bits = object.int_bits();
        if bits > MAX_INT_BITS {
            out.put_typed_text(tag::RAW, types::INT, &format!("<int of {bits} bits>"));
            return;
        }
        match object.int_value() {
            Int::Small(n) => out.put_int(n),
            Int::Big { negative, magnitude } => {
                out.put_u8(tag::BIGINT);
                out.put_u8(u8::from(negative));
                out.put_u32(magnitude.len() as u32);
                out.put_bytes(&magnitude);
            }
        }
    }

    /// A str of at most `max_string` characters, then `… +N more`.
    pub fn str(&mut self, text: Text<'_>, out: &mut impl Target) {
        let limit = self.limits.max_string;
        let length = text.len();
        match text {
            Text::Ascii(ascii) if length <= limit => out.put_str(ascii),
            _ => {
                self.scratch.clear();
                text.push_to(&mut self.scratch, limit);
                if length > limit {
                    text::push_more(&mut self.scratch, length - limit);
                }
                out.put_str(&self.scratch);
            }
        }
    }

    /// Instances of classes derived from int, float, str: enum members as their name, others as base content.
    fn derived_scalar(&mut self, kind: Kind, special: Trait, object: Obj<'_>, out: &mut impl Target) {
        if special == Trait::EnumMember {
            return self.described(object, out);
        }
        out.guard(|guards, _| guards.refuse());
        let type_ref = self.names.plain(object.ty());
        out.put_u8(tag::TYPED);
        out.put_u32(type_ref);
        match kind {
            // Only scalars may follow TYPED.
            Kind::Int if object.int_bits() > MAX_INT_BITS => {
                out.put_str(&format!("<int of {} bits>", object.int_bits()));
            }
            Kind::Int => self.int(object, out),
            Kind::Float => out.put_float(object.float_value()),
            _ => self.str(object.text(), out),
        }
    }

    fn bytes(&mut self, object: Obj<'_>, exact: bool, out: &mut impl Target) {
        out.guard(|guards, _| guards.bytes(object));
        let type_ref = if exact { types::BYTES } else { self.names.plain(object.ty()) };
        self.scratch.clear();
        text::push_bytes(&mut self.scratch, object.bytes_value(), self.limits.max_string);
        out.put_typed_text(tag::RAW, type_ref, &self.scratch);
    }

    /// A value shown as text: exceptions, functions, classes, modules, enum members.
    fn described(&mut self, object: Obj<'_>, out: &mut impl Target) {
        out.guard(|guards, _| match object.kind().0 {
            Kind::Function => guards.function(object),
            Kind::Type => guards.class(object),
            Kind::Module => guards.module(object),
            Kind::Exception => guards.refuse(),
            _ => guards.enum_member(object),
        });
        let type_ref = self.names.plain(object.ty());
        self.scratch.clear();
        text::describe(object, &mut self.scratch, self.limits.max_string);
        out.put_typed_text(tag::RAW, type_ref, &self.scratch);
    }

    fn other(
        &mut self,
        at: usize,
        special: Trait,
        object: Obj<'_>,
        policy: &mut impl NamePolicy,
        out: &mut impl Target,
    ) {
        match special {
            Trait::EnumMember => return self.described(object, out),
            Trait::Nothing => {}
            Trait::MappingProxy => {
                if let Some(mapping) = proxied_mapping(object)
                    && mapping.kind().0 == Kind::Dict
                {
                    out.guard(|guards, _| guards.refuse());
                    return self.dict(Some(object.ty()), mapping, policy, out);
                }
            }
            Trait::Deque => {
                if self.deque(object, policy, out) {
                    return;
                }
            }
            Trait::Weak => return self.weak(object, out),
            _ => {
                out.guard(|guards, _| match special {
                    Trait::Method => guards.method(object),
                    Trait::Generator | Trait::Coroutine | Trait::AsyncGenerator => guards.generator(object),
                    _ => guards.refuse(),
                });
                self.scratch.clear();
                let mut text = std::mem::take(&mut self.scratch);
                let Limits { max_string, max_items, .. } = self.limits;
                let limits = arrays::Limits { items: max_items, text: max_string, depth: 0 };
                let described = special::describe_array(special, object, &mut text, limits)
                    || special::describe(special, object, &mut text, max_string, 0);
                if described {
                    let type_ref = self.names.plain(object.ty());
                    out.put_typed_text(tag::RAW, type_ref, &text);
                }
                self.scratch = text;
                if described {
                    return;
                }
            }
        }
        self.instance(at, object, policy, out);
    }

    /// An object of which nothing is shown but which one it is.
    fn identified(&mut self, object: Obj<'_>, out: &mut impl Target) {
        let type_ref = self.names.plain(object.ty());
        let identity = self.names.identity(object);
        self.scratch.clear();
        use std::fmt::Write;
        // Writing to a String cannot fail.
        let _ = write!(self.scratch, "<{} #{identity}>", self.names.name_of(type_ref));
        out.put_typed_text(tag::RAW, type_ref, &self.scratch);
    }

    fn weak(&mut self, object: Obj<'_>, out: &mut impl Target) {
        // The referent may die.
        out.guard(|guards, _| guards.refuse());
        let type_ref = self.names.plain(object.ty());
        let identity = referent(object).map(|referent| self.names.identity(referent));
        self.scratch.clear();
        special::push_weak(&mut self.scratch, object, identity);
        out.put_typed_text(tag::RAW, type_ref, &self.scratch);
    }
}

/// The mark of a hidden value.
#[inline]
pub fn redacted(out: &mut impl Put) {
    out.put_typed_text(tag::ERROR, types::REDACTED, "<redacted>");
}

/// The mark of a value that is left out where something must stand.
#[inline]
pub fn dropped(out: &mut impl Put) {
    out.put_typed_text(tag::ERROR, types::DROPPED, "<dropped>");
}
