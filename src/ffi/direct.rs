//! Python's own streams, and `os.write`, write past what catches the output of others: past a relay, straight to the original
//! descriptor; into a file that is read back, noting where.
//!
//! Invariants:
//! - What other writers put into a relay's pipe before goes first: the order on the other side is the program's.
//! - The result is that of `FileIO.write` (the number written, `None` if it would have to wait) or `os.write`, with the
//!   same exceptions.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use pyo3::ffi::{self, PyObject};

use super::read_back::{self, ReadBack};
use super::relay::{self, Relay};

/// What catches output that bypasses Python's streams.
#[derive(Debug)]
pub enum Catcher {
    Relay(Relay),
    File(ReadBack),
    /// Nothing: what is told of it is what `os.write` writes there.
    Terminal(Terminal),
}

/// A terminal that is left alone.
#[derive(Debug)]
pub struct Terminal {
    descriptor: RawFd,
    file: (u64, u64, u32),
}

impl Terminal {
    /// The terminal at this descriptor, if there is one.
    pub fn at(descriptor: RawFd) -> Option<Self> {
        // SAFETY: asks a question about a number.
        let is_terminal = unsafe { libc::isatty(descriptor) } == 1;
        relay::identity(descriptor).filter(|_| is_terminal).map(|file| Self { descriptor, file })
    }

    /// It is still there: the program may have put something else in its place.
    fn is_at(&self, descriptor: RawFd) -> bool {
        self.descriptor == descriptor && relay::identity(descriptor) == Some(self.file)
    }
}

static CATCHERS: ArcSwapOption<Vec<Catcher>> = ArcSwapOption::const_empty();

unsafe extern "C" {
    fn _Py_write(descriptor: RawFd, data: *const std::ffi::c_void, count: usize) -> ffi::Py_ssize_t;
}

/// Those in force.
pub fn publish(catchers: Option<Arc<Vec<Catcher>>>) {
    CATCHERS.store(catchers);
}

/// In a forked child they go on, but they are not ours.
pub fn forget() {
    std::mem::forget(CATCHERS.swap(None));
}

/// Where the position of a file stands that is read back: to be asked before the program moves it, see [`moved`].
pub(super) fn position(descriptor: RawFd) -> u64 {
    read_back::stands_at(descriptor)
}

/// The program moved the position from where it was `before`.
pub(super) fn moved(descriptor: RawFd, before: u64) {
    for catcher in CATCHERS.load().iter().flat_map(|all| all.iter()) {
        if let Catcher::File(file) = catcher
            && file.is_behind(descriptor)
        {
            file.moved(descriptor, before);
        }
    }
}

/// Writes `data` for the `FileIO` object `file` of `descriptor`. `None` if that is not for us to do; null with an
/// exception set, or a new reference.
pub(super) unsafe fn write(file: *mut PyObject, descriptor: RawFd, data: *mut PyObject) -> Option<*mut PyObject> {
    if !is_told(descriptor) {
        return None;
    }
    // SAFETY: GIL held, live objects; the view is released before returning. `closed` is a C getter of FileIO.
    unsafe {
        let closed = ffi::PyObject_GetAttrString(file, c"closed".as_ptr());
        let is_open = std::ptr::eq(closed, ffi::Py_False());
        ffi::Py_XDECREF(closed);
        if !is_open {
            ffi::PyErr_Clear();
            return None;
        }
        let mut view = std::mem::zeroed::<ffi::Py_buffer>();
        if ffi::PyObject_GetBuffer(data, &raw mut view, ffi::PyBUF_SIMPLE) != 0 {
            // The file's own method says what is wrong.
            ffi::PyErr_Clear();
            return None;
        }
        let result = write_view(descriptor, &view, true);
        ffi::PyBuffer_Release(&raw mut view);
        match result {
            Told::Written(result) => Some(result),
            Told::ByItself => None,
        }
    }
}

/// What became of a write.
pub(super) enum Told {
    /// Null with an exception set, or a new reference.
    Written(*mut PyObject),
    /// Nothing stands behind the descriptor: whoever asked is to write.
    ByItself,
}

/// Whether what is written at this descriptor is told, or caught.
pub(super) fn is_told(descriptor: RawFd) -> bool {
    CATCHERS.load().iter().flat_map(|all| all.iter()).any(|catcher| match catcher {
        Catcher::Relay(relay) => relay.original_of(descriptor).is_some(),
        Catcher::File(file) => file.is_behind(descriptor),
        Catcher::Terminal(terminal) => terminal.is_at(descriptor),
    })
}

/// Writes past what catches the output of others at `descriptor`. If it would have to wait the result is `None` for
/// those who `may_wait`, else an exception.
pub(super) unsafe fn write_view(descriptor: RawFd, view: &ffi::Py_buffer, may_wait: bool) -> Told {
    let Some(catchers) = CATCHERS.load_full() else { return Told::ByItself };
    for catcher in catchers.iter() {
        // SAFETY: GIL held; the view is valid (caller).
        unsafe {
            match catcher {
                Catcher::Relay(relay) => {
                    if let Some(original) = relay.original_of(descriptor) {
                        return Told::Written(past(relay, original, descriptor, view, may_wait));
                    }
                }
                Catcher::File(file) => {
                    if file.is_behind(descriptor) {
                        return Told::Written(into(file, descriptor, view));
                    }
                }
                Catcher::Terminal(_) => {}
            }
        }
    }
    Told::ByItself
}

/// Writes to the original, once all that was in the pipe has been passed on.
unsafe fn past(
    relay: &Relay,
    original: RawFd,
    descriptor: RawFd,
    view: &ffi::Py_buffer,
    may_wait: bool,
) -> *mut PyObject {
    // SAFETY: GIL held; the view is valid.
    unsafe {
        if !wait(relay, descriptor) {
            return std::ptr::null_mut();
        }
        let written = _Py_write(original, view.buf, view.len as usize);
        if written >= 0 {
            ffi::PyLong_FromSsize_t(written)
        } else if may_wait && std::io::Error::last_os_error().kind() == std::io::ErrorKind::WouldBlock {
            ffi::PyErr_Clear();
            let none = ffi::Py_None();
            ffi::Py_INCREF(none);
            none
        } else {
            std::ptr::null_mut()
        }
    }
}

/// Writes to the file itself. Regular files never ask to wait.
unsafe fn into(file: &ReadBack, descriptor: RawFd, view: &ffi::Py_buffer) -> *mut PyObject {
    // SAFETY: GIL held but for the write; the view keeps its bytes alive and in place.
    unsafe {
        let bytes = if view.len == 0 { &[] } else { std::slice::from_raw_parts(view.buf.cast(), view.len as usize) };
        loop {
            let state = ffi::PyEval_SaveThread();
            let result = file.write(descriptor, bytes);
            ffi::PyEval_RestoreThread(state);
            let error = match result {
                Ok(written) => return ffi::PyLong_FromSize_t(written),
                Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
            };
            if error != libc::EINTR {
                *libc::__errno_location() = error;
                return ffi::PyErr_SetFromErrno(ffi::PyExc_OSError);
            }
            if ffi::PyErr_CheckSignals() != 0 {
                return std::ptr::null_mut();
            }
        }
    }
}

/// Waits for what others wrote before. False with an exception set if a signal handler raised one.
unsafe fn wait(relay: &Relay, descriptor: RawFd) -> bool {
    // SAFETY: GIL held; it is given up while waiting, as in any write.
    unsafe {
        while !relay.is_drained(descriptor) {
            let state = ffi::PyEval_SaveThread();
            for _ in 0..200 {
                if relay.is_drained(descriptor) {
                    break;
                }
                std::thread::sleep(Duration::from_micros(50));
            }
            ffi::PyEval_RestoreThread(state);
            if ffi::PyErr_CheckSignals() != 0 {
                return false;
            }
        }
    }
    true
}
