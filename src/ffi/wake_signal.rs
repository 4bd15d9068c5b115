//! One signal that wakes a thread instead of ending the process.
//!
//! Invariants:
//! - Only a signal that has its default action gets a handler; one that the program sets later replaces ours.
//! - The handler does nothing but wake the thread (`sem_post` is safe in a handler).
//! - A forked child without such a thread does what it would have done: the default action.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

/// The process that has a thread to be woken; 0 for none.
static OWNER: AtomicU32 = AtomicU32::new(0);
/// The signal that is watched; 0 for none.
static WATCHED: AtomicI32 = AtomicI32::new(0);
static STOPPED: AtomicBool = AtomicBool::new(false);

struct Semaphore(std::cell::UnsafeCell<std::mem::MaybeUninit<libc::sem_t>>);
// SAFETY: a semaphore is made to be shared; it is initialised before a handler or a thread uses it.
unsafe impl Sync for Semaphore {}
static WAKE: Semaphore = Semaphore(std::cell::UnsafeCell::new(std::mem::MaybeUninit::uninit()));

/// Watches `signal`, if it has its default action (or our handler, inherited by a fork); says whether it does. One
/// caller at a time, with nobody in [`wait`].
pub fn watch(signal: libc::c_int) -> bool {
    let current = action(signal);
    if current != Some(libc::SIG_DFL) && current != Some(handler as *const () as libc::sighandler_t) {
        return false;
    }
    STOPPED.store(false, Ordering::Relaxed);
    // SAFETY: nobody uses the semaphore now: there is no waiting thread, and no handler posts while OWNER is 0 or
    // another process.
    unsafe { libc::sem_init(WAKE.0.get().cast(), 0, 0) };
    OWNER.store(std::process::id(), Ordering::Release);
    WATCHED.store(signal, Ordering::Release);
    // SAFETY: an all-zero sigaction is valid; the handler is async-signal-safe.
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = handler as *const () as libc::sighandler_t;
        new.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&raw mut new.sa_mask);
        libc::sigaction(signal, &raw const new, std::ptr::null_mut());
    }
    true
}

/// Gives the signal its default action back, if it still has our handler, and ends [`wait`].
pub fn unwatch() {
    OWNER.store(0, Ordering::Release);
    let signal = WATCHED.swap(0, Ordering::AcqRel);
    if signal != 0 && action(signal) == Some(handler as *const () as libc::sighandler_t) {
        set_default(signal);
    }
    STOPPED.store(true, Ordering::Release);
    // SAFETY: `watch` came before.
    unsafe { libc::sem_post(WAKE.0.get().cast()) };
}

/// Waits for the signal; false after [`unwatch`].
pub fn wait() -> bool {
    loop {
        // SAFETY: the semaphore was initialised by `watch`.
        let woken = unsafe { libc::sem_wait(WAKE.0.get().cast()) } == 0;
        if STOPPED.load(Ordering::Acquire) {
            return false;
        }
        if woken {
            return true;
        }
    }
}

extern "C" fn handler(signal: libc::c_int) {
    // SAFETY: only async-signal-safe functions, and atomics. errno is put back.
    unsafe {
        let errno = *libc::__errno_location();
        if OWNER.load(Ordering::Acquire) == libc::getpid() as u32 {
            libc::sem_post(WAKE.0.get().cast());
        } else {
            // Blocked while the handler runs; delivered, with the default action, right after.
            set_default(signal);
            libc::raise(signal);
        }
        *libc::__errno_location() = errno;
    }
}

fn action(signal: libc::c_int) -> Option<libc::sighandler_t> {
    let mut current = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: asks only; the struct is filled when the call returns 0.
    unsafe {
        (libc::sigaction(signal, std::ptr::null(), current.as_mut_ptr()) == 0)
            .then(|| current.assume_init().sa_sigaction)
    }
}

fn set_default(signal: libc::c_int) {
    // SAFETY: an all-zero sigaction with SIG_DFL is valid.
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, &raw const new, std::ptr::null_mut());
    }
}
