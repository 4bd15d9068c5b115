//! Keeps the program's signals away from worker threads.
//!
//! A signal sent to the process goes to any thread that does not block it. On a worker it would interrupt a
//! system call there, and a program that waits for it with `sigwait` would never see it. So workers are started
//! inside [`with_signals_blocked`] and inherit the mask. Signals that a fault raises in the very thread
//! (`SIGSEGV` …) stay open: blocking them is undefined, and crash reporters need them.

/// Runs `start` with all asynchronous signals blocked in this thread; threads started in it inherit that.
#[cfg(unix)]
pub fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    let _restore = Blocked::new();
    start()
}

/// There are no signal masks here.
#[cfg(not(unix))]
pub fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    start()
}

#[cfg(unix)]
struct Blocked {
    /// The mask to go back to; `None` if it could not be changed.
    previous: Option<libc::sigset_t>,
}

#[cfg(unix)]
impl Blocked {
    fn new() -> Self {
        const FAULTS: [libc::c_int; 7] =
            [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT, libc::SIGTRAP, libc::SIGSYS];
        let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        let mut previous = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `sigfillset` initialises `all` before it is used; `pthread_sigmask` initialises `previous` when
        // it returns 0, and both pointers are valid for the calls.
        let previous = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            for fault in FAULTS {
                libc::sigdelset(all.as_mut_ptr(), fault);
            }
            let result = libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), previous.as_mut_ptr());
            (result == 0).then(|| previous.assume_init())
        };
        Self { previous }
    }
}

#[cfg(unix)]
impl Drop for Blocked {
    fn drop(&mut self) {
        if let Some(previous) = &self.previous {
            // SAFETY: `previous` is an initialised mask; a null third argument asks for nothing back.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, previous, std::ptr::null_mut()) };
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn blocks(signal: libc::c_int) -> bool {
        let mut mask = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: a null second argument changes nothing; the mask is initialised by the call.
        unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr());
            libc::sigismember(mask.as_ptr(), signal) == 1
        }
    }

    #[test]
    fn a_thread_started_inside_blocks_signals_and_its_starter_does_not() {
        let worker = with_signals_blocked(|| {
            std::thread::spawn(|| (blocks(libc::SIGINT), blocks(libc::SIGTERM), blocks(libc::SIGSEGV)))
        });
        assert_eq!(worker.join().unwrap(), (true, true, false));
        assert!(!blocks(libc::SIGINT));
    }
}
