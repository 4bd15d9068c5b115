//! Instances of Python classes as Structs of their own attributes.
//!
//! Invariants:
//! - What is taken from a [`Shape`] is what gathering the attributes would have found: same type, same names, none hidden.
//! - Facts are copied out of their table before a value is walked: walking may put another type in their place.

use std::rc::Rc;

use super::facts::{Attributes, Shape, SlotAttributes, Storage};
use super::target::Target;
use super::{NamePolicy, Snapshotter, text};
use crate::ffi::entries::InlineAttributes;
use crate::ffi::guards::Guards;
use crate::ffi::object::{Kind, Obj};
use crate::pipeline::layout::value as tag;
use crate::pipeline::tables::types;
use crate::trace_filter::ValueAction;

/// How an instance keeps its attributes.
enum Kept<'a> {
    InOrder(InlineAttributes<'a>),
    InSlots(SlotAttributes<'a>),
    Otherwise,
}

impl<'a> Kept<'a> {
    fn open(&self, object: Obj<'a>, guards: &mut Guards) {
        match self {
            Self::InOrder(attributes) => attributes.open(object, guards),
            Self::InSlots(attributes) => attributes.open(object, guards),
            Self::Otherwise => guards.refuse(),
        }
    }

    /// Guards the attributes from `next` on until the first that is set, which is `value`; or, if that is `None`, all.
    /// Returns the one behind.
    fn guard_until(&self, next: usize, value: Option<Obj<'a>>, guards: &mut Guards) -> usize {
        match self {
            Self::InOrder(attributes) => guard_until(attributes, next, value, guards),
            Self::InSlots(attributes) => guard_until(attributes, next, value, guards),
            Self::Otherwise => next,
        }
    }
}

fn guard_until<'a>(
    attributes: &impl Attributes<'a>,
    next: usize,
    value: Option<Obj<'a>>,
    guards: &mut Guards,
) -> usize {
    for index in next..attributes.count() {
        attributes.guard(index, guards);
        let found = attributes.value(index);
        if value.is_some() && found.is_some() {
            if found != value {
                guards.refuse();
            }
            return index + 1;
        }
    }
    attributes.count()
}

impl Snapshotter {
    /// An instance of a Python class as a Struct of its own attributes, if it has any.
    pub(super) fn instance(&mut self, at: usize, object: Obj<'_>, policy: &mut impl NamePolicy, out: &mut impl Target) {
        let facts = self.names.facts.at(at);
        let known = facts.shape;
        let done = match facts.storage {
            Storage::Dict => InlineAttributes::of(object)
                .is_some_and(|attributes| self.instance_as_known(&attributes, known, object, policy, out)),
            Storage::Slots => {
                let attributes = SlotAttributes { object, slots: Rc::clone(&facts.slots) };
                self.instance_as_known(&attributes, known, object, policy, out)
            }
            Storage::SlotsAndDict => false,
            Storage::Nowhere => {
                out.guard(|guards, _| guards.type_of(object));
                return self.identified(object, out);
            }
        };
        if !done && !self.instance_at_length(at, object, policy, out) {
            self.identified(object, out);
        }
    }

    /// An instance that is like the one of its type met last, if it is.
    #[inline]
    fn instance_as_known<'a>(
        &mut self,
        attributes: &impl Attributes<'a>,
        known: Option<Shape>,
        object: Obj<'a>,
        policy: &mut impl NamePolicy,
        out: &mut impl Target,
    ) -> bool {
        let len = attributes.count();
        if self.enclosing.len() >= self.limits.max_depth
            && let Some(first) = (0..len).find(|&index| attributes.value(index).is_some())
        {
            out.guard(|guards, _| {
                attributes.open(object, guards);
                attributes.guard_presence(first, guards);
                guards.close();
            });
            return !self.enter(object, out);
        }
        let (Some(known), Some(identity)) = (known, policy.identity()) else { return false };
        let Some(type_ref) = Shape::of(attributes, identity).and_then(|shape| shape.type_in(known)) else {
            return false;
        };
        if self.enter(object, out) {
            out.guard(|guards, _| attributes.open(object, guards));
            out.put_compound(tag::STRUCT, type_ref, known.fields() as u32);
            for index in 0..len {
                out.guard(|guards, _| attributes.guard(index, guards));
                let Some(value) = attributes.value(index) else { continue };
                self.value(value, policy, out);
                if !out.goes_on() {
                    break;
                }
            }
            out.guard(|guards, _| guards.close());
            self.enclosing.pop();
        }
        true
    }

    /// The same for attributes that are kept otherwise than those met last; false if there are none.
    fn instance_at_length(
        &mut self,
        at: usize,
        object: Obj<'_>,
        policy: &mut impl NamePolicy,
        out: &mut impl Target,
    ) -> bool {
        let facts = self.names.facts.at(at);
        let (storage, slots) = (facts.storage, Rc::clone(&facts.slots));
        let kept = match storage {
            Storage::Dict => InlineAttributes::of(object).map_or(Kept::Otherwise, Kept::InOrder),
            Storage::Slots => Kept::InSlots(SlotAttributes { object, slots: Rc::clone(&slots) }),
            _ => Kept::Otherwise,
        };
        let shape = match (&kept, policy.identity()) {
            (_, None) | (Kept::Otherwise, _) => None,
            (Kept::InOrder(attributes), Some(identity)) => Shape::of(attributes, identity),
            (Kept::InSlots(attributes), Some(identity)) => Shape::of(attributes, identity),
        };
        if matches!(kept, Kept::Otherwise) {
            out.guard(|guards, _| guards.refuse());
        }
        let mut fields = self.names.take_fields();
        let mut total = 0;
        let limit = self.limits.max_items;
        let mut add = |name: Obj<'_>, value: Obj<'_>| {
            total += 1;
            if total <= limit && name.kind().0 == Kind::Str {
                fields.push(name.address(), value.address(), name.str_hash());
            }
        };
        for &(name, offset) in slots.iter() {
            if let Some(value) = object.slot_value(offset) {
                add(object.kept_alive(name), value);
            }
        }
        object.dict_attributes(&mut add);
        if fields.is_empty() {
            out.guard(|guards, _| {
                kept.open(object, guards);
                kept.guard_until(0, None, guards);
                guards.close();
            });
            self.names.give_back(fields);
            return false;
        }
        if !self.enter(object, out) {
            self.names.give_back(fields);
            return true;
        }
        let type_ref = self.names.structure(object.ty(), &fields, total > limit);
        let hides = policy.hides_names();
        // One more value stands for what is left out; its field name is in the type.
        let length = fields.len();
        let more = total > limit;
        let mut hidden = false;
        let mut next = 0;
        out.guard(|guards, _| kept.open(object, guards));
        out.put_compound(tag::STRUCT, type_ref, (length + usize::from(more)) as u32);
        for index in 0..length {
            let (name, value) = fields.get(object, index);
            let action = if hides { policy.attribute(name) } else { ValueAction::Allow };
            hidden |= action != ValueAction::Allow;
            out.guard(|guards, _| next = kept.guard_until(next, Some(value), guards));
            self.item(Some(action), value, policy, out);
            if !out.goes_on() {
                break;
            }
        }
        out.guard(|guards, _| {
            kept.guard_until(next, None, guards);
            guards.close();
        });
        if more {
            self.scratch.clear();
            text::push_more(&mut self.scratch, total - limit);
            out.put_typed_text(tag::RAW, types::TRUNCATED, &self.scratch);
        }
        if let Some(shape) = shape
            && shape.fields() == length
            && !hidden
            && !more
            && out.goes_on()
        {
            self.names.facts.set_shape(at, object.ty(), shape.with_type(type_ref));
        }
        self.enclosing.pop();
        self.names.give_back(fields);
        true
    }
}
