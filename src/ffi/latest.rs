//! What belongs to the calling thread, found without asking for the thread's own variables: those of a library that was
//! loaded later cost a call, which an event would feel.
//!
//! Invariants:
//! - A value is given only to the thread that it belongs to, and only while it lives: before a [`Home`] dies, which it does
//!   in its own thread, it is forgotten.
//! - Values are remembered and asked for with the GIL held, so one thread does either at a time. Forgetting needs no GIL: it
//!   takes away what belongs to the calling thread, which nobody else would be given.
//! - Threads that are alive have different numbers.

use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::thread::LocalKey;

/// The value of the thread that asked last.
#[derive(Debug)]
pub struct Latest<T: 'static> {
    thread: AtomicUsize,
    value: AtomicPtr<T>,
}

/// No thread has it.
const NOBODY: usize = 0;

/// A number of the calling thread, [`NOBODY`] where it has none that is cheap, or where there may be no GIL.
#[inline(always)]
fn calling_thread() -> usize {
    #[cfg(all(unix, not(Py_GIL_DISABLED)))]
    {
        // SAFETY: only tells which thread this is.
        unsafe { libc::pthread_self() as usize }
    }
    #[cfg(not(all(unix, not(Py_GIL_DISABLED))))]
    {
        NOBODY
    }
}

impl<T> Latest<T> {
    /// No thread's yet.
    pub const fn nobodys() -> Self {
        Self { thread: AtomicUsize::new(NOBODY), value: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Works with the calling thread's value, `None` while the thread ends. Call it with the GIL held.
    #[inline(always)]
    pub fn with<R>(&'static self, own: &'static LocalKey<Home<T>>, work: impl FnOnce(&T) -> R) -> Option<R> {
        let value = match self.get() {
            Some(value) => value,
            None => self.ask(own)?,
        };
        Some(work(value))
    }

    #[inline(always)]
    fn get(&self) -> Option<&T> {
        let thread = calling_thread();
        if thread == NOBODY || self.thread.load(Ordering::Relaxed) != thread {
            return None;
        }
        // SAFETY: this thread put it there, and has not forgotten it yet (module invariants).
        unsafe { self.value.load(Ordering::Relaxed).as_ref() }
    }

    /// Asks for the thread's own value, and remembers it.
    #[cold]
    fn ask(&self, own: &'static LocalKey<Home<T>>) -> Option<&T> {
        let value = own.try_with(|home| (ptr::from_ref(&home.value), ptr::from_ref(home.latest))).ok();
        let (value, latest) = value?;
        if ptr::eq(latest, self) {
            self.thread.store(NOBODY, Ordering::Relaxed);
            self.value.store(value.cast_mut(), Ordering::Relaxed);
            self.thread.store(calling_thread(), Ordering::Relaxed);
        }
        // SAFETY: a thread's own value stays where it is until the thread ends; it is used in this thread only, by `with`.
        unsafe { value.as_ref() }
    }
}

/// A thread's own value.
#[derive(Debug)]
pub struct Home<T: 'static> {
    latest: &'static Latest<T>,
    value: T,
}

impl<T> Home<T> {
    pub const fn new(latest: &'static Latest<T>, value: T) -> Self {
        Self { latest, value }
    }
}

impl<T> Deref for Home<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for Home<T> {
    /// The value dies after this.
    fn drop(&mut self) {
        let thread = calling_thread();
        if thread != NOBODY {
            let _ = self.latest.thread.compare_exchange(thread, NOBODY, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Mutex;

    use super::*;

    static LATEST: Latest<Cell<u32>> = Latest::nobodys();
    thread_local! {
        static OWN: Home<Cell<u32>> = const { Home::new(&LATEST, Cell::new(0)) };
    }

    /// In place of the GIL.
    static LOCK: Mutex<()> = Mutex::new(());

    fn add(n: u32) -> u32 {
        let _lock = LOCK.lock().unwrap();
        LATEST
            .with(&OWN, |own| {
                own.set(own.get() + n);
                own.get()
            })
            .unwrap()
    }

    #[test]
    fn each_thread_has_its_own_however_they_take_turns_and_also_where_one_has_ended() {
        for round in 0..50 {
            let threads: Vec<_> =
                (1..4).map(|n| std::thread::spawn(move || (1..=200).all(|round| add(n) == round * n))).collect();
            add(1);
            assert!(threads.into_iter().all(|thread| thread.join().unwrap()), "round {round}");
        }
        assert_eq!(add(0), 50);
    }
}
