//! Reading objects of well-known C types, and recognising them without trusting their names.
//!
//! Invariants:
//! - An attribute or repr is asked of an object only if its type is *exactly* a C type whose getter or `tp_repr`
//!   cannot reach Python code of the program.
//! - Nothing here leaves an exception set.

use std::ffi::{CStr, c_char};

use pyo3::ffi;

use super::object::{Kind, Obj, Type, lossy};

/// A strong reference that is released when dropped; only made and dropped with the GIL held.
pub struct Owned(*mut ffi::PyObject);

impl Owned {
    /// Takes over a new reference, or null.
    ///
    /// # Safety
    /// The reference is the caller's to give, and the GIL is held for as long as the result lives.
    pub(super) unsafe fn new(pointer: *mut ffi::PyObject) -> Self {
        Self(pointer)
    }

    /// A reference of our own to an object.
    pub fn of(object: Obj<'_>) -> Self {
        // SAFETY: the object is alive and the GIL is held ([`Obj`]'s invariant).
        unsafe { ffi::Py_INCREF(object.as_ptr()) };
        Self(object.as_ptr())
    }

    /// The object, for as long as this reference lives.
    pub fn get(&self) -> Option<Obj<'_>> {
        // SAFETY: we own a reference and the GIL is held.
        unsafe { Obj::borrow(self.0) }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the reference is ours; the GIL is held (type invariant).
        unsafe { ffi::Py_XDECREF(self.0) }
    }
}

/// An attribute served by a C getter of an exact C type; `None` if there is none.
pub fn exact_attribute(object: Obj<'_>, name: &CStr) -> Option<Owned> {
    // SAFETY: GIL held; a new reference or null with an exception, which is cleared.
    unsafe {
        let value = ffi::PyObject_GetAttrString(object.as_ptr(), name.as_ptr());
        if value.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(Owned(value))
    }
}

/// The result of a C method without arguments of an exact C type.
pub fn exact_call(object: Obj<'_>, name: &CStr) -> Option<Owned> {
    let method = exact_attribute(object, name)?;
    // SAFETY: as above.
    unsafe {
        let value = ffi::PyObject_CallNoArgs(method.0);
        if value.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(Owned(value))
    }
}

/// The type in whose struct instances of `ty` are kept that fills this slot itself, in C; a class that a program derives
/// from it may fill the slot with Python code, this one does not.
fn c_owner<'a>(ty: Type<'a>, slot: &str) -> Option<Type<'a>> {
    std::iter::successors(Some(ty), |ty| ty.base()).find(|at| {
        // The slots of a static type are C, and the names of a built-in one are not kept in it.
        !at.is_heap_type()
            || in_type_dict(*at, slot).is_some_and(|entry| {
                std::ptr::eq(entry.ty().as_ptr(), &raw mut ffi::PyWrapperDescr_Type)
                    // SAFETY: exactly a wrapper of a slot, which starts as every descriptor does.
                    && std::ptr::eq(unsafe { (*entry.as_ptr().cast::<Descriptor>()).owner }, at.as_ptr())
            })
    })
}

/// The C `repr` that an object's built-in type has, which is known not to reach Python code, whatever derives from it.
pub fn c_repr(object: Obj<'_>) -> Option<String> {
    let base = c_owner(object.ty(), "__repr__")?;
    // SAFETY: GIL held; the slot of a type that the object is an instance of. A new reference or null with an exception,
    // which is cleared.
    unsafe {
        let text = (*base.as_ptr()).tp_repr?(object.as_ptr());
        if text.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Owned(text).get().map(lossy)
    }
}

/// The first `limit` items of a container of a C type whose iterator runs no Python code, and its length; a class
/// derived from it is not asked.
pub fn c_items(object: Obj<'_>, limit: usize) -> Option<(Vec<Owned>, usize)> {
    let (sized, iterable) = (c_owner(object.ty(), "__len__")?, c_owner(object.ty(), "__iter__")?);
    // SAFETY: as above; a type that fills `__len__` in C has one of the two slots.
    unsafe {
        let sequence = (*sized.as_ptr()).tp_as_sequence;
        let length = if sequence.is_null() { None } else { (*sequence).sq_length }?(object.as_ptr());
        let iterator = Owned((*iterable.as_ptr()).tp_iter?(object.as_ptr()));
        if length < 0 || iterator.0.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        let mut items = Vec::new();
        while items.len() < limit {
            let item = ffi::PyIter_Next(iterator.0);
            if item.is_null() {
                ffi::PyErr_Clear();
                break;
            }
            items.push(Owned(item));
        }
        Some((items, length as usize))
    }
}

/// The qualified name of a function, built-in or not.
pub fn function_name(object: Obj<'_>) -> String {
    let ty = object.ty().as_ptr();
    // SAFETY: checked types and their structs.
    unsafe {
        if std::ptr::eq(ty, &raw mut ffi::PyFunction_Type) {
            return exact_attribute(object, c"__qualname__").and_then(|name| name.get().map(lossy)).unwrap_or_default();
        }
        if std::ptr::eq(ty, &raw mut ffi::PyCFunction_Type) {
            let method = (*object.as_ptr().cast::<BuiltinFunction>()).method;
            return CStr::from_ptr((*method).ml_name).to_string_lossy().into_owned();
        }
    }
    String::new()
}

/// The function behind a bound method and the object it is bound to; `None` if it is no method.
pub fn method_parts(object: Obj<'_>) -> Option<(Obj<'_>, Obj<'_>)> {
    // SAFETY: exactly a method object, whose struct starts with these two references.
    unsafe {
        if !std::ptr::eq(object.ty().as_ptr(), &raw mut PyMethod_Type) {
            return None;
        }
        let fields = object.as_ptr().add(1).cast::<*mut ffi::PyObject>();
        Some((Obj::borrow(*fields)?, Obj::borrow(*fields.add(1))?))
    }
}

/// The mapping behind a `mappingproxy`; the object is exactly one.
pub fn proxied_mapping(object: Obj<'_>) -> Option<Obj<'_>> {
    // SAFETY: the struct is `PyObject` plus one reference.
    unsafe { Obj::borrow(object.as_ptr().add(1).cast::<*mut ffi::PyObject>().read()) }
}

/// Whether `ty` is the object `sys.modules[module].name`: looked up in dicts, no attribute protocol.
pub fn is_type_named(ty: Type<'_>, module: &str, name: &str) -> bool {
    let Some(namespace) = module_namespace(module) else { return false };
    entry_named(namespace, name).is_some_and(|entry| entry.address() == ty.address())
}

/// The value of a key of a dict that is a str.
fn entry_named<'a>(dict: Obj<'a>, key: &str) -> Option<Obj<'a>> {
    dict.dict_entries()
        .find(|(entry, _)| entry.kind() == (Kind::Str, true) && lossy(*entry) == key)
        .map(|(_, value)| value)
}

/// The namespace of a module that is imported, looked up in `sys.modules` without the attribute protocol; valid until
/// Python code runs.
pub(super) fn module_namespace(module: &str) -> Option<Obj<'static>> {
    // SAFETY: GIL held; borrowed references into `sys.modules`, which nothing changes meanwhile.
    unsafe {
        let module = entry_named(Obj::borrow(ffi::PyImport_GetModuleDict())?, module)?;
        if module.kind().0 != Kind::Module {
            return None;
        }
        Obj::borrow(ffi::PyModule_GetDict(module.as_ptr()))
    }
}

/// What the getter of a C type gives for an attribute: found along the MRO, `None` if a class of Python code has put
/// something else there. For getters that are known to do nothing but fetch a field.
pub fn c_getter(object: Obj<'_>, name: &str) -> Option<Owned> {
    // SAFETY: an exact getset descriptor found in the MRO of the object's type: its C function takes instances. GIL held;
    // a new reference or null with an exception, which is cleared.
    unsafe {
        let mro = Obj::borrow((*object.ty().as_ptr()).tp_mro)?;
        let entry = mro.items().flatten().find_map(|base| in_type_dict(Type::of_type_object(base), name))?;
        if !std::ptr::eq(entry.ty().as_ptr(), &raw mut ffi::PyGetSetDescr_Type) {
            return None;
        }
        let getset = (*entry.as_ptr().cast::<GetSetDescriptor>()).getset;
        let value = ((*getset).get?)(object.as_ptr(), (*getset).closure);
        if value.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(Owned(value))
    }
}

/// A name in a class's own namespace.
pub fn in_type_dict<'a>(ty: Type<'a>, name: &str) -> Option<Obj<'a>> {
    // SAFETY: a valid type; its dict is a real dict or null (static built-in types of subinterpreters).
    let namespace = unsafe { Obj::borrow((*ty.as_ptr()).tp_dict)? };
    namespace
        .dict_entries()
        .find(|(key, _)| key.kind() == (Kind::Str, true) && lossy(*key) == name)
        .map(|(_, value)| value)
}

/// Date and time fields, read from the C struct; microseconds, and whether there is a tzinfo.
pub struct DateParts {
    pub year: i32,
    pub month: i32,
    pub day: i32,
}

/// Time fields.
pub struct TimeParts {
    pub hour: i32,
    pub minute: i32,
    pub second: i32,
    pub microsecond: i32,
}

/// Fields of an exact `date` or `datetime`.
pub fn date_parts(object: Obj<'_>) -> DateParts {
    // SAFETY: the caller recognised the exact type; the macros read the struct.
    unsafe {
        let object = object.as_ptr();
        DateParts {
            year: ffi::PyDateTime_GET_YEAR(object),
            month: ffi::PyDateTime_GET_MONTH(object),
            day: ffi::PyDateTime_GET_DAY(object),
        }
    }
}

/// Time fields of an exact `datetime`.
pub fn datetime_time(object: Obj<'_>) -> TimeParts {
    // SAFETY: as above.
    unsafe {
        let object = object.as_ptr();
        TimeParts {
            hour: ffi::PyDateTime_DATE_GET_HOUR(object),
            minute: ffi::PyDateTime_DATE_GET_MINUTE(object),
            second: ffi::PyDateTime_DATE_GET_SECOND(object),
            microsecond: ffi::PyDateTime_DATE_GET_MICROSECOND(object),
        }
    }
}

/// Fields of an exact `time`.
pub fn time_parts(object: Obj<'_>) -> TimeParts {
    // SAFETY: as above.
    unsafe {
        let object = object.as_ptr();
        TimeParts {
            hour: ffi::PyDateTime_TIME_GET_HOUR(object),
            minute: ffi::PyDateTime_TIME_GET_MINUTE(object),
            second: ffi::PyDateTime_TIME_GET_SECOND(object),
            microsecond: ffi::PyDateTime_TIME_GET_MICROSECOND(object),
        }
    }
}

/// `PyDescrObject`, a prefix.
#[repr(C)]
struct Descriptor {
    head: ffi::PyObject,
    owner: *mut ffi::PyTypeObject,
}

/// `PyGetSetDescrObject`.
#[repr(C)]
struct GetSetDescriptor {
    head: ffi::PyObject,
    owner: *mut ffi::PyTypeObject,
    name: *mut ffi::PyObject,
    qualname: *mut ffi::PyObject,
    getset: *mut ffi::PyGetSetDef,
}

#[repr(C)]
struct BuiltinFunction {
    head: ffi::PyObject,
    method: *mut MethodDefinition,
}

#[repr(C)]
struct MethodDefinition {
    ml_name: *const c_char,
}

/// The name `threading` knows the calling thread by, read from its tables without running code.
pub fn current_thread_name() -> Option<String> {
    // SAFETY: GIL held; borrowed references that nothing changes meanwhile.
    unsafe {
        let modules = Obj::borrow(ffi::PyImport_GetModuleDict())?;
        let named = |dict: Obj<'_>, key: &str| -> Option<usize> {
            dict.dict_entries()
                .find(|(entry, _)| entry.kind() == (Kind::Str, true) && lossy(*entry) == key)
                .map(|(_, value)| value.address())
        };
        let threading = modules.kept_alive(named(modules, "threading")?);
        if threading.kind().0 != Kind::Module {
            return None;
        }
        let namespace = Obj::borrow(ffi::PyModule_GetDict(threading.as_ptr()))?;
        let active = namespace.kept_alive(named(namespace, "_active")?);
        if active.kind() != (Kind::Dict, true) {
            return None;
        }
        let ident = ffi::PyThread_get_thread_ident() as u64;
        let thread = active.dict_entries().find(|(key, _)| match (key.kind(), key) {
            ((Kind::Int, true), key) => match key.int_value() {
                super::object::Int::Small(n) => n as u64 == ident,
                super::object::Int::Big { magnitude, .. } => {
                    magnitude.iter().fold(0u64, |sum, &byte| sum.wrapping_shl(8) | u64::from(byte)) == ident
                }
            },
            _ => false,
        });
        let (_, thread) = thread?;
        let mut name = None;
        thread.instance_attributes(&mut |key, value| {
            if name.is_none() && lossy(key) == "_name" && value.kind() == (Kind::Str, true) {
                name = Some(lossy(value));
            }
        });
        name
    }
}

/// The operating system's id of the calling thread.
pub fn native_thread_id() -> u64 {
    // SAFETY: no arguments, no state.
    unsafe { PyThread_get_thread_native_id() as u64 }
}

unsafe extern "C" {
    static mut PyMethod_Type: ffi::PyTypeObject;
    fn PyThread_get_thread_native_id() -> std::ffi::c_ulong;
}
