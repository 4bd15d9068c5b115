//! What a stream has defined so far: its paths, functions, types and variable names.
//!
//! Invariants:
//! - The n-th definition of a kind has id n; a definition is written, whole, the moment its id is first handed out.
//! - Two definitions are one if they say the same: a function is its path, line *and* name (two functions of one name
//!   stay two), a type is its kind, name and fields.
//! - Once a code object or type has been met, finding its ids again is an array access or one integer hash.

use std::marker::PhantomData;
use std::sync::Arc;

use runtime_tracing::TypeKind;
use rustc_hash::{FxHashMap, FxHashSet};

use super::codec::EventCodec;
use crate::pipeline::layout::Malformed;
use crate::pipeline::tables::{CodeInfo, Tables, TypeInfo, types};

/// Name and line of the function of the first call of every stream.
const TOPLEVEL: (&str, u32) = ("<toplevel>", 1);
/// Stands for an id that has not been handed out yet.
const UNDEFINED: u32 = u32::MAX;

/// A code object as this stream knows it.
#[derive(Debug, Default, Clone)]
pub(super) struct Code {
    /// The code's id in the tables.
    pub id: u32,
    pub path_id: u32,
    pub function_id: u32,
    pub first_line: u32,
    /// Variable ids of the fixed slots, or [`UNDEFINED`] for those never set.
    variables: Box<[u32]>,
    /// Two fixed slots have the same name.
    pub repeats_names: bool,
}

impl Code {
    /// Number of slots that the code object names.
    pub(super) fn fixed_slots(&self) -> usize {
        self.variables.len()
    }

    /// Variable id of a fixed slot that has been set at least once.
    pub(super) fn variable(&self, slot: usize) -> Option<u32> {
        self.variables.get(slot).copied()
    }
}

/// Hands out ids and writes the definitions behind them.
#[derive(Debug, Clone)]
pub(super) struct Definitions<C> {
    tables: Arc<Tables>,
    paths: Vec<String>,
    path_ids: FxHashMap<String, u32>,
    functions: FxHashMap<(u32, u32, String), u32>,
    variables: FxHashMap<String, u32>,
    types: FxHashMap<(u8, String, Vec<String>), (u32, TypeKind)>,
    /// By type id of the tables.
    type_ids: Vec<u32>,
    codes: Vec<Code>,
    /// Position in `codes` by code id of the tables.
    code_indices: FxHashMap<u32, u32>,
    codec: PhantomData<fn() -> C>,
}

impl<C: EventCodec> Definitions<C> {
    /// Knows what [`Self::write_program`] and [`Self::write_none_type`] write.
    pub(super) fn new(tables: Arc<Tables>, program: &str) -> Self {
        let mut definitions = Self {
            tables,
            paths: Vec::new(),
            path_ids: FxHashMap::default(),
            functions: FxHashMap::default(),
            variables: FxHashMap::default(),
            types: FxHashMap::default(),
            type_ids: Vec::new(),
            codes: Vec::new(),
            code_indices: FxHashMap::default(),
            codec: PhantomData,
        };
        // The events of these three are the prologue's, so here they go nowhere.
        let nowhere = &mut Vec::new();
        let path_id = definitions.path(program, nowhere);
        definitions.function(path_id, TOPLEVEL.1, TOPLEVEL.0, nowhere);
        let none = definitions.type_id(types::NONE, nowhere);
        debug_assert_eq!(none, Ok(0), "`None` is the first type");
        definitions
    }

    /// Writes the stream's first path and function.
    pub(super) fn write_program(&self, out: &mut Vec<u8>) {
        C::path(out, &self.paths[0]);
        C::function(out, 0, TOPLEVEL.1, TOPLEVEL.0);
    }

    /// Writes the stream's first type, which is that of `None`.
    pub(super) fn write_none_type(&self, out: &mut Vec<u8>) {
        C::type_record(out, TypeKind::None, "None", None);
    }

    /// Writes every definition but those three, each kind in the order of its ids: a further part of the stream starts
    /// with all that the parts before have defined, so that every id keeps its meaning.
    pub(super) fn write_the_rest(&self, out: &mut Vec<u8>) {
        for path in &self.paths[1..] {
            C::path(out, path);
        }
        let mut functions: Vec<_> = self.functions.iter().collect();
        functions.sort_unstable_by_key(|(_, id)| **id);
        for ((path_id, line, name), _) in &functions[1..] {
            C::function(out, *path_id, *line, name);
        }
        let mut types: Vec<_> = self.types.iter().collect();
        types.sort_unstable_by_key(|(_, (id, _))| *id);
        for ((_, name, fields), (_, kind)) in &types[1..] {
            C::type_record(out, *kind, name, (*kind == TypeKind::Struct).then_some(fields));
        }
        let mut variables: Vec<_> = self.variables.iter().collect();
        variables.sort_unstable_by_key(|(_, id)| **id);
        for (name, _) in variables {
            C::variable_name(out, name);
        }
    }

    pub(super) fn paths(&self) -> &[String] {
        &self.paths
    }

    /// A code object that [`Self::code_index`] has found.
    #[inline]
    pub(super) fn code(&self, index: u32) -> &Code {
        &self.codes[index as usize]
    }

    /// What the tables say about it.
    pub(super) fn code_info(&self, code_id: u32) -> Result<&CodeInfo, Malformed> {
        self.tables.code(code_id).ok_or(Malformed)
    }

    /// Position of a code object, its path and function being defined.
    #[inline]
    pub(super) fn code_index(&mut self, code_id: u32, out: &mut Vec<u8>) -> Result<u32, Malformed> {
        match self.code_indices.get(&code_id) {
            Some(&index) => Ok(index),
            None => self.add_code(code_id, out),
        }
    }

    #[cold]
    fn add_code(&mut self, code_id: u32, out: &mut Vec<u8>) -> Result<u32, Malformed> {
        let tables = Arc::clone(&self.tables);
        let info = tables.code(code_id).ok_or(Malformed)?;
        let path_id = self.path(&info.path, out);
        let function_id = self.function(path_id, info.first_line, &info.name, out);
        let mut names = FxHashSet::default();
        let index = self.codes.len() as u32;
        self.codes.push(Code {
            id: code_id,
            path_id,
            function_id,
            first_line: info.first_line,
            variables: vec![UNDEFINED; info.variables.len()].into_boxed_slice(),
            repeats_names: !info.variables.iter().all(|name| names.insert(name)),
        });
        self.code_indices.insert(code_id, index);
        Ok(index)
    }

    /// Id of the path of a code object, being defined; unlike [`Self::code_index`] it defines no function.
    pub(super) fn path_of_code(&mut self, code_id: u32, out: &mut Vec<u8>) -> Result<u32, Malformed> {
        if let Some(&index) = self.code_indices.get(&code_id) {
            return Ok(self.code(index).path_id);
        }
        let tables = Arc::clone(&self.tables);
        Ok(self.path(&tables.code(code_id).ok_or(Malformed)?.path, out))
    }

    /// Id of a path, being defined.
    pub(super) fn path(&mut self, path: &str, out: &mut Vec<u8>) -> u32 {
        if let Some(&id) = self.path_ids.get(path) {
            return id;
        }
        let id = self.paths.len() as u32;
        self.paths.push(path.to_owned());
        self.path_ids.insert(path.to_owned(), id);
        C::path(out, path);
        id
    }

    fn function(&mut self, path_id: u32, line: u32, name: &str, out: &mut Vec<u8>) -> u32 {
        let next = self.functions.len() as u32;
        *self.functions.entry((path_id, line, name.to_owned())).or_insert_with(|| {
            C::function(out, path_id, line, name);
            next
        })
    }

    /// Id of a variable name, being defined.
    pub(super) fn variable(&mut self, name: &str, out: &mut Vec<u8>) -> u32 {
        if let Some(&id) = self.variables.get(name) {
            return id;
        }
        let id = self.variables.len() as u32;
        self.variables.insert(name.to_owned(), id);
        C::variable_name(out, name);
        id
    }

    /// Id of the variable in a fixed slot of a code object, being defined.
    #[inline]
    pub(super) fn slot_variable(&mut self, index: u32, slot: usize, out: &mut Vec<u8>) -> Result<u32, Malformed> {
        match self.codes[index as usize].variables.get(slot) {
            None => Err(Malformed),
            Some(&UNDEFINED) => self.define_slot(index, slot, out),
            Some(&id) => Ok(id),
        }
    }

    #[cold]
    fn define_slot(&mut self, index: u32, slot: usize, out: &mut Vec<u8>) -> Result<u32, Malformed> {
        let tables = Arc::clone(&self.tables);
        let info = tables.code(self.codes[index as usize].id).ok_or(Malformed)?;
        let id = self.variable(info.variables.get(slot).ok_or(Malformed)?, out);
        self.codes[index as usize].variables[slot] = id;
        Ok(id)
    }

    /// Id of a type of the tables, being defined.
    #[inline]
    pub(super) fn type_id(&mut self, table_id: u32, out: &mut Vec<u8>) -> Result<u32, Malformed> {
        match self.type_ids.get(table_id as usize) {
            Some(&id) if id != UNDEFINED => Ok(id),
            _ => self.define_type(table_id, out),
        }
    }

    #[cold]
    fn define_type(&mut self, table_id: u32, out: &mut Vec<u8>) -> Result<u32, Malformed> {
        let (id, is_new) = self.peek_type(table_id)?;
        if is_new {
            let TypeInfo { kind, name, fields } = self.tables.type_info(table_id).ok_or(Malformed)?;
            C::type_record(out, *kind, name, (*kind == TypeKind::Struct).then_some(fields));
            self.types.insert((*kind as u8, name.clone(), fields.clone()), (id, *kind));
        }
        let index = table_id as usize;
        if self.type_ids.len() <= index {
            self.type_ids.resize(index + 1, UNDEFINED);
        }
        self.type_ids[index] = id;
        Ok(id)
    }

    /// The id that a type has or would get, and whether it is still to be defined.
    fn peek_type(&self, table_id: u32) -> Result<(u32, bool), Malformed> {
        let TypeInfo { kind, name, fields } = self.tables.type_info(table_id).ok_or(Malformed)?;
        match self.types.get(&(*kind as u8, name.clone(), fields.clone())) {
            Some(&(id, _)) => Ok((id, false)),
            None => Ok((self.types.len() as u32, true)),
        }
    }

    /// Like [`Self::type_id`] for one of the types every session has, but writes the definition without remembering it.
    pub(super) fn provisional_type_id(&self, table_id: u32, out: &mut Vec<u8>) -> u32 {
        // The types every session has cannot be missing; if one were, `None` is always there to be shown instead.
        let (id, is_new) = self.peek_type(table_id).unwrap_or_default();
        if is_new && let Some(info) = self.tables.type_info(table_id) {
            C::type_record(out, info.kind, &info.name, None);
        }
        id
    }
}
