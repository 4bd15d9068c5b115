//! Where the private fields are, looked at before anything is reached through them.
//!
//! Invariants:
//! - Whatever the offsets are, looking at them harms nothing: see [`Memory`]. Only when the fields of a struct are what the
//!   public API says is the struct read as the fast path reads it ([`super::agrees`]).
//! - Every field of frames, thread states, dicts, instances, heap types and generators that the fast path reads is here,
//!   by its name; but for the list of the chunks that a stack lies in, which is only read as the fast path does.

use std::mem::offset_of;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::memory::Memory;
use crate::ffi::c_types::GeneratorHead;
use crate::ffi::frame::Frame;
#[cfg(not(Py_3_13))]
use crate::ffi::layout::CFrame;
use crate::ffi::layout::{self, Dict, DictKeys, DictValues, InterpreterFrame, ThreadState, UnicodeEntry};
use crate::ffi::object::HeapType;

/// The offset of a field.
macro_rules! at {
    ($structure:ident . $field:ident) => {
        shifted(concat!(stringify!($structure), ".", stringify!($field)), offset_of!($structure, $field))
    };
}

/// The offset, or another one where a test wants this field (or all fields of its struct) elsewhere: `Dict.keys:8`.
#[cfg(feature = "integration-test")]
fn shifted(field: &str, offset: usize) -> usize {
    let Ok(wanted) = std::env::var("CODETRACER_TEST_SHIFT_LAYOUT") else { return offset };
    let Some((name, by)) = wanted.split_once(':') else { return offset };
    let is_it = field == name || field.split('.').next() == Some(name);
    match by.parse::<isize>() {
        Ok(by) if is_it => offset.wrapping_add_signed(by),
        _ => offset,
    }
}
#[cfg(not(feature = "integration-test"))]
fn shifted(_: &str, offset: usize) -> usize {
    offset
}

/// The check of the offsets, and what one part of it leaves for a later one.
pub(super) struct Offsets {
    memory: Memory,
    depth: i32,
}

impl Offsets {
    /// `None` if memory cannot be looked at.
    pub fn new() -> Option<Self> {
        Some(Self { memory: Memory::new()?, depth: 0 })
    }

    /// Whether the fields that the check of this name is about are where the layouts say.
    pub fn agree(&mut self, name: &str, object: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let agree = match (name, object) {
            ("outer", None) => self.thread_agrees(),
            ("recursion", None) => self.recursion().map(|(depth, _)| depth == self.depth + 1),
            ("namespace", None) => self.namespace_agrees(),
            ("variables", Some(cell)) => self.frame_agrees(cell),
            ("instance", Some(instance)) => {
                let class = instance.get_type();
                let expected = ["first", "second"].map(|name| PyString::intern(instance.py(), name));
                let values = [instance.getattr(&expected[0])?, instance.getattr(&expected[1])?];
                self.instance_agrees(address(instance), &values.each_ref().map(address))
                    .and_then(|agree| Some(agree && self.names_agree(address(&class), &expected)?))
            }
            ("instance dict", Some(dict)) => {
                let first = dict.get_item("first")?;
                self.shared_dict_agrees(address(dict), address(&first))
            }
            ("other dict", Some(instance)) => {
                let dict = instance.getattr("__dict__")?;
                self.other_dict_agrees(address(instance), address(&dict))
            }
            ("type", Some(class)) => {
                let name = class.getattr("__qualname__")?;
                self.memory
                    .word(moved(address(class), shifted("HeapType.qualname", HeapType::QUALNAME)))
                    .map(|found| found == address(&name))
            }
            ("names", Some(dict)) => self.dict_agrees(dict.cast()?)?,
            ("keys", Some(dict)) => self.keys(address(dict)).and_then(|keys| self.kind(keys)).map(|kind| kind == 0),
            ("version", Some(namespace)) => self.version_agrees(namespace.cast()?)?,
            ("not begun", Some(generator)) => self.state(generator).map(|state| state < 0),
            ("ended", Some(generator)) => self.state(generator).map(|state| state >= 0),
            _ => Some(true),
        };
        Ok(agree == Some(true))
    }

    /// How many frames of Python code the calling thread has on its stack, and how many it may have.
    fn recursion(&mut self) -> Option<(i32, i32)> {
        let state = thread_state();
        let limit = self.memory.int(moved(state, at!(ThreadState.recursion_limit)))?;
        let left = self.memory.int(moved(state, at!(ThreadState.recursion_remaining)))?;
        Some((limit.wrapping_sub(left), limit))
    }

    fn thread_agrees(&mut self) -> Option<bool> {
        let (depth, limit) = self.recursion()?;
        self.depth = depth;
        // SAFETY: called from Python code with the GIL held; a frame object is made when it is asked for, and its frame
        // knows it from then on.
        let (expected_limit, expected) = unsafe { (ffi::Py_GetRecursionLimit(), ffi::PyEval_GetFrame() as usize) };
        let frame = self.current_frame()?;
        let object = self.memory.word(moved(frame, at!(InterpreterFrame.frame_obj)))?;
        Some(limit == expected_limit && object == expected)
    }

    /// The frame that the calling thread executes.
    fn current_frame(&mut self) -> Option<usize> {
        let state = thread_state();
        #[cfg(not(Py_3_13))]
        {
            let cframe = self.memory.word(moved(state, at!(ThreadState.cframe)))?;
            self.memory.word(moved(cframe, at!(CFrame.current_frame)))
        }
        #[cfg(Py_3_13)]
        {
            self.memory.word(moved(state, at!(ThreadState.current_frame)))
        }
    }

    /// The calling frame, whose variables are those of `called` in the probe, and the two below it: its caller, and the one
    /// that the interpreter pushes where C code calls Python code.
    fn frame_agrees(&mut self, cell: &Bound<'_, PyAny>) -> Option<bool> {
        let frame = self.current_frame()?;
        // SAFETY: called from Python code with the GIL held.
        let public = unsafe { ffi::PyEval_GetFrame() };
        if public.is_null() {
            return None;
        }
        // SAFETY: the frame that is executing.
        let there = unsafe { Frame::public(public) };
        let code = there.code()?.address();
        // SAFETY: as above.
        let offset = unsafe { ffi::PyFrame_GetLasti(public) } as usize;
        let instruction = self.memory.word(moved(frame, at!(InterpreterFrame.instruction)))?;
        // A code object's instructions are in it, not far from its head.
        let head = instruction.wrapping_sub(offset).wrapping_sub(code);
        let mut agree = self.memory.word(moved(frame, at!(InterpreterFrame.executable)))? == code
            && self.memory.word(moved(frame, at!(InterpreterFrame.globals)))? == there.globals()?.address()
            && (1..1024).contains(&head);
        for (index, name) in super::VARIABLES.into_iter().enumerate() {
            // SAFETY: as above; new references, whose objects the frame keeps.
            let expected = unsafe {
                let name = ffi::PyUnicode_FromString(name.as_ptr());
                let value = ffi::PyFrame_GetVar(public, name);
                ffi::Py_DECREF(name);
                if value.is_null() {
                    ffi::PyErr_Clear();
                    return None;
                }
                ffi::Py_DECREF(value);
                value as usize
            };
            let slot = moved(frame, at!(InterpreterFrame.localsplus)) + index * size_of::<usize>();
            let found = self.memory.word(slot)?;
            agree &= found == if index + 1 == super::VARIABLES.len() { address(cell) } else { expected };
        }
        let caller = self.memory.word(moved(frame, at!(InterpreterFrame.previous)))?;
        let entry = self.memory.word(moved(caller, at!(InterpreterFrame.previous)))?;
        agree &=
            self.memory.word(moved(caller, at!(InterpreterFrame.executable)))? == there.previous()?.code()?.address();
        let mut owner = |frame| self.memory.byte(moved(frame, at!(InterpreterFrame.owner)));
        let owners = [owner(frame)?, owner(caller)?, owner(entry)?];
        Some(agree && owners == [0, 0, layout::OWNED_BY_C_STACK as u8])
    }

    /// The namespace of the class body that calls.
    fn namespace_agrees(&mut self) -> Option<bool> {
        let frame = self.current_frame()?;
        let found = self.memory.word(moved(frame, at!(InterpreterFrame.locals)))?;
        // SAFETY: called from Python code with the GIL held.
        let public = unsafe { ffi::PyEval_GetFrame() };
        if public.is_null() {
            return None;
        }
        // SAFETY: the frame that is executing.
        Some(found == unsafe { Frame::public(public) }.namespace()?.address())
    }

    /// The first attributes of an instance whose dict was not made.
    fn instance_agrees(&mut self, instance: usize, expected: &[usize; 2]) -> Option<bool> {
        let before = shifted("Instance.dict", layout::MANAGED_DICT_BEFORE);
        let dict = self.memory.word(instance.wrapping_sub(before))?;
        #[cfg(not(Py_3_13))]
        let (kept, values) = (dict & 1 == 1, dict.wrapping_add(1));
        #[cfg(Py_3_13)]
        let (kept, values) = {
            let values = instance + size_of::<ffi::PyObject>();
            (dict == 0 && self.memory.byte(moved(values, at!(DictValues.valid)))? == 1, values)
        };
        Some(kept && self.values(values)? == *expected)
    }

    /// An instance that was given a dict of its own, and keeps no attributes in itself any more.
    fn other_dict_agrees(&mut self, instance: usize, expected: usize) -> Option<bool> {
        let before = shifted("Instance.dict", layout::MANAGED_DICT_BEFORE);
        let dict = self.memory.word(instance.wrapping_sub(before))?;
        #[cfg(not(Py_3_13))]
        let kept = false;
        #[cfg(Py_3_13)]
        let kept = {
            let values = instance + size_of::<ffi::PyObject>();
            self.memory.byte(moved(values, at!(DictValues.valid)))? != 0
        };
        Some(dict == expected && !kept)
    }

    /// The first two attributes.
    fn values(&mut self, values: usize) -> Option<[usize; 2]> {
        let first = moved(values, at!(DictValues.values));
        Some([self.memory.word(first)?, self.memory.word(first.wrapping_add(size_of::<usize>()))?])
    }

    /// The names of the attributes of a class's instances, of which there are two.
    fn names_agree(&mut self, class: usize, expected: &[Bound<'_, PyString>; 2]) -> Option<bool> {
        let keys = self.memory.word(moved(class, at!(HeapType.cached_keys)))?;
        let entries = self.entries(keys, 64)?;
        Some(entries.len() == 2 && entries.iter().zip(expected).all(|(entry, name)| entry.0 == address(name)))
    }

    /// The dict of an instance, which shares its values.
    fn shared_dict_agrees(&mut self, dict: usize, first: usize) -> Option<bool> {
        let values = self.memory.word(moved(dict, at!(Dict.values)))?;
        Some(values != 0 && self.values(values)?[0] == first)
    }

    fn keys(&mut self, dict: usize) -> Option<usize> {
        self.memory.word(moved(dict, at!(Dict.keys)))
    }

    fn kind(&mut self, keys: usize) -> Option<u8> {
        self.memory.byte(moved(keys, at!(DictKeys.kind)))
    }

    /// Keys and values of a table, which has no more than `limit`.
    fn entries(&mut self, keys: usize, limit: usize) -> Option<Vec<(usize, usize)>> {
        let count = self.memory.word(moved(keys, at!(DictKeys.nentries)))?;
        let indices = 1usize.checked_shl(self.memory.byte(moved(keys, at!(DictKeys.log2_index_bytes)))?.into())?;
        if count > limit {
            return None;
        }
        let first = moved(keys, at!(DictKeys.indices)).wrapping_add(indices);
        let keys = self.column(moved(first, at!(UnicodeEntry.key)), count)?;
        Some(keys.into_iter().zip(self.column(moved(first, at!(UnicodeEntry.value)), count)?).collect())
    }

    /// A field of `count` entries, the first of which is at this address.
    fn column(&mut self, first: usize, count: usize) -> Option<Vec<usize>> {
        let Some(others) = count.checked_sub(1) else { return Some(Vec::new()) };
        let bytes = self.memory.many(first, others * size_of::<UnicodeEntry>() + size_of::<usize>())?;
        let words = bytes.chunks(size_of::<UnicodeEntry>());
        words.map(|entry| entry.first_chunk().copied().map(usize::from_ne_bytes)).collect()
    }

    /// A dict of names of its own, with one that was deleted; and any change gives it another version.
    fn dict_agrees(&mut self, dict: &Bound<'_, PyDict>) -> PyResult<Option<bool>> {
        let expected: Vec<_> = dict.iter().map(|(key, value)| (address(&key), address(&value))).collect();
        let at = address(dict);
        let version = |this: &mut Self| this.memory.word(moved(at, at!(Dict.version_tag)));
        let before = (version(self), version(self));
        let read = (|| {
            let keys = self.keys(at)?;
            let entries = self.entries(keys, 2 * expected.len())?;
            let present = entries.len() > expected.len();
            let entries: Vec<_> = entries.into_iter().filter(|(_, value)| *value != 0).collect();
            let values = self.memory.word(moved(at, at!(Dict.values)))?;
            Some(present && self.kind(keys)? == 1 && values == 0 && entries == expected)
        })();
        if let Some((key, value)) = dict.iter().next() {
            dict.set_item(&key, dict)?;
            let after = version(self);
            dict.set_item(&key, value)?;
            return Ok(read.map(|agree| agree && before.0 == before.1 && before.0.is_some() && after != before.0));
        }
        Ok(None)
    }

    /// The version of a namespace's keys, which code that looks up globals gives them, is taken away by another key.
    fn version_agrees(&mut self, namespace: &Bound<'_, PyDict>) -> PyResult<Option<bool>> {
        let at = address(namespace);
        let version = |this: &mut Self| {
            let keys = this.keys(at)?;
            this.memory.int(moved(keys, at!(DictKeys.version)))
        };
        let before = version(self);
        namespace.set_item("another", 1)?;
        Ok(before.zip(version(self)).map(|(before, after)| before != 0 && after == 0))
    }

    fn state(&mut self, generator: &Bound<'_, PyAny>) -> Option<i8> {
        self.memory.byte(moved(address(generator), at!(GeneratorHead.frame_state))).map(|state| state as i8)
    }
}

fn address(object: &Bound<'_, impl Sized>) -> usize {
    object.as_ptr() as usize
}

/// An address, so many bytes further on.
fn moved(address: usize, by: usize) -> usize {
    address.wrapping_add(by)
}

fn thread_state() -> usize {
    // SAFETY: the GIL is held, so there is a thread state.
    unsafe { ffi::PyThreadState_Get() as usize }
}
