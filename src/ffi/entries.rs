//! The entries of dicts and the attributes of instances, walked in place.
//!
//! Invariants:
//! - Tables are read directly only where their layout is trusted; else through `PyDict_Next`.
//! - As for every [`Obj`]: nothing runs, nothing is kept, nothing is made.

use pyo3::ffi;

use super::layout::{self, DictKeys, ManagedDict, UnicodeEntry};
use super::object::{HeapType, Obj};

/// Iterator over a dict; see [`Obj::dict_entries`].
pub struct DictEntries<'a> {
    /// The table of a dict with str keys only, when it can be read.
    table: &'a [UnicodeEntry],
    /// Any other dict, and the position in it.
    other: Option<(Obj<'a>, ffi::Py_ssize_t)>,
}

/// The table of a dict whose keys are all str, in which names are found by where they were.
#[derive(Clone, Copy)]
pub struct NameTable<'a> {
    entries: &'a [UnicodeEntry],
}

impl<'a> NameTable<'a> {
    /// The value of this very name, if it is where it was; `None` says nothing.
    #[inline]
    pub fn value_at(self, at: usize, name: usize) -> Option<Obj<'a>> {
        let entry = self.entries.get(at).filter(|entry| entry.key as usize == name)?;
        // SAFETY: the dict keeps the value alive; that of a deleted entry is null.
        unsafe { Obj::borrow(entry.value) }
    }

    /// Entries in it, deleted ones among them.
    #[inline]
    pub const fn len(self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub const fn is_empty(self) -> bool {
        self.entries.is_empty()
    }

    /// Where it is.
    #[inline]
    pub fn address(self) -> usize {
        self.entries.as_ptr() as usize
    }

    /// Addresses of the key and the value of each entry, null in those that were deleted.
    #[inline]
    pub fn addresses(self) -> impl ExactSizeIterator<Item = (usize, usize)> + use<'a> {
        self.entries.iter().map(|entry| (entry.key as usize, entry.value as usize))
    }

    /// The same of one entry.
    #[inline]
    pub fn addresses_at(self, at: usize) -> Option<(usize, usize)> {
        self.entries.get(at).map(|entry| (entry.key as usize, entry.value as usize))
    }

    /// Key and value of an entry, in insertion order; `None` for one that was deleted, and behind the last.
    #[inline]
    pub fn entry(self, at: usize) -> Option<(Obj<'a>, Obj<'a>)> {
        let entry = self.entries.get(at)?;
        // SAFETY: the dict keeps keys and values alive; the value of a deleted entry is null.
        unsafe { Some((Obj::borrow(entry.key)?, Obj::borrow(entry.value)?)) }
    }
}

impl<'a> Obj<'a> {
    /// What [`Obj::dict_get`] finds names in; call it for `Kind::Dict` only. Empty where that cannot be read.
    #[inline]
    pub fn name_table(self) -> NameTable<'a> {
        NameTable { entries: DictEntries::of(self).table }
    }
}

impl<'a> DictEntries<'a> {
    /// `dict` is a dict.
    #[inline]
    pub(super) fn of(dict: Obj<'a>) -> Self {
        if layout::trusted() {
            // SAFETY: a dict, and the layout is trusted. A dict without values of its own (that is, not sharing its
            // keys) whose keys are all str has a table of unicode entries in insertion order.
            unsafe {
                let this = dict.as_ptr().cast::<layout::Dict>();
                let keys = (*this).keys;
                if (*this).values.is_null() && (*keys).kind == 1 {
                    return Self { table: DictKeys::unicode_entries(keys), other: None };
                }
            }
        }
        Self { table: &[], other: Some((dict, 0)) }
    }
}

impl<'a> Iterator for DictEntries<'a> {
    type Item = (Obj<'a>, Obj<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while let Some((entry, rest)) = self.table.split_first() {
            self.table = rest;
            // SAFETY: the dict keeps keys and values alive; the value of a deleted entry is null.
            if let (Some(key), Some(value)) = unsafe { (Obj::borrow(entry.key), Obj::borrow(entry.value)) } {
                return Some((key, value));
            }
        }
        let (dict, position) = self.other.as_mut()?;
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: a dict; `PyDict_Next` borrows and runs no code, nothing mutates it during `'a`.
        unsafe {
            if ffi::PyDict_Next(dict.as_ptr(), position, &raw mut key, &raw mut value) == 0 {
                return None;
            }
            Some((Obj::borrow(key)?, Obj::borrow(value)?))
        }
    }
}

/// The attributes of an instance whose `__dict__` was not made: values in the order of its type's keys.
///
/// The names of a type's keys are only ever added to: with the same type (address and version), the same
/// [`InlineAttributes::keys`] and the same length, the names are the same.
#[derive(Clone, Copy)]
pub struct InlineAttributes<'a> {
    names: &'a [UnicodeEntry],
    values: *const *mut ffi::PyObject,
}

impl<'a> InlineAttributes<'a> {
    /// `None` where attributes are kept in another way, or where that cannot be seen.
    #[inline]
    pub fn of(object: Obj<'a>) -> Option<Self> {
        if !layout::trusted() {
            return None;
        }
        // SAFETY: flags and fields of a valid type; the layout is trusted. A managed type is a heap type.
        unsafe {
            let ty = object.ty().as_ptr();
            if (*ty).tp_flags & layout::MANAGED_DICT == 0 {
                return None;
            }
            let ManagedDict::Values(values) = layout::managed_dict(object.as_ptr()) else { return None };
            let keys = (*ty.cast::<HeapType>()).cached_keys;
            if keys.is_null() {
                return None;
            }
            Some(Self { names: DictKeys::unicode_entries(keys), values: (&raw const (*values).values).cast() })
        }
    }

    /// Identifies the keys.
    #[inline]
    pub fn keys(self) -> usize {
        self.names.as_ptr() as usize
    }

    /// Where the values are.
    #[inline]
    pub(super) fn values_at(self) -> usize {
        self.values as usize
    }

    /// Number of keys; not each of them has a value in this instance.
    #[inline]
    pub fn len(self) -> usize {
        self.names.len()
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.names.is_empty()
    }

    /// The value of the key at `index`, which is below the length.
    #[inline]
    pub fn value(self, index: usize) -> Option<Obj<'a>> {
        debug_assert!(index < self.names.len());
        // SAFETY: there is room for a value for each key; null means that the attribute is not set.
        unsafe { Obj::borrow(*self.values.add(index)) }
    }
}
