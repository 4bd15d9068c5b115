//! Lets the program go first where cores are scarce.

/// How much nicer than the program a worker is. Small: a worker that starves makes the queue fill up, and a full
/// queue stops the program.
const NICE: i32 = 3;

/// Lowers the priority of the calling thread a little; does nothing where threads have no priority of their own.
pub fn lower_this_thread() {
    #[cfg(target_os = "linux")]
    // SAFETY: plain system calls without pointers. On Linux a "process" here is one thread, and 0 the caller.
    // A failure leaves the priority as it was, which is fine.
    unsafe {
        let current = libc::getpriority(libc::PRIO_PROCESS, 0);
        libc::setpriority(libc::PRIO_PROCESS, 0, (current + NICE).min(19));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = NICE;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn nice() -> i32 {
        // SAFETY: a plain system call without pointers.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    #[test]
    fn only_the_calling_thread_becomes_nicer() {
        let before = nice();
        let worker = std::thread::spawn(|| {
            lower_this_thread();
            nice()
        });
        assert_eq!(worker.join().unwrap(), (before + NICE).min(19));
        assert_eq!(nice(), before);
    }
}
