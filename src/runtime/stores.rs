//! Which variables a line can bind: between two line events of a frame, only instructions of the first one's line run.
//!
//! Invariants:
//! - What is said is never too little: an instruction without a line counts for every line; one that binds counts for the
//!   line of the instruction before it, too, which may do it in its place; variables in cells, which other code can bind,
//!   count always.
//! - It holds while nothing but the code itself binds its variables. Whoever else can do that (debuggers, tracers) holds a
//!   frame object: a frame that has one is looked at as a whole.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::bytecode::Opcodes;
use super::code_entry::FixedSlot;

/// Variables of a frame, a bit for each slot.
pub type Slots = u64;

/// Every variable.
pub const ALL: Slots = Slots::MAX;

/// Lines between the first and the last one of code that this is kept for.
const MOST_LINES: u32 = 10_000;

/// See the module docs.
#[derive(Debug, PartialEq, Eq)]
pub struct Stores {
    first_line: u32,
    /// What each line can bind, from the first one on.
    lines: Box<[Slots]>,
    /// Those in cells.
    pub in_cells: Slots,
}

/// Instructions of one line: offsets in bytes, the end exclusive.
struct Run {
    start: usize,
    end: usize,
    line: Option<u32>,
}

impl Stores {
    /// Reads it from a code object; `None` if that is not worth it.
    ///
    /// # Errors
    /// Only if memory runs out.
    pub fn of(
        code: &Bound<'_, PyAny>,
        opcodes: &Opcodes,
        first_line: u32,
        slots: &[FixedSlot],
    ) -> PyResult<Option<Self>> {
        if slots.is_empty() || slots.len() > Slots::BITS as usize || opcodes.binding.is_none() {
            return Ok(None);
        }
        let bytecode = code.getattr("co_code")?.cast_into::<PyBytes>()?;
        let mut runs = Vec::new();
        for run in code.call_method0("co_lines")?.try_iter()? {
            let (start, end, line) = run?.extract::<(usize, usize, Option<u32>)>()?;
            runs.push(Run { start, end, line });
        }
        Ok(Self::read(opcodes, bytecode.as_bytes(), &runs, first_line, slots))
    }

    fn read(opcodes: &Opcodes, bytecode: &[u8], runs: &[Run], first_line: u32, slots: &[FixedSlot]) -> Option<Self> {
        let binding = opcodes.binding.as_ref()?;
        let last_line = runs.iter().filter_map(|run| run.line).max()?;
        let first_line = runs.iter().filter_map(|run| run.line).fold(first_line, u32::min);
        let count = last_line - first_line + 1;
        if count > MOST_LINES {
            return None;
        }
        let mut lines = vec![0; count as usize];
        let mut anywhere = 0;
        let mut add = |line: Option<u32>, stored: Slots| match line {
            Some(line) => lines[(line - first_line) as usize] |= stored,
            None => anywhere |= stored,
        };
        let (mut before, mut runs) = (None, runs.iter().peekable());
        for instruction in opcodes.instructions(bytecode) {
            let (at, opcode, argument) = (instruction.at, instruction.opcode, instruction.argument);
            while runs.next_if(|run| run.end <= at).is_some() {}
            let line = runs.peek().filter(|run| run.start <= at).and_then(|run| run.line);
            let stored = if binding.one.contains(&opcode) {
                bit(argument)
            } else if binding.two.contains(&opcode) {
                bit(argument >> 4) | bit(argument & 15)
            } else {
                0
            };
            if stored != 0 {
                add(line, stored);
                if let Some(before) = before {
                    add(before, stored);
                }
            }
            before = Some(line);
        }
        for line in &mut lines {
            *line |= anywhere;
        }
        let in_cells = slots.iter().enumerate().filter(|(_, slot)| slot.in_cell).fold(0, |all, (at, _)| all | bit(at));
        Some(Self { first_line, lines: lines.into(), in_cells })
    }

    /// What instructions of this line can bind.
    #[inline]
    pub fn on(&self, line: u32) -> Slots {
        self.lines.get(line.wrapping_sub(self.first_line) as usize).copied().unwrap_or(ALL)
    }
}

fn bit(slot: usize) -> Slots {
    1u64.checked_shl(slot as u32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::bytecode::Binding;

    fn slots(count: usize) -> Vec<FixedSlot> {
        (0..count)
            .map(|_| FixedSlot { name: 0, in_cell: false, action: crate::trace_filter::ValueAction::Allow })
            .collect()
    }

    /// 125 stores, 144 is a prefix.
    fn storing() -> Opcodes {
        let binding = Some(Binding { one: vec![125], two: vec![] });
        Opcodes { extended_arg: Some(144), binding, ..Opcodes::default() }
    }

    fn compiled<'py>(py: Python<'py>, source: &str) -> (Bound<'py, PyAny>, Vec<(String, usize)>) {
        let names = pyo3::types::PyDict::new(py);
        py.run(&std::ffi::CString::new(source).unwrap(), Some(&names), None).unwrap();
        let code = names.get_item("f").unwrap().unwrap().getattr("__code__").unwrap();
        let variables: Vec<String> = code.getattr("co_varnames").unwrap().extract().unwrap();
        (code, variables.into_iter().enumerate().map(|(at, name)| (name, at)).collect())
    }

    /// The names that a line of `f` can bind.
    fn bound_on(source: &str) -> impl Fn(u32) -> Vec<String> {
        Python::initialize();
        let (stores, names) = Python::attach(|py| {
            let (code, names) = compiled(py, source);
            (Stores::of(&code, &Opcodes::of_interpreter(py).unwrap(), 1, &slots(names.len())).unwrap().unwrap(), names)
        });
        move |line| {
            names.iter().filter(|(_, at)| stores.on(line) & bit(*at) != 0).map(|(name, _)| name.clone()).collect()
        }
    }

    #[test]
    fn each_line_binds_what_it_assigns_and_deletes() {
        let bound = bound_on(
            "def f(a, b):\n c = a\n a = b; d = 1\n for i in b:\n  pass\n del c\n with a as e:\n  e.x = 1\n return a\n",
        );
        assert_eq!(bound(2), ["c"]);
        assert_eq!(bound(3), ["a", "d"]);
        // And what follows the end of the loop, whose last instruction is of this line.
        assert!(bound(4) == ["i"] || bound(4) == ["c", "i"], "{:?}", bound(4));
        assert!(bound(5).is_empty());
        assert_eq!(bound(6), ["c"]);
        assert_eq!(bound(7), ["e"]);
        assert!(bound(8).is_empty());
    }

    #[test]
    fn a_pair_of_stores_and_a_comprehension_bind_all_of_theirs() {
        let bound = bound_on("def f(x):\n a, b = x\n c = [y for y in a]\n return b\n");
        assert_eq!(bound(2), ["a", "b"]);
        let third = bound(3);
        assert!(["c", "y"].iter().all(|name| third.iter().any(|bound| bound == name)), "{third:?}");
    }

    #[test]
    fn lines_that_the_code_does_not_have_can_bind_everything() {
        let bound = bound_on("\n\ndef f(x):\n y = x\n");
        assert_eq!(bound(4), ["y"]);
        assert_eq!(bound(40), ["x", "y"]);
    }

    #[test]
    fn extended_arguments_reach_slots_above_255_and_those_are_none_of_ours() {
        let opcodes = storing();
        let runs = [Run { start: 0, end: 4, line: Some(1) }, Run { start: 4, end: 8, line: Some(2) }];
        let bytecode = [144, 1, 125, 2, 125, 3, 125, 4];
        let stores = Stores::read(&opcodes, &bytecode, &runs, 1, &slots(5)).unwrap();
        assert_eq!(stores.on(1), bit(3), "what the next line does may be done by this one");
        assert_eq!(stores.on(2), bit(3) | bit(4));
    }

    #[test]
    fn instructions_without_a_line_count_for_every_line() {
        let opcodes = storing();
        let run = |start, line| Run { start, end: start + 4, line };
        let stores =
            Stores::read(&opcodes, &[0, 0, 125, 0, 0, 0, 125, 1], &[run(0, Some(7)), run(4, None)], 7, &slots(2));
        assert_eq!(stores.unwrap().on(7), bit(0) | bit(1));
    }
}
