//! Variables of a frame that are not its own: globals that its code refers to, and namespaces.
//!
//! Invariants:
//! - The version of a dict names one state of it, of all dicts there ever were. While the globals have the version at
//!   which they were looked at last, they hold the same objects; then only those of them are looked at that can change.

use std::sync::atomic::Ordering;

use super::ThreadRecorder;
use crate::ffi::entries::NameTable;
use crate::ffi::frame::Frame;
use crate::ffi::object::{Kind, Obj};
use crate::runtime::code_entry::{Namespace, TracedCode};
use crate::runtime::namespace::{Shown, Sink};
use crate::runtime::slots::{SlotCache, update};
use crate::trace_filter::{ValueAction, ValueKind};

/// What is known of the globals of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// The version they had when they were looked at last.
    version: u64,
    /// Those of them whose content may change meanwhile, a bit for each.
    unsettled: u64,
}

/// No version of a dict is 0.
const FRESH: u64 = 0;
/// Nor is it ever this.
const NO_VERSION: u64 = u64::MAX;

impl Known {
    /// They were not looked at for this frame yet: nothing is shown.
    pub(super) const FRESH: Self = Self { version: FRESH, unsettled: 0 };
    /// All of them must be looked at.
    pub(super) const NOTHING: Self = Self { version: NO_VERSION, unsettled: 0 };

    /// Which of `count` globals must be looked at, of which so many have a bit; `None`: all.
    #[inline]
    fn left(self, version: u64) -> Option<u64> {
        (version == self.version && version != NO_VERSION).then_some(self.unsettled)
    }
}

impl ThreadRecorder {
    /// Whether there is nothing to look at, as far as a glance tells.
    #[inline(always)]
    pub(super) fn globals_are_known(&mut self, frame: Frame<'_>, code: &TracedCode) -> bool {
        if let Some(globals) = frame.globals()
            && globals.is_exact_dict()
            && let Some(version) = globals.dict_version()
            && let Some(top) = self.stack.last_mut()
        {
            if top.globals.version == FRESH && code.no_globals.load(Ordering::Relaxed) == version {
                top.globals = Known { version, unsettled: 0 };
            }
            return top.globals.left(version) == Some(0);
        }
        false
    }

    #[inline(never)]
    pub(super) fn update_globals(&mut self, frame: Frame<'_>, code: &TracedCode, base: usize) {
        let Some(globals) = frame.globals() else { return };
        if globals.kind().0 != Kind::Dict {
            return;
        }
        let version = globals.dict_version().unwrap_or(NO_VERSION);
        let Some(known) = self.stack.last().map(|top| top.globals) else { return };
        let table = globals.name_table();
        let mut unsettled = 0;
        let mut all_have_bits = true;
        let mut look = |index: usize| {
            if !self.look_at_global(globals, table, code, base, index) {
                match 1u64.checked_shl(index as u32) {
                    Some(bit) => unsettled |= bit,
                    None => all_have_bits = false,
                }
            }
        };
        match known.left(version) {
            Some(mut left) => {
                while left != 0 {
                    look(left.trailing_zeros() as usize);
                    left &= left - 1;
                }
            }
            None => (0..code.globals.len()).for_each(look),
        }
        let first = base + code.fixed.len();
        let shown = &self.slots[first..first + code.globals.len()];
        if known.version == FRESH && version != NO_VERSION && shown.iter().all(SlotCache::is_unbound) {
            code.no_globals.store(version, Ordering::Relaxed);
        }
        if let Some(top) = self.stack.last_mut() {
            top.globals = if all_have_bits { Known { version, unsettled } } else { Known::NOTHING };
        }
    }

    /// Sends a global if it changed: whether it stays what it is while the namespace has this version.
    #[inline(always)]
    fn look_at_global(
        &mut self,
        globals: Obj<'_>,
        table: NameTable<'_>,
        code: &TracedCode,
        base: usize,
        index: usize,
    ) -> bool {
        let slot = &code.globals[index];
        let at = code.fixed.len() + index;
        let mut hint = slot.hint.load(Ordering::Relaxed);
        let before = hint;
        if let Some(value) = table.value_at(hint, slot.name)
            && let Some(cache) = self.slots.get(base + at)
            && cache.has(Some(value), &mut self.snapshotter)
        {
            return cache.is_settled();
        }
        let value = globals.dict_get(globals.kept_alive(slot.name), &mut hint);
        if hint != before {
            slot.hint.store(hint, Ordering::Relaxed);
        }
        let cache = &mut self.slots[base + at];
        if cache.has(value, &mut self.snapshotter) {
            return cache.is_settled();
        }
        let hidden = update(
            cache,
            at as u16,
            value.filter(|value| !value.is_code()),
            slot.action,
            &mut self.snapshotter,
            &mut self.decisions.of(code),
            &mut self.out,
        );
        let settled = cache.is_settled();
        if hidden {
            self.shared.stats.count(slot.action, ValueKind::Global);
        }
        settled
    }

    #[inline(never)]
    pub(super) fn update_namespace(&mut self, frame: Frame<'_>, code: &TracedCode) {
        let (namespace, shown) = match code.namespace {
            Namespace::None => return,
            Namespace::Module => (frame.namespace().or_else(|| frame.globals()), Shown::Module),
            Namespace::Local => (frame.namespace(), Shown::Local),
            Namespace::AllGlobals => (frame.globals(), Shown::GlobalData),
        };
        let Some(namespace) = namespace else { return };
        let Some(view) = self.stack.last_mut().and_then(|top| top.namespace.as_mut()) else { return };
        let resolution = &code.resolution;
        let mut action_of = |name: &str| match shown {
            Shown::GlobalData => resolution.variable_action(ValueKind::Global, name),
            Shown::Local => resolution.variable_action(ValueKind::Local, name),
            Shown::Module => {
                let [global, local] =
                    [ValueKind::Global, ValueKind::Local].map(|kind| resolution.variable_action(kind, name));
                stricter(global, local)
            }
        };
        let mut policy = self.decisions.of(code);
        let mut sink = Sink { snapshotter: &mut self.snapshotter, policy: &mut policy, out: &mut self.out };
        let hidden = view.sync(namespace, shown, code.fixed.len() + code.globals.len(), &mut action_of, &mut sink);
        if hidden > 0 {
            self.shared.stats.count_many(ValueAction::Redact, ValueKind::Global, hidden);
        }
    }
}

/// The one that shows less.
fn stricter(a: ValueAction, b: ValueAction) -> ValueAction {
    use ValueAction::{Allow, Drop, Redact, RedactData};
    match (a, b) {
        (Drop, _) | (_, Drop) => Drop,
        (Redact, _) | (_, Redact) => Redact,
        (RedactData, _) | (_, RedactData) => RedactData,
        (Allow, Allow) => Allow,
    }
}
