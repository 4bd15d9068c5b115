//! Deques, as lists of their own type.
//!
//! Invariants: as for [`Snapshotter`].

use super::target::Target;
use super::{NamePolicy, Snapshotter};
use crate::ffi::deque::deque_items;
use crate::ffi::object::Obj;
use crate::ffi::python_types::{Owned, c_items};
use crate::pipeline::layout::value as tag;

impl Snapshotter {
    /// A deque, or an instance of a class that derives from it; false, and nothing written, if its items cannot be read.
    pub(super) fn deque(&mut self, object: Obj<'_>, policy: &mut impl NamePolicy, out: &mut impl Target) -> bool {
        let limit = self.limits.max_items;
        if let Some(items) = deque_items(object) {
            if self.enter(object, out) {
                out.guard(|guards, _| guards.open_deque(object));
                let length = items.len();
                let type_ref = self.names.sequence(object.ty());
                self.compound(object, (tag::SEQ, type_ref), length, out, |this, out| {
                    this.each(items.take(limit), out, |this, (place, item), out| {
                        out.guard(|guards, _| guards.deque_item(place));
                        this.value(item, policy, out);
                    })
                });
            }
            return true;
        }
        out.guard(|guards, _| guards.refuse());
        let Some((items, length)) = c_items(object, limit) else { return false };
        if self.enter(object, out) {
            let type_ref = self.names.sequence(object.ty());
            self.compound(object, (tag::SEQ, type_ref), length, out, |this, out| {
                this.each(items.iter().filter_map(Owned::get), out, |this, item, out| this.value(item, policy, out))
            });
        }
        true
    }
}
