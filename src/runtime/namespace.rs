//! Variables that live in a dict: module globals, class bodies, `exec` with separate locals.
//!
//! Invariants:
//! - A name keeps its slot for the life of the frame; slots are declared in the stream before their first use.
//! - Names are recognised by address *and* hash of the string, position by position: a namespace that did not change
//!   costs one comparison per name, no hashing.
//! - At most 65,535 slots per frame (16-bit slot numbers); further names are not shown and are counted.

use rustc_hash::FxHashMap;

use crate::ffi::object::{Kind, Obj, lossy};
use crate::pipeline::layout::{Put, record};
use crate::runtime::slots::{SlotCache, update};
use crate::runtime::value::{NamePolicy, Snapshotter};
use crate::trace_filter::ValueAction;

/// Names the import machinery puts into every module: they say nothing about the program.
const MACHINERY: [&str; 10] = [
    "__name__",
    "__doc__",
    "__package__",
    "__loader__",
    "__spec__",
    "__file__",
    "__cached__",
    "__builtins__",
    "__annotations__",
    "__conditional_annotations__",
];

/// Which names of a namespace are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// A module's own names: all but the import machinery's.
    Module,
    /// A class body: all.
    Local,
    /// The globals around a function: data only.
    GlobalData,
}

/// One frame's view of a namespace.
#[derive(Debug, Default)]
pub struct NamespaceView {
    variables: Vec<Variable>,
    by_name: FxHashMap<(usize, isize), usize>,
    epoch: u32,
    overflow: u64,
}

#[derive(Debug)]
struct Variable {
    name: (usize, isize),
    /// `None`: never shown.
    slot: Option<u16>,
    declared: bool,
    action: ValueAction,
    epoch: u32,
    text: String,
    cache: SlotCache,
}

/// Everything an update needs from its thread.
pub struct Sink<'a, P> {
    pub snapshotter: &'a mut Snapshotter,
    pub policy: &'a mut P,
    pub out: &'a mut Vec<u8>,
}

impl NamespaceView {
    /// Sends what changed in `namespace`. `first_slot` is the first dynamic slot of the frame; `action_of` decides about
    /// a name when it is met first. Returns how many values were hidden.
    pub fn sync<P: NamePolicy>(
        &mut self,
        namespace: Obj<'_>,
        shown: Shown,
        first_slot: usize,
        action_of: &mut dyn FnMut(&str) -> ValueAction,
        sink: &mut Sink<'_, P>,
    ) -> u64 {
        if namespace.kind().0 != Kind::Dict {
            return 0;
        }
        self.epoch = self.epoch.wrapping_add(1);
        let (mut position, mut met, mut hidden) = (0, 0, 0);
        for (key, value) in namespace.dict_entries() {
            if key.kind() != (Kind::Str, true) {
                continue;
            }
            let name = (key.address(), key.str_hash());
            let index = match self.variables.get(position) {
                Some(variable) if variable.name == name => position,
                _ => self.find(name, key, shown, first_slot, action_of),
            };
            position = index + 1;
            let epoch = self.epoch;
            let Some(variable) = self.variables.get_mut(index) else { continue };
            if variable.epoch != epoch {
                variable.epoch = epoch;
                met += 1;
            }
            let Some(slot) = variable.slot else { continue };
            if variable.cache.has(Some(value), sink.snapshotter) {
                continue;
            }
            if shown == Shown::GlobalData && value.is_code() {
                variable.cache.unset(slot, sink.out);
                continue;
            }
            if !variable.declared {
                variable.declared = true;
                sink.out.put_u8(record::DECLARE);
                sink.out.put_u16(slot);
                let text = &variable.text.as_bytes()[..variable.text.len().min(usize::from(u16::MAX))];
                sink.out.put_u16(text.len() as u16);
                sink.out.put_bytes(text);
            }
            hidden += u64::from(update(
                &mut variable.cache,
                slot,
                Some(value),
                variable.action,
                sink.snapshotter,
                sink.policy,
                sink.out,
            ));
        }
        if met < self.variables.len() {
            for variable in self.variables.iter_mut().filter(|variable| variable.epoch != self.epoch) {
                if let Some(slot) = variable.slot
                    && variable.declared
                {
                    variable.cache.unset(slot, sink.out);
                }
            }
        }
        hidden
    }

    /// The encoder forgot this frame's slots.
    pub fn invalidate(&mut self) {
        for variable in &mut self.variables {
            variable.declared = false;
            variable.cache.invalidate();
        }
    }

    fn find(
        &mut self,
        name: (usize, isize),
        key: Obj<'_>,
        shown: Shown,
        first_slot: usize,
        action_of: &mut dyn FnMut(&str) -> ValueAction,
    ) -> usize {
        if let Some(&index) = self.by_name.get(&name) {
            return index;
        }
        let text = lossy(key);
        // The same name as another string object, e.g. after `globals()["x"]` was deleted and set again.
        if let Some(index) = self.variables.iter().position(|variable| variable.text == text) {
            self.by_name.insert(name, index);
            return index;
        }
        let index = self.variables.len();
        let wanted = shown == Shown::Local || !MACHINERY.contains(&text.as_str());
        let slot = if wanted { u16::try_from(first_slot + index).ok() } else { None };
        self.overflow += u64::from(wanted && slot.is_none());
        let action = action_of(&text);
        self.variables.push(Variable {
            name,
            slot,
            declared: false,
            action,
            epoch: self.epoch.wrapping_sub(1),
            text,
            cache: SlotCache::default(),
        });
        self.by_name.insert(name, index);
        index
    }
}
