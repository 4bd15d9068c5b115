//! What a walk must know of a type, looked up once per value.
//!
//! Invariants:
//! - An entry speaks of one type, named by address and version tag; a type that changes or dies is met again as another
//!   one.
//! - The table has a fixed size; what falls out of it is found again by asking the type.

use super::special::Trait;
use crate::ffi::entries::InlineAttributes;
use crate::ffi::object::{Kind, Type};

/// Entries of the table; a power of two.
const SIZE: usize = 256;

/// See the module docs.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    address: usize,
    /// 0: good for one use only, the type has no version.
    version: u32,
    pub kind: Kind,
    pub exact: bool,
    pub special: Trait,
    pub has_attributes: bool,
    pub has_slots: bool,
    /// The instances met last whose attributes all may be shown.
    pub shape: Option<Shape>,
}

/// The attributes of instances that have them in the order of their type's keys, none of them hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    keys: usize,
    len: usize,
    present: u64,
    policy: usize,
    pub type_ref: u32,
}

impl Shape {
    /// `None` if a shape cannot describe these attributes.
    #[inline]
    pub fn of(attributes: InlineAttributes<'_>, policy: usize) -> Option<Self> {
        let len = attributes.len();
        (len <= 64).then(|| Self { keys: attributes.keys(), len, present: attributes.present(), policy, type_ref: 0 })
    }

    #[inline]
    pub fn with_type(self, type_ref: u32) -> Self {
        Self { type_ref, ..self }
    }

    /// How many attributes are set.
    #[inline]
    pub fn fields(self) -> usize {
        self.present.count_ones() as usize
    }

    /// The struct type of attributes like these, if they are those of `known`.
    #[inline]
    pub fn type_in(self, known: Option<Self>) -> Option<u32> {
        known.filter(|known| Self { type_ref: known.type_ref, ..self } == *known).map(|known| known.type_ref)
    }
}

/// One thread's table.
#[derive(Debug)]
pub struct FactsTable {
    entries: Box<[Facts]>,
}

impl Default for FactsTable {
    fn default() -> Self {
        let nothing = Facts {
            address: 0,
            version: 0,
            kind: Kind::Other,
            exact: true,
            special: Trait::Nothing,
            has_attributes: false,
            has_slots: false,
            shape: None,
        };
        Self { entries: vec![nothing; SIZE].into() }
    }
}

impl FactsTable {
    /// Where the facts about `ty` belong, and whether they are there.
    #[inline]
    pub fn find(&self, ty: Type<'_>) -> (usize, bool) {
        let address = ty.address();
        let at = (address >> 4 ^ address >> 12) % SIZE;
        let known = &self.entries[at];
        (at, known.address == address && known.version != 0 && ty.version() == Some(known.version))
    }

    /// The facts at a place that [`FactsTable::find`] gave.
    #[inline]
    pub fn at(&self, at: usize) -> &Facts {
        &self.entries[at % SIZE]
    }

    /// Puts the facts about a type where [`FactsTable::find`] looks for them.
    pub fn set(&mut self, at: usize, ty: Type<'_>, special: Trait, has_slots: bool) {
        let (kind, exact) = ty.kind_of_instances();
        self.entries[at % SIZE] = Facts {
            address: ty.address(),
            version: ty.version().unwrap_or(0),
            kind,
            exact,
            special,
            has_attributes: ty.has_attributes(),
            has_slots,
            shape: None,
        };
    }

    /// Remembers the instances met last, unless walking their attributes has put another type here.
    pub fn set_shape(&mut self, at: usize, ty: Type<'_>, shape: Shape) {
        if self.find(ty) == (at, true) {
            self.entries[at % SIZE].shape = Some(shape);
        }
    }
}
