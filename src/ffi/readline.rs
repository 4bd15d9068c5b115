//! `input()` at a terminal: CPython reads the line past `sys.stdin`, through one function pointer of its own.
//!
//! Invariants:
//! - Our function calls the one that was there and returns its result; it reports afterwards.
//! - The pointer is checked again whenever the program asks a watched stream for its descriptor, as `input()` asks stdin
//!   and stdout before it reads: importing `readline` puts another function there.
//! - Nothing is touched unless stdin and stdout are terminals.

use std::ffi::{CStr, c_char, c_int};
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pyo3::ffi;

use crate::pipeline::layout::output;
use crate::runtime::io_capture::observe::{self, Data};

type ReadLine = unsafe extern "C" fn(*mut libc::FILE, *mut libc::FILE, *const c_char) -> *mut c_char;

unsafe extern "C" {
    static mut PyOS_ReadlineFunctionPointer: Option<ReadLine>;
    static PyOS_InputHook: Option<unsafe extern "C" fn() -> c_int>;
    fn PyOS_Readline(input: *mut libc::FILE, output: *mut libc::FILE, prompt: *const c_char) -> *mut c_char;
}

/// `input()` is to be watched: a session records, and the program is at a terminal.
static WANTED: AtomicBool = AtomicBool::new(false);
/// The function that was there before ours.
static BEFORE: AtomicUsize = AtomicUsize::new(0);

/// From now on `input()` at a terminal is reported. Call it with the GIL held.
pub fn watch() {
    // SAFETY: no memory is involved.
    let terminals = unsafe { libc::isatty(0) == 1 && libc::isatty(1) == 1 };
    WANTED.store(terminals, Ordering::Relaxed);
}

/// Puts the pointer back, unless somebody else's function is there by now. Call it with the GIL held.
pub fn unwatch() {
    WANTED.store(false, Ordering::Relaxed);
    // SAFETY: GIL held; the pointer is only used with it.
    unsafe {
        if current().is_some_and(is_ours) {
            PyOS_ReadlineFunctionPointer = before();
        }
    }
}

/// The program asked for a descriptor, as `input()` does before it reads. Called with the GIL held.
#[inline]
pub(super) fn check() {
    if WANTED.load(Ordering::Relaxed) {
        install();
    }
}

/// The function in force. Call it with the GIL held.
unsafe fn current() -> Option<ReadLine> {
    // SAFETY: CPython changes the pointer with the GIL held (caller).
    unsafe { (&raw const PyOS_ReadlineFunctionPointer).read() }
}

fn is_ours(function: ReadLine) -> bool {
    function as usize == reported as ReadLine as usize
}

fn before() -> Option<ReadLine> {
    let address = BEFORE.load(Ordering::Relaxed);
    // SAFETY: only ever written from such a pointer; 0 is None.
    unsafe { std::mem::transmute::<usize, Option<ReadLine>>(address) }
}

#[cold]
fn install() {
    // SAFETY: GIL held (caller), as CPython wants it for this pointer.
    unsafe {
        if current().is_none() && !find_default() {
            WANTED.store(false, Ordering::Relaxed);
            return;
        }
        match current() {
            Some(function) if !is_ours(function) => {
                BEFORE.store(function as usize, Ordering::Relaxed);
                PyOS_ReadlineFunctionPointer = Some(reported);
            }
            _ => {}
        }
    }
}

/// CPython fills the pointer in at its first use, with a function that has no public name: so it is used once, on an
/// empty file.
unsafe fn find_default() -> bool {
    // SAFETY: GIL held; the files are ours; nothing else runs, since there is no input hook.
    unsafe {
        if PyOS_InputHook.is_some() {
            return false;
        }
        let (input, output) =
            (libc::fopen(c"/dev/null".as_ptr(), c"r".as_ptr()), libc::fopen(c"/dev/null".as_ptr(), c"w".as_ptr()));
        if !input.is_null() && !output.is_null() {
            let line = PyOS_Readline(input, output, std::ptr::null());
            if line.is_null() {
                ffi::PyErr_Clear();
            }
            ffi::PyMem_Free(line.cast());
        }
        for file in [input, output] {
            if !file.is_null() {
                libc::fclose(file);
            }
        }
        current().is_some()
    }
}

unsafe extern "C" fn reported(input: *mut libc::FILE, output: *mut libc::FILE, prompt: *const c_char) -> *mut c_char {
    let Some(before) = before() else { return std::ptr::null_mut() };
    // SAFETY: CPython's arguments, handed on. It calls without the GIL but with a thread state, which is taken up again
    // for the report; the line is a C string that the caller will free.
    unsafe {
        let line = before(input, output, prompt);
        let state = ffi::PyGILState_Ensure();
        let _ = catch_unwind(|| report(prompt, line));
        ffi::PyGILState_Release(state);
        line
    }
}

unsafe fn report(prompt: *const c_char, line: *const c_char) {
    // SAFETY: null or C strings (caller).
    unsafe {
        if !prompt.is_null() {
            observe::written(output::STDOUT, Data::Bytes(CStr::from_ptr(prompt).to_bytes()));
            observe::flushed(output::STDOUT);
        }
        if !line.is_null() {
            observe::read(output::STDIN, Data::Bytes(CStr::from_ptr(line).to_bytes()));
        }
    }
}
