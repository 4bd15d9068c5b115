//! The start-up check: do the private layouts say what the public API says?
//!
//! Invariants:
//! - Runs once per process, before any callback is registered; its answer never changes afterwards.
//! - Every private field that is read on the fast path of frames, dicts, instances and generators has a check here, by
//!   name; one that disagrees refuses them all, and nothing is read after it.
//! - A check first looks at where the fields are ([`offsets`]), which is harmless if they are elsewhere, then reads as the
//!   fast path does.
//! - `CODETRACER_FRAME_ACCESS=public` refuses the private layout, so that both paths can be tested and a user can
//!   rule the fast path out as the cause of a problem.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};

use super::frame::{self, Frame};
use super::layout;
use super::object::Obj;

mod memory;
mod offsets;

use offsets::Offsets;

/// What the checks are called from. There are enough names that the two sizes of a table that its head tells differ.
const PROBE: &std::ffi::CStr = c"
class Instance:
    pass

def called(check, a, /, b, *args, k, **kw):
    captured = a
    def inner():
        return captured
    instance = Instance()
    instance.first = a
    instance.second = b
    check('variables', inner.__closure__[0])
    check('caller')
    check('stack')
    check('recursion')
    check('instance', instance)
    check('instance dict', instance.__dict__)
    return inner

def look_up():
    return Instance

def probe(check):
    check('outer')
    called(check, 17, 'text', 'more', k=2.5, extra='x')
    check('instruction')
    class Body:
        name = 1
        check('namespace')
    check('instruction')
    check('type', Body)
    other = Instance()
    other.__dict__ = {'first': 1}
    check('other dict', other)
    for _ in range(64):
        look_up()
    names = dict(zip('abcdefghijklmno', range(15)))
    names.update((str(n), n) for n in range(200))
    del names['b']
    check('names', names)
    check('keys', {1: 2, 'a': 3})
    check('version', globals())
    generator = (name for name in names)
    check('not begun', generator)
    generator.close()
    check('ended', generator)
";

/// The variables of `called` in [`PROBE`], in the order of the slots; the last one is in a cell.
const VARIABLES: [&std::ffi::CStr; 9] =
    [c"check", c"a", c"b", c"k", c"args", c"kw", c"inner", c"instance", c"captured"];

/// Decides whether the fast path is used; returns the reason if it is not.
pub fn decide_frame_access(py: Python<'_>) -> Option<String> {
    if layout::decided() {
        return None;
    }
    let refusal = if std::env::var("CODETRACER_FRAME_ACCESS").is_ok_and(|value| value == "public") {
        Some("CODETRACER_FRAME_ACCESS=public".to_owned())
    } else if !layout::version_is_known() {
        Some("the frame layout of this interpreter version is not known".to_owned())
    } else {
        match run(py) {
            Ok(Some(name)) => Some(format!("the probe `{name}` read otherwise than the public API")),
            Ok(None) => None,
            Err(error) => Some(format!("the probe failed: {error}")),
        }
    };
    layout::decide(refusal.is_none());
    if refusal.is_none() {
        super::dict_changes::learn(py);
    }
    refusal
}

/// What one check leaves for a later one, and what disagreed first.
#[derive(Default)]
struct Findings {
    checks: usize,
    disagreed: Option<String>,
    offsets: Option<Offsets>,
    instruction: Option<(usize, i32)>,
}

/// How many checks [`PROBE`] makes.
const CHECKS: usize = 17;

/// The name of the check that disagreed.
fn run(py: Python<'_>) -> PyResult<Option<String>> {
    let namespace = PyDict::new(py);
    py.run(PROBE, Some(&namespace), None)?;
    let findings = Arc::new(Mutex::new(Findings { offsets: Offsets::new(), ..Findings::default() }));
    let shared = Arc::clone(&findings);
    let check = PyCFunction::new_closure(py, None, None, move |args: &Bound<'_, PyTuple>, _| -> PyResult<()> {
        let name: String = args.get_item(0)?.extract()?;
        let object = args.get_item(1).ok();
        let mut findings = shared.lock().unwrap_or_else(PoisonError::into_inner);
        findings.checks += 1;
        if findings.disagreed.is_some() {
            return Ok(());
        }
        let object = object.as_ref();
        let located = match &mut findings.offsets {
            Some(offsets) => offsets.agree(&name, object)?,
            None => false,
        };
        if !located || !agrees(&name, object, &mut findings)? || injected(&name) {
            findings.disagreed = Some(name);
        }
        Ok(())
    })?;
    namespace.as_any().get_item("probe")?.call1((check,))?;
    let findings = std::mem::take(&mut *findings.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(findings.disagreed.or_else(|| (findings.checks != CHECKS).then(|| "all".to_owned())))
}

/// Whether a test wants this check to disagree.
#[cfg(feature = "integration-test")]
fn injected(name: &str) -> bool {
    std::env::var("CODETRACER_TEST_INJECT_LAYOUT").is_ok_and(|wanted| wanted == name)
}
#[cfg(not(feature = "integration-test"))]
fn injected(_: &str) -> bool {
    false
}

fn agrees(name: &str, object: Option<&Bound<'_, PyAny>>, findings: &mut Findings) -> PyResult<bool> {
    Ok(match (name, object) {
        // Of these there is no more to be read.
        ("outer" | "recursion", None) | ("instance dict" | "other dict" | "version", Some(_)) => true,
        ("variables", Some(_)) => variables_agree(),
        ("caller", None) => callers_agree(),
        ("stack", None) => stack_agrees(),
        ("namespace", None) => namespace_agrees(),
        ("instruction", None) => instruction_agrees(findings),
        ("instance", Some(instance)) => instance_agrees(instance)?,
        ("type", Some(class)) => {
            let read = super::with_obj(class, |class| super::object::Type::of_type_object(class).full_name());
            read.ends_with(&class.getattr("__qualname__")?.extract::<String>()?)
        }
        ("names" | "keys", Some(dict)) => dict_agrees(dict.cast::<PyDict>()?)?,
        ("not begun", Some(generator)) => begun_agrees(generator, true),
        ("ended", Some(generator)) => begun_agrees(generator, false),
        _ => false,
    })
}

/// Reads something by the private layout, which is trusted for no longer. No Python code runs meanwhile.
fn trusting<T>(read: impl FnOnce() -> T) -> T {
    layout::decide(true);
    let found = read();
    layout::decide(false);
    found
}

/// The calling frame, read by the private layout.
///
/// # Safety
/// As [`frame::current`].
unsafe fn fast_frame<'a>() -> Option<Frame<'a>> {
    // SAFETY: the caller's promise; the version is the one the layout was written for.
    trusting(|| unsafe { frame::current() })
}

/// Code, line, globals and variables of the calling frame, read both ways.
fn variables_agree() -> bool {
    // SAFETY: called from Python code with the GIL held.
    unsafe {
        let public = ffi::PyEval_GetFrame();
        let Some(Frame::Fast(fast)) = fast_frame() else { return false };
        if public.is_null() {
            return false;
        }
        let code = ffi::PyFrame_GetCode(public);
        let globals = ffi::PyFrame_GetGlobals(public);
        let mut agree = Frame::Fast(fast).code().map(Obj::as_ptr) == Some(code.cast())
            && Frame::Fast(fast).globals().map(Obj::as_ptr) == Some(globals)
            && Frame::Fast(fast).line() == ffi::PyFrame_GetLineNumber(public) as u32;
        for (index, name) in VARIABLES.into_iter().enumerate() {
            let key = ffi::PyUnicode_FromString(name.as_ptr());
            let expected = ffi::PyFrame_GetVar(public, key);
            ffi::Py_DECREF(key);
            if expected.is_null() {
                ffi::PyErr_Clear();
                agree = false;
                continue;
            }
            ffi::Py_DECREF(expected);
            let found = fast.slot(index).and_then(|slot| if slot.is_cell() { slot.cell_content() } else { Some(slot) });
            agree &= found.map(Obj::as_ptr) == Some(expected);
        }
        ffi::Py_DECREF(code.cast());
        ffi::Py_DECREF(globals);
        agree
    }
}

/// The frames below the calling one: one that the interpreter entered without a C frame between, and one below such.
fn callers_agree() -> bool {
    // SAFETY: called from Python code with the GIL held.
    unsafe {
        let public = ffi::PyEval_GetFrame();
        let (Some(mut fast), false) = (fast_frame(), public.is_null()) else { return false };
        let mut public = Frame::public(public);
        for _ in 0..2 {
            match (trusting(|| fast.previous()), public.previous()) {
                (Some(a), Some(b)) if a.code() == b.code() => (fast, public) = (a, b),
                (None, None) => return true,
                _ => return false,
            }
        }
        true
    }
}

/// The calling frame lies where the stack of its thread is.
fn stack_agrees() -> bool {
    // SAFETY: called from a Python function with the GIL held; the version is the one the layout was written for.
    unsafe {
        fast_frame().is_some_and(|frame| layout::is_in_stack(frame.id())) && trusting(super::stack::identity) != 0
    }
}

fn namespace_agrees() -> bool {
    // SAFETY: called from a class body with the GIL held.
    unsafe {
        let public = ffi::PyEval_GetFrame();
        !public.is_null()
            && fast_frame().is_some_and(|fast| {
                let found = fast.namespace();
                found.is_some() && found == Frame::public(public).namespace()
            })
    }
}

/// From one instruction of a frame to a later one, it is as far either way.
fn instruction_agrees(findings: &mut Findings) -> bool {
    // SAFETY: called from Python code with the GIL held.
    let found = unsafe {
        let public = ffi::PyEval_GetFrame();
        if public.is_null() {
            return false;
        }
        fast_frame().and_then(Frame::instruction).map(|at| (at, ffi::PyFrame_GetLasti(public)))
    };
    let (Some((address, offset)), Some((first, first_offset))) = (found, findings.instruction) else {
        findings.instruction = found;
        return found.is_some();
    };
    offset > first_offset && address.wrapping_sub(first) == (offset - first_offset) as usize
}

/// The attributes of an instance, first as they lie in it, then through its dict.
fn instance_agrees(instance: &Bound<'_, PyAny>) -> PyResult<bool> {
    let read = || {
        let mut found = Vec::new();
        trusting(|| {
            super::with_obj(instance, |object| {
                object
                    .instance_attributes(&mut |name, value| found.push((super::object::lossy(name), value.address())));
            });
        });
        found
    };
    let in_place = read();
    let dict = instance.getattr("__dict__")?.cast_into::<PyDict>()?;
    let made = read();
    let expected: Vec<(String, usize)> =
        dict.iter().map(|(name, value)| Ok((name.extract()?, value.as_ptr() as usize))).collect::<PyResult<_>>()?;
    Ok(in_place == expected && made == expected)
}

/// Entries, a name found and one that is not there, and the version that any change renews.
fn dict_agrees(dict: &Bound<'_, PyDict>) -> PyResult<bool> {
    let present = pyo3::types::PyString::intern(dict.py(), "a");
    let absent = pyo3::types::PyString::intern(dict.py(), "b");
    let expected: Vec<_> = dict.iter().map(|(key, value)| (key.as_ptr() as usize, value.as_ptr() as usize)).collect();
    let read = || {
        super::with_obj(dict, |dict| {
            trusting(|| {
                let entries: Vec<_> =
                    dict.dict_entries().map(|(key, value)| (key.address(), value.address())).collect();
                (entries, dict.dict_version())
            })
        })
    };
    let find = |name: &Bound<'_, PyAny>| {
        super::with_obj(dict, |dict| {
            super::with_obj(name, |name| {
                trusting(|| {
                    let mut hint = 0;
                    // The second time the hint of the first is used.
                    [0; 2].map(|_| dict.dict_get(name, &mut hint).map(Obj::address))
                })
            })
        })
    };
    let value = dict.get_item(&present)?.map(|value| value.as_ptr() as usize);
    let (entries, version) = read();
    let same = read() == (expected.clone(), version) && entries == expected;
    let found = find(&present) == [value; 2] && find(&absent) == [None; 2];
    dict.set_item(&present, dict)?;
    let renewed = version.is_some() && read().1 != version;
    dict.set_item(&present, 1)?;
    Ok(same && found && renewed)
}

fn begun_agrees(generator: &Bound<'_, PyAny>, expected: bool) -> bool {
    super::with_obj(generator, |generator| {
        trusting(|| super::c_types::has_not_begun(generator, c"gi_frame")) == expected
            && super::c_types::has_not_begun(generator, c"gi_frame") == expected
    })
}
