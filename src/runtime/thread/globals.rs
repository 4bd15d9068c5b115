//! Variables of a frame that are not its own: globals that its code refers to, and namespaces.
//!
//! Invariants:
//! - The version of a dict names one state of it, of all dicts there ever were. While the globals have the version at
//!   which they were looked at last, they hold the same objects; if none of these can change, there is nothing to look at.

use std::sync::atomic::Ordering;

use super::ThreadRecorder;
use crate::ffi::frame::Frame;
use crate::ffi::object::Kind;
use crate::runtime::code_entry::{Namespace, TracedCode};
use crate::runtime::namespace::{Shown, Sink};
use crate::runtime::slots::{SlotCache, update};
use crate::trace_filter::{ValueAction, ValueKind};

/// The globals were not looked at for this frame yet: nothing is shown. No version of a dict is 0.
pub(super) const FRESH: u64 = 0;
/// They must be looked at.
pub(super) const UNSETTLED: u64 = u64::MAX;

impl ThreadRecorder {
    /// Whether there is nothing to look at, as far as a glance tells.
    #[inline(always)]
    pub(super) fn globals_are_known(&self, frame: Frame<'_>) -> bool {
        match (frame.globals(), self.stack.last()) {
            (Some(globals), Some(top)) if globals.is_exact_dict() => {
                globals.dict_version().is_some_and(|version| version == top.globals && version != UNSETTLED)
            }
            _ => false,
        }
    }

    #[inline(never)]
    pub(super) fn update_globals(&mut self, frame: Frame<'_>, code: &TracedCode, base: usize) {
        let Some(globals) = frame.globals() else { return };
        if globals.kind().0 != Kind::Dict {
            return;
        }
        let version = globals.dict_version().unwrap_or(UNSETTLED);
        let Some(top) = self.stack.last_mut() else { return };
        let known = top.globals;
        if version != UNSETTLED {
            if known == version {
                return;
            }
            if known == FRESH && code.no_globals.load(Ordering::Relaxed) == version {
                top.globals = version;
                return;
            }
        }
        let first = code.fixed.len();
        let table = globals.name_table();
        for (index, slot) in code.globals.iter().enumerate() {
            let mut hint = slot.hint.load(Ordering::Relaxed);
            let before = hint;
            if let Some(value) = table.value_at(hint, slot.name)
                && let Some(cache) = self.slots.get(base + first + index)
                && cache.has(Some(value), &mut self.snapshotter)
            {
                continue;
            }
            let value = globals.dict_get(globals.kept_alive(slot.name), &mut hint);
            if hint != before {
                slot.hint.store(hint, Ordering::Relaxed);
            }
            let cache = &mut self.slots[base + first + index];
            if cache.has(value, &mut self.snapshotter) {
                continue;
            }
            let hidden = update(
                cache,
                (first + index) as u16,
                value.filter(|value| !value.is_code()),
                slot.action,
                &mut self.snapshotter,
                &mut self.decisions.of(code),
                &mut self.out,
            );
            if hidden {
                self.shared.stats.count(slot.action, ValueKind::Global);
            }
        }
        let shown = &self.slots[base + first..base + first + code.globals.len()];
        let settled = shown.iter().all(SlotCache::is_settled);
        if known == FRESH && version != UNSETTLED && shown.iter().all(SlotCache::is_unbound) {
            code.no_globals.store(version, Ordering::Relaxed);
        }
        if let Some(top) = self.stack.last_mut() {
            top.globals = if settled { version } else { UNSETTLED };
        }
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
