//! Instructions that CPython 3.12 had joined into one, joined again after events were on.
//!
//! 3.12 joins frequent pairs of instructions when it makes a code object. It takes them apart in every function that
//! runs while any event is on, and leaves them so: two to four percent more instructions from then on.
//!
//! Invariants:
//! - Written is one byte, with the GIL held: the opcode of an instruction that is plain now, to what CPython itself makes
//!   of it when it makes this code object. Both instructions of the pair carry no event then; the second one stays
//!   where it is, so whoever jumps there or goes on there finds what was there before. When events go on CPython takes
//!   the pair apart as any other.
//! - Nothing is written unless the private layouts are trusted, the interpreter is 3.12, and it has joined the pairs of a
//!   new code object, where its bytes are looked for, exactly as expected.
//! - Nothing is written to the code objects that are part of the interpreter's program file: subinterpreters, each with a
//!   GIL of its own, run them too.

use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCode, PyTuple};

use super::layout;

const LOAD_CONST: u8 = 100;
const LOAD_FAST: u8 = 124;
const STORE_FAST: u8 = 125;

/// Bytes of an instruction: opcode and argument.
const UNIT: usize = 2;

/// What a pair becomes, by the opcodes of CPython 3.12.
const fn joined(first: u8, second: u8) -> Option<u8> {
    Some(match (first, second) {
        (LOAD_CONST, LOAD_FAST) => 84,
        (LOAD_FAST, LOAD_CONST) => 86,
        (LOAD_FAST, LOAD_FAST) => 88,
        (STORE_FAST, LOAD_FAST) => 154,
        (STORE_FAST, STORE_FAST) => 158,
        _ => return None,
    })
}

/// The pairs of a code object, in order.
#[derive(Debug)]
pub struct Pairs(Box<[Pair]>);

#[derive(Debug)]
struct Pair {
    /// Where its first instruction begins, in bytes.
    at: usize,
    first: u8,
    second: u8,
    joined: u8,
}

impl Pairs {
    /// # Errors
    /// `MemoryError`.
    pub fn of(code: &Bound<'_, PyCode>) -> PyResult<Self> {
        if is_shared(code) {
            return Ok(Self(Box::default()));
        }
        // Without events, and with zeros where instructions keep what they have learned, which no pair has.
        let code = code.getattr("co_code")?.cast_into::<PyBytes>()?;
        let bytes = code.as_bytes();
        let pairs = bytes.windows(UNIT + 1).enumerate().step_by(UNIT).filter_map(|(at, window)| {
            let (first, second) = (window[0], window[UNIT]);
            joined(first, second).map(|joined| Pair { at, first, second, joined })
        });
        Ok(Self(pairs.collect()))
    }

    /// Joins the pairs of this code object that are apart and carry no event.
    pub fn join(&self, code: &Bound<'_, PyCode>) {
        let (bytes, length) = instructions(code);
        for pair in &self.0 {
            if pair.at + UNIT >= length {
                return;
            }
            // SAFETY: both opcodes are within the code object, by the check above; it lives, by `code`, and only who
            // holds the GIL, as we do, reads or writes its instructions. What is written is right by the module invariant.
            unsafe {
                let first = bytes.add(pair.at);
                let second = first.add(UNIT).read();
                let begins_a_pair = self.joined_at(pair.at + UNIT) == Some(second);
                if first.read() == pair.first && (second == pair.second || begins_a_pair) {
                    first.write(pair.joined);
                }
            }
        }
    }

    fn joined_at(&self, at: usize) -> Option<u8> {
        let found = self.0.binary_search_by_key(&at, |pair| pair.at).ok()?;
        Some(self.0[found].joined)
    }
}

/// Whether the code object is one for all interpreters of the process: those are immortal, on 3.12 no others are.
fn is_shared(code: &Bound<'_, PyCode>) -> bool {
    // SAFETY: a live object, with the GIL held.
    let count = unsafe { ffi::Py_REFCNT(code.as_ptr()) };
    // An immortal object's count is negative in its lower half.
    (count as i32) < 0
}

/// Where the instructions that are executed begin, and how many bytes they are.
fn instructions(code: &Bound<'_, PyCode>) -> (*mut u8, usize) {
    let object = code.as_ptr();
    // SAFETY: a live code object; its variable part is the instructions, which begin where the fixed part ends. That this
    // is so was seen by [`is_known`].
    unsafe {
        let fixed = (*ffi::Py_TYPE(object)).tp_basicsize;
        (object.cast::<u8>().offset(fixed), ffi::Py_SIZE(object).unsigned_abs() * UNIT)
    }
}

/// Whether this interpreter joins pairs, and in the known way.
pub fn is_known(py: Python<'_>) -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    let version = py.version_info();
    layout::trusted()
        && (version.major, version.minor) == (3, 12)
        && *KNOWN.get_or_init(|| joins_as_expected(py).unwrap_or(false))
}

fn joins_as_expected(py: Python<'_>) -> PyResult<bool> {
    const TEXT: &std::ffi::CStr = c"
def f(a, b):
    c = a
    d = b
    a, b = a, 1
    return [c, d, 2, c, a]
";
    // SAFETY: the GIL is held, both texts end with a zero byte.
    let module = unsafe {
        let code = ffi::Py_CompileString(TEXT.as_ptr(), c"<joined>".as_ptr(), ffi::Py_file_input);
        Bound::from_owned_ptr_or_err(py, code)?
    };
    let constants = module.getattr("co_consts")?.cast_into::<PyTuple>()?;
    let code = constants.get_item(0)?.cast_into::<PyCode>()?;
    let pairs = Pairs::of(&code)?;
    let plain = code.getattr("co_code")?.cast_into::<PyBytes>()?;
    let (bytes, length) = instructions(&code);
    if length != plain.as_bytes().len() {
        return Ok(false);
    }
    // SAFETY: a live code object and its size, which the public API has told, too; nobody executes it.
    let actual = unsafe { std::slice::from_raw_parts(bytes, length) };
    let kinds = [84, 86, 88, 154, 158].iter().all(|kind| pairs.0.iter().any(|pair| pair.joined == *kind));
    // Where the public form has zeros, caches are.
    let same = (0..length).step_by(UNIT).all(|at| {
        let expected = pairs.joined_at(at).unwrap_or(plain.as_bytes()[at]);
        expected == 0 || actual[at] == expected
    });
    Ok(kinds && same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opcodes(code: &Bound<'_, PyCode>) -> Vec<u8> {
        let (bytes, length) = instructions(code);
        // SAFETY: a live code object that nobody executes; copied at once.
        unsafe { std::slice::from_raw_parts(bytes, length) }.to_vec()
    }

    #[test]
    fn pairs_are_joined_as_the_interpreter_had_joined_them_and_not_where_an_event_is() {
        Python::initialize();
        Python::attach(|py| {
            drop(super::super::probe::decide_frame_access(py));
            assert_eq!(is_known(py), py.version_info().minor == 12);
            if !is_known(py) {
                return;
            }
            let frozen = py.import("posixpath").unwrap().getattr("join").unwrap().getattr("__code__").unwrap();
            assert!(Pairs::of(&frozen.cast_into::<PyCode>().unwrap()).unwrap().0.is_empty(), "all interpreters run it");
            let namespace = pyo3::types::PyDict::new(py);
            let program = c"
import sys
def f(a, b):
    c = a
    d = b
    e = d
    return [c, d, 2, c, e]
code = f.__code__
tool, events = 5, sys.monitoring.events
lines = []
def begin(what):
    sys.monitoring.use_tool_id(tool, 'test')
    sys.monitoring.register_callback(tool, events.LINE, lambda code, line: lines.append(line))
    sys.monitoring.set_events(tool, events.PY_START)
    sys.monitoring.set_local_events(tool, code, what)
    f(1, 2)
def end():
    sys.monitoring.set_local_events(tool, code, 0)
    sys.monitoring.set_events(tool, 0)
    sys.monitoring.free_tool_id(tool)
    f(1, 2)
";
            py.run(program, Some(&namespace), None).unwrap();
            let item = |name: &str| namespace.as_any().get_item(name).unwrap();
            let call = |name: &str| drop(item(name).call0().unwrap());
            let code = item("code").cast_into::<PyCode>().unwrap();
            let fresh = opcodes(&code);
            let pairs = Pairs::of(&code).unwrap();
            drop(item("begin").call1((0,)).unwrap());
            call("end");
            assert_ne!(opcodes(&code), fresh, "the interpreter has taken them apart");
            pairs.join(&code);
            assert_eq!(opcodes(&code), fresh);
            let line = item("events").getattr("LINE").unwrap();
            drop(item("begin").call1((line,)).unwrap());
            let with_events = opcodes(&code);
            pairs.join(&code);
            let after = opcodes(&code);
            for pair in &pairs.0 {
                let carries_event = |at: usize| with_events[at] > 200;
                if carries_event(pair.at) || carries_event(pair.at + UNIT) {
                    assert_eq!(after[pair.at], with_events[pair.at]);
                }
            }
            drop(item("f").call1((1, 2)).unwrap());
            let seen: Vec<u32> = item("lines").extract().unwrap();
            assert_eq!(seen, [[4, 5, 6, 7], [4, 5, 6, 7]].concat(), "no line is lost");
            call("end");
            assert_ne!(opcodes(&code), fresh);
            pairs.join(&code);
            assert_eq!(opcodes(&code), fresh);
        });
    }
}
