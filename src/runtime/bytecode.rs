//! The instructions of code objects: those that load globals, and those that bind local variables.
//!
//! Invariants:
//! - Numbers of instructions differ between versions of CPython; a test compares the known ones with its `opcode` module.
//! - Which instructions bind variables is told of versions only of which every one is known that does.

use pyo3::prelude::*;

/// Numbers of the instructions that somebody here asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opcodes {
    pub load_global: Option<u8>,
    /// They load or store a global by its name.
    pub by_name: Vec<u8>,
    pub extended_arg: Option<u8>,
    /// They bind or unbind fast locals, if that is known of this version.
    pub binding: Option<Binding>,
}

/// Instructions that bind or unbind fast locals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The argument is the slot.
    pub one: Vec<u8>,
    /// The argument is two slots of four bits.
    pub two: Vec<u8>,
}

impl Opcodes {
    /// What is known of this version of CPython, or what its `opcode` module says: to import that takes time, and finds
    /// a module of the program if it has one of that name.
    ///
    /// # Errors
    /// The module cannot be imported.
    pub fn of_interpreter(py: Python<'_>) -> PyResult<Self> {
        let version = py.version_info();
        match (version.major, version.minor) {
            (3, 12) => Ok(Self {
                load_global: Some(116),
                by_name: vec![101, 175, 97],
                extended_arg: Some(144),
                binding: Some(Binding { one: vec![125, 126, 143], two: vec![] }),
            }),
            (3, 13) => Ok(Self {
                load_global: Some(91),
                by_name: vec![92, 90, 113],
                extended_arg: Some(71),
                binding: Some(Binding { one: vec![110, 65, 86], two: vec![111, 112] }),
            }),
            _ => Ok(Self { binding: None, ..Self::of_module(py)? }),
        }
    }

    fn of_module(py: Python<'_>) -> PyResult<Self> {
        let map = py.import("opcode")?.getattr("opmap")?;
        let number = |name: &&str| -> Option<u8> { map.get_item(*name).ok()?.extract().ok() };
        let numbers = |names: &[&str]| names.iter().filter_map(number).collect();
        Ok(Self {
            load_global: number(&"LOAD_GLOBAL"),
            by_name: numbers(&["LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "STORE_GLOBAL"]),
            extended_arg: number(&"EXTENDED_ARG"),
            binding: Some(Binding { one: numbers(BIND_ONE), two: numbers(BIND_TWO) }),
        })
    }

    /// The instructions of `bytecode`, as code objects show it (`co_code`), with their arguments whole.
    pub fn instructions<'a>(&self, bytecode: &'a [u8]) -> impl Iterator<Item = Instruction> + use<'a> {
        let extended_arg = self.extended_arg;
        let mut argument = 0;
        bytecode.chunks_exact(UNIT).enumerate().filter_map(move |(unit, pair)| {
            argument = argument << 8 | usize::from(pair[1]);
            if Some(pair[0]) == extended_arg {
                return None;
            }
            Some(Instruction { at: unit * UNIT, opcode: pair[0], argument: std::mem::take(&mut argument) })
        })
    }
}

const BIND_ONE: &[&str] = &["STORE_FAST", "DELETE_FAST", "LOAD_FAST_AND_CLEAR"];
const BIND_TWO: &[&str] = &["STORE_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST"];

/// Bytes of an instruction without a prefix: opcode and argument.
const UNIT: usize = 2;

/// An instruction, and where it is in the bytecode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub at: usize,
    pub opcode: u8,
    pub argument: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_opcodes_are_those_of_the_interpreter() {
        Python::initialize();
        Python::attach(|py| {
            let known = Opcodes::of_interpreter(py).unwrap();
            let mut told = Opcodes::of_module(py).unwrap();
            if known.binding.is_none() {
                told.binding = None;
            }
            assert_eq!(known, told);
            assert!(known.extended_arg.is_some() && known.load_global.is_some());
        });
    }

    /// Whatever has FAST in its name is known, or only reads.
    #[test]
    fn no_other_instruction_binds_a_variable() {
        Python::initialize();
        Python::attach(|py| {
            if Opcodes::of_interpreter(py).unwrap().binding.is_none() {
                return;
            }
            let map = py.import("opcode").unwrap().getattr("opmap").unwrap();
            let names: Vec<String> = map
                .call_method0("keys")
                .unwrap()
                .try_iter()
                .unwrap()
                .map(|name| name.unwrap().extract().unwrap())
                .collect();
            for name in names.iter().filter(|name| name.contains("FAST")) {
                let binds = [BIND_ONE, BIND_TWO].concat().contains(&name.as_str());
                let reads = ["LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_LOAD_FAST"].contains(&name.as_str());
                // The compiler's own, which becomes STORE_FAST.
                assert!(binds || reads || name == "STORE_FAST_MAYBE_NULL", "{name}");
            }
        });
    }

    #[test]
    fn prefixes_belong_to_the_argument_of_the_instruction_behind_them() {
        let opcodes = Opcodes { extended_arg: Some(144), ..Opcodes::default() };
        let found = opcodes.instructions(&[116, 3, 144, 1, 144, 2, 9, 3, 125, 4]);
        let expected = [(0, 116, 3), (6, 9, 0x1_0203), (8, 125, 4)];
        assert_eq!(found.map(|it| (it.at, it.opcode, it.argument)).collect::<Vec<_>>(), expected);
    }
}
