//! One signal that wakes a thread instead of ending the process.
//!
//! Invariants:
//! - Only a signal that has its default action gets a handler; one that the program sets later replaces ours.
//! - The handler does nothing but wake the thread; see [`super::disposition`] for it and for forked children.

use std::sync::atomic::{AtomicI32, Ordering};

use super::disposition::{Wake, action, has_handler, set_default, set_handler};

static WAKE: Wake = Wake::new();
/// The signal that is watched; 0 for none.
static WATCHED: AtomicI32 = AtomicI32::new(0);

/// Watches `signal`, if it has its default action (or our handler, inherited by a fork); says whether it does. One
/// caller at a time, with nobody in [`wait`].
pub fn watch(signal: libc::c_int) -> bool {
    if action(signal) != Some(libc::SIG_DFL) && !has_handler(signal, handler) {
        return false;
    }
    WAKE.begin();
    WATCHED.store(signal, Ordering::Release);
    set_handler(signal, handler);
    true
}

/// Gives the signal its default action back, if it still has our handler, and ends [`wait`].
pub fn unwatch() {
    WAKE.disown();
    let signal = WATCHED.swap(0, Ordering::AcqRel);
    if signal != 0 && has_handler(signal, handler) {
        set_default(signal);
    }
    WAKE.end();
}

/// Waits for the signal; false after [`unwatch`].
pub fn wait() -> bool {
    WAKE.wait()
}

extern "C" fn handler(signal: libc::c_int) {
    WAKE.handle(signal, || true);
}
