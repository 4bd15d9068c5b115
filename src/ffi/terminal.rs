//! Whether the terminal shows what is typed.
//!
//! Invariants:
//! - Only a terminal that hands over whole lines without showing them is taken for one that hides a secret (`getpass`);
//!   programs that read single keys (raw and cbreak mode) draw themselves what is to be seen.
//! - Where stdin is no terminal nothing is asked of the system.

use std::sync::atomic::{AtomicBool, Ordering};

const STDIN: libc::c_int = 0;

/// Stdin was a terminal when the recording began.
static IS_TERMINAL: AtomicBool = AtomicBool::new(false);

/// Looks whether stdin is a terminal.
pub fn watch() {
    // SAFETY: asks a question about a number.
    IS_TERMINAL.store(unsafe { libc::isatty(STDIN) } == 1, Ordering::Relaxed);
}

/// Whether what was just read from stdin was typed unseen.
pub fn hides_what_is_typed() -> bool {
    IS_TERMINAL.load(Ordering::Relaxed) && hides(STDIN)
}

fn hides(descriptor: libc::c_int) -> bool {
    let mut modes = std::mem::MaybeUninit::<libc::termios>::uninit();
    // SAFETY: `tcgetattr` fills the struct when it returns 0.
    let modes = unsafe { (libc::tcgetattr(descriptor, modes.as_mut_ptr()) == 0).then(|| modes.assume_init()) };
    modes.is_some_and(|modes| modes.c_lflag & (libc::ICANON | libc::ECHO) == libc::ICANON)
}

#[cfg(test)]
mod tests {
    use std::ptr::null_mut;

    use super::*;

    #[test]
    fn only_lines_that_are_not_shown_are_hidden() {
        let (mut terminal, mut end) = (0, 0);
        // SAFETY: two descriptors are filled in; the rest is left as it is.
        let opened = unsafe { libc::openpty(&raw mut terminal, &raw mut end, null_mut(), null_mut(), null_mut()) };
        assert_eq!(opened, 0);
        let set = |on: libc::tcflag_t, off: libc::tcflag_t| {
            let mut modes = std::mem::MaybeUninit::<libc::termios>::uninit();
            // SAFETY: a terminal of ours; the modes are those it has, changed.
            unsafe {
                assert_eq!(libc::tcgetattr(end, modes.as_mut_ptr()), 0);
                let mut modes = modes.assume_init();
                modes.c_lflag = modes.c_lflag & !off | on;
                assert_eq!(libc::tcsetattr(end, libc::TCSANOW, &raw const modes), 0);
            }
        };
        set(libc::ICANON | libc::ECHO, 0);
        assert!(!hides(end), "as a shell leaves it");
        set(0, libc::ECHO);
        assert!(hides(end), "as getpass sets it");
        set(0, libc::ICANON);
        assert!(!hides(end), "as curses sets it");
        for descriptor in [terminal, end] {
            // SAFETY: ours.
            unsafe { libc::close(descriptor) };
        }
        assert!(!hides(end), "closed");
    }
}
