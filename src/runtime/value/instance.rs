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
use crate::ffi::object::{Kind, Obj};
use crate::pipeline::layout::value as tag;
use crate::pipeline::tables::types;
use crate::trace_filter::ValueAction;

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
            Storage::Nowhere => return self.identified(object, out),
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
        if self.enclosing.len() >= self.limits.max_depth && (0..len).any(|index| attributes.value(index).is_some()) {
            return !self.enter(object, out);
        }
        let (Some(known), Some(identity)) = (known, policy.identity()) else { return false };
        let Some(type_ref) = Shape::of(attributes, identity).and_then(|shape| shape.type_in(known)) else {
            return false;
        };
        if self.enter(object, out) {
            out.put_compound(tag::STRUCT, type_ref, known.fields() as u32);
            for index in 0..len {
                let Some(value) = attributes.value(index) else { continue };
                self.value(value, policy, out);
                if !out.goes_on() {
                    break;
                }
            }
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
        let shape = match (storage, policy.identity()) {
            (_, None) => None,
            (Storage::Dict, Some(identity)) => {
                InlineAttributes::of(object).and_then(|attributes| Shape::of(&attributes, identity))
            }
            (Storage::Slots, Some(identity)) => {
                Shape::of(&SlotAttributes { object, slots: Rc::clone(&slots) }, identity)
            }
            _ => None,
        };
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
        out.put_compound(tag::STRUCT, type_ref, (length + usize::from(more)) as u32);
        for index in 0..length {
            let (name, value) = fields.get(object, index);
            let action = if hides { policy.attribute(name) } else { ValueAction::Allow };
            hidden |= action != ValueAction::Allow;
            self.item(Some(action), value, policy, out);
            if !out.goes_on() {
                break;
            }
        }
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
