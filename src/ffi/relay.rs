//! A process that stands behind a standard descriptor: it passes on what is written there, and hands over a copy.
//!
//! ```text
//! descriptor 1 ──► pipe ──► relay process ──► the original descriptor
//!                                └─ copy ──► pipe ──► the recorder (never waited for)
//! Python's own streams ─────────────────────► the original descriptor
//! ```
//!
//! Invariants:
//! - Bytes are passed on first and copied afterwards; a copy nobody takes is counted and dropped.
//! - The relay lives until nobody can write any more, whatever becomes of the program: what was written before a crash
//!   or `os._exit` arrives. Its death raises no SIGCHLD, and `os.wait` does not see it.
//! - When the original descriptor has no reader any more, neither has the pipe: writers get SIGPIPE as ever.
//! - After the process is split in two the relay makes system calls only: no allocation, no lock.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What the relay and the program both see.
#[repr(C)]
struct Page {
    /// The relay holds bytes that are not passed on yet.
    busy: AtomicU32,
    /// Bytes handed over as copies.
    copied: AtomicU64,
    /// Bytes nobody took.
    dropped: AtomicU64,
}

/// The program's end of a relay.
#[derive(Debug)]
pub struct Relay {
    /// The descriptors it stands behind.
    descriptors: Vec<RawFd>,
    /// The original, and what it is: a program may close all descriptors it does not know.
    original: RawFd,
    file: (u64, u64, u32),
    /// Device, inode and kind of the pipe.
    pipe: (u64, u64, u32),
    page: Arc<SharedPage>,
}

/// The page, mapped for as long as somebody looks at it.
#[derive(Debug)]
struct SharedPage(*mut Page);

// SAFETY: the page holds atomics only.
unsafe impl Send for SharedPage {}
// SAFETY: as above.
unsafe impl Sync for SharedPage {}

impl std::ops::Deref for SharedPage {
    type Target = Page;

    fn deref(&self) -> &Page {
        // SAFETY: mapped, and zeroed, until `self` is dropped.
        unsafe { &*self.0 }
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        // SAFETY: mapped by `start`; nobody refers to it any more.
        unsafe { libc::munmap(self.0.cast(), PAGE) };
    }
}

/// Where the copies arrive.
#[derive(Debug)]
pub struct Copies {
    pipe: RawFd,
    /// What that is, see `Relay::file`.
    kind: (u64, u64, u32),
    process: libc::pid_t,
    page: Arc<SharedPage>,
    /// Bytes that nobody took, as far as they were told.
    told: u64,
}

/// Room for copies while the recorder is busy.
const COPY_PIPE: libc::c_int = 1024 * 1024;
const PAGE: usize = 4096;

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Device, inode and kind of what a descriptor refers to.
pub(super) fn identity(descriptor: RawFd) -> Option<(u64, u64, u32)> {
    let mut status = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `fstat` fills the struct when it returns 0.
    unsafe {
        (libc::fstat(descriptor, status.as_mut_ptr()) == 0).then(|| {
            let status = status.assume_init();
            (status.st_dev, status.st_ino, status.st_mode & libc::S_IFMT)
        })
    }
}

/// Whether two descriptors are of the same file.
pub fn is_same(a: RawFd, b: RawFd) -> bool {
    identity(a).is_some_and(|known| identity(b) == Some(known))
}

/// Whether a relay may stand behind this descriptor: a pipe, a socket, or a device such as `/dev/null`. A terminal must
/// stay one for those who write to it; a file must stay one for those who seek in it, and is read instead.
pub fn can_relay(descriptor: RawFd) -> bool {
    // SAFETY: asks a question about a number.
    let is_terminal = || unsafe { libc::isatty(descriptor) } == 1;
    identity(descriptor).is_some_and(|(_, _, kind)| match kind {
        libc::S_IFIFO | libc::S_IFSOCK => true,
        libc::S_IFCHR => !is_terminal(),
        _ => false,
    })
}

fn pipe(flags: libc::c_int) -> io::Result<(RawFd, RawFd)> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    checked(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | flags) })?;
    Ok((ends[0], ends[1]))
}

pub(super) fn close(descriptor: RawFd) {
    // SAFETY: a descriptor of ours.
    unsafe { libc::close(descriptor) };
}

fn waiting_in(descriptor: RawFd) -> libc::c_int {
    let mut count = 0;
    // SAFETY: FIONREAD writes an int.
    if unsafe { libc::ioctl(descriptor, libc::FIONREAD, &raw mut count) } < 0 { 0 } else { count }
}

impl Relay {
    /// Puts a relay behind `descriptors`, which are of the same file.
    ///
    /// # Errors
    /// The system refuses; then nothing has changed.
    pub fn start(descriptors: Vec<RawFd>) -> io::Result<(Self, Copies)> {
        let first = descriptors.first().copied().unwrap_or(1);
        let (input, entrance) = pipe(0)?;
        let (copies, copy) = pipe(libc::O_NONBLOCK)?;
        // SAFETY: system calls on descriptors of ours; the shared page is mapped before the split, so both have it.
        unsafe {
            libc::fcntl(copy, libc::F_SETPIPE_SZ, COPY_PIPE);
            // The reading end waits.
            libc::fcntl(copies, libc::F_SETFL, 0);
            let original = checked(libc::fcntl(first, libc::F_DUPFD_CLOEXEC, 10))?;
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let page =
                libc::mmap(std::ptr::null_mut(), PAGE, protection, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0);
            if page == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            let page = Arc::new(SharedPage(page.cast::<Page>()));
            // Without an exit signal, and without the handlers of `fork`: the program must not notice.
            let process = libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0);
            if process == 0 {
                relay(input, original, copy, page.0);
            }
            let process = checked(process as libc::c_int)?;
            let what = |descriptor| identity(descriptor).unwrap_or_default();
            let (pipe, file, kind) = (what(entrance), what(original), what(copies));
            for &descriptor in &descriptors {
                checked(libc::dup2(entrance, descriptor))?;
            }
            for descriptor in [input, entrance, copy] {
                close(descriptor);
            }
            let copies = Copies { pipe: copies, kind, process, page: Arc::clone(&page), told: 0 };
            Ok((Self { descriptors, original, file, pipe, page }, copies))
        }
    }

    /// The original descriptor, if the relay still stands behind `descriptor`, and the original is still open: the
    /// program may have put something else in their places.
    pub fn original_of(&self, descriptor: RawFd) -> Option<RawFd> {
        let is_ours = self.descriptors.contains(&descriptor)
            && identity(descriptor) == Some(self.pipe)
            && identity(self.original) == Some(self.file);
        is_ours.then_some(self.original)
    }

    /// Everything that was written through `descriptor` until now has been passed on, or nobody is left to do it.
    pub fn is_drained(&self, descriptor: RawFd) -> bool {
        // The order matters: what is not in the pipe any more was taken while `busy` was set.
        let empty = waiting_in(descriptor) == 0;
        if empty && self.page.busy.load(Ordering::SeqCst) == 0 {
            return true;
        }
        let mut state = libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 };
        // SAFETY: one valid element.
        unsafe { libc::poll(&raw mut state, 1, 0) };
        state.revents & libc::POLLERR != 0
    }

    /// Everything that was written until now has been passed on, as far as one of the descriptors still tells.
    pub fn is_settled(&self) -> bool {
        // Nearly always, and one question is enough: what else may stand there has nothing waiting, either.
        if self.descriptors.first().is_none_or(|&descriptor| waiting_in(descriptor) == 0)
            && self.page.busy.load(Ordering::SeqCst) == 0
        {
            return true;
        }
        match self.descriptors.iter().find(|&&descriptor| identity(descriptor) == Some(self.pipe)) {
            Some(&descriptor) => self.is_drained(descriptor),
            None => self.page.busy.load(Ordering::SeqCst) == 0,
        }
    }

    /// Bytes handed over as copies.
    pub fn copied(&self) -> u64 {
        self.page.copied.load(Ordering::SeqCst)
    }

    /// Puts the original back, once what was written has been passed on. Call it without the GIL.
    pub fn restore(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        for &descriptor in &self.descriptors {
            if self.original_of(descriptor).is_none() {
                continue;
            }
            while !self.is_drained(descriptor) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        for &descriptor in &self.descriptors {
            if let Some(original) = self.original_of(descriptor) {
                // SAFETY: both are open.
                unsafe { libc::dup2(original, descriptor) };
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if identity(self.original) == Some(self.file) {
            close(self.original);
        }
    }
}

impl Copies {
    /// Bytes that nobody took, since this was asked last.
    pub fn dropped(&mut self) -> u64 {
        let all = self.page.dropped.load(Ordering::SeqCst);
        all - std::mem::replace(&mut self.told, all)
    }

    /// Waits for copies; 0 when there will be none any more.
    pub fn read(&self, buffer: &mut [u8]) -> usize {
        loop {
            if identity(self.pipe) != Some(self.kind) {
                return 0;
            }
            // SAFETY: a valid buffer.
            let count = unsafe { libc::read(self.pipe, buffer.as_mut_ptr().cast(), buffer.len()) };
            if count >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return usize::try_from(count).unwrap_or(0);
            }
        }
    }
}

impl Drop for Copies {
    /// The relay has ended, or copies nothing any more.
    fn drop(&mut self) {
        if identity(self.pipe) == Some(self.kind) {
            close(self.pipe);
        }
        // SAFETY: our own child; it is not waited for if it still runs.
        unsafe { libc::waitpid(self.process, std::ptr::null_mut(), libc::__WCLONE) };
    }
}

/// The relay process. Never returns.
unsafe fn relay(input: RawFd, original: RawFd, copy: RawFd, page: *mut Page) -> ! {
    // SAFETY: system calls only; the buffer is on this process's own copy of the stack.
    unsafe {
        // Signals of the terminal and of process groups are for the program.
        libc::setsid();
        for signal in 1..32 {
            libc::signal(signal, libc::SIG_IGN);
        }
        let (input, original, copy) = (
            libc::fcntl(input, libc::F_DUPFD, 100),
            libc::fcntl(original, libc::F_DUPFD, 100),
            libc::fcntl(copy, libc::F_DUPFD, 100),
        );
        for (from, to) in [(input, 3), (original, 4), (copy, 5)] {
            libc::dup2(from, to);
        }
        for descriptor in 0..3 {
            libc::close(descriptor);
        }
        libc::syscall(libc::SYS_close_range, 6, u32::MAX, 0);
        libc::prctl(libc::PR_SET_NAME, c"codetracer-relay".as_ptr());
        pass_on(&*page);
        libc::_exit(0);
    }
}

unsafe fn pass_on(page: &Page) {
    const INPUT: RawFd = 3;
    const ORIGINAL: RawFd = 4;
    const COPY: RawFd = 5;
    let mut buffer = [0u8; 64 * 1024];
    // SAFETY: system calls with valid buffers.
    unsafe {
        let wait = |descriptor: RawFd, events: libc::c_short| {
            let mut state = libc::pollfd { fd: descriptor, events, revents: 0 };
            libc::poll(&raw mut state, 1, -1);
        };
        loop {
            wait(INPUT, libc::POLLIN);
            page.busy.store(1, Ordering::SeqCst);
            let count = libc::read(INPUT, buffer.as_mut_ptr().cast(), buffer.len());
            if count == 0 {
                return;
            }
            let Ok(count) = usize::try_from(count) else {
                page.busy.store(0, Ordering::SeqCst);
                continue;
            };
            let mut passed = 0;
            while passed < count {
                let written = libc::write(ORIGINAL, buffer.as_ptr().add(passed).cast(), count - passed);
                match usize::try_from(written) {
                    Ok(written) => passed += written,
                    Err(_) => match *libc::__errno_location() {
                        libc::EINTR => {}
                        // Somebody made the original non-blocking.
                        libc::EAGAIN => wait(ORIGINAL, libc::POLLOUT),
                        // Nobody reads any more: those who write shall know.
                        _ => return,
                    },
                }
            }
            let written = libc::write(COPY, buffer.as_ptr().cast(), count);
            let taken = usize::try_from(written).unwrap_or(0);
            page.copied.fetch_add(taken as u64, Ordering::SeqCst);
            page.dropped.fetch_add((count - taken) as u64, Ordering::SeqCst);
            page.busy.store(0, Ordering::SeqCst);
        }
    }
}
