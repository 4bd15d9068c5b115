//! Definitions that events refer to by number: code objects and types.
//!
//! Invariants:
//! - Ids are dense, start at 0, and never change meaning within a session.
//! - A definition is complete before an id naming it can be written into a stream, and it is never changed
//!   afterwards; so a worker that reads an id always finds it, without a lock (`boxcar` is append-only).
//! - Only interpreter threads append (under the GIL); any thread reads.

use runtime_tracing::TypeKind;
use serde::{Deserialize, Serialize};

/// A recorded code object, as plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeInfo {
    /// Absolute, normalised source path.
    pub path: String,
    /// Line of the definition (`co_firstlineno`, decorators included).
    pub first_line: u32,
    /// Name shown: `co_qualname`, or `<module name>` of module code.
    pub name: String,
    /// Names of the fixed slots: locals, cells, free variables, then referenced globals.
    pub variables: Vec<String>,
    /// Slots of the parameters in the order of the signature.
    pub parameters: Vec<u16>,
}

/// A type of recorded values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TypeInfo {
    /// CodeTracer's kind.
    pub kind: TypeKind,
    /// Name shown.
    pub name: String,
    /// Field names, for `TypeKind::Struct`.
    pub fields: Vec<String>,
}

/// Ids of the types that every session has; the order is that of [`Tables::new`].
pub mod types {
    pub const NONE: u32 = 0;
    pub const BOOL: u32 = 1;
    pub const INT: u32 = 2;
    pub const FLOAT: u32 = 3;
    pub const STRING: u32 = 4;
    pub const BYTES: u32 = 5;
    pub const LIST: u32 = 6;
    pub const TUPLE: u32 = 7;
    pub const DICT: u32 = 8;
    pub const SET: u32 = 9;
    pub const FROZENSET: u32 = 10;
    pub const REDACTED: u32 = 11;
    pub const DROPPED: u32 = 12;
    /// What stands for the part of a value beyond a limit, text `… +936 more` or `…`.
    pub const TRUNCATED: u32 = 13;
    /// What stands for a reference to an enclosing container, text `<cycle>`.
    pub const CYCLE: u32 = 14;
}

/// The definitions of one session.
#[derive(Debug)]
pub struct Tables {
    codes: boxcar::Vec<CodeInfo>,
    types: boxcar::Vec<TypeInfo>,
}

impl Default for Tables {
    fn default() -> Self {
        Self::new()
    }
}

impl Tables {
    pub fn new() -> Self {
        let types = boxcar::Vec::new();
        for (kind, name) in [
            (TypeKind::None, "None"),
            (TypeKind::Bool, "Bool"),
            (TypeKind::Int, "Int"),
            (TypeKind::Float, "Float"),
            (TypeKind::String, "String"),
            (TypeKind::Raw, "Bytes"),
            (TypeKind::Seq, "List"),
            (TypeKind::Tuple, "Tuple"),
            (TypeKind::Seq, "Dict"),
            (TypeKind::Set, "Set"),
            (TypeKind::Set, "FrozenSet"),
            (TypeKind::Error, "Redacted"),
            (TypeKind::Error, "Dropped"),
            (TypeKind::Raw, "Truncated"),
            (TypeKind::Raw, "Cycle"),
        ] {
            types.push(TypeInfo { kind, name: name.to_owned(), fields: Vec::new() });
        }
        Self { codes: boxcar::Vec::new(), types }
    }

    /// Adds a code object and returns its id.
    pub fn add_code(&self, code: CodeInfo) -> u32 {
        self.codes.push(code) as u32
    }
    /// Adds a type and returns its id; the caller keeps (name, fields) unique.
    pub fn add_type(&self, info: TypeInfo) -> u32 {
        self.types.push(info) as u32
    }
    /// How many code objects there are.
    pub fn code_count(&self) -> usize {
        self.codes.count()
    }
    /// How many types there are.
    pub fn type_count(&self) -> usize {
        self.types.count()
    }
    pub fn code(&self, id: u32) -> Option<&CodeInfo> {
        self.codes.get(id as usize)
    }
    /// Name of a code object.
    pub fn code_name(&self, id: u32) -> String {
        self.code(id).map(|code| code.name.clone()).unwrap_or_default()
    }
    pub fn type_info(&self, id: u32) -> Option<&TypeInfo> {
        self.types.get(id as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preloaded_types_have_the_documented_ids() {
        let tables = Tables::new();
        for (id, name) in [
            (types::NONE, "None"),
            (types::FLOAT, "Float"),
            (types::DICT, "Dict"),
            (types::REDACTED, "Redacted"),
            (types::CYCLE, "Cycle"),
        ] {
            assert_eq!(tables.type_info(id).map(|t| t.name.as_str()), Some(name));
        }
        assert_eq!(
            tables.add_type(TypeInfo { kind: TypeKind::Struct, name: "m.C".into(), fields: vec!["x".into()] }),
            types::CYCLE + 1
        );
    }
}
