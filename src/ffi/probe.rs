//! The start-up check: does the private layout say what the public frame API says?
//!
//! Invariants:
//! - Runs once per process, before any callback is registered; its answer never changes afterwards.
//! - `CODETRACER_FRAME_ACCESS=public` refuses the private layout, so that both paths can be tested and a user can
//!   rule the fast path out as the cause of a problem.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};

use super::frame::{self, Frame};
use super::layout;
use super::object::Obj;

const PROBE: &std::ffi::CStr = c"
class Instance:
    pass

def probe(check, a, /, b, *args, k, **kw):
    captured = a
    def inner():
        return captured
    instance = Instance()
    instance.first = a
    instance.second = b
    return check(instance, inner)
";

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
            Ok(true) => None,
            Ok(false) => Some("the probe read other values than the public frame API".to_owned()),
            Err(error) => Some(format!("the probe failed: {error}")),
        }
    };
    layout::decide(refusal.is_none());
    refusal
}

fn run(py: Python<'_>) -> PyResult<bool> {
    let namespace = PyDict::new(py);
    py.run(PROBE, Some(&namespace), None)?;
    let Some(probe) = namespace.get_item("probe")? else { return Ok(false) };
    let check = PyCFunction::new_closure(py, None, None, |args: &Bound<'_, PyTuple>, _| -> PyResult<bool> {
        let instance = args.get_item(0)?;
        Ok(frames_agree() && instance_agrees(&instance)?)
    })?;
    let kwargs = PyDict::new(py);
    kwargs.set_item("k", 2.5)?;
    kwargs.set_item("extra", "x")?;
    probe.call((check, 17, "text", "more"), Some(&kwargs))?.extract()
}

/// Compares the frame of `probe`, read both ways.
fn frames_agree() -> bool {
    // SAFETY: called from Python code with the GIL held. The private layout is read only because the version is the
    // one it was written for; `trusted` is switched on for the length of these reads and decided by the caller.
    unsafe {
        let public = ffi::PyEval_GetFrame();
        if public.is_null() {
            return false;
        }
        layout::decide(true);
        let fast = frame::current();
        layout::decide(false);
        let Some(fast) = fast else { return false };
        let code = ffi::PyFrame_GetCode(public);
        let globals = ffi::PyFrame_GetGlobals(public);
        let mut agree = fast.code().map(Obj::as_ptr) == Some(code.cast())
            && fast.globals().map(Obj::as_ptr) == Some(globals)
            && fast.line() == ffi::PyFrame_GetLineNumber(public) as u32;
        let names = ["check", "a", "b", "k", "args", "kw", "inner", "instance", "captured"];
        let order = |name: &str| names.iter().position(|&n| n == name).unwrap_or(usize::MAX);
        for name in names {
            let Ok(text) = std::ffi::CString::new(name) else { return false };
            let key = ffi::PyUnicode_FromString(text.as_ptr());
            let expected = ffi::PyFrame_GetVar(public, key);
            ffi::Py_DECREF(key);
            if expected.is_null() {
                ffi::PyErr_Clear();
                agree = false;
                continue;
            }
            ffi::Py_DECREF(expected);
            let Frame::Fast(fast) = fast else { return false };
            let found =
                fast.slot(order(name)).and_then(|slot| if slot.is_cell() { slot.cell_content() } else { Some(slot) });
            agree &= found.map(Obj::as_ptr) == Some(expected);
        }
        ffi::Py_DECREF(code.cast());
        ffi::Py_DECREF(globals);
        agree
    }
}

/// Compares the attributes of an instance, first as they lie in it, then through its dict.
fn instance_agrees(instance: &Bound<'_, PyAny>) -> PyResult<bool> {
    let read = || {
        let mut found = Vec::new();
        layout::decide(true);
        super::with_obj(instance, |object| {
            object.instance_attributes(&mut |name, value| found.push((super::object::lossy(name), value.address())));
        });
        layout::decide(false);
        found
    };
    let in_place = read();
    let dict = instance.getattr("__dict__")?.cast_into::<PyDict>()?;
    let made = read();
    let expected: Vec<(String, usize)> =
        dict.iter().map(|(name, value)| Ok((name.extract()?, value.as_ptr() as usize))).collect::<PyResult<_>>()?;
    Ok(in_place == expected && made == expected)
}
