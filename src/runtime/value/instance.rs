//! Instances of Python classes as Structs of their own attributes.
//!
//! Invariants:
//! - What is taken from a [`Shape`] is what gathering the attributes would have found: same type, same names, none hidden.
//! - Facts are copied out of their table before a value is walked: walking may put another type in their place.

use std::rc::Rc;

use super::facts::{Attributes, Shape, SlotAttributes, SlotLayout, Storage};
use super::target::Target;
use super::{NamePolicy, Snapshotter, text};
use crate::ffi::entries::InlineAttributes;
use crate::ffi::guards::Guards;
use crate::ffi::object::{Kind, Obj};
use crate::pipeline::layout::value as tag;
use crate::pipeline::tables::types;
use crate::trace_filter::ValueAction;

/// How an instance keeps its attributes, and which of them were guarded: those in slots come first.
struct Kept<'a> {
    slots: SlotAttributes<'a>,
    others: Others<'a>,
    /// The one that is next, in slots or among the others.
    next: usize,
    past_slots: bool,
}

/// Attributes that are not in slots.
enum Others<'a> {
    InOrder(InlineAttributes<'a>),
    /// In a dict, or nowhere.
    InDict,
}

impl<'a> Kept<'a> {
    fn new(object: Obj<'a>, slots: SlotLayout) -> Self {
        let others = InlineAttributes::of(object).map_or(Others::InDict, Others::InOrder);
        Self { slots: SlotAttributes { object, slots }, others, next: 0, past_slots: false }
    }

    /// What describes instances like this one, if all attributes are kept in one way.
    fn shape(&self, policy: usize) -> Option<Shape> {
        match &self.others {
            Others::InOrder(attributes) if self.slots.count() == 0 => Shape::of(attributes, policy),
            Others::InDict if !self.slots.object.ty().has_dict() => Shape::of(&self.slots, policy),
            _ => None,
        }
    }

    /// Guards what comes before the next attribute that is set, which is `value`, and that it is; or, if that is `None`,
    /// that there is none.
    fn guard_next(&mut self, value: Option<Obj<'a>>, guards: &mut Guards) {
        if !self.past_slots {
            if guard_until(&self.slots, &mut self.next, value, guards) {
                return;
            }
            (self.past_slots, self.next) = (true, 0);
            match self.others {
                Others::InOrder(attributes) => guards.also_attributes(attributes),
                Others::InDict => guards.also_dict(),
            }
        }
        match (&self.others, value) {
            (Others::InOrder(attributes), _) => {
                guard_until(attributes, &mut self.next, value, guards);
            }
            (Others::InDict, Some(value)) => guards.held(value),
            (Others::InDict, None) => {}
        }
    }
}

/// Guards attributes from `next` on until the first that is set, which must be `value` if there is one. False: no further
/// one is set.
fn guard_until<'a>(
    attributes: &impl Attributes<'a>,
    next: &mut usize,
    value: Option<Obj<'a>>,
    guards: &mut Guards,
) -> bool {
    while *next < attributes.count() {
        let index = *next;
        attributes.guard(index, guards);
        *next += 1;
        let found = attributes.value(index);
        if value.is_some() && found.is_some() {
            if found != value {
                guards.refuse();
            }
            return true;
        }
    }
    false
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
            self.leave(object, out);
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
        let slots = Rc::clone(&self.names.facts.at(at).slots);
        let mut kept = Kept::new(object, Rc::clone(&slots));
        let shape = policy.identity().and_then(|identity| kept.shape(identity));
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
                guards.open_slots(object);
                kept.guard_next(None, guards);
                guards.close();
            });
            self.names.give_back(fields);
            return false;
        }
        if self.enclosing.len() >= self.limits.max_depth {
            out.guard(|guards, _| {
                guards.aside(|guards| {
                    guards.open_slots(object);
                    kept.guard_next(Some(fields.get(object, 0).1), guards);
                    guards.close();
                });
            });
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
        out.guard(|guards, _| guards.open_slots(object));
        out.put_compound(tag::STRUCT, type_ref, (length + usize::from(more)) as u32);
        for index in 0..length {
            let (name, value) = fields.get(object, index);
            let action = if hides { policy.attribute(name) } else { ValueAction::Allow };
            hidden |= action != ValueAction::Allow;
            out.guard(|guards, _| kept.guard_next(Some(value), guards));
            self.item(Some(action), value, policy, out);
            if !out.goes_on() {
                break;
            }
        }
        out.guard(|guards, _| kept.guard_next(None, guards));
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
        self.leave(object, out);
        self.names.give_back(fields);
        true
    }
}
