//! The items of a `collections.deque`, read in place.
//!
//! Invariants:
//! - The layout below is used only if, once per process, it read a deque of our own as the public API did.
//! - As for every [`Obj`]: nothing runs, nothing is kept, nothing is made.

use std::sync::OnceLock;

use pyo3::ffi;

use super::layout;
use super::object::{Obj, Type};
use super::python_types::{Owned, c_items};

/// Items of a block.
const BLOCK_ITEMS: usize = 64;

/// `BLOCK`.
#[repr(C)]
struct Block {
    left: *const Block,
    items: [*mut ffi::PyObject; BLOCK_ITEMS],
    right: *const Block,
}

/// `dequeobject`, a prefix.
#[repr(C)]
struct Deque {
    head: ffi::PyVarObject,
    left_block: *const Block,
    right_block: *const Block,
    left_index: ffi::Py_ssize_t,
}

/// Words of a deque that say where its items are.
pub(super) const PLACE: [usize; 3] = [
    std::mem::offset_of!(ffi::PyVarObject, ob_size),
    std::mem::offset_of!(Deque, left_block),
    std::mem::offset_of!(Deque, left_index),
];

/// Where an item is.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The address of the pointer to it.
    pub(super) pointer: usize,
    /// The address of the link to its block, where that is another one than that of the item before.
    pub(super) link: Option<usize>,
}

/// Iterator over a deque; see [`deque_items`].
pub struct DequeItems<'a> {
    deque: Obj<'a>,
    block: *const Block,
    index: usize,
    left: usize,
}

/// The items of a deque, or of an instance of a class that derives from it, from the left; `None` where they cannot be read in place.
#[inline]
pub fn deque_items(object: Obj<'_>) -> Option<DequeItems<'_>> {
    static TRUSTED: OnceLock<bool> = OnceLock::new();
    (layout::trusted() && *TRUSTED.get_or_init(|| reads_as_others(object.ty()))).then(|| items(object))
}

fn items(object: Obj<'_>) -> DequeItems<'_> {
    // SAFETY: an instance of deque, which starts with the struct above.
    unsafe {
        let deque = object.as_ptr().cast::<Deque>();
        let left = usize::try_from(ffi::Py_SIZE(object.as_ptr())).unwrap_or(0);
        let index = usize::try_from((*deque).left_index).unwrap_or(0);
        DequeItems { deque: object, block: (*deque).left_block, index, left }
    }
}

impl<'a> Iterator for DequeItems<'a> {
    type Item = (Place, Obj<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let mut link = None;
        // SAFETY: a deque of so many items has that many in its blocks, from the first one's index on.
        unsafe {
            if self.index >= BLOCK_ITEMS {
                link = Some(&raw const (*self.block).right as usize);
                self.block = (*self.block).right;
                self.index = 0;
            }
            let pointer = &raw const (*self.block).items[self.index];
            self.index += 1;
            let item = self.deque.kept_alive(*pointer as usize);
            Some((Place { pointer: pointer as usize, link }, item))
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for DequeItems<'_> {}

/// Whether a new deque of several blocks reads as its iterator says, at both ends. No Python code runs: the type is that
/// of C, its items are numbers.
fn reads_as_others(ty: Type<'_>) -> bool {
    const ITEMS: usize = 3 * BLOCK_ITEMS;
    let Some(ty) = ty.c_base(c"collections.deque") else { return false };
    // SAFETY: GIL held, as for every `Obj`; errors are cleared, new references are owned.
    unsafe {
        let numbers = Owned::new(ffi::PyObject_CallFunction(
            (&raw mut ffi::PyRange_Type).cast(),
            c"nn".as_ptr(),
            1000 as ffi::Py_ssize_t,
            (1000 + ITEMS) as ffi::Py_ssize_t,
        ));
        let deque = Owned::new(ffi::PyObject_CallFunctionObjArgs(
            ty.as_ptr().cast(),
            numbers.get().map_or(std::ptr::null_mut(), Obj::as_ptr),
            std::ptr::null_mut::<ffi::PyObject>(),
        ));
        let Some(object) = deque.get() else {
            ffi::PyErr_Clear();
            return false;
        };
        let agrees = |object: Obj<'_>, count: usize| {
            let Some((expected, length)) = c_items(object, usize::MAX) else { return false };
            let found = items(object);
            length == count
                && found.len() == count
                && found.index < BLOCK_ITEMS
                && found.zip(&expected).all(|((_, item), expected)| Some(item) == expected.get())
        };
        if !agrees(object, ITEMS) {
            return false;
        }
        let popped = Owned::new(ffi::PyObject_CallMethod(object.as_ptr(), c"popleft".as_ptr(), std::ptr::null()));
        popped.get().is_some() && agrees(object, ITEMS - 1)
    }
}
