//! Walking again only that part of a remembered value that changed.
//!
//! Invariants:
//! - A part is walked with the containers around it that it had, and within the same limits, so the whole reads as if all of
//!   it had been walked. Where that is not certain (something is hidden in it, it gets too long) nothing is mended.
//! - It ends only when all guards hold; else the value must be walked.

use super::super::target::Guarded;
use super::super::{NamePolicy, Snapshotter};
use super::{Entry, Hidden};
use crate::ffi::guards::{Guards, Verdict};
use crate::ffi::object::Obj;

/// Where more parts than this have changed, the value is walked.
const MOST_PARTS: usize = 8;

/// Room for a part.
#[derive(Debug, Default)]
pub(super) struct Spare {
    guards: Guards,
    bytes: Vec<u8>,
    /// How often it went well.
    #[cfg(test)]
    mended: usize,
}

impl Spare {
    /// Guards with room, for a value that has none yet: growing bit by bit costs more than the walk.
    pub(super) fn lend(&mut self, guards: &mut Guards) {
        std::mem::swap(guards, &mut self.guards);
    }

    /// Takes the room back, and leaves a copy.
    pub(super) fn take_back(&mut self, guards: &mut Guards) {
        let compact = guards.compact();
        self.guards = std::mem::replace(guards, compact);
    }
}

impl Snapshotter {
    /// Brings an entry up to date that was found to be wrong just now; if that fails, it is to be written anew.
    pub(super) fn mend(&mut self, entry: &mut Entry, root: Obj<'_>, policy: &mut impl NamePolicy) -> bool {
        if !entry.complete || entry.broken != self.memo.now || entry.hidden != Hidden::default() {
            return false;
        }
        let mut spare = self.memo.spare.take().unwrap_or_default();
        let (hidden, budget_end) = (self.hidden, self.budget_end);
        // The room that is left is looked at when the whole is copied.
        self.budget_end = self.limits.max_bytes_per_step;
        let mended = self.mend_parts(entry, root, policy, &mut spare);
        self.enclosing.clear();
        self.budget_end = budget_end;
        #[cfg(test)]
        {
            spare.mended += usize::from(mended.is_some());
        }
        self.memo.spare = Some(spare);
        let differs = match mended {
            Some(differs) if self.hidden == hidden => differs,
            _ => {
                self.hidden = hidden;
                entry.content = 0;
                return false;
            }
        };
        if differs || entry.content == 0 {
            entry.content = self.memo.contents.next();
        }
        true
    }

    /// Whether the bytes differ from what they were; `None` if it cannot be done.
    fn mend_parts(
        &mut self,
        entry: &mut Entry,
        root: Obj<'_>,
        policy: &mut impl NamePolicy,
        spare: &mut Spare,
    ) -> Option<bool> {
        let mut differs = false;
        let mut at = entry.broken_at;
        for _ in 0..MOST_PARTS {
            self.enclosing.clear();
            let broken = entry.guards.broken_part(root, at, &mut self.enclosing)?;
            let Spare { guards, bytes, .. } = &mut *spare;
            bytes.clear();
            guards.begin(broken.object);
            self.value(broken.object, policy, &mut Guarded::new(bytes, guards));
            if !guards.is_complete() || bytes.len() + entry.bytes.len() >= self.budget_end {
                return None;
            }
            let (other, behind) = entry.guards.replace(&broken, guards, bytes, &mut entry.bytes)?;
            differs |= other;
            match entry.guards.check_from(root, behind, &mut entry.bytes) {
                Verdict::Same => return Some(differs),
                Verdict::Renewed => return Some(true),
                Verdict::Broken { at: next, renewed } => {
                    differs |= renewed;
                    at = next;
                }
            }
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says what is wrong by failing
mod tests {
    use std::sync::Arc;

    use pyo3::prelude::*;
    use pyo3::types::PyDict;

    use super::super::tests::recall;
    use super::*;
    use crate::ffi::{probe, with_obj};
    use crate::pipeline::tables::Tables;
    use crate::runtime::value::Limits;
    use crate::runtime::value::names::SharedTypes;
    use crate::runtime::value::show_all::ShowAll;

    const WORLD: &std::ffi::CStr = c"
import random
from collections import deque
class Plain: pass
class Other: pass
class Slotted: __slots__ = ('a', 'b')
chance = random.Random(1)
containers = []
def number(): return chance.choice([1, 2, 1000 + chance.randrange(5), 2.5, 10 ** 12 + chance.randrange(5)])
def text(): return 't' * chance.randrange(1, 12)
def leaf(): return chance.choice([number, text, lambda: None, lambda: True])()
def make(depth):
    if depth == 0 or chance.random() < 0.3:
        return leaf()
    kind = chance.randrange(8)
    inner = [make(depth - 1) for _ in range(chance.randrange(4))]
    if kind == 0:
        made = inner
    elif kind == 1:
        made = tuple(inner)
    elif kind == 2:
        made = dict(enumerate(inner))
    elif kind == 3:
        made = deque(inner)
    elif kind == 4:
        made = Slotted()
        made.a = inner
    else:
        made = Plain() if kind < 7 else Other()
        for index, item in enumerate(inner):
            setattr(made, 'abcd'[index], item)
    containers.append(made)
    return made
value = [make(3) for _ in range(6)]
def change():
    # One of those that are still in the value.
    target = value
    for _ in range(chance.randrange(4)):
        inner = []
        if isinstance(target, (list, tuple, deque)):
            inner = list(target)
        elif isinstance(target, dict):
            inner = list(target.values())
        elif isinstance(target, Slotted):
            inner = [target.a]
        else:
            inner = [getattr(target, name) for name in 'abcd' if hasattr(target, name)]
        inner = [item for item in inner if type(item) in (list, tuple, dict, deque, Slotted, Plain, Other)]
        if not inner:
            break
        target = chance.choice(inner)
    new = make(2) if chance.random() < 0.3 else leaf()
    if isinstance(target, list) and target is not value:
        chance.choice([lambda: target.append(new), lambda: target and target.pop(0), lambda: target.insert(0, new)])()
    elif isinstance(target, deque):
        chance.choice([lambda: target.append(new), lambda: target and target.popleft()])()
    elif isinstance(target, dict):
        target[chance.randrange(5)] = new
    elif isinstance(target, Slotted):
        target.b = new
    elif isinstance(target, (Plain, Other)):
        if chance.random() < 0.01:
            target.__class__ = Plain if isinstance(target, Other) else Other
        else:
            setattr(target, chance.choice('abcd'), new)
    elif chance.random() < 0.4:
        value[chance.randrange(len(value))] = make(3)
";

    #[test]
    fn a_part_that_changed_is_walked_alone_and_the_whole_reads_as_if_all_of_it_had_been() {
        Python::initialize();
        Python::attach(|py| {
            assert_eq!(probe::decide_frame_access(py), None);
            let names = Arc::new(SharedTypes::new(Arc::new(Tables::new())));
            let limits = Limits { max_depth: 3, max_items: 5, max_string: 1000, max_bytes_per_step: 65_536 };
            let mut snapshotter = Snapshotter::new(limits, Arc::clone(&names));
            let mut oracle = Snapshotter::new(limits, names);
            let scope = PyDict::new(py);
            py.run(WORLD, Some(&scope), None).unwrap();
            let value = scope.get_item("value").unwrap().unwrap();
            let change = scope.get_item("change").unwrap().unwrap();
            let mut changed = 0;
            let mut before = Vec::new();
            for round in 0..3000 {
                for _ in 0..round % 3 {
                    change.call0().unwrap();
                }
                let (_, bytes) = recall(&mut snapshotter, &value);
                let mut fresh = Vec::new();
                oracle.begin_step(0);
                with_obj(&value, |object| oracle.write(object, &mut ShowAll, &mut fresh));
                assert!(bytes.is_empty() || bytes == fresh, "round {round} is told wrong");
                changed += usize::from(before != fresh);
                before = fresh;
            }
            let mended = snapshotter.memo.spare.as_ref().unwrap().mended;
            assert!(changed > 500, "{changed} changes that show are too few");
            assert!(mended * 2 > changed, "{mended} of {changed} changes were mended");
        });
    }
}
