//! For tests: a policy that hides nothing.

use super::NamePolicy;
use crate::ffi::object::Obj;
use crate::trace_filter::ValueAction;

pub struct ShowAll;

impl NamePolicy for ShowAll {
    fn hides_names(&self) -> bool {
        false
    }
    fn identity(&self) -> Option<usize> {
        Some(0)
    }
    fn attribute(&mut self, _: Obj<'_>) -> ValueAction {
        ValueAction::Allow
    }
    fn dict_key(&mut self, _: Obj<'_>) -> ValueAction {
        ValueAction::Allow
    }
}
