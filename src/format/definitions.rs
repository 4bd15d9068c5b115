//! What the definitions in an event stream say so far: ids are dense and implicit, so they have to be counted.

use runtime_tracing::{FunctionRecord, TraceLowLevelEvent as Event, TypeRecord};

/// Definitions by id.
#[derive(Debug, Default)]
pub struct Definitions {
    pub paths: Vec<String>,
    pub functions: Vec<FunctionRecord>,
    pub variables: Vec<String>,
    pub types: Vec<TypeRecord>,
}

impl Definitions {
    /// Takes an event in if it is a definition.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Path(path) => self.paths.push(path.to_string_lossy().into_owned()),
            Event::Function(function) => self.functions.push(function.clone()),
            Event::VariableName(name) | Event::Variable(name) => self.variables.push(name.clone()),
            Event::Type(info) => self.types.push(info.clone()),
            _ => {}
        }
    }

    /// The name of a function, `?` if it is not defined.
    pub fn function(&self, id: usize) -> &str {
        self.functions.get(id).map_or("?", |function| &function.name)
    }

    /// The name of a variable, `?` if it is not defined.
    pub fn variable(&self, id: usize) -> &str {
        self.variables.get(id).map_or("?", String::as_str)
    }
}
