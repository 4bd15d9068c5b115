//! What a walk must know of a type, looked up once per value.
//!
//! Invariants:
//! - An entry speaks of one type, named by address and version tag; a type that changes or dies is met again as another
//!   one.
//! - The table has a fixed size; what falls out of it is found again by asking the type.

use std::rc::Rc;

use super::special::Trait;
use crate::ffi::entries::InlineAttributes;
use crate::ffi::guards::Guards;
use crate::ffi::object::{Kind, Obj, Type};

/// Names (addresses) and offsets of `__slots__`.
pub type SlotLayout = Rc<[(usize, isize)]>;

/// Entries of the table; a power of two.
const SIZE: usize = 256;

/// See the module docs.
#[derive(Debug, Clone)]
pub struct Facts {
    address: usize,
    /// 0: good for one use only, the type has no version.
    version: u32,
    pub kind: Kind,
    pub exact: bool,
    pub special: Trait,
    pub storage: Storage,
    pub slots: SlotLayout,
    /// The instances met last whose attributes all may be shown.
    pub shape: Option<Shape>,
}

/// Where instances keep what is shown of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    Nowhere,
    /// A `__dict__`, made or not.
    Dict,
    Slots,
    SlotsAndDict,
}

/// Attributes of an instance that keeps them in the order of its type.
pub trait Attributes<'a> {
    /// Tells apart the orders that one type's instances can have.
    fn order(&self) -> usize;
    fn count(&self) -> usize;
    /// The value at `index`, which is below the length.
    fn value(&self, index: usize) -> Option<Obj<'a>>;
    /// Guards where the attributes of `object`, admitted, are kept.
    fn open(&self, object: Obj<'a>, guards: &mut Guards);
    /// Guards which object the value at `index` is, or that there is none.
    fn guard(&self, index: usize, guards: &mut Guards);
    /// Guards that there is a value at `index`.
    fn guard_presence(&self, index: usize, guards: &mut Guards);
}

impl<'a> Attributes<'a> for InlineAttributes<'a> {
    #[inline]
    fn order(&self) -> usize {
        self.keys()
    }
    #[inline]
    fn count(&self) -> usize {
        Self::len(*self)
    }
    #[inline]
    fn value(&self, index: usize) -> Option<Obj<'a>> {
        Self::value(*self, index)
    }
    fn open(&self, object: Obj<'a>, guards: &mut Guards) {
        guards.open_attributes(object, *self);
    }
    #[inline]
    fn guard(&self, index: usize, guards: &mut Guards) {
        guards.item(index);
    }
    fn guard_presence(&self, index: usize, guards: &mut Guards) {
        guards.item_is_set(index);
    }
}

/// Attributes in `__slots__`.
pub struct SlotAttributes<'a> {
    pub object: Obj<'a>,
    pub slots: SlotLayout,
}

impl<'a> Attributes<'a> for SlotAttributes<'a> {
    #[inline]
    fn order(&self) -> usize {
        0
    }
    #[inline]
    fn count(&self) -> usize {
        self.slots.len()
    }
    #[inline]
    fn value(&self, index: usize) -> Option<Obj<'a>> {
        self.object.slot_value(self.slots.get(index)?.1)
    }
    fn open(&self, object: Obj<'a>, guards: &mut Guards) {
        guards.open_slots(object);
    }
    #[inline]
    fn guard(&self, index: usize, guards: &mut Guards) {
        match self.slots.get(index) {
            Some(&(_, offset)) => guards.slot(offset),
            None => guards.refuse(),
        }
    }
    fn guard_presence(&self, index: usize, guards: &mut Guards) {
        match self.slots.get(index) {
            Some(&(_, offset)) => guards.slot_is_set(offset),
            None => guards.refuse(),
        }
    }
}

/// The attributes of instances that have them in a known order, none of them hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    order: usize,
    len: usize,
    /// Which are set.
    present: u64,
    policy: usize,
    pub type_ref: u32,
}

impl Shape {
    /// `None` if a shape cannot describe these attributes.
    #[inline]
    pub fn of<'a>(attributes: &impl Attributes<'a>, policy: usize) -> Option<Self> {
        let len = attributes.count();
        if len > 64 {
            return None;
        }
        let present = (0..len).fold(0, |mask, index| mask | u64::from(attributes.value(index).is_some()) << index);
        Some(Self { order: attributes.order(), len, present, policy, type_ref: 0 })
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
    pub fn type_in(self, known: Self) -> Option<u32> {
        (self.with_type(known.type_ref) == known).then_some(known.type_ref)
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
            storage: Storage::Nowhere,
            slots: Rc::new([]),
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
    pub fn set(&mut self, at: usize, ty: Type<'_>, special: Trait, slots: SlotLayout) {
        let (kind, exact) = ty.kind_of_instances();
        let storage = match (slots.is_empty(), ty.has_dict()) {
            (true, _) if !ty.has_attributes() => Storage::Nowhere,
            // Types of extensions may keep a dict in ways of their own.
            (true, _) => Storage::Dict,
            (false, true) => Storage::SlotsAndDict,
            (false, false) => Storage::Slots,
        };
        self.entries[at % SIZE] = Facts {
            address: ty.address(),
            version: ty.version().unwrap_or(0),
            kind,
            exact,
            special,
            storage,
            slots,
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
