//! The calls in progress of one stream, kept in the compact form: from it, and the records that follow, a reader that has
//! seen nothing before understands the stream.
//!
//! Invariants:
//! - [`CallState::records`], encoded by a new encoder, leaves it with the same open calls and variables, each at the line it
//!   was at, as all records that were applied; what is shown only once (output, losses) is not repeated.
//! - It takes as much memory as the variables of the calls in progress.

use std::collections::BTreeMap;

use crate::pipeline::layout::{Malformed, Put, Take, record};

/// A call in progress.
#[derive(Debug, Default)]
struct Call {
    code: u32,
    /// Its parameters are still being told.
    opening: bool,
    /// Of the step it is at, 0 before the first.
    line: u32,
    /// Names of the slots that the code object does not name.
    names: BTreeMap<u16, Vec<u8>>,
    values: BTreeMap<u16, Vec<u8>>,
}

/// See the module docs.
#[derive(Debug, Default)]
pub(super) struct CallState {
    calls: Vec<Call>,
    /// Number and time of the latest turn.
    turn: Option<(u64, u64)>,
}

impl CallState {
    /// Takes whole records of the stream.
    pub fn apply(&mut self, records: &[u8]) -> Result<(), Malformed> {
        let mut take = Take::new(records);
        while !take.is_empty() {
            self.take_one(&mut take)?;
        }
        Ok(())
    }

    /// All calls end.
    pub fn end_calls(&mut self) {
        self.calls.clear();
    }

    fn take_one(&mut self, take: &mut Take<'_>) -> Result<(), Malformed> {
        match take.u8()? {
            record::SET => {
                let slot = take.u16()?;
                let value = take.value()?;
                let kept = self.top()?.values.entry(slot).or_default();
                kept.clear();
                kept.extend_from_slice(value);
            }
            record::UNSET => {
                let slot = take.u16()?;
                self.top()?.values.remove(&slot);
            }
            record::DECLARE => {
                let (slot, len) = (take.u16()?, take.u16()?);
                let name = take.bytes(len.into())?.to_vec();
                self.top()?.names.insert(slot, name);
            }
            record::STEP => self.top()?.line = take.u32()?,
            record::CALL => self.calls.push(Call { code: take.u32()?, opening: true, ..Call::default() }),
            record::CALL_END => self.top()?.opening = false,
            record::RESUME => self.calls.push(Call { code: take.u32()?, ..Call::default() }),
            record::THROW => {
                let code = take.u32()?;
                take.value()?;
                self.calls.push(Call { code, ..Call::default() });
            }
            record::RETURN => {
                take.value()?;
                self.calls.pop().ok_or(Malformed)?;
            }
            record::TURN => self.turn = Some((take.u64()?, take.u64()?)),
            // Nothing that goes on.
            other => take.pass(other)?,
        }
        Ok(())
    }

    fn top(&mut self) -> Result<&mut Call, Malformed> {
        self.calls.last_mut().ok_or(Malformed)
    }

    /// The records that say the same.
    pub fn records(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some((number, nanos)) = self.turn {
            out.put_tagged(record::TURN, number);
            out.put_u64(nanos);
        }
        for call in &self.calls {
            // How a call was entered is not shown again.
            out.put_u8(record::CALL);
            out.put_u32(call.code);
            for (slot, name) in &call.names {
                out.put_u8(record::DECLARE);
                out.put_u16(*slot);
                // It came with a length of this size.
                out.put_u16(name.len() as u16);
                out.put_bytes(name);
            }
            for (slot, value) in &call.values {
                out.put_u8(record::SET);
                out.put_u16(*slot);
                out.put_bytes(value);
            }
            if !call.opening {
                out.put_u8(record::CALL_END);
                if call.line > 0 {
                    out.put_u8(record::STEP);
                    out.put_u32(call.line);
                }
            }
        }
        out
    }
}
