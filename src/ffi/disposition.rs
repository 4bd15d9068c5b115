//! What a process does about a signal, and a handler's way to wake a thread: the common ground of [`super::termination`]
//! and [`super::wake_signal`].
//!
//! Invariants:
//! - Handlers do nothing but what is safe in a handler: atomics, `sem_post`, `sigaction`, `raise`.
//! - A forked child without a thread to be woken does what it would have done: the default action.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A handler of signals.
pub(super) type Handler = extern "C" fn(libc::c_int);

/// Wakes the one thread of this process that waits for signals.
pub(super) struct Wake {
    /// The process that has a thread to be woken; 0 for none.
    owner: AtomicU32,
    stopped: AtomicBool,
    semaphore: UnsafeCell<MaybeUninit<libc::sem_t>>,
}

// SAFETY: a semaphore is made to be shared; it is initialised by `begin` before a handler or a thread uses it.
unsafe impl Sync for Wake {}

impl Wake {
    pub(super) const fn new() -> Self {
        Self {
            owner: AtomicU32::new(0),
            stopped: AtomicBool::new(false),
            semaphore: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// From now on handlers in this process wake [`Self::wait`]. One caller at a time, with nobody in `wait`.
    pub(super) fn begin(&self) {
        self.stopped.store(false, Ordering::Relaxed);
        // SAFETY: nobody uses the semaphore now: there is no waiting thread, and no handler posts while the owner is 0
        // or another process.
        unsafe { libc::sem_init(self.semaphore.get().cast(), 0, 0) };
        self.owner.store(std::process::id(), Ordering::Release);
    }

    /// Handlers wake nobody any more.
    pub(super) fn disown(&self) {
        self.owner.store(0, Ordering::Release);
    }

    /// Ends [`Self::wait`]. Only after [`Self::begin`].
    pub(super) fn end(&self) {
        self.stopped.store(true, Ordering::Release);
        // SAFETY: initialised by `begin`.
        unsafe { libc::sem_post(self.semaphore.get().cast()) };
    }

    /// Whether handlers of this process wake a thread.
    pub(super) fn is_ours(&self) -> bool {
        // SAFETY: no arguments; safe in a handler, which `std::process::id` does not promise.
        self.owner.load(Ordering::Acquire) == unsafe { libc::getpid() } as u32
    }

    /// Waits for a handler; false after [`Self::end`]. Only after [`Self::begin`].
    pub(super) fn wait(&self) -> bool {
        loop {
            // SAFETY: initialised by `begin`.
            let woken = unsafe { libc::sem_wait(self.semaphore.get().cast()) } == 0;
            if self.stopped.load(Ordering::Acquire) {
                return false;
            }
            if woken {
                return true;
            }
        }
    }

    /// What a handler does: in the process whose thread waits, wakes it if `came` says so; elsewhere the default action.
    pub(super) fn handle(&self, signal: libc::c_int, came: impl FnOnce() -> bool) {
        // SAFETY: only async-signal-safe functions, and atomics. errno is put back.
        unsafe {
            let errno = *libc::__errno_location();
            if self.is_ours() {
                if came() {
                    libc::sem_post(self.semaphore.get().cast());
                }
            } else {
                // Blocked while the handler runs; delivered, with the default action, right after.
                set_default(signal);
                libc::raise(signal);
            }
            *libc::__errno_location() = errno;
        }
    }
}

/// The action of a signal, if it can be asked for.
pub(super) fn action(signal: libc::c_int) -> Option<libc::sighandler_t> {
    let mut current = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: asks only; the struct is filled when the call returns 0.
    unsafe {
        (libc::sigaction(signal, std::ptr::null(), current.as_mut_ptr()) == 0)
            .then(|| current.assume_init().sa_sigaction)
    }
}

/// Whether the signal has this handler.
pub(super) fn has_handler(signal: libc::c_int, handler: Handler) -> bool {
    action(signal) == Some(handler as *const () as libc::sighandler_t)
}

/// Gives a signal a handler, which is async-signal-safe.
pub(super) fn set_handler(signal: libc::c_int, handler: Handler) {
    set_action(signal, handler as *const () as libc::sighandler_t, libc::SA_RESTART);
}

/// Gives a signal its default action back; safe in a handler.
pub(super) fn set_default(signal: libc::c_int) {
    set_action(signal, libc::SIG_DFL, 0);
}

fn set_action(signal: libc::c_int, action: libc::sighandler_t, flags: libc::c_int) {
    // SAFETY: an all-zero sigaction with an action is valid, and so is an empty mask.
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = action;
        new.sa_flags = flags;
        libc::sigemptyset(&raw mut new.sa_mask);
        libc::sigaction(signal, &raw const new, std::ptr::null_mut());
    }
}
