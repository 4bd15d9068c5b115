//! Marks the current thread as writing for the recorder.

use std::cell::Cell;
use std::marker::PhantomData;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// While it lives, output of this thread is the recorder's own and must not be recorded.
#[derive(Debug)]
pub struct ScopedMute {
    /// Bound to the thread that made it.
    not_send: PhantomData<*const ()>,
}

impl ScopedMute {
    /// Mutes this thread; mutes nest.
    pub fn new() -> Self {
        // A thread that is being torn down has no cell any more, and nothing left to record.
        let _ = DEPTH.try_with(|depth| depth.set(depth.get() + 1));
        Self { not_send: PhantomData }
    }
}

impl Default for ScopedMute {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for ScopedMute {
    fn drop(&mut self) {
        let _ = DEPTH.try_with(|depth| depth.set(depth.get().saturating_sub(1)));
    }
}

/// Whether this thread is writing for the recorder.
pub fn is_muted() -> bool {
    DEPTH.try_with(|depth| depth.get() > 0).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutes_nest_and_concern_their_own_thread_only() {
        assert!(!is_muted());
        let outer = ScopedMute::new();
        {
            let _inner = ScopedMute::new();
            assert!(is_muted());
        }
        assert!(is_muted());
        assert!(!std::thread::spawn(is_muted).join().unwrap());
        drop(outer);
        assert!(!is_muted());
    }
}
