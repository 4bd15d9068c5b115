//! NumPy's arrays and scalars, read in place; NumPy itself is neither needed nor called.
//!
//! Invariants:
//! - Structs are NumPy's own, whose layout is its stable ABI: that of version 1, or that of 2, where the part of a dtype
//!   behind its number moved. Of other versions that part is not read. They are read of exact C types, see
//!   [`Type::is_c_type`].
//! - Elements are read only from memory that an array or a bytes object of the process owns, and only within the bounds of
//!   its owner: an array on a mapped file (which may have been cut off) shows its shape and dtype alone.

use std::ffi::{c_char, c_int, c_void};
use std::sync::OnceLock;

use pyo3::ffi;

use super::c_types::offsets;
use super::object::{Kind, Obj, Type, lossy};
use super::python_types::module_namespace;

/// `PyArrayObject_fields`, a prefix.
#[repr(C)]
struct ArrayObject {
    head: ffi::PyObject,
    data: *mut c_char,
    dimensions: c_int,
    shape: *mut isize,
    strides: *mut isize,
    base: *mut ffi::PyObject,
    descriptor: *mut Descriptor,
    flags: c_int,
}

/// `PyArray_Descr` of NumPy 2 and, from `subarray` on, `_PyArray_LegacyDescr`; NumPy 1 has it up to `type_number`.
#[repr(C)]
struct Descriptor {
    head: ffi::PyObject,
    typeobj: *mut ffi::PyTypeObject,
    kind: c_char,
    letter: c_char,
    byte_order: c_char,
    former_flags: c_char,
    type_number: c_int,
    flags: u64,
    element_size: isize,
    alignment: isize,
    metadata: *mut ffi::PyObject,
    hash: isize,
    reserved: [*mut c_void; 2],
    subarray: *mut c_void,
    fields: *mut ffi::PyObject,
    names: *mut ffi::PyObject,
    c_metadata: *mut TimeMetadata,
}

/// `PyArray_Descr` of NumPy 1.
#[repr(C)]
struct Descriptor1 {
    head: ffi::PyObject,
    typeobj: *mut ffi::PyTypeObject,
    kind: c_char,
    letter: c_char,
    byte_order: c_char,
    flags: c_char,
    type_number: c_int,
    element_size: c_int,
    alignment: c_int,
    subarray: *mut c_void,
    fields: *mut ffi::PyObject,
    names: *mut ffi::PyObject,
    functions: *mut c_void,
    metadata: *mut ffi::PyObject,
    c_metadata: *mut TimeMetadata,
}

/// `PyArray_DatetimeDTypeMetaData`.
#[repr(C)]
struct TimeMetadata {
    base: [*mut c_void; 4],
    unit: Unit,
}

/// `PyArray_DatetimeMetaData`: a number of units.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    pub base: c_int,
    pub count: c_int,
}

/// Scalars are `PyObject` and then their value; those of time have their unit behind it.
#[repr(C)]
struct TimeScalar {
    head: ffi::PyObject,
    ticks: i64,
    unit: Unit,
}

/// Bytes of one text that are read.
const MAX_TEXT: usize = 4096;

/// What elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Bool,
    Int,
    Unsigned,
    Float,
    Complex,
    Bytes,
    Text,
    Object,
    Moment(Unit),
    Span(Unit),
}

/// What elements are and how many bytes they have.
#[derive(Debug, Clone, Copy)]
struct Layout {
    class: Class,
    size: usize,
    /// The bytes are in the other order than the machine's.
    swapped: bool,
}

/// One element.
pub enum Element<'a> {
    Bool(bool),
    Int(i64),
    Unsigned(u64),
    Float(f64),
    Single(f32),
    Complex(f64, f64),
    /// Bytes, or a text, and whether there are more.
    Bytes(Vec<u8>, bool),
    Text(String, bool),
    Object(Option<Obj<'a>>),
    Moment(i64, Unit),
    Span(i64, Unit),
}

/// Whether the type is exactly `numpy.ndarray`.
pub fn is_array_type(ty: Type<'_>) -> bool {
    ty.is_c_type(c"numpy.ndarray")
}

/// What the instances of a scalar type of NumPy are.
fn scalar_layout(ty: Type<'_>) -> Option<Layout> {
    use Class::{Bool, Complex, Float, Int, Moment, Span, Unsigned};
    const NO_UNIT: Unit = Unit { base: -1, count: 0 };
    let long = size_of::<std::ffi::c_long>();
    let known = [
        (c"numpy.bool", Bool, 1),
        (c"numpy.bool_", Bool, 1),
        (c"numpy.int8", Int, 1),
        (c"numpy.int16", Int, 2),
        (c"numpy.int32", Int, 4),
        (c"numpy.int64", Int, 8),
        (c"numpy.intc", Int, 4),
        (c"numpy.long", Int, long),
        (c"numpy.longlong", Int, 8),
        (c"numpy.uint8", Unsigned, 1),
        (c"numpy.uint16", Unsigned, 2),
        (c"numpy.uint32", Unsigned, 4),
        (c"numpy.uint64", Unsigned, 8),
        (c"numpy.uintc", Unsigned, 4),
        (c"numpy.ulong", Unsigned, long),
        (c"numpy.ulonglong", Unsigned, 8),
        (c"numpy.float16", Float, 2),
        (c"numpy.float32", Float, 4),
        (c"numpy.complex64", Complex, 8),
        (c"numpy.complex128", Complex, 16),
        (c"numpy.datetime64", Moment(NO_UNIT), 8),
        (c"numpy.timedelta64", Span(NO_UNIT), 8),
    ];
    known.into_iter().find(|(name, ..)| ty.is_c_type(name)).map(|(_, class, size)| Layout {
        class,
        size,
        swapped: false,
    })
}

/// Whether instances are scalars of NumPy that [`scalar`] can read.
pub fn is_scalar_type(ty: Type<'_>) -> bool {
    scalar_layout(ty).is_some()
}

/// The value of a scalar.
pub fn scalar(object: Obj<'_>) -> Option<Element<'_>> {
    let layout = scalar_layout(object.ty())?;
    // SAFETY: exactly this C type, whose struct is `PyObject`, then the value, then the unit of a time. Values with
    // 16 bytes follow the head directly, too: their alignment is that of their halves.
    unsafe {
        let time = object.as_ptr().cast::<TimeScalar>();
        match layout.class {
            Class::Moment(_) => Some(Element::Moment((*time).ticks, (*time).unit)),
            Class::Span(_) => Some(Element::Span((*time).ticks, (*time).unit)),
            _ => read(object.as_ptr().add(1).cast::<u8>(), layout),
        }
    }
}

/// An array.
pub struct Array<'a> {
    object: Obj<'a>,
    pub shape: Vec<usize>,
    strides: Vec<isize>,
}

impl<'a> Array<'a> {
    /// `object`, if it is exactly an `ndarray`.
    pub fn of(object: Obj<'a>) -> Option<Self> {
        if !is_array_type(object.ty()) {
            return None;
        }
        // SAFETY: the struct of an exact ndarray; shape and strides have as many items as there are dimensions.
        unsafe {
            let this = object.as_ptr().cast::<ArrayObject>();
            let dimensions = usize::try_from((*this).dimensions).ok()?;
            if dimensions == 0 {
                return Some(Self { object, shape: Vec::new(), strides: Vec::new() });
            }
            if dimensions > 64 || (*this).shape.is_null() || (*this).strides.is_null() {
                return None;
            }
            let shape = std::slice::from_raw_parts((*this).shape, dimensions);
            let strides = std::slice::from_raw_parts((*this).strides, dimensions).to_vec();
            let shape = shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
            Some(Self { object, shape, strides })
        }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.shape.iter().fold(1, |all, &size| all.saturating_mul(size))
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A row of a table as an array of its own.
    pub fn row(self, index: usize) -> Option<Row<'a>> {
        (self.shape.len() == 2 && index < self.shape[0]).then(|| Row { skipped: index * self.shape[1], array: self })
    }

    /// The dtype's name, as `str` gives it.
    pub fn dtype(&self) -> String {
        // SAFETY: an array has a dtype; see `layout` for what is read of it.
        let (kind, swapped) = unsafe {
            let descriptor = (*self.object.as_ptr().cast::<ArrayObject>()).descriptor;
            (
                (*descriptor).kind as u8,
                (*descriptor).byte_order as u8 == if cfg!(target_endian = "big") { b'<' } else { b'>' },
            )
        };
        let Some(layout) = self.layout() else {
            return match kind {
                b'V' => "void".to_owned(),
                b'T' => "StringDType".to_owned(),
                kind => format!("kind '{}'", kind as char),
            };
        };
        let bits = layout.size * 8;
        let name = match layout.class {
            Class::Bool => "bool".to_owned(),
            Class::Int => format!("int{bits}"),
            Class::Unsigned => format!("uint{bits}"),
            Class::Float => format!("float{bits}"),
            Class::Complex => format!("complex{bits}"),
            Class::Bytes => format!("S{}", layout.size),
            Class::Text => format!("U{}", layout.size / 4),
            Class::Object => "object".to_owned(),
            Class::Moment(unit) => format!("datetime64{}", unit.name()),
            Class::Span(unit) => format!("timedelta64{}", unit.name()),
        };
        if swapped { format!("byte-swapped {name}") } else { name }
    }

    fn layout(&self) -> Option<Layout> {
        // SAFETY: an array has a dtype. Fields behind `type_number` are read as the version has them; the last one of a
        // built-in dtype only.
        unsafe {
            let descriptor = (*self.object.as_ptr().cast::<ArrayObject>()).descriptor;
            let version = version()?;
            let size = match version {
                Version::One => usize::try_from((*descriptor.cast::<Descriptor1>()).element_size).ok()?,
                Version::Two => usize::try_from((*descriptor).element_size).ok()?,
            };
            let class = match ((*descriptor).kind as u8, size) {
                (b'b', 1) => Class::Bool,
                (b'i', 1 | 2 | 4 | 8) => Class::Int,
                (b'u', 1 | 2 | 4 | 8) => Class::Unsigned,
                (b'f', 2 | 4 | 8) => Class::Float,
                (b'c', 8 | 16) => Class::Complex,
                (b'S', _) => Class::Bytes,
                (b'U', _) => Class::Text,
                (b'O', 8) => Class::Object,
                // Built-in dtypes only: those of others are no legacy structs.
                (kind @ (b'M' | b'm'), 8) if matches!((*descriptor).type_number, 21 | 22) => {
                    let metadata = match version {
                        Version::One => (*descriptor.cast::<Descriptor1>()).c_metadata,
                        Version::Two => (*descriptor).c_metadata,
                    };
                    let unit = if metadata.is_null() { Unit { base: 14, count: 1 } } else { (*metadata).unit };
                    if kind == b'M' { Class::Moment(unit) } else { Class::Span(unit) }
                }
                _ => return None,
            };
            let other = if cfg!(target_endian = "big") { b'<' } else { b'>' };
            Some(Layout { class, size, swapped: (*descriptor).byte_order as u8 == other })
        }
    }

    /// The elements from the `skip`th on in the order of their indices, `limit` at most; `None` where they cannot be
    /// read.
    pub fn elements(&self, skip: usize, limit: usize) -> Option<Vec<Element<'a>>> {
        let layout = self.layout()?;
        let (start, bounds) = self.memory()?;
        let mut found = Vec::new();
        for offset in offsets(&self.shape, &self.strides).skip(skip).take(limit) {
            let at = start.checked_add_signed(offset)?;
            if at < bounds.start || at.checked_add(layout.size)? > bounds.end {
                return None;
            }
            // SAFETY: within the memory of the owner, which lives while the array does and is not moved with the GIL held.
            found.push(unsafe { read(at as *const u8, layout)? });
        }
        Some(found)
    }

    /// Where the data begins, and the memory it must lie in.
    fn memory(&self) -> Option<(usize, std::ops::Range<usize>)> {
        const OWNS_DATA: c_int = 4;
        // SAFETY: structs of exact arrays and bytes; the base of an array is a reference that it holds.
        unsafe {
            let data = (*self.object.as_ptr().cast::<ArrayObject>()).data as usize;
            let mut owner = self.object;
            for _ in 0..8 {
                if owner.kind() == (Kind::Bytes, true) {
                    let bytes = owner.bytes_value().as_ptr_range();
                    return Some((data, bytes.start as usize..bytes.end as usize));
                }
                let array = Array::of(owner)?;
                let this = owner.as_ptr().cast::<ArrayObject>();
                if (*this).flags & OWNS_DATA != 0 {
                    let start = (*this).data as usize;
                    let size = array.layout()?.size;
                    return Some((data, start..start.checked_add(array.len().checked_mul(size)?)?));
                }
                owner = self.object.kept_alive(Obj::borrow((*this).base)?.address());
            }
        }
        None
    }
}

/// One row of a table.
pub struct Row<'a> {
    array: Array<'a>,
    skipped: usize,
}

impl<'a> Row<'a> {
    pub fn elements(&self, limit: usize) -> Option<Vec<Element<'a>>> {
        self.array.elements(self.skipped, limit.min(self.array.shape[1]))
    }
    pub fn dtype(&self) -> String {
        self.array.dtype()
    }
}

impl Unit {
    const NAMES: [&'static str; 14] = ["Y", "M", "W", "", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"];

    /// `[ns]`, `[25s]`; nothing for a time without a unit.
    pub fn name(self) -> String {
        match usize::try_from(self.base).ok().and_then(|base| Self::NAMES.get(base)) {
            Some(name) if self.count == 1 => format!("[{name}]"),
            Some(name) => format!("[{}{name}]", self.count),
            None => String::new(),
        }
    }
}

/// # Safety
/// `at` is readable for the bytes of the layout; an object's reference there is null or valid.
unsafe fn read<'a>(at: *const u8, layout: Layout) -> Option<Element<'a>> {
    // SAFETY: see above. Another thread may write numbers meanwhile, without the GIL: bytes are read one by one.
    let byte = |index| unsafe { at.add(index).read_volatile() };
    let bytes: Vec<u8> = (0..layout.size.min(MAX_TEXT)).map(byte).collect();
    // A text ends at a zero at the latest.
    let more = || layout.size >= MAX_TEXT + 4 && (MAX_TEXT..MAX_TEXT + 4).any(|index| byte(index) != 0);
    let number = |bytes: &[u8]| -> u64 {
        let big = layout.swapped != cfg!(target_endian = "big");
        let add = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
        if big { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
    };
    let unused_bits = 64 - 8 * layout.size.min(8);
    let signed = || (number(&bytes) << unused_bits) as i64 >> unused_bits;
    Some(match layout.class {
        Class::Bool => Element::Bool(bytes.first() != Some(&0)),
        Class::Int => Element::Int(signed()),
        Class::Unsigned => Element::Unsigned(number(&bytes)),
        Class::Float => match layout.size {
            2 => Element::Single(half(number(&bytes) as u16)),
            4 => Element::Single(f32::from_bits(number(&bytes) as u32)),
            _ => Element::Float(f64::from_bits(number(&bytes))),
        },
        Class::Complex => {
            let (real, imaginary) = bytes.split_at(layout.size / 2);
            let part = |bytes: &[u8]| match bytes.len() {
                4 => f64::from(f32::from_bits(number(bytes) as u32)),
                _ => f64::from_bits(number(bytes)),
            };
            Element::Complex(part(real), part(imaginary))
        }
        Class::Bytes => {
            let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            Element::Bytes(bytes[..end].to_vec(), more())
        }
        Class::Text => {
            let text: String = bytes
                .chunks_exact(4)
                .map(|point| char::from_u32(number(point) as u32).unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect();
            Element::Text(text.trim_end_matches('\0').to_owned(), more())
        }
        // SAFETY: the caller says so; the array's owner keeps it alive.
        Class::Object => Element::Object(unsafe { Obj::borrow(at.cast::<*mut ffi::PyObject>().read_unaligned()) }),
        Class::Moment(unit) => Element::Moment(signed(), unit),
        Class::Span(unit) => Element::Span(signed(), unit),
    })
}

/// A 16-bit float.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    }
}

/// The versions whose dtypes are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The version of the NumPy of this process, if it is known.
fn version() -> Option<Version> {
    static KNOWN: OnceLock<Option<Version>> = OnceLock::new();
    if let Some(&known) = KNOWN.get() {
        return known;
    }
    let version = module_namespace("numpy").and_then(|namespace| {
        let is_version = |name: Obj<'_>| name.kind() == (Kind::Str, true) && lossy(name) == "__version__";
        namespace.dict_entries().find(|(name, _)| is_version(*name)).map(|(_, version)| version)
    });
    // Not there yet while NumPy is being imported.
    let version = lossy(version.filter(|version| version.kind() == (Kind::Str, true))?);
    *KNOWN.get_or_init(|| match version.split('.').next() {
        Some("1") => Some(Version::One),
        Some("2") => Some(Version::Two),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::half;

    #[test]
    fn half_floats_have_their_values() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_95), (1, 5.960_464_5e-8), (0x7bff, 65504.0)]
        {
            assert_eq!(half(bits), value, "{bits:x}");
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }
}
