//! Type ids: from a Python type (and its fields) to a type of the trace, without formatting names per value.
//!
//! Invariants:
//! - A (name, fields, kind) has one id per session, whatever thread asks first.
//! - The per-thread cache is keyed by type address *and* CPython's type version tag, which is never given twice: a
//!   class that dies and another one at its address are told apart without keeping either alive.
//! - A struct type is found by the hashes of its field names, which CPython has cached in the strings.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use runtime_tracing::TypeKind;
use rustc_hash::FxHashMap;

use super::facts::{FactsTable, SlotLayout};
use super::special::{Trait, recognise};
use crate::ffi::object::{Obj, Type, lossy};
use crate::pipeline::tables::{Tables, TypeInfo};

/// Most identities remembered per session; then numbering goes on with an empty memory.
const MAX_IDENTITIES: usize = 1 << 16;

/// What makes a type of the trace: kind, name, fields.
type TypeKey = (u8, String, Vec<String>);
/// What names a Python type for the life of the process: address and version tag.
type TypeId = (usize, u32);

/// The session's types, shared by its threads.
#[derive(Debug)]
pub struct SharedTypes {
    tables: Arc<Tables>,
    ids: Mutex<FxHashMap<TypeKey, u32>>,
    identities: Mutex<Identities>,
}

/// Numbers of objects that are shown by identity, by address and type of the trace.
#[derive(Debug, Default)]
struct Identities {
    known: FxHashMap<(usize, u32), u64>,
    last: u64,
}

impl SharedTypes {
    pub fn new(tables: Arc<Tables>) -> Self {
        Self { tables, ids: Mutex::default(), identities: Mutex::default() }
    }

    fn intern(&self, kind: TypeKind, name: String, fields: Vec<String>) -> u32 {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (kind as u8, name, fields);
        if let Some(&id) = ids.get(&key) {
            return id;
        }
        let id = self.tables.add_type(TypeInfo { kind, name: key.1.clone(), fields: key.2.clone() });
        ids.insert(key, id);
        id
    }

    fn identity(&self, address: usize, type_ref: u32) -> u64 {
        let mut identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&number) = identities.known.get(&(address, type_ref)) {
            return number;
        }
        if identities.known.len() >= MAX_IDENTITIES {
            identities.known.clear();
        }
        identities.last += 1;
        let number = identities.last;
        identities.known.insert((address, type_ref), number);
        number
    }
}

/// The attributes of one instance, gathered before they are written. Addresses only: valid during one snapshot.
#[derive(Debug, Default)]
pub struct Fields {
    entries: Vec<(usize, usize)>,
    hash: u64,
}

impl Fields {
    pub fn push(&mut self, name: usize, value: usize, name_hash: isize) {
        self.entries.push((name, value));
        self.hash = (self.hash.rotate_left(5) ^ name_hash as u64).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    /// Name and value at `index`; both are kept alive by `owner`.
    pub fn get<'a>(&self, owner: Obj<'a>, index: usize) -> (Obj<'a>, Obj<'a>) {
        let (name, value) = self.entries[index];
        (owner.kept_alive(name), owner.kept_alive(value))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Shape {
    Plain,
    Sequence,
    Tuple,
    Set,
    NamedTuple,
    Fields(u64, bool),
}

/// One thread's view of the session's types.
#[derive(Debug)]
pub struct TypeNames {
    shared: Arc<SharedTypes>,
    cache: FxHashMap<(usize, u32, Shape), Option<u32>>,
    pub facts: FactsTable,
    special: FxHashMap<TypeId, Trait>,
    slots: FxHashMap<TypeId, SlotLayout>,
    spare: Vec<Fields>,
}

impl TypeNames {
    pub fn new(shared: Arc<SharedTypes>) -> Self {
        Self {
            shared,
            cache: FxHashMap::default(),
            facts: FactsTable::default(),
            special: FxHashMap::default(),
            slots: FxHashMap::default(),
            spare: Vec::new(),
        }
    }

    fn cached(&mut self, ty: Type<'_>, shape: Shape, make: impl FnOnce(&SharedTypes) -> Option<u32>) -> Option<u32> {
        let Some(version) = ty.version() else { return make(&self.shared) };
        if let Some(&known) = self.cache.get(&(ty.address(), version, shape)) {
            return known;
        }
        let id = make(&self.shared);
        // Programs that make classes without end must not fill the memory.
        if self.cache.len() > 50_000 {
            self.cache.clear();
        }
        self.cache.insert((ty.address(), version, shape), id);
        id
    }

    /// Where the facts about a type are in the table.
    #[inline]
    pub fn facts_of(&mut self, ty: Type<'_>) -> usize {
        let (at, known) = self.facts.find(ty);
        if !known {
            self.learn(at, ty);
        }
        at
    }

    #[cold]
    fn learn(&mut self, at: usize, ty: Type<'_>) {
        let (special, slots) = (self.special(ty), self.slots(ty));
        self.facts.set(at, ty, special, slots);
    }

    /// What is special about a type.
    fn special(&mut self, ty: Type<'_>) -> Trait {
        let Some(version) = ty.version() else { return recognise(ty) };
        if self.special.len() > 50_000 {
            self.special.clear();
        }
        *self.special.entry((ty.address(), version)).or_insert_with(|| recognise(ty))
    }

    /// The `__slots__` of a type; see [`Type::slots`].
    fn slots(&mut self, ty: Type<'_>) -> SlotLayout {
        let Some(version) = ty.version() else { return ty.slots().into() };
        if self.slots.len() > 50_000 {
            self.slots.clear();
        }
        Rc::clone(self.slots.entry((ty.address(), version)).or_insert_with(|| ty.slots().into()))
    }

    fn by_name(&mut self, ty: Type<'_>, shape: Shape, kind: TypeKind) -> u32 {
        self.cached(ty, shape, |shared| Some(shared.intern(kind, ty.full_name(), Vec::new()))).unwrap_or_default()
    }

    /// A type whose values are shown as text or as a scalar.
    pub fn plain(&mut self, ty: Type<'_>) -> u32 {
        self.by_name(ty, Shape::Plain, TypeKind::Raw)
    }
    pub fn sequence(&mut self, ty: Type<'_>) -> u32 {
        self.by_name(ty, Shape::Sequence, TypeKind::Seq)
    }
    pub fn tuple(&mut self, ty: Type<'_>) -> u32 {
        self.by_name(ty, Shape::Tuple, TypeKind::Tuple)
    }
    pub fn set(&mut self, ty: Type<'_>) -> u32 {
        self.by_name(ty, Shape::Set, TypeKind::Set)
    }

    /// A named tuple with exactly `length` fields.
    pub fn named_tuple(&mut self, ty: Type<'_>, length: usize) -> Option<u32> {
        let id = self.cached(ty, Shape::NamedTuple, |shared| {
            let fields = super::special::named_tuple_fields(ty)?;
            Some(shared.intern(TypeKind::Struct, ty.full_name(), fields))
        })?;
        let fields = self.shared.tables.type_info(id).map_or(0, |info| info.fields.len());
        (fields == length).then_some(id)
    }

    /// A class with these attributes; `more` adds a field that stands for the ones left out.
    pub fn structure(&mut self, ty: Type<'_>, fields: &Fields, more: bool) -> u32 {
        let owner = ty.as_obj();
        self.cached(ty, Shape::Fields(fields.hash, more), |shared| {
            let mut names: Vec<String> = (0..fields.len()).map(|index| lossy(fields.get(owner, index).0)).collect();
            if more {
                names.push("…".to_owned());
            }
            Some(shared.intern(TypeKind::Struct, ty.full_name(), names))
        })
        .unwrap_or_default()
    }

    /// The name of a type of the trace.
    pub fn name_of(&self, type_ref: u32) -> &str {
        self.shared.tables.type_info(type_ref).map_or("?", |info| &info.name)
    }

    /// A number for an object that is shown by identity only: the same for as long as it lives, and the same in two
    /// runs of a deterministic program (unlike an address).
    pub fn identity(&mut self, object: Obj<'_>) -> u64 {
        let type_ref = self.plain(object.ty());
        self.shared.identity(object.address(), type_ref)
    }

    pub fn take_fields(&mut self) -> Fields {
        self.spare.pop().unwrap_or_default()
    }
    pub fn give_back(&mut self, mut fields: Fields) {
        fields.entries.clear();
        fields.hash = 0;
        self.spare.push(fields);
    }
}
