//! What objects were written as, for as long as it can be proved that they would be written so again.
//!
//! Invariants:
//! - An entry speaks of one address, whoever is there now: its guards tell whether it still reads the same. Nothing is
//!   kept alive.
//! - A content has a number that no other content of this process has; whoever sent the content with that number has
//!   nothing to send again.
//! - Where a part of a value changed, that part is walked again ([`mend`]); the rest is what was proved just before.
//! - Memory is bounded by [`MAX_BYTES`]. When that is used up, entries that were not asked for lately make room; if they
//!   all were, further values are not remembered for a while, and a value that has grown is forgotten.

use std::sync::atomic::{AtomicU64, Ordering};

use rustc_hash::FxHashMap;

use super::target::Guarded;
use super::{Hidden, NamePolicy, Snapshotter};
use crate::ffi::guards::{Guards, Verdict};
use crate::ffi::object::{Kind, Obj};
use crate::pipeline::layout::{Put, end_whole, value::WHOLE_HEAD};
use mend::Spare;

mod mend;

/// Bytes of one thread's memo.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// An entry that was not asked for during so many events is old.
const OLD: u64 = 4096;

/// One value; see the module docs.
#[derive(Debug, Default)]
struct Entry {
    address: usize,
    policy: usize,
    /// The event at which it was asked for last.
    asked: u64,
    /// The event during which it was found to be right.
    checked: u64,
    /// The number of its content; 0: none.
    content: u64,
    /// What the guards and bytes say belongs together, and is all of the value.
    complete: bool,
    /// The event during which it was found to be wrong, and the word.
    broken: u64,
    broken_at: usize,
    guards: Guards,
    bytes: Vec<u8>,
    /// What was hidden in it.
    hidden: Hidden,
}

impl Entry {
    fn size(&self) -> usize {
        size_of::<Self>() + self.guards.size() + self.bytes.capacity()
    }
}

/// One thread's memo.
#[derive(Debug, Default)]
pub struct Memo {
    /// `None`: a free place, or one whose entry was taken out to be brought up to date.
    entries: Vec<Option<Box<Entry>>>,
    places: FxHashMap<(usize, usize), u32>,
    free: Vec<u32>,
    used: usize,
    /// Counts events.
    now: u64,
    /// Until this event nothing is added.
    full_until: u64,
    contents: Contents,
    /// Taken out while it is in use.
    spare: Option<Box<Spare>>,
}

/// Gives contents their numbers. Threads whose streams end in one trace have one encoder, which goes by them.
#[derive(Debug)]
struct Contents(u64);

/// Of a number, those bits count; the others are the thread's.
const CONTENT_BITS: u32 = 40;

impl Default for Contents {
    fn default() -> Self {
        static THREADS: AtomicU64 = AtomicU64::new(0);
        Self(THREADS.fetch_add(1, Ordering::Relaxed) << CONTENT_BITS)
    }
}

impl Contents {
    /// A number for a new content.
    #[inline]
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

impl Memo {
    /// Another event: what was checked before may have changed.
    #[inline]
    pub fn begin_event(&mut self) {
        self.now += 1;
    }

    /// The entry about an object, if there is one; `hint` is where it was last.
    #[inline]
    fn find(&mut self, object: Obj<'_>, policy: usize, hint: &mut u32) -> Option<&mut Entry> {
        let (address, now) = (object.address(), self.now);
        let is_it = |entry: &Entry| entry.address == address && entry.policy == policy;
        if !self.entries.get(*hint as usize).and_then(Option::as_deref).is_some_and(is_it) {
            *hint = *self.places.get(&(address, policy))?;
        }
        let entry = self.entry(*hint).filter(|entry| is_it(entry))?;
        entry.asked = now;
        Some(entry)
    }

    #[inline]
    fn entry(&mut self, at: u32) -> Option<&mut Entry> {
        self.entries.get_mut(at as usize)?.as_deref_mut()
    }

    /// Brings the entry that [`Memo::find`] found for this object up to date, if that can be done without walking the
    /// object: the entry with the bytes that it would be written as now.
    #[inline]
    fn check(&mut self, object: Obj<'_>, at: u32) -> Option<&Entry> {
        let entry = self.entries.get_mut(at as usize)?.as_deref_mut()?;
        debug_assert_eq!(entry.address, object.address());
        if entry.checked != self.now {
            if !entry.complete || entry.broken == self.now {
                return None;
            }
            match entry.guards.check(object, &mut entry.bytes) {
                Verdict::Same if entry.content != 0 => {}
                Verdict::Same | Verdict::Renewed => {
                    entry.content = self.contents.next();
                }
                Verdict::Broken { at, renewed } => {
                    (entry.broken, entry.broken_at) = (self.now, at);
                    if renewed {
                        // The bytes are not those of this number any more.
                        entry.content = 0;
                    }
                    return None;
                }
            }
            entry.checked = self.now;
        }
        Some(entry)
    }

    /// Whether the content of that number is what this object reads as, as far as its entry, which was at `at`, tells.
    #[inline]
    fn holds(&mut self, object: Obj<'_>, content: u64, at: u32) -> bool {
        let now = self.now;
        match self.entry(at) {
            // The number belongs to one address and one policy.
            Some(entry) if entry.content == content && entry.address == object.address() => {
                entry.asked = now;
                entry.checked == now || self.check(object, at).is_some_and(|entry| entry.content == content)
            }
            _ => false,
        }
    }

    /// Room for the guards and bytes of an object, to be given back by [`Memo::put`].
    fn take(&mut self, object: Obj<'_>, policy: usize, hint: &mut u32) -> Option<Box<Entry>> {
        if self.find(object, policy, hint).is_none() {
            if self.now < self.full_until {
                return None;
            }
            let entry = Box::new(Entry { address: object.address(), policy, asked: self.now, ..Entry::default() });
            let at = match self.free.pop() {
                Some(at) => at,
                None => {
                    self.entries.push(None);
                    u32::try_from(self.entries.len() - 1).ok()?
                }
            };
            self.places.insert((object.address(), policy), at);
            *hint = at;
            return Some(entry);
        }
        let entry = self.entries.get_mut(*hint as usize)?.take()?;
        self.used -= entry.size().min(self.used);
        Some(entry)
    }

    /// Puts an entry that [`Memo::take`] gave back; what has no room is forgotten.
    fn put(&mut self, mut entry: Box<Entry>, at: u32) {
        let size = entry.size();
        if self.used + size > MAX_BYTES {
            // While it is full, looking through all entries again would find nothing that is old.
            if self.now >= self.full_until {
                self.make_room();
            }
            if self.used + size > MAX_BYTES {
                self.forget(entry.address, entry.policy, at);
                return;
            }
        }
        entry.checked = if entry.complete { self.now } else { 0 };
        self.used += size;
        self.entries[at as usize] = Some(entry);
    }

    fn forget(&mut self, address: usize, policy: usize, at: u32) {
        self.places.remove(&(address, policy));
        self.entries[at as usize] = None;
        self.free.push(at);
    }

    #[cold]
    fn make_room(&mut self) {
        for at in 0..self.entries.len() {
            if let Some(entry) = &self.entries[at]
                && entry.asked + OLD < self.now
            {
                self.used -= entry.size().min(self.used);
                let (address, policy) = (entry.address, entry.policy);
                self.forget(address, policy, at as u32);
            }
        }
        if self.used > MAX_BYTES / 2 {
            self.full_until = self.now + OLD;
        }
    }
}

/// What a reader knows after [`Snapshotter::recall`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recalled {
    /// The content of this number: it had it, or it was written.
    Content(u64),
    /// The value was written, from here on, and is not remembered.
    Written(usize),
    /// Nothing was written: the value must be walked.
    Nothing,
}

impl Entry {
    /// Appends what is remembered, if there is room for all of it.
    #[inline]
    fn append(&self, budget_end: usize, hidden: &mut Hidden, out: &mut Vec<u8>) -> bool {
        let fits = out.len() + WHOLE_HEAD + self.bytes.len() < budget_end;
        if fits {
            out.put_whole(self.bytes.len(), self.content);
            out.extend_from_slice(&self.bytes);
            hidden.redacted += self.hidden.redacted;
            hidden.dropped += self.hidden.dropped;
        }
        fits
    }
}

/// Writes what is remembered behind a head, unless that is known.
fn copy(
    entry: &Entry,
    known: u64,
    budget_end: usize,
    hidden: &mut Hidden,
    head: impl Fn(&mut Vec<u8>),
    out: &mut Vec<u8>,
) -> Recalled {
    if entry.content == known {
        return Recalled::Content(known);
    }
    let start = out.len();
    head(out);
    if !entry.append(budget_end, hidden, out) {
        out.truncate(start);
        return Recalled::Nothing;
    }
    Recalled::Content(entry.content)
}

impl Snapshotter {
    /// Whether the reader, who has the content of that number, has what this object reads as; `hint` is what
    /// [`Snapshotter::recall`] left there. `false` says nothing.
    #[inline]
    pub fn still_is(&mut self, object: Obj<'_>, content: u64, hint: u32) -> bool {
        self.memo.holds(object, content, hint)
    }

    /// Writes a value behind a head, unless the reader has its content, whose number is `known`. `hint` is for this
    /// function only.
    pub fn recall(
        &mut self,
        object: Obj<'_>,
        policy: &mut impl NamePolicy,
        known: u64,
        hint: &mut u32,
        head: impl Fn(&mut Vec<u8>),
        out: &mut Vec<u8>,
    ) -> Recalled {
        let Some(identity) = policy.identity() else { return Recalled::Nothing };
        let start = out.len();
        if self.memo.find(object, identity, hint).is_some()
            && let Some(entry) = self.memo.check(object, *hint)
        {
            return copy(entry, known, self.budget_end, &mut self.hidden, head, out);
        }
        let Some(mut entry) = self.memo.take(object, identity, hint) else { return Recalled::Nothing };
        if self.mend(&mut entry, object, policy) {
            let recalled = copy(&entry, known, self.budget_end, &mut self.hidden, head, out);
            self.memo.put(entry, *hint);
            return recalled;
        }
        head(out);
        out.put_whole(0, 0);
        let value_at = out.len();
        let hidden = self.hidden;
        let mut lender = entry.guards.is_new().then(|| self.memo.spare.take().unwrap_or_default());
        if let Some(spare) = &mut lender {
            spare.lend(&mut entry.guards);
        }
        entry.guards.begin(object);
        self.value(object, policy, &mut Guarded::new(out, &mut entry.guards));
        if let Some(mut spare) = lender {
            spare.take_back(&mut entry.guards);
            self.memo.spare = Some(spare);
        }
        let written = &out[value_at..];
        entry.complete = entry.guards.is_complete() && out.len() < self.budget_end;
        if !entry.complete {
            entry.content = 0;
        } else if entry.content == 0 || entry.bytes != written {
            entry.bytes.clear();
            entry.bytes.extend_from_slice(written);
            entry.content = self.memo.contents.next();
            entry.hidden = self.hidden.since(hidden);
        }
        if entry.complete && entry.content == known {
            out.truncate(start);
            self.hidden = hidden;
        } else {
            end_whole(out, value_at, entry.content);
        }
        let recalled = if entry.complete { Recalled::Content(entry.content) } else { Recalled::Written(value_at) };
        self.memo.put(entry, *hint);
        recalled
    }

    /// Writes `object`: a copy of what is remembered, if it is known to be right.
    #[inline]
    pub fn write_quickly(&mut self, object: Obj<'_>, policy: &mut impl NamePolicy, out: &mut Vec<u8>) {
        let is_scalar = matches!(
            object.common_kind(),
            Some(Kind::None | Kind::Bool | Kind::Int | Kind::Float | Kind::Str | Kind::Function)
        );
        if is_scalar || !self.copy_remembered(object, policy, out) {
            self.write(object, policy, out);
        }
    }

    fn copy_remembered(&mut self, object: Obj<'_>, policy: &impl NamePolicy, out: &mut Vec<u8>) -> bool {
        let Some(identity) = policy.identity() else { return false };
        let mut at = u32::MAX;
        if self.memo.find(object, identity, &mut at).is_none() {
            return false;
        }
        self.memo.check(object, at).is_some_and(|entry| entry.append(self.budget_end, &mut self.hidden, out))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says what is wrong by failing
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use pyo3::prelude::*;
    use pyo3::types::{PyDict, PyList};

    use super::*;
    use crate::ffi::{probe, with_obj};
    use crate::pipeline::layout::Take;
    use crate::pipeline::tables::Tables;
    use crate::runtime::value::Limits;
    use crate::runtime::value::names::SharedTypes;
    use crate::runtime::value::show_all::ShowAll;

    /// What a reader gets of a value at a step of its own: whether it is remembered, and its bytes.
    pub(super) fn recall(snapshotter: &mut Snapshotter, value: &Bound<'_, PyAny>) -> (bool, Vec<u8>) {
        let mut out = Vec::new();
        let recalled = with_obj(value, |object| {
            snapshotter.begin_step(0);
            let recalled = snapshotter.recall(object, &mut ShowAll, 0, &mut 0, |_| {}, &mut out);
            if recalled == Recalled::Nothing {
                snapshotter.write(object, &mut ShowAll, &mut out);
            }
            recalled
        });
        let bytes = if out.is_empty() { Vec::new() } else { Take::new(&out).value().unwrap().to_vec() };
        (matches!(recalled, Recalled::Content(_)), bytes)
    }

    fn check_bound(snapshotter: &Snapshotter) -> usize {
        let memo = &snapshotter.memo;
        let live = memo.entries.iter().flatten();
        let held: usize = live.clone().map(|entry| entry.size()).sum();
        assert_eq!(held, memo.used, "what is in use is counted");
        assert_eq!(live.count(), memo.places.len());
        assert_eq!(memo.entries.len(), memo.places.len() + memo.free.len(), "no place is lost");
        assert!(memo.used <= MAX_BYTES, "{} bytes", memo.used);
        memo.places.len()
    }

    #[test]
    fn no_two_threads_give_the_same_number() {
        let (mut one, mut other) = (Contents::default(), Contents::default());
        let numbers: HashSet<u64> = (0..1000).flat_map(|_| [one.next(), other.next()]).collect();
        assert_eq!(numbers.len(), 2000);
        assert!(!numbers.contains(&0), "which says that there is none");
    }

    #[test]
    fn memory_is_bounded_whatever_is_met_and_however_it_grows_and_what_is_forgotten_is_still_right() {
        Python::initialize();
        Python::attach(|py| {
            assert_eq!(probe::decide_frame_access(py), None);
            let names = Arc::new(SharedTypes::new(Arc::new(Tables::new())));
            let limits = Limits { max_depth: 3, max_items: 20, max_string: 1000, max_bytes_per_step: 65_536 };
            let mut snapshotter = Snapshotter::new(limits, Arc::clone(&names));
            let mut oracle = Snapshotter::new(limits, names);
            let scope = PyDict::new(py);
            // All of one event more than fit, none of them old.
            py.run(
                c"texts = [str(n) * 200 for n in range(20)]\nvalues = [[n, *texts] for n in range(3000)]",
                Some(&scope),
                None,
            )
            .unwrap();
            let values = scope.get_item("values").unwrap().unwrap().cast_into::<PyList>().unwrap();
            let mut was_full = false;
            let mut meet = |snapshotter: &mut Snapshotter, value: &Bound<'_, PyAny>| {
                let (remembered, bytes) = recall(snapshotter, value);
                let mut fresh = Vec::new();
                oracle.begin_step(0);
                with_obj(value, |object| oracle.write(object, &mut ShowAll, &mut fresh));
                assert!(bytes == fresh, "a value was told wrong");
                remembered
            };
            for value in &values {
                was_full |= !meet(&mut snapshotter, &value);
            }
            let full = check_bound(&snapshotter);
            assert!(was_full && full > 1000, "{full} values fit: they are too small to fill the memory");

            // Values that are remembered, and grow.
            py.run(c"for value in values: value[:] = [texts, texts, texts]", Some(&scope), None).unwrap();
            for value in values.iter().take(full) {
                meet(&mut snapshotter, &value);
            }
            let grown = check_bound(&snapshotter);
            assert!(grown < full, "{grown} of {full} values are still there");

            // Old ones make room for what is met next.
            for _ in 0..=2 * OLD {
                snapshotter.begin_step(0);
            }
            for value in values.iter().take(100).chain(values.iter().skip(2900)) {
                meet(&mut snapshotter, &value);
            }
            assert!(values.iter().skip(2900).all(|value| meet(&mut snapshotter, &value)), "there is room again");
            assert!(check_bound(&snapshotter) < full);
        });
    }
}
