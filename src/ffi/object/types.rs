//! Type objects: what their instances are and hold.
//!
//! Invariants: as for every [`Obj`]; types are recognised by address and flags, never by name.

use std::marker::PhantomData;
use std::ptr::NonNull;

use pyo3::ffi;

use super::{Kind, Obj, lossy};
use crate::ffi::layout::{self, DictKeys};

/// A borrowed type object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Type<'a>(Obj<'a>);

impl<'a> Obj<'a> {
    #[inline]
    pub fn ty(self) -> Type<'a> {
        // SAFETY: every object has a type, which the object keeps alive.
        unsafe {
            Type(Obj { pointer: NonNull::new_unchecked(ffi::Py_TYPE(self.as_ptr()).cast()), borrowed: PhantomData })
        }
    }
}

impl<'a> Type<'a> {
    #[inline]
    pub(crate) fn as_ptr(self) -> *mut ffi::PyTypeObject {
        self.0.as_ptr().cast()
    }

    #[inline]
    pub fn address(self) -> usize {
        self.0.address()
    }

    /// The type as an object.
    pub fn as_obj(self) -> Obj<'a> {
        self.0
    }

    /// `object` is a type: call it for [`Kind::Type`] only.
    pub fn of_type_object(object: Obj<'a>) -> Self {
        Self(object)
    }

    /// A number that together with the address names this very type for the life of the process; `None` if CPython
    /// has run out of them.
    #[inline]
    pub fn version(self) -> Option<u32> {
        // SAFETY: a valid type object; assigning a tag changes nothing a program can see.
        unsafe {
            let ty = self.as_ptr();
            if (*ty).tp_version_tag == 0 && PyUnstable_Type_AssignVersionTag(ty) == 0 {
                return None;
            }
            Some((*ty).tp_version_tag)
        }
    }

    /// What instances are, as [`Obj::kind`] says of those whose type is not one of the commonest.
    pub fn kind_of_instances(self) -> (Kind, bool) {
        let ty = self.as_ptr();
        // SAFETY: `ty` is a valid type object; the calls only read flags and compare addresses.
        unsafe {
            let flags = ffi::PyType_GetFlags(ty);
            let table = [
                (ffi::Py_TPFLAGS_LONG_SUBCLASS, Kind::Int),
                (ffi::Py_TPFLAGS_UNICODE_SUBCLASS, Kind::Str),
                (ffi::Py_TPFLAGS_LIST_SUBCLASS, Kind::List),
                (ffi::Py_TPFLAGS_TUPLE_SUBCLASS, Kind::Tuple),
                (ffi::Py_TPFLAGS_DICT_SUBCLASS, Kind::Dict),
                (ffi::Py_TPFLAGS_BASE_EXC_SUBCLASS, Kind::Exception),
                (ffi::Py_TPFLAGS_TYPE_SUBCLASS, Kind::Type),
            ];
            for (flag, kind) in table {
                if flags & flag != 0 {
                    return (kind, false);
                }
            }
            if flags & ffi::Py_TPFLAGS_BYTES_SUBCLASS != 0 {
                return (Kind::Bytes, std::ptr::eq(ty, &raw mut ffi::PyBytes_Type));
            }
            for (builtin, kind) in [
                (&raw mut ffi::PySet_Type, Kind::Set),
                (&raw mut ffi::PyFrozenSet_Type, Kind::FrozenSet),
                (&raw mut ffi::PyModule_Type, Kind::Module),
                (&raw mut ffi::PyFloat_Type, Kind::Float),
            ] {
                if std::ptr::eq(ty, builtin) {
                    return (kind, true);
                }
                // `PyType_IsSubtype` walks the MRO by address; it runs no code.
                if ffi::PyType_IsSubtype(ty, builtin) != 0 {
                    return (kind, false);
                }
            }
            if std::ptr::eq(ty, &raw mut ffi::PyCFunction_Type) {
                return (Kind::Function, true);
            }
            (Kind::Other, true)
        }
    }

    /// `module.QualName`; built-in types without module.
    pub fn full_name(self) -> String {
        // SAFETY: heap types have the heap type struct; `tp_name` is a valid C string for all.
        unsafe {
            let ty = self.as_ptr();
            if !self.is_heap_type() {
                let name = std::ffi::CStr::from_ptr((*ty).tp_name).to_string_lossy();
                return name.strip_prefix("builtins.").unwrap_or(&name).to_owned();
            }
            let heap = ty.cast::<HeapType>();
            let name = Obj::borrow((*heap).qualname).map(lossy).unwrap_or_default();
            let mut module = None;
            if let Some(namespace) = Obj::borrow((*ty).tp_dict) {
                module = namespace
                    .dict_entries()
                    .find(|(key, _)| matches!(key.kind().0, Kind::Str) && lossy(*key) == "__module__")
                    .map(|(_, value)| value);
            }
            match module {
                Some(module) if module.kind().0 == Kind::Str => {
                    let module = lossy(module);
                    if module == "builtins" { name } else { format!("{module}.{name}") }
                }
                _ => name,
            }
        }
    }

    /// Whether instances keep attributes of their own (`__dict__` or `__slots__`) and the type is a Python class.
    pub fn has_attributes(self) -> bool {
        // SAFETY: a valid type object.
        unsafe { self.is_heap_type() || (*self.as_ptr()).tp_dictoffset != 0 }
    }

    /// Whether instances can have a `__dict__`.
    pub fn has_dict(self) -> bool {
        // SAFETY: a valid type object.
        unsafe { (*self.as_ptr()).tp_dictoffset != 0 || (*self.as_ptr()).tp_flags & layout::MANAGED_DICT != 0 }
    }

    /// Names (addresses, kept alive by the classes) and offsets of `__slots__`, base classes first, each class in the
    /// order of its declaration. Valid as long as [`Type::version`] stays the same.
    pub fn slots(self) -> Vec<(usize, isize)> {
        let mut found = Vec::new();
        // SAFETY: the MRO is a tuple of types; each class's own dict is a real dict; exact member descriptors have the
        // struct below.
        unsafe {
            let Some(mro) = Obj::borrow((*self.as_ptr()).tp_mro) else { return found };
            let bases: Vec<_> = mro.items().flatten().collect();
            for base in bases.into_iter().rev() {
                let base_type = base.as_ptr().cast::<ffi::PyTypeObject>();
                if !Type::of_type_object(base).is_heap_type() {
                    continue;
                }
                let Some(namespace) = Obj::borrow((*base_type).tp_dict) else { continue };
                let mut own = Vec::new();
                let mut declared: Option<Vec<String>> = None;
                for (name, entry) in namespace.dict_entries() {
                    if std::ptr::eq(entry.ty().as_ptr(), &raw mut ffi::PyMemberDescr_Type) {
                        let member = (*entry.as_ptr().cast::<MemberDescriptor>()).member;
                        if (*member).type_code == ffi::Py_T_OBJECT_EX {
                            own.push((lossy(name), name.address(), (*member).offset));
                        }
                    } else if matches!(entry.kind(), (Kind::Tuple | Kind::List, true)) && lossy(name) == "__slots__" {
                        declared = Some(entry.items().flatten().map(lossy).collect());
                    }
                }
                if let Some(declared) = declared {
                    // CPython sorts slots; private names (`__x`) are mangled to `_Class__x`.
                    own.sort_by_key(|(name, ..)| {
                        declared
                            .iter()
                            .position(|slot| slot == name || (slot.starts_with("__") && name.ends_with(slot.as_str())))
                    });
                }
                found.extend(own.into_iter().map(|(_, name, offset)| (name, offset)));
            }
        }
        found
    }

    /// Made at run time (a `class` statement, or a C extension's type).
    #[inline]
    pub fn is_heap_type(self) -> bool {
        // SAFETY: a valid type object; this is a flag that it has for good.
        unsafe { (*self.as_ptr()).tp_flags & ffi::Py_TPFLAGS_HEAPTYPE != 0 }
    }

    /// The type whose struct instances start with, this one excepted; `None` for `object`.
    pub fn base(self) -> Option<Type<'a>> {
        // SAFETY: a valid type object, which keeps its base.
        unsafe { Obj::borrow((*self.as_ptr()).tp_base.cast()) }.map(Self::of_type_object)
    }

    /// The tuple of the class and those it derives from.
    pub fn mro(self) -> Option<Obj<'a>> {
        // SAFETY: a valid type object, which keeps its tuple; null while a type is being made.
        unsafe { Obj::borrow((*self.as_ptr()).tp_mro) }
    }

    /// The class derives from `base` (by MRO, no code runs).
    pub fn is_subtype_of(self, base: Type<'_>) -> bool {
        // SAFETY: two valid type objects.
        unsafe { ffi::PyType_IsSubtype(self.as_ptr(), base.as_ptr()) != 0 }
    }
}

#[repr(C)]
struct Member {
    name: *const std::ffi::c_char,
    type_code: std::ffi::c_int,
    offset: ffi::Py_ssize_t,
}

#[repr(C)]
struct MemberDescriptor {
    head: ffi::PyObject,
    owner: *mut ffi::PyTypeObject,
    name: *mut ffi::PyObject,
    qualname: *mut ffi::PyObject,
    member: *mut Member,
}

/// Prefix of `PyHeapTypeObject`.
#[repr(C)]
pub(in crate::ffi) struct HeapType {
    ty: ffi::PyTypeObject,
    as_async: ffi::PyAsyncMethods,
    as_number: ffi::PyNumberMethods,
    as_mapping: ffi::PyMappingMethods,
    as_sequence: ffi::PySequenceMethods,
    as_buffer: ffi::PyBufferProcs,
    name: *mut ffi::PyObject,
    slots: *mut ffi::PyObject,
    qualname: *mut ffi::PyObject,
    pub(in crate::ffi) cached_keys: *mut DictKeys,
}

impl HeapType {
    /// Where the qualified name is.
    pub(in crate::ffi) const QUALNAME: usize = std::mem::offset_of!(HeapType, qualname);
}

unsafe extern "C" {
    fn PyUnstable_Type_AssignVersionTag(ty: *mut ffi::PyTypeObject) -> std::ffi::c_int;
}
