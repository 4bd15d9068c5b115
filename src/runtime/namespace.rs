//! Variables that live in a dict: module globals, class bodies, `exec` with separate locals.
//!
//! Invariants:
//! - A name keeps its slot for the life of the frame; slots are declared in the stream before their first use.
//! - Names are recognised by address *and* hash of the string, position by position.
//! - Where all that happened to a namespace is known, only that is looked at, and the *loose* names, whose values can
//!   change without it. So a module that defines thousands of names does not pay for all of them at each of its lines.
//!   It is known where the table is the same, all names in it are where they were, and names that are new and entries that
//!   hold another object are as many as there were changes of any dict: each change makes one of these at most, and one
//!   that takes a name away none.
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
mod tests {
    use std::ffi::CString;
    use std::sync::Arc;

    use proptest::prelude::*;
    use pyo3::prelude::*;
    use pyo3::types::{PyDict, PyString};

    use super::*;
    use crate::ffi::{probe, with_obj};
    use crate::pipeline::tables::Tables;
    use crate::runtime::value::Limits;
    use crate::runtime::value::names::SharedTypes;

    struct ShowAll;

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

    /// A view, and what it needs; an oracle looks at everything every time.
    struct Viewer {
        view: NamespaceView,
        snapshotter: Snapshotter,
        looks_at_all: bool,
    }

    impl Viewer {
        fn new(looks_at_all: bool) -> Self {
            let limits = Limits { max_depth: 3, max_items: 20, max_string: 1000, max_bytes_per_step: 65_536 };
            let types = Arc::new(SharedTypes::new(Arc::new(Tables::new())));
            Self { view: NamespaceView::default(), snapshotter: Snapshotter::new(limits, types), looks_at_all }
        }

        fn step(&mut self, namespace: &Bound<'_, PyDict>, shown: Shown) -> Vec<u8> {
            let mut out = Vec::new();
            self.snapshotter.begin_step(0);
            if self.looks_at_all {
                self.view.seen = None;
            }
            let mut sink = Sink { snapshotter: &mut self.snapshotter, policy: &mut ShowAll, out: &mut out };
            with_obj(namespace, |namespace| {
                self.view.sync(namespace, shown, 0, &mut |_| ValueAction::Allow, &mut sink);
            });
            out
        }
    }

    fn run(py: Python<'_>, namespace: &Bound<'_, PyDict>, source: &str) {
        py.run(&CString::new(source).unwrap(), Some(namespace), None).unwrap();
    }

    /// Compiled before, so that nothing but its own doing is between two looks: the compiler puts names into a dict, too.
    fn compiled<'py>(py: Python<'py>, source: &str) -> Bound<'py, PyAny> {
        py.import("builtins").unwrap().call_method1("compile", (source, "m", "exec")).unwrap()
    }

    fn fresh(py: Python<'_>) -> Bound<'_, PyDict> {
        Python::initialize();
        assert_eq!(probe::decide_frame_access(py), None);
        let namespace = PyDict::new(py);
        // What the changes below need is there from the start.
        run(py, &namespace, "kept = [1]\nkind = type('K', (), {})\nit = kind()\nnames = globals()\nother = {}");
        namespace
    }

    /// Everything that can happen to a namespace between two lines; `#` is a number.
    const CHANGES: [&str; 22] = [
        "pass",
        "n# = #",
        "n# = 1000 + #",
        "n# = 'text #'",
        "n# = [#]",
        "n# = {'a': #}",
        "def n#(): pass",
        "class n#: pass",
        "kept.append(#)",
        "it.x = #",
        "names.pop('n#', None)",
        "names.pop('n#', None); names['n' + str(#)] = 1",
        "names.pop('n#', None); names['m' + str(#)] = 1",
        "a# = b# = kept; n# = it",
        "other[#] = 1; n# = #",
        "(lambda: None).__qualname__ = 'x'; [v for v in list(names.values()) if type(v).__name__ == 'function' and setattr(v, '__qualname__', 'q#')]",
        "names[#] = 1; names.pop(#)",
        "names.update({f'u{i}': i for i in range(#)})",
        "names.update({'n#': 5, 'n2': 7})",
        "n# = n# + 1000 if isinstance(names.get('n#'), int) else 1000",
        "n1 = [n1] if 'n1' in names else 0; n# = (kept, 1)",
        "names.pop('n#', None); names['n#'] = #; names.update({f'm{i}': 1 for i in range(2)})",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// What is sent is what somebody would send who looks at every name at every line.
        #[test]
        fn what_changed_is_sent_whatever_happens_to_a_namespace(
            changes in prop::collection::vec((prop::collection::vec((0..CHANGES.len(), 0..9u32), 1..4), any::<bool>()), 1..25),
            shown in prop_oneof![Just(Shown::Module), Just(Shown::Local), Just(Shown::GlobalData)],
        ) {
            Python::initialize();
            Python::attach(|py| {
                let namespace = fresh(py);
                let (mut viewer, mut oracle) = (Viewer::new(false), Viewer::new(true));
                let exec = py.import("builtins").unwrap().getattr("exec").unwrap();
                let source = |(change, number): (usize, u32)| CHANGES[change].replace('#', &number.to_string());
                let lines: Vec<_> = changes
                    .into_iter()
                    .map(|(line, forgets)| (line.into_iter().map(source).map(|text| compiled(py, &text)).collect::<Vec<_>>(), forgets))
                    .collect();
                for (line, forgets) in lines {
                    for code in line {
                        exec.call1((code, &namespace)).unwrap();
                    }
                    if forgets {
                        viewer.view.invalidate();
                        oracle.view.invalidate();
                    }
                    prop_assert_eq!(viewer.step(&namespace, shown), oracle.step(&namespace, shown));
                }
                Ok(())
            })?;
        }
    }

    #[test]
    fn names_that_are_added_or_get_another_value_leave_the_others_alone() {
        Python::initialize();
        Python::attach(|py| {
            let namespace = fresh(py);
            let mut viewer = Viewer::new(false);
            viewer.step(&namespace, Shown::Module);
            let looks = viewer.view.epoch;
            let names: Vec<_> = (0..3000).map(|number| PyString::new(py, &format!("n{number}"))).collect();
            for (number, name) in names.iter().enumerate() {
                namespace.set_item(name, number).unwrap();
                assert!(!viewer.step(&namespace, Shown::Module).is_empty());
            }
            assert!(viewer.view.epoch - looks < 12, "it looked at everything again and again");
            let looks = viewer.view.epoch;
            assert!(viewer.view.loose.len() < 10, "numbers need no second look");
            for turn in 0..100 {
                for name in [7, 1500] {
                    namespace.set_item(&names[name], 70_000 + turn).unwrap();
                }
                assert!(!viewer.step(&namespace, Shown::Module).is_empty());
                assert_eq!(viewer.view.replaced.len(), 2);
            }
            assert_eq!(viewer.view.epoch, looks, "it looked at everything for another value");
            assert!(viewer.view.loose.len() < 10, "what is a number again needs no second look");
            namespace.del_item(&names[7]).unwrap();
            viewer.step(&namespace, Shown::Module);
            assert_eq!(viewer.view.epoch, looks + 1, "a name that is gone is found by a look at all");
        });
    }
}
