//! Variables that live in a dict: module globals, class bodies, `exec` with separate locals.
//!
//! Invariants:
//! - A name keeps its slot for the life of the frame; slots are declared in the stream before their first use.
//! - Names are recognised by address *and* hash of the string, position by position.
//! - Where all that happened to a namespace is known, only that is looked at, and the *loose* names, whose values can
//!   change without it. So a module that defines thousands of names does not pay for all of them at each of its lines.
//!   It is known where the table is the same, all names in it are where they were, and names that are new and entries that
//!   hold another object are as many as there were changes of any dict: each change makes one of these at most, and one
//!   that takes a name away none. (Filling an empty dict from another makes many, and gives it another table.)
//! - At most 65,535 slots per frame (16-bit slot numbers); further names are not shown and are counted.

use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::ffi::dict_changes::changes_between;
use crate::ffi::entries::NameTable;
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
    by_text: FxHashMap<Rc<str>, usize>,
    epoch: u32,
    overflow: u64,
    seen: Option<Seen>,
    /// What the entries of the dict's table held then.
    held: Vec<Held>,
    /// In the order of the entries.
    loose: Vec<Loose>,
    /// The entries that hold another object now.
    replaced: Vec<u32>,
}

#[derive(Debug)]
struct Variable {
    name: (usize, isize),
    /// `None`: never shown.
    slot: Option<u16>,
    declared: bool,
    action: ValueAction,
    epoch: u32,
    text: Rc<str>,
    cache: SlotCache,
}

/// The state of the dict that was looked at last.
#[derive(Debug, Clone, Copy)]
struct Seen {
    version: u64,
    /// Where its table is, entries in it, and whether none of them was deleted.
    table: usize,
    entries: usize,
    dense: bool,
}

/// An entry: addresses of a name and its value, null in one that was deleted.
#[derive(Debug, Clone, Copy)]
struct Held {
    addresses: (usize, usize),
    /// [`NO_VARIABLE`] where the name is none.
    variable: u32,
}

const NO_VARIABLE: u32 = u32::MAX;

/// More changes of values than this in one line are not searched for one by one.
const MAX_REPLACED: u64 = 16;

/// A name whose value can change without the dict, or that has just got another one.
#[derive(Debug, Clone, Copy)]
struct Loose {
    /// Where in the dict's table it is.
    entry: u32,
    variable: u32,
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
        let table = namespace.name_table();
        let mut hidden = 0;
        match self.unchanged(namespace, table) {
            Some(known) => {
                self.loosen_replaced(table);
                hidden += self.look_at_loose(table, shown, sink);
                for (entry, addresses) in table.addresses().enumerate().skip(known) {
                    self.held.push(Held { addresses, variable: NO_VARIABLE });
                    let Some((key, value)) = table.entry(entry) else { continue };
                    // Names that come new come in the order of the variables.
                    let next = self.variables.len();
                    if let Some(index) = self.variable(next, key, shown, first_slot, action_of) {
                        hidden += self.show(index, entry, value, shown, sink);
                    }
                }
            }
            None => hidden += self.look_at_all(namespace, table, shown, first_slot, action_of, sink),
        }
        // Without a table there are no entries to come back to.
        self.seen = namespace.dict_version().filter(|_| !table.is_empty()).map(|version| Seen {
            version,
            table: table.address(),
            entries: table.len(),
            dense: table.len() == namespace.dict_len(),
        });
        hidden
    }

    /// How many entries of the table are for the names they were for when the dict was looked at last, if all that happened
    /// since is known: what is behind them is new, and those in `replaced` hold another object.
    fn unchanged(&mut self, namespace: Obj<'_>, table: NameTable<'_>) -> Option<usize> {
        self.replaced.clear();
        let seen = self.seen?;
        let changes = changes_between(seen.version, namespace.dict_version()?)?;
        if changes == 0 {
            return Some(seen.entries);
        }
        let added = table.len().checked_sub(seen.entries)? as u64;
        let wanted = changes.checked_sub(added)?;
        // The table moves when it grows, which is seldom, and when a dict is emptied and filled from another one at once.
        if !seen.dense || seen.table != table.address() || namespace.dict_len() != table.len() || wanted > MAX_REPLACED
        {
            return None;
        }
        for (at, (now, held)) in table.addresses().zip(&self.held).enumerate() {
            if now == held.addresses {
                continue;
            }
            if now.0 != held.addresses.0 || self.replaced.len() as u64 == wanted {
                return None;
            }
            self.replaced.push(at as u32);
        }
        // A name that was taken away counts twice, and would be found here once at most, if it was added again where it
        // was: so if as many are found as are wanted, no name was taken away.
        (self.replaced.len() as u64 == wanted).then_some(seen.entries)
    }

    /// What was replaced is to be looked at.
    fn loosen_replaced(&mut self, table: NameTable<'_>) {
        for at in self.replaced.iter().copied() {
            let Some(held) = self.held.get_mut(at as usize) else { continue };
            held.addresses = table.addresses_at(at as usize).unwrap_or_default();
            if held.variable != NO_VARIABLE
                && let Err(place) = self.loose.binary_search_by_key(&at, |loose| loose.entry)
            {
                self.loose.insert(place, Loose { entry: at, variable: held.variable });
            }
        }
    }

    fn look_at_loose<P: NamePolicy>(&mut self, table: NameTable<'_>, shown: Shown, sink: &mut Sink<'_, P>) -> u64 {
        let mut hidden = 0;
        let variables = &mut self.variables;
        self.loose.retain(|Loose { entry, variable }| {
            let Some(variable) = variables.get_mut(*variable as usize).filter(|variable| variable.slot.is_some())
            else {
                return false;
            };
            if let Some((_, value)) = table.entry(*entry as usize)
                && !variable.cache.has(Some(value), sink.snapshotter)
            {
                hidden += variable.send(value, shown, sink);
            }
            !variable.cache.is_settled()
        });
        hidden
    }

    fn look_at_all<P: NamePolicy>(
        &mut self,
        namespace: Obj<'_>,
        table: NameTable<'_>,
        shown: Shown,
        first_slot: usize,
        action_of: &mut dyn FnMut(&str) -> ValueAction,
        sink: &mut Sink<'_, P>,
    ) -> u64 {
        self.loose.clear();
        self.held.clear();
        self.held.extend(table.addresses().map(|addresses| Held { addresses, variable: NO_VARIABLE }));
        self.epoch = self.epoch.wrapping_add(1);
        let (mut position, mut met, mut hidden) = (0, 0, 0);
        let in_table = (0..table.len()).filter_map(|at| table.entry(at).map(|(key, value)| (at, key, value)));
        // Nobody comes back to these.
        let elsewhere = table.is_empty().then(|| namespace.dict_entries().map(|(key, value)| (0, key, value)));
        for (entry, key, value) in in_table.chain(elsewhere.into_iter().flatten()) {
            let Some(index) = self.variable(position, key, shown, first_slot, action_of) else { continue };
            position = index + 1;
            let epoch = self.epoch;
            if let Some(variable) = self.variables.get_mut(index)
                && variable.epoch != epoch
            {
                variable.epoch = epoch;
                met += 1;
            }
            hidden += self.show(index, entry, value, shown, sink);
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

    /// Sends a variable if it changed, and notes whether it is loose.
    #[inline]
    fn show<P: NamePolicy>(
        &mut self,
        index: usize,
        entry: usize,
        value: Obj<'_>,
        shown: Shown,
        sink: &mut Sink<'_, P>,
    ) -> u64 {
        let Some(variable) = self.variables.get_mut(index).filter(|variable| variable.slot.is_some()) else { return 0 };
        if let Some(held) = self.held.get_mut(entry) {
            held.variable = index as u32;
        }
        let mut hidden = 0;
        if !variable.cache.has(Some(value), sink.snapshotter) {
            hidden = variable.send(value, shown, sink);
        }
        if !variable.cache.is_settled() {
            self.loose.push(Loose { entry: entry as u32, variable: index as u32 });
        }
        hidden
    }

    /// The variable of a name, which is at `position` if nothing changed; `None` for what is no name.
    #[inline]
    fn variable(
        &mut self,
        position: usize,
        key: Obj<'_>,
        shown: Shown,
        first_slot: usize,
        action_of: &mut dyn FnMut(&str) -> ValueAction,
    ) -> Option<usize> {
        if key.kind() != (Kind::Str, true) {
            return None;
        }
        let name = (key.address(), key.str_hash());
        Some(match self.variables.get(position) {
            Some(variable) if variable.name == name => position,
            _ => self.find(name, key, shown, first_slot, action_of),
        })
    }

    /// The encoder forgot this frame's slots.
    pub fn invalidate(&mut self) {
        for variable in &mut self.variables {
            variable.declared = false;
            variable.cache.invalidate();
        }
        self.seen = None;
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
        let text: Rc<str> = lossy(key).into();
        // The same name as another string object, e.g. after `globals()["x"]` was deleted and set again.
        if let Some(&index) = self.by_text.get(&text) {
            self.by_name.insert(name, index);
            return index;
        }
        let index = self.variables.len();
        let wanted = shown == Shown::Local || !MACHINERY.contains(&&*text);
        let slot = if wanted { u16::try_from(first_slot + index).ok() } else { None };
        self.overflow += u64::from(wanted && slot.is_none());
        let action = action_of(&text);
        self.variables.push(Variable {
            name,
            slot,
            declared: false,
            action,
            epoch: self.epoch.wrapping_sub(1),
            text: Rc::clone(&text),
            cache: SlotCache::default(),
        });
        self.by_text.insert(text, index);
        self.by_name.insert(name, index);
        index
    }
}

impl Variable {
    /// Sends what the encoder does not have; how many values were hidden.
    fn send<P: NamePolicy>(&mut self, value: Obj<'_>, shown: Shown, sink: &mut Sink<'_, P>) -> u64 {
        let Some(slot) = self.slot else { return 0 };
        if shown == Shown::GlobalData && value.is_code() {
            self.cache.unset(slot, sink.out);
            return 0;
        }
        if !self.declared {
            self.declared = true;
            sink.out.put_u8(record::DECLARE);
            sink.out.put_u16(slot);
            let text = &self.text.as_bytes()[..self.text.len().min(usize::from(u16::MAX))];
            sink.out.put_u16(text.len() as u16);
            sink.out.put_bytes(text);
        }
        u64::from(update(&mut self.cache, slot, Some(value), self.action, sink.snapshotter, sink.policy, sink.out))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says what is wrong by failing
mod tests;
