//! Fields of C types that have no public header function: weak references, memory views, time zones, generators.
//!
//! Invariants:
//! - A struct is read only of an object whose type was recognised: a type of the interpreter by address, another one as
//!   a type that no Python code can make ([`Type::is_c_type`]) and by its C name.
//! - No Python code runs and no reference outlives a call.

use std::ffi::{CStr, c_char, c_int};

use pyo3::ffi;

use super::layout;
use super::object::{Kind, Obj, Type};
use super::python_types::Owned;

impl Type<'_> {
    /// Whether this is a type of C code with this `tp_name`: static, or closed to Python code for other reasons.
    pub fn is_c_type(self, name: &CStr) -> bool {
        // SAFETY: a valid type object; `tp_name` is a C string for all types.
        unsafe {
            let ty = self.as_ptr();
            let flags = ffi::PyType_GetFlags(ty);
            let closed = flags & ffi::Py_TPFLAGS_HEAPTYPE == 0 || flags & ffi::Py_TPFLAGS_IMMUTABLETYPE != 0;
            closed && CStr::from_ptr((*ty).tp_name) == name
        }
    }

    /// Whether instances start with the struct of the C type of this name: it, or a class that derives from it.
    pub fn derives_from_c_type(self, name: &CStr) -> bool {
        self.c_base(name).is_some()
    }

    /// The C type of this name, if it is this one or one that it derives from.
    pub fn c_base(self, name: &CStr) -> Option<Self> {
        std::iter::successors(Some(self), |ty| ty.base()).find(|ty| ty.is_c_type(name))
    }

    /// Whether instances are weak references or proxies.
    pub fn is_weak_reference(self) -> bool {
        // SAFETY: static types of the interpreter; `PyType_IsSubtype` walks the MRO by address.
        unsafe {
            [&raw mut ffi::_PyWeakref_RefType, &raw mut _PyWeakref_ProxyType, &raw mut _PyWeakref_CallableProxyType]
                .into_iter()
                .any(|base| ffi::PyType_IsSubtype(self.as_ptr(), base) != 0)
        }
    }
}

/// What a weak reference or proxy refers to, `None` when that is dead; see [`Type::is_weak_reference`].
pub fn referent(reference: Obj<'_>) -> Option<Obj<'_>> {
    // SAFETY: `PyWeakReference` is `PyObject` and then the referent, borrowed: `None` when it is dead, and on its way to
    // death when its count is 0.
    unsafe {
        let object = Obj::borrow(reference.as_ptr().add(1).cast::<*mut ffi::PyObject>().read())?;
        (!object.is_none() && ffi::Py_REFCNT(object.as_ptr()) > 0).then_some(object)
    }
}

/// `_PyManagedBufferObject`, a prefix.
#[repr(C)]
struct ManagedBuffer {
    head: ffi::PyObject,
    flags: c_int,
}

/// `PyMemoryViewObject`, a prefix.
#[repr(C)]
struct MemoryViewObject {
    head: ffi::PyVarObject,
    managed: *mut ManagedBuffer,
    hash: ffi::Py_hash_t,
    flags: c_int,
    exports: ffi::Py_ssize_t,
    view: ffi::Py_buffer,
}

/// What is shown of a memory view.
pub struct MemoryView {
    pub shape: Vec<usize>,
    pub format: String,
    /// The first bytes, if the memory is known to be readable, and the number of all.
    pub head: Option<Vec<u8>>,
    pub length: usize,
}

/// A memory view's shape, format and first `limit` bytes; `None` when it was released. The object is exactly one.
pub fn memory_view(object: Obj<'_>, limit: usize) -> Option<MemoryView> {
    const RELEASED: c_int = 1;
    // SAFETY: the struct of an exact memoryview. Its buffer is read while neither it nor the owner's is released; the
    // owner cannot move or free it meanwhile, and it is plain memory of the process if the owner is one of these types.
    unsafe {
        let this = object.as_ptr().cast::<MemoryViewObject>();
        let managed = (*this).managed;
        if (*this).flags & RELEASED != 0 || managed.is_null() || (*managed).flags & RELEASED != 0 {
            return None;
        }
        let view = &(*this).view;
        let dimensions = usize::try_from(view.ndim).unwrap_or(0);
        let numbers = |pointer: *mut ffi::Py_ssize_t| -> Option<Vec<isize>> {
            (!pointer.is_null()).then(|| std::slice::from_raw_parts(pointer, dimensions).to_vec())
        };
        let (shape, strides) = (numbers(view.shape), numbers(view.strides));
        let format = match view.format.is_null() {
            true => "B".to_owned(),
            false => CStr::from_ptr(view.format).to_string_lossy().into_owned(),
        };
        let readable = Obj::borrow(view.obj).is_some_and(|owner| {
            let ty = owner.ty();
            owner.kind() == (Kind::Bytes, true) || ty.is_c_type(c"bytearray") || ty.is_c_type(c"array.array")
        });
        let length = usize::try_from(view.len).unwrap_or(0);
        let shape: Vec<usize> =
            shape.unwrap_or_default().into_iter().map(|size| usize::try_from(size).unwrap_or(0)).collect();
        let head = match strides {
            Some(strides) if readable && view.suboffsets.is_null() && !view.buf.is_null() => {
                let item = usize::try_from(view.itemsize).unwrap_or(1).max(1);
                let mut bytes = Vec::new();
                for at in offsets(&shape, &strides).take(limit.div_ceil(item)) {
                    let start = view.buf.cast::<u8>().offset(at);
                    bytes.extend((0..item).map(|index| start.add(index).read()));
                }
                bytes.truncate(limit);
                Some(bytes)
            }
            _ => None,
        };
        Some(MemoryView { shape, format, head, length })
    }
}

/// Byte offsets of the elements of an array in the order of their indices.
pub(super) fn offsets(shape: &[usize], strides: &[isize]) -> impl Iterator<Item = isize> {
    let (shape, strides) = (shape.to_vec(), strides.to_vec());
    let mut index = vec![0usize; shape.len()];
    let mut next = (!shape.contains(&0)).then_some(0isize);
    std::iter::from_fn(move || {
        let at = next?;
        next = None;
        let mut moved = at;
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                next = Some(moved + strides[axis]);
                break;
            }
            moved -= strides[axis] * (shape[axis] as isize - 1);
            index[axis] = 0;
        }
        Some(at)
    })
}

/// What is known of a `tzinfo` without asking Python code.
pub enum Zone {
    /// No time zone.
    Naive,
    /// A `datetime.timezone`: seconds and microseconds east of Greenwich, and its name if it was given one.
    Fixed { seconds: i64, microseconds: i64, name: Option<String> },
    /// A `zoneinfo.ZoneInfo`: its key, and the seconds east of Greenwich at the moment that was asked about.
    Named { key: String, seconds: Option<i64> },
    /// A class of somebody's own.
    Other(String),
}

/// The zone of a `datetime` (or of an instance of a class that derives from it).
pub fn datetime_zone(object: Obj<'_>) -> Zone {
    // SAFETY: the caller recognised the type; the macro reads the struct.
    let zone = unsafe { Obj::borrow(ffi::PyDateTime_DATE_GET_TZINFO(object.as_ptr())) };
    zone.map_or(Zone::Naive, |zone| self::zone(zone, Some(object)))
}

/// The zone of a `time`.
pub fn time_zone(object: Obj<'_>) -> Zone {
    // SAFETY: as above.
    let zone = unsafe { Obj::borrow(ffi::PyDateTime_TIME_GET_TZINFO(object.as_ptr())) };
    zone.map_or(Zone::Naive, |zone| self::zone(zone, None))
}

/// What a `tzinfo` is; `moment` is the datetime it belongs to, if any.
pub fn zone(zone: Obj<'_>, moment: Option<Obj<'_>>) -> Zone {
    let ty = zone.ty();
    if zone.is_none() {
        return Zone::Naive;
    }
    if ty.is_c_type(c"datetime.timezone") {
        // SAFETY: the struct is `PyObject`, a timedelta and a str or null.
        unsafe {
            let fields = zone.as_ptr().add(1).cast::<*mut ffi::PyObject>();
            let name = Obj::borrow(*fields.add(1)).map(super::object::lossy);
            return match Obj::borrow(*fields) {
                Some(offset) => {
                    let (seconds, microseconds) = delta(offset);
                    Zone::Fixed { seconds, microseconds, name }
                }
                None => Zone::Other("datetime.timezone".to_owned()),
            };
        }
    }
    if ty.is_c_type(c"zoneinfo.ZoneInfo") {
        let key =
            super::python_types::exact_attribute(zone, c"key").and_then(|key| key.get().map(super::object::lossy));
        let exact = moment.filter(|moment| moment.ty().is_c_type(c"datetime.datetime"));
        let seconds = exact.and_then(|moment| {
            // SAFETY: exactly these C types, whose method is C code that reads both structs; GIL held.
            let offset = unsafe {
                let name = Owned::new(ffi::PyUnicode_InternFromString(c"utcoffset".as_ptr()));
                let offset = name.get().map_or(std::ptr::null_mut(), |name| {
                    ffi::PyObject_CallMethodOneArg(zone.as_ptr(), name.as_ptr(), moment.as_ptr())
                });
                if offset.is_null() {
                    ffi::PyErr_Clear();
                }
                Owned::new(offset)
            };
            offset.get().filter(|offset| offset.ty().is_c_type(c"datetime.timedelta")).map(|offset| delta(offset).0)
        });
        return Zone::Named { key: key.unwrap_or_else(|| "?".to_owned()), seconds };
    }
    Zone::Other(ty.full_name())
}

/// Seconds and microseconds of a timedelta (or of an instance of a class that derives from it).
pub fn delta(object: Obj<'_>) -> (i64, i64) {
    // SAFETY: the caller recognised the type; the macros read the struct.
    unsafe {
        let object = object.as_ptr();
        let days = i64::from(ffi::PyDateTime_DELTA_GET_DAYS(object));
        let seconds = i64::from(ffi::PyDateTime_DELTA_GET_SECONDS(object));
        (days * 86_400 + seconds, i64::from(ffi::PyDateTime_DELTA_GET_MICROSECONDS(object)))
    }
}

/// `_PyGenObject_HEAD`.
#[repr(C)]
pub(super) struct GeneratorHead {
    head: ffi::PyObject,
    weak_references: *mut ffi::PyObject,
    name: *mut ffi::PyObject,
    qualname: *mut ffi::PyObject,
    exception_state: [*mut ffi::PyObject; 2],
    origin_or_finalizer: *mut ffi::PyObject,
    hooks_inited: c_char,
    closed: c_char,
    running_async: c_char,
    pub(super) frame_state: i8,
}

/// Whether a generator or coroutine that is neither running nor suspended has not begun yet (else it has ended). `frame`:
/// the name of the attribute that has its frame, which is asked only where the layout is not trusted.
pub fn has_not_begun(object: Obj<'_>, frame: &CStr) -> bool {
    if layout::trusted() {
        // SAFETY: the caller recognised the type; states before the first step are negative, those at the end are not.
        return unsafe { (*object.as_ptr().cast::<GeneratorHead>()).frame_state < 0 };
    }
    super::python_types::exact_attribute(object, frame).is_some_and(|frame| frame.get().is_some_and(|it| !it.is_none()))
}

unsafe extern "C" {
    static mut _PyWeakref_ProxyType: ffi::PyTypeObject;
    static mut _PyWeakref_CallableProxyType: ffi::PyTypeObject;
}

#[cfg(test)]
mod tests {
    use super::offsets;

    #[test]
    fn elements_are_met_in_the_order_of_their_indices() {
        let all = |shape: &[usize], strides: &[isize]| offsets(shape, strides).collect::<Vec<_>>();
        assert_eq!(all(&[], &[]), [0], "one element, no axis");
        assert_eq!(all(&[3], &[8]), [0, 8, 16]);
        assert_eq!(all(&[2, 3], &[24, 8]), [0, 8, 16, 24, 32, 40]);
        assert_eq!(all(&[2, 3], &[8, 16]), [0, 16, 32, 8, 24, 40], "transposed");
        assert_eq!(all(&[3], &[-4]), [0, -4, -8], "backwards");
        assert_eq!(all(&[3], &[0]), [0, 0, 0], "broadcast");
        assert_eq!(all(&[2, 0, 2], &[8, 8, 8]), [0isize; 0]);
    }
}
