//! The methods of a watched stream: the stream's own method first, then a report of what went through.
//!
//! Invariants:
//! - What the program gets (result or exception) is what the stream's own method gives; a report never changes it.
//! - No Python frame, tuple or string is made per call. Arguments are read, not converted.
//! - A stream that is not watched (after [`unwatch`], or an instance of a subclass the program made of ours) behaves
//!   as its own type says.
//! - Nothing of the table is borrowed while a stream's own method runs: it may give up the GIL.

use std::cell::Cell;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyType, PyTypeMethods};

use super::object::Obj;
use super::retype;
#[cfg(target_os = "linux")]
use crate::pipeline::layout::output;

mod open;
mod report;

use report::report;

/// What goes through a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// `str`, e.g. a `TextIOWrapper`.
    Text,
    /// The buffer below: only what does not come from the text layer is reported.
    Bytes,
    /// The file below that: only what comes from neither is reported, where it goes past what would see it.
    File,
}

/// What a method does, as far as we care.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Its argument is written.
    Write,
    /// Its result is what was read.
    Read,
    /// Its result says how much of its argument was filled.
    Fill,
    Flush,
    /// The descriptor is wanted.
    Ask,
    /// It may write what the text layer holds back, which was reported already.
    Shield,
}

struct Watched {
    object: *mut PyObject,
    original: *mut PyObject,
    ours: *mut PyObject,
    stream: u8,
    layer: Layer,
    native: bool,
    /// The descriptor whose catcher it writes past, 0 for none.
    direct: i32,
    methods: [*mut PyObject; METHODS.len()],
    /// The C function behind `write`, where it is one that takes the object and one argument.
    write: Option<ffi::PyCFunction>,
    /// The file below a text stream, null if that is not known.
    file: *mut PyObject,
}

#[derive(Default)]
struct Table(Vec<Watched>);

static TABLE: AtomicPtr<Table> = AtomicPtr::new(ptr::null_mut());

thread_local! {
    /// The stream whose method this thread is in.
    static INSIDE: Cell<Inside> = const { Cell::new(Inside { object: ptr::null_mut(), file: ptr::null_mut() }) };
}

/// A stream (text, or else a buffer) and the file below it (null: not known); nulls outside of all.
#[derive(Clone, Copy)]
struct Inside {
    object: *mut PyObject,
    file: *mut PyObject,
}

/// What a call needs to know of a watched stream.
#[derive(Clone, Copy)]
struct Found {
    method: *mut PyObject,
    stream: u8,
    layer: Layer,
    native: bool,
    direct: i32,
    write: Option<ffi::PyCFunction>,
    file: *mut PyObject,
}

fn find(object: *mut PyObject, index: usize) -> Option<Found> {
    // SAFETY: null or valid while the GIL is held: `watch` and `unwatch` replace it with the GIL held, and nobody keeps
    // a reference across a call.
    let table = unsafe { TABLE.load(Ordering::Acquire).as_ref()? };
    let watched = table.0.iter().find(|watched| ptr::eq(watched.object, object))?;
    let method = watched.methods[index];
    (!method.is_null()).then_some(Found {
        method,
        stream: watched.stream,
        layer: watched.layer,
        native: watched.native,
        direct: watched.direct,
        write: if METHODS[index].1 == Act::Write { watched.write } else { None },
        file: watched.file,
    })
}

/// Watches a stream object as number `stream` (see `pipeline::layout::output`). Objects that are watched already stay
/// as they are.
///
/// # Errors
/// The object cannot be watched; then it is untouched.
pub fn watch(object: &Bound<'_, PyAny>, stream: u8, layer: Layer) -> PyResult<()> {
    if is_watched(object) {
        return Ok(());
    }
    let original = object.get_type();
    if original.mro().iter().any(|ty| retype::base_of(ty.as_ptr() as usize).is_some()) {
        return Err(PyTypeError::new_err("a class derived from a watched stream's"));
    }
    let native = retype::is_native(&original);
    let ours = retype::subtype(&original, |ours| fill(ours, &original))?;
    let mut methods = [ptr::null_mut(); METHODS.len()];
    for (slot, definition) in methods.iter_mut().zip(&METHODS) {
        if let Some(method) = original.getattr_opt(name_of(definition))? {
            *slot = method.into_ptr();
        }
    }
    let entry = Watched {
        object: object.clone().into_ptr(),
        original: original.clone().into_any().into_ptr(),
        ours: ours.clone().into_any().into_ptr(),
        stream,
        layer,
        native,
        direct: 0,
        write: function_of(methods[WRITE]),
        methods,
        file: match layer {
            Layer::Text => open::file_below(object, &original).map_or(ptr::null_mut(), Bound::into_ptr),
            Layer::Bytes | Layer::File => ptr::null_mut(),
        },
    };
    if let Err(error) = retype::set_type(object, &original, &ours) {
        release(entry);
        return Err(error);
    }
    with_table(|table| table.0.push(entry));
    Ok(())
}

/// Lets a `FileIO` object write past what catches the output of others at `descriptor`.
///
/// # Errors
/// The object cannot be watched.
#[cfg(target_os = "linux")]
pub fn write_directly(file: &Bound<'_, PyAny>, descriptor: i32) -> PyResult<()> {
    watch(file, if descriptor == 1 { output::STDOUT } else { output::STDERR }, Layer::File)?;
    with_table(|table| {
        if let Some(watched) = table.0.iter_mut().find(|watched| ptr::eq(watched.object, file.as_ptr())) {
            watched.direct = descriptor;
        }
    });
    Ok(())
}

/// Gives every stream its own type back, except those whose type the program has changed meanwhile.
pub fn unwatch(py: Python<'_>) {
    let pointer = TABLE.swap(ptr::null_mut(), Ordering::AcqRel);
    if pointer.is_null() {
        return;
    }
    // SAFETY: the pointer came from `Box::into_raw`; with the GIL held nobody is reading it.
    let table = unsafe { Box::from_raw(pointer) };
    for watched in table.0 {
        // SAFETY: the entry owns references to all three.
        let (object, original, ours) = unsafe {
            (
                Bound::from_borrowed_ptr(py, watched.object),
                Bound::from_borrowed_ptr(py, watched.original).cast_into_unchecked::<PyType>(),
                Bound::from_borrowed_ptr(py, watched.ours).cast_into_unchecked::<PyType>(),
            )
        };
        if object.get_type().is(&ours)
            && let Err(error) = retype::set_type(&object, &ours, &original)
        {
            tracing::debug!(%error, "a stream keeps its subtype");
        }
        drop((object, original, ours));
        release(watched);
    }
}

/// Whether a type is exactly this class of `_io`, or our subtype of it.
///
/// # Errors
/// There is no such class.
pub fn is_class(ty: &Bound<'_, PyType>, class: &str) -> PyResult<bool> {
    let class = ty.py().import("_io")?.getattr(class)?;
    Ok(ty.is(&class) || retype::base_of(ty.as_ptr() as usize) == Some(class.as_ptr() as usize))
}

fn is_watched(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: as in `find`.
    let table = unsafe { TABLE.load(Ordering::Acquire).as_ref() };
    table.is_some_and(|table| table.0.iter().any(|watched| ptr::eq(watched.object, object.as_ptr())))
}

fn with_table(change: impl FnOnce(&mut Table)) {
    let pointer = TABLE.load(Ordering::Acquire);
    if pointer.is_null() {
        let mut table = Box::<Table>::default();
        change(&mut table);
        TABLE.store(Box::into_raw(table), Ordering::Release);
    } else {
        // SAFETY: valid, and with the GIL held nobody else refers to it.
        change(unsafe { &mut *pointer });
    }
}

fn release(watched: Watched) {
    // SAFETY: the entry owned these references; the GIL is held.
    unsafe {
        for reference in
            [watched.object, watched.original, watched.ours, watched.file].into_iter().chain(watched.methods)
        {
            ffi::Py_XDECREF(reference);
        }
    }
}

/// Puts our methods into a new subtype, where its base has them.
fn fill<'py>(ours: &Bound<'py, PyType>, original: &Bound<'py, PyType>) -> PyResult<()> {
    let py = ours.py();
    let native = retype::is_native(original);
    for (index, definition) in METHODS.iter().enumerate() {
        if !original.hasattr(name_of(definition))? {
            continue;
        }
        let own = original.getattr(name_of(definition))?;
        let takes_one = index == WRITE && function_of(own.as_ptr()).is_some();
        // What our type's methods accept: of a class of the program, as its functions, everything.
        let accepted = if native { original.as_type_ptr() } else { &raw mut ffi::PyBaseObject_Type };
        // SAFETY: the definition is static, the type alive; `entry` looks at the type of each object.
        let descriptor = unsafe {
            let definition = if takes_one { &raw const WRITE_ONE.0[0] } else { &raw const DEFINITIONS.0[index] };
            let definition = definition.cast_mut();
            Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewMethod(accepted, definition))?
        };
        ours.setattr(name_of(definition), descriptor)?;
    }
    open::answer_quickly(ours, original)
}

/// The C function of a method that takes the object and one argument.
fn function_of(method: *mut PyObject) -> Option<ffi::PyCFunction> {
    // SAFETY: null or a live object, used as a method descriptor only if it is exactly one; its definition is static. The
    // flags say which function it is.
    unsafe {
        if method.is_null() || !ptr::eq(ffi::Py_TYPE(method), &raw const ffi::PyMethodDescr_Type) {
            return None;
        }
        let definition = (*method.cast::<ffi::PyMethodDescrObject>()).d_method;
        ((*definition).ml_flags == ffi::METH_O).then(|| (*definition).ml_meth.PyCFunction)
    }
}

/// The method that the object's own type has under this name: a new reference, or null with an exception set.
unsafe fn own_method(object: *mut PyObject, index: usize) -> *mut PyObject {
    // SAFETY: GIL held; the MRO of a live type is a tuple of types.
    unsafe {
        let mut ty = ffi::Py_TYPE(object);
        let order = (*ty).tp_mro;
        for position in 0..ffi::PyTuple_GET_SIZE(order) {
            if let Some(base) = retype::base_of(ffi::PyTuple_GET_ITEM(order, position) as usize) {
                ty = base as *mut ffi::PyTypeObject;
                break;
            }
        }
        ffi::PyObject_GetAttrString(ty.cast(), METHODS[index].0.as_ptr())
    }
}

/// Calls `method(object, *args)`.
unsafe fn forward(
    method: *mut PyObject,
    object: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    const INLINE: usize = 6;
    // SAFETY: CPython passes `count` positional arguments and one per name; the first element is spare room.
    unsafe {
        let total = count as usize + if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) as usize };
        let flags = (count as usize + 1) | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        if total <= INLINE {
            let mut all = [ptr::null_mut(); INLINE + 2];
            all[1] = object;
            ptr::copy_nonoverlapping(args, all.as_mut_ptr().add(2), total);
            return ffi::PyObject_Vectorcall(method, all.as_ptr().add(1), flags, names);
        }
        let mut all = vec![ptr::null_mut(), object];
        all.extend_from_slice(std::slice::from_raw_parts(args, total));
        ffi::PyObject_Vectorcall(method, all.as_ptr().add(1), flags, names)
    }
}

/// The stream's own method, or the way past the catcher.
unsafe fn call(
    index: usize,
    found: &Found,
    object: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as in `entry`.
    unsafe {
        #[cfg(target_os = "linux")]
        if found.direct > 0
            && METHODS[index].1 == Act::Write
            && count == 1
            && names.is_null()
            && let Some(result) = super::direct::write(object, found.direct, *args)
        {
            return result;
        }
        #[cfg(target_os = "linux")]
        if found.direct > 0 && METHODS[index].1 == Act::Shield {
            // A seek: where the file is read back, nothing was written by that.
            let before = super::direct::position(found.direct);
            let result = forward(found.method, object, args, count, names);
            super::direct::moved(found.direct, before);
            return result;
        }
        let _ = index;
        if let Some(write) = found.write
            && count == 1
            && names.is_null()
        {
            return write(object, *args);
        }
        forward(found.method, object, args, count, names)
    }
}

unsafe fn entry<const INDEX: usize>(
    object: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: CPython calls this with the GIL held, a live object and valid arguments.
    unsafe {
        let Some(found) = find(object, INDEX) else {
            let method = own_method(object, INDEX);
            if method.is_null() {
                return method;
            }
            let result = forward(method, object, args, count, names);
            ffi::Py_DECREF(method);
            return result;
        };
        let (reported, result) = INSIDE.with(|inside| {
            let outer = inside.get();
            let reported = match found.layer {
                // A class of the program may reach itself again; C code of a stream does not, so that must be a signal
                // handler or the like.
                Layer::Text => found.native || outer.object != object,
                Layer::Bytes => outer.object.is_null(),
                // Only where its own output is not seen at the descriptor.
                Layer::File => found.direct > 0 && outer.object.is_null(),
            };
            // The table may go while the method runs.
            ffi::Py_INCREF(found.method);
            ffi::Py_XINCREF(found.file);
            if found.layer == Layer::Text || outer.object.is_null() {
                inside.set(Inside { object, file: found.file });
            }
            let result = call(INDEX, &found, object, args, count, names);
            inside.set(outer);
            ffi::Py_XDECREF(found.file);
            ffi::Py_DECREF(found.method);
            (reported, result)
        });
        if !result.is_null() && reported {
            let first = (count > 0 || !names.is_null()).then(|| Obj::borrow(*args)).flatten();
            // A panic must not cross into the interpreter; what it interrupted is a report, which is lost.
            let _ = catch_unwind(AssertUnwindSafe(|| report(METHODS[INDEX].1, found, first, result)));
        }
        result
    }
}

/// `write` of a type whose own takes the object and one argument: what `entry` does, for the text streams that nearly
/// everything goes through.
unsafe extern "C" fn write_one(object: *mut PyObject, argument: *mut PyObject) -> *mut PyObject {
    // SAFETY: as in `entry`; CPython calls this with one live argument.
    unsafe {
        let (found, write) = match find(object, WRITE) {
            Some(found @ Found { write: Some(write), native: true, layer: Layer::Text, .. }) => (found, write),
            _ => return entry::<WRITE>(object, &raw const argument, 1, ptr::null_mut()),
        };
        let result = INSIDE.with(|inside| {
            // The table may go while the function runs, and the file with it; the type stays, as the object is used.
            ffi::Py_XINCREF(found.file);
            let outer = inside.replace(Inside { object, file: found.file });
            let result = write(object, argument);
            inside.set(outer);
            ffi::Py_XDECREF(found.file);
            result
        });
        if !result.is_null()
            && let Some(argument) = Obj::borrow(argument)
        {
            // A panic must not cross into the interpreter; what it interrupted is a report, which is lost.
            let _ = catch_unwind(AssertUnwindSafe(|| report::text(found, argument, result)));
        }
        result
    }
}

fn name_of(method: &(&'static CStr, Act)) -> &'static str {
    // The names below are ASCII.
    method.0.to_str().unwrap_or_default()
}

macro_rules! methods {
    ($($index:literal: $name:ident $act:ident,)+) => {
        const METHODS: [(&CStr, Act); [$($index),+].len()] = [$((
            match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => c"",
            },
            Act::$act,
        ),)+];

        $(unsafe extern "C" fn $name(
            object: *mut PyObject,
            args: *const *mut PyObject,
            count: Py_ssize_t,
            names: *mut PyObject,
        ) -> *mut PyObject {
            // SAFETY: called by CPython as a method with these arguments.
            unsafe { entry::<$index>(object, args, count, names) }
        })+

        static DEFINITIONS: Definitions<{ METHODS.len() }> = Definitions([$(ffi::PyMethodDef {
            ml_name: concat!(stringify!($name), "\0").as_ptr().cast(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: $name },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: ptr::null(),
        },)+]);
    };
}

/// The position of `write` in the table below.
const WRITE: usize = 0;

struct Definitions<const N: usize>([ffi::PyMethodDef; N]);

// SAFETY: immutable after initialisation; CPython only reads method definitions.
unsafe impl<const N: usize> Sync for Definitions<N> {}

static WRITE_ONE: Definitions<1> = Definitions([ffi::PyMethodDef {
    ml_name: c"write".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer { PyCFunction: write_one },
    ml_flags: ffi::METH_O,
    ml_doc: ptr::null(),
}]);

methods! {
    0: write Write,
    1: flush Flush,
    2: read Read,
    3: readline Read,
    4: read1 Read,
    5: readinto Fill,
    6: readinto1 Fill,
    7: close Shield,
    8: detach Shield,
    9: seek Shield,
    10: tell Shield,
    11: truncate Shield,
    12: reconfigure Shield,
    13: readall Read,
    14: fileno Ask,
}
