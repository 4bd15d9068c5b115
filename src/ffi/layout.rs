//! Private layouts of CPython 3.12 and 3.13, and whether they may be used in this process.
//!
//! Invariants:
//! - Nothing here is dereferenced unless [`trusted`] is true: the build is for a version whose layout is written
//!   down below, the running interpreter is that version, and [`crate::ffi::probe`] found the public API to agree.
//! - Struct definitions are exact prefixes of CPython's; only the named fields are read, none is written.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicU8, Ordering};

use pyo3::ffi::{Py_ssize_t, PyObject};

/// `_PyInterpreterFrame`; 3.12 and 3.13 differ in names only.
#[repr(C)]
pub(super) struct InterpreterFrame {
    /// Code object, or `None` for interpreter-internal entry frames (3.13).
    pub executable: *mut PyObject,
    pub previous: *mut InterpreterFrame,
    pub funcobj: *mut PyObject,
    pub globals: *mut PyObject,
    pub builtins: *mut PyObject,
    pub locals: *mut PyObject,
    pub frame_obj: *mut PyObject,
    pub instruction: *mut c_void,
    pub stack_top: c_int,
    pub return_offset: u16,
    /// `FRAME_OWNED_BY_*`.
    pub owner: c_char,
    pub localsplus: [*mut PyObject; 0],
}

/// `co_extra` in `PyCodeObject`: null, or a pointer to [`CodeExtras`].
pub(super) const CODE_EXTRA: usize = if cfg!(Py_3_13) { 192 } else { 184 };

/// `_PyCodeObjectExtra`: so many pointers follow.
#[repr(C)]
pub(super) struct CodeExtras {
    pub size: Py_ssize_t,
    pub all: [*mut c_void; 0],
}

/// `owner` of the shim frames that CPython pushes on entry to the evaluation loop.
pub(super) const OWNED_BY_C_STACK: c_char = 3;

#[cfg(not(Py_3_13))]
#[repr(C)]
pub(super) struct CFrame {
    pub current_frame: *mut InterpreterFrame,
}

/// Prefix of `PyThreadState`.
#[cfg(not(Py_3_13))]
#[repr(C)]
pub(super) struct ThreadState {
    links: [*mut c_void; 3],
    status: c_uint,
    pub recursion_remaining: c_int,
    pub recursion_limit: c_int,
    counters: [c_int; 4],
    pub cframe: *mut CFrame,
    rest: [usize; 21],
    datastack_chunk: *mut StackChunk,
}

/// Prefix of `PyThreadState`.
#[cfg(Py_3_13)]
#[repr(C)]
pub(super) struct ThreadState {
    links: [*mut c_void; 3],
    eval_breaker: usize,
    status: c_uint,
    whence_and_state: [c_int; 2],
    pub recursion_remaining: c_int,
    pub recursion_limit: c_int,
    counters: [c_int; 4],
    pub current_frame: *mut InterpreterFrame,
    rest: [usize; 19],
    datastack_chunk: *mut StackChunk,
}

/// `_PyStackChunk`: the frames of a stack lie in a list of these, the latest first.
#[repr(C)]
struct StackChunk {
    previous: *mut StackChunk,
    size: usize,
}

/// The frame the calling thread executes; null if it runs no Python code.
///
/// # Safety
/// The GIL is held and [`trusted`] is true.
#[inline]
pub(super) unsafe fn current_frame() -> *mut InterpreterFrame {
    // SAFETY: with the GIL held there is a current thread state; the layout is trusted (caller).
    unsafe {
        let state = pyo3::ffi::PyThreadState_Get().cast::<ThreadState>();
        #[cfg(not(Py_3_13))]
        {
            let cframe = (*state).cframe;
            if cframe.is_null() { std::ptr::null_mut() } else { (*cframe).current_frame }
        }
        #[cfg(Py_3_13)]
        {
            (*state).current_frame
        }
    }
}

/// Address of the first chunk that the frames of the running stack lie in, 0 if there is none. It stays as long as the
/// stack does: a thread has one, and greenlets exchange it when they switch.
///
/// # Safety
/// As [`current_frame`].
pub(super) unsafe fn stack_root() -> usize {
    // SAFETY: as in `current_frame`; the list ends in null, and the interpreter frees no chunk that is in it.
    unsafe {
        let state = pyo3::ffi::PyThreadState_Get().cast::<ThreadState>();
        let mut chunk = (*state).datastack_chunk;
        while !chunk.is_null() && !(*chunk).previous.is_null() {
            chunk = (*chunk).previous;
        }
        chunk as usize
    }
}

/// Whether the running stack's latest chunk has this address in it. For the probe.
///
/// # Safety
/// The GIL is held and the version is the one the layout was written for.
pub(super) unsafe fn is_in_stack(address: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let state = pyo3::ffi::PyThreadState_Get().cast::<ThreadState>();
        let chunk = (*state).datastack_chunk;
        !chunk.is_null() && (chunk as usize..chunk as usize + (*chunk).size).contains(&address)
    }
}

/// What [`cut`] took away.
pub(super) struct Joint {
    frame: *mut InterpreterFrame,
    used: c_int,
}

/// Cuts the calling thread's stack here: the next frame has no caller and the whole recursion limit.
/// Returns what [`rejoin`] needs.
///
/// # Safety
/// As [`current_frame`]; the thread must not return to Python code before [`rejoin`].
pub(super) unsafe fn cut() -> Joint {
    // SAFETY: caller's promise; a thread's first frame has a null `previous`, too.
    unsafe {
        let state = pyo3::ffi::PyThreadState_Get().cast::<ThreadState>();
        let used = (*state).recursion_limit - (*state).recursion_remaining;
        (*state).recursion_remaining = (*state).recursion_limit;
        #[cfg(not(Py_3_13))]
        let slot = &raw mut (*(*state).cframe).current_frame;
        #[cfg(Py_3_13)]
        let slot = &raw mut (*state).current_frame;
        let frame = slot.replace(std::ptr::null_mut());
        Joint { frame, used }
    }
}

/// Undoes [`cut`].
///
/// # Safety
/// As [`cut`]; on the same thread, with what it returned.
pub(super) unsafe fn rejoin(Joint { frame, used }: Joint) {
    // SAFETY: caller's promise.
    unsafe {
        let state = pyo3::ffi::PyThreadState_Get().cast::<ThreadState>();
        (*state).recursion_remaining -= used;
        #[cfg(not(Py_3_13))]
        let slot = &raw mut (*(*state).cframe).current_frame;
        #[cfg(Py_3_13)]
        let slot = &raw mut (*state).current_frame;
        slot.write(frame);
    }
}

/// `PyDictObject`.
#[repr(C)]
pub(super) struct Dict {
    pub head: PyObject,
    pub used: Py_ssize_t,
    pub version_tag: u64,
    pub keys: *mut DictKeys,
    pub values: *mut DictValues,
}

/// `PyDictKeysObject` without its trailing tables.
#[repr(C)]
pub(super) struct DictKeys {
    pub refcnt: Py_ssize_t,
    pub log2_size: u8,
    pub log2_index_bytes: u8,
    /// 0 = keys of any type, 1 = all `str`, 2 = shared by instances (all `str`).
    pub kind: u8,
    pub version: u32,
    pub usable: Py_ssize_t,
    pub nentries: Py_ssize_t,
    pub indices: [u8; 0],
}

/// `PyDictUnicodeEntry`.
#[repr(C)]
pub(super) struct UnicodeEntry {
    pub key: *mut PyObject,
    pub value: *mut PyObject,
}

impl DictKeys {
    /// The entries of a table whose keys are all `str`.
    ///
    /// # Safety
    /// `keys` is valid and `kind != 0`.
    #[inline]
    pub(super) unsafe fn unicode_entries<'a>(keys: *const DictKeys) -> &'a [UnicodeEntry] {
        // SAFETY: the entries follow the index table, whose size in bytes is 1 << log2_index_bytes; CPython has
        // initialised the first `nentries` of them.
        unsafe {
            if (*keys).nentries == 0 {
                // The keys of empty dicts have no room for entries.
                return &[];
            }
            let indices = (&raw const (*keys).indices).cast::<u8>();
            let entries = indices.add(1usize << (*keys).log2_index_bytes).cast::<UnicodeEntry>();
            std::slice::from_raw_parts(entries, (*keys).nentries as usize)
        }
    }
}

/// `PyDictValues`: the attribute values of an instance whose keys are shared.
#[cfg(not(Py_3_13))]
#[repr(C)]
pub(super) struct DictValues {
    pub values: [*mut PyObject; 0],
}
#[cfg(Py_3_13)]
#[repr(C)]
pub(super) struct DictValues {
    pub capacity: u8,
    pub size: u8,
    pub embedded: u8,
    pub valid: u8,
    pub values: [*mut PyObject; 0],
}

/// How far before an instance the pointer to its dict is, if its type has `MANAGED_DICT`: behind the head of the garbage
/// collector and the list of weak references.
pub(super) const MANAGED_DICT_BEFORE: usize = 3 * size_of::<usize>();
/// `Py_TPFLAGS_MANAGED_DICT`.
pub(super) const MANAGED_DICT: std::ffi::c_ulong = 1 << 4;
/// `Py_TPFLAGS_INLINE_VALUES` (3.13).
#[cfg(Py_3_13)]
pub(super) const INLINE_VALUES: std::ffi::c_ulong = 1 << 2;

/// Where a managed instance keeps its attributes.
pub(super) enum ManagedDict {
    /// Values in the order of the type's shared keys.
    Values(*mut DictValues),
    /// A real dict; null if none was made yet.
    Dict(*mut PyObject),
}

/// # Safety
/// The GIL is held, [`trusted`] is true, and `object`'s type has the `MANAGED_DICT` flag.
#[inline]
pub(super) unsafe fn managed_dict(object: *mut PyObject) -> ManagedDict {
    // SAFETY: managed objects have a pointer before their head (GIL builds); see the caller's promise.
    unsafe {
        let slot = object.byte_sub(MANAGED_DICT_BEFORE).cast::<*mut c_void>().read();
        #[cfg(not(Py_3_13))]
        {
            if slot as usize & 1 == 1 {
                ManagedDict::Values(slot.cast::<u8>().add(1).cast())
            } else {
                ManagedDict::Dict(slot.cast())
            }
        }
        #[cfg(Py_3_13)]
        {
            if !slot.is_null() {
                return ManagedDict::Dict(slot.cast());
            }
            let flags = (*pyo3::ffi::Py_TYPE(object)).tp_flags;
            let values = object.add(1).cast::<DictValues>();
            if flags & INLINE_VALUES != 0 && (*values).valid != 0 {
                ManagedDict::Values(values)
            } else {
                ManagedDict::Dict(std::ptr::null_mut())
            }
        }
    }
}

/// Where the pointer to the `__dict__` of an instance is that keeps no attributes in itself: 0 if its type has none,
/// `None` where that is not known.
///
/// # Safety
/// The GIL is held, [`trusted`] is true, and `object` is alive.
pub(super) unsafe fn dict_pointer(object: *mut PyObject) -> Option<usize> {
    // SAFETY: fields of a valid type object; see `managed_dict`.
    unsafe {
        let ty = pyo3::ffi::Py_TYPE(object);
        if (*ty).tp_flags & MANAGED_DICT == 0 {
            let offset = usize::try_from((*ty).tp_dictoffset).ok()?;
            return Some(if offset == 0 { 0 } else { object as usize + offset });
        }
        match managed_dict(object) {
            ManagedDict::Values(_) => None,
            // Attributes could be kept in the instance next.
            #[cfg(Py_3_13)]
            ManagedDict::Dict(dict) if dict.is_null() && (*ty).tp_flags & INLINE_VALUES != 0 => None,
            ManagedDict::Dict(_) => Some(object as usize - MANAGED_DICT_BEFORE),
        }
    }
}

const UNKNOWN: u8 = 0;
const TRUSTED: u8 = 1;
const REFUSED: u8 = 2;
static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Whether the layouts above may be used. One relaxed load: it is asked on the hot path.
#[inline]
pub fn trusted() -> bool {
    STATE.load(Ordering::Relaxed) == TRUSTED
}

/// Whether the question was answered already.
pub(super) fn decided() -> bool {
    STATE.load(Ordering::Relaxed) != UNKNOWN
}

/// Sets the answer; only [`crate::ffi::probe`] does.
pub(super) fn decide(trust: bool) {
    STATE.store(if trust { TRUSTED } else { REFUSED }, Ordering::Relaxed);
}

/// Whether this build knows the layout of the running interpreter at all.
pub(super) fn version_is_known() -> bool {
    // SAFETY: `Py_Version` is a constant of the runtime.
    let running = unsafe { pyo3::ffi::Py_Version } as u32 >> 16;
    let built_for = if cfg!(all(Py_3_13, not(Py_3_14))) {
        0x030d
    } else if cfg!(all(Py_3_12, not(Py_3_13))) {
        0x030c
    } else {
        return false;
    };
    running == built_for && cfg!(target_pointer_width = "64") && !cfg!(Py_GIL_DISABLED)
}
