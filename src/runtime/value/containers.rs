//! Lists, tuples, dicts and sets: their items, as many as the limits allow.
//!
//! Invariants:
//! - Whoever enters a container leaves it: [`Snapshotter::enter`] pushes its address, [`Snapshotter::leave`] pops it.
//! - A compound's count is that of the values behind it; a Struct has as many as its type has fields, whatever the limits.

use super::special::{self, Trait};
use super::target::Target;
use super::{NamePolicy, Snapshotter, TRUNCATED, dropped, redacted, text};
use crate::ffi::object::{Kind, Obj, Type};
use crate::pipeline::layout::value as tag;
use crate::pipeline::tables::types;
use crate::trace_filter::ValueAction;

impl Snapshotter {
    /// Enters a container: false, and something written in its place, if it must not be walked.
    #[inline]
    pub(super) fn enter(&mut self, object: Obj<'_>, out: &mut impl Target) -> bool {
        if self.enclosing.contains(&object.address()) {
            out.guard(|guards, _| guards.type_of(object));
            out.put_typed_text(tag::RAW, types::CYCLE, "<cycle>");
            return false;
        }
        if self.enclosing.len() >= self.limits.max_depth || out.position() >= self.budget_end {
            out.guard(|guards, _| guards.type_of(object));
            out.put_array(TRUNCATED);
            return false;
        }
        self.enclosing.push(object.address());
        out.guard(|guards, at| guards.begin_part(object, at));
        true
    }

    /// Leaves the container entered last, which is this one.
    #[inline]
    pub(super) fn leave(&mut self, object: Obj<'_>, out: &mut impl Target) {
        out.guard(|guards, at| {
            guards.close();
            guards.end_part(object, at);
        });
        self.enclosing.pop();
    }

    /// Writes a compound head now and its item count when the items are known.
    #[inline]
    pub(super) fn compound<T: Target>(
        &mut self,
        object: Obj<'_>,
        (kind, type_ref): (u8, u32),
        length: usize,
        out: &mut T,
        items: impl FnOnce(&mut Self, &mut T) -> usize,
    ) {
        out.put_u8(kind);
        out.put_u32(type_ref);
        let count_at = out.reserve_u32();
        let written = items(self, out);
        let mut count = written;
        if written < length {
            let mut more = std::mem::take(&mut self.scratch);
            more.clear();
            text::push_more(&mut more, length - written);
            out.put_typed_text(tag::RAW, types::TRUNCATED, &more);
            self.scratch = more;
            count += 1;
        }
        out.fill_u32(count_at, count as u32);
        self.leave(object, out);
    }

    /// Whether the items of a container end here: no room left, or nobody wants the rest.
    #[inline]
    pub(super) fn ends_early(&self, out: &impl Target) -> bool {
        out.position() >= self.budget_end || !out.goes_on()
    }

    /// Writes items until there are no more, or they end early; returns how many it wrote.
    #[inline]
    pub(super) fn each<T: Target, I>(
        &mut self,
        items: impl Iterator<Item = I>,
        out: &mut T,
        mut write: impl FnMut(&mut Self, I, &mut T),
    ) -> usize {
        let mut written = 0;
        for item in items {
            write(self, item, out);
            written += 1;
            if self.ends_early(out) {
                break;
            }
        }
        written
    }

    /// `special`: what is special about the type, if it is not exactly `list` or `tuple`.
    pub(super) fn sequence(
        &mut self,
        kind: Kind,
        special: Option<Trait>,
        object: Obj<'_>,
        policy: &mut impl NamePolicy,
        out: &mut impl Target,
    ) {
        let exact = special.is_none();
        let special = special.unwrap_or(Trait::Nothing);
        if special == Trait::EnumMember {
            return self.described(object, out);
        }
        if !self.enter(object, out) {
            return;
        }
        let items = object.items();
        let length = items.len();
        let (tag, type_ref) = match (kind, exact) {
            (Kind::List, true) => (tag::SEQ, types::LIST),
            (Kind::List, false) => (tag::SEQ, self.names.sequence(object.ty())),
            (_, true) => (tag::TUPLE, types::TUPLE),
            (_, false) if special != Trait::NamedTuple => (tag::TUPLE, self.names.tuple(object.ty())),
            (_, false) => match self.names.named_tuple(object.ty(), length) {
                Some(fields) => (tag::STRUCT, fields),
                None => (tag::TUPLE, self.names.tuple(object.ty())),
            },
        };
        // A struct must have as many values as its type has fields.
        let limit = if tag == tag::STRUCT { usize::MAX } else { self.limits.max_items };
        let mut items = items.take(limit);
        let hides = policy.hides_names() && tag == tag::STRUCT;
        let mut index = 0;
        out.guard(|guards, _| guards.open_sequence(kind, object));
        self.compound(object, (tag, type_ref), length, out, |this, out| {
            let mut written = 0;
            for item in items.by_ref() {
                out.guard(|guards, _| guards.item(index));
                match item {
                    Some(item) => {
                        let field = if hides { special::named_tuple_field(object, index) } else { None };
                        this.item(field.map(|name| policy.attribute(name)), item, policy, out);
                    }
                    // An item that C code has not filled in yet.
                    None => out.put_u8(tag::NONE),
                }
                index += 1;
                written += 1;
                if if tag == tag::STRUCT { !out.goes_on() } else { this.ends_early(out) } {
                    break;
                }
            }
            written
        });
    }

    pub(super) fn item<T: Target>(
        &mut self,
        action: Option<ValueAction>,
        item: Obj<'_>,
        policy: &mut impl NamePolicy,
        out: &mut T,
    ) {
        match action {
            None | Some(ValueAction::Allow) => self.value(item, policy, out),
            Some(ValueAction::Redact | ValueAction::RedactData) => {
                self.hidden.redacted += u32::from(T::WRITES);
                redacted(out);
            }
            Some(ValueAction::Drop) => {
                self.hidden.dropped += u32::from(T::WRITES);
                dropped(out);
            }
        }
    }

    /// `ty`: the type to show, if it is not exactly `dict`.
    pub(super) fn dict(
        &mut self,
        ty: Option<Type<'_>>,
        object: Obj<'_>,
        policy: &mut impl NamePolicy,
        out: &mut impl Target,
    ) {
        if !self.enter(object, out) {
            return;
        }
        let type_ref = ty.map_or(types::DICT, |ty| self.names.sequence(ty));
        let limit = self.limits.max_items;
        let hides = policy.hides_names();
        out.guard(|guards, _| guards.open_dict(object));
        self.compound(object, (tag::SEQ, type_ref), object.dict_len(), out, |this, out| {
            this.each(object.dict_entries().take(limit), out, |this, (key, value), out| {
                out.guard(|guards, _| guards.held(key));
                let action = if hides && key.kind().0 == Kind::Str { policy.dict_key(key) } else { ValueAction::Allow };
                out.put_compound(tag::TUPLE, types::TUPLE, 2);
                this.value(key, policy, out);
                out.guard(|guards, _| guards.held(value));
                this.item(Some(action), value, policy, out);
            })
        });
    }

    pub(super) fn set(
        &mut self,
        kind: Kind,
        exact: bool,
        object: Obj<'_>,
        policy: &mut impl NamePolicy,
        out: &mut impl Target,
    ) {
        if !self.enter(object, out) {
            return;
        }
        let type_ref = match (kind, exact) {
            (Kind::Set, true) => types::SET,
            (_, true) => types::FROZENSET,
            (_, false) => self.names.set(object.ty()),
        };
        let limit = self.limits.max_items;
        out.guard(|guards, _| guards.open_set(object));
        self.compound(object, (tag::SEQ, type_ref), object.set_len(), out, |this, out| {
            this.each(object.set_items().take(limit), out, |this, item, out| {
                out.guard(|guards, _| guards.held(item));
                this.value(item, policy, out);
            })
        });
    }
}
