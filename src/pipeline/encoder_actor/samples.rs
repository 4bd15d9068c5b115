//! Samples that are marked in the streams: a part begins with the first and ends with the last one living.
//!
//! Invariants:
//! - Marks are taken where they stand among the records, so a part holds whole samples, in the order in which the
//!   encoder comes to them. Samples of several threads may share a part.
//! - After a loss a mark may be missing: records without a begin get a part all the same, an end without one is nothing.

use serde_json::{Value, json};

use super::Encoding;
use crate::bug;
use crate::errors::RecorderResult;
use crate::pipeline::layout::{Malformed, Take, record};

impl Encoding {
    /// Takes a mark from the front of `records`, if there is one, and sees to it that there is a part for what is not.
    pub(super) fn take_mark(&mut self, id: u32, records: &mut &[u8]) -> RecorderResult<bool> {
        let mut take = Take::new(records);
        let mark = |error: Malformed| bug!(TraceIncomplete, "a mark of a sample is cut short: {error}");
        match records.first() {
            Some(&record::SAMPLE_BEGIN) => {
                take.u8().map_err(mark)?;
                let sample = take.u64().map_err(mark)?;
                let about = serde_json::from_str(take.text().map_err(mark)?).unwrap_or(Value::Null);
                self.begin_sample(sample, about)?;
            }
            Some(&record::SAMPLE_END) => {
                take.u8().map_err(mark)?;
                self.end_sample(take.u64().map_err(mark)?)?;
            }
            // The sample that this thread begins next decides in which part the turn is.
            Some(&record::TURN) if self.suspended => {
                take.u8().map_err(mark)?;
                let (number, nanos) = (take.u64().map_err(mark)?, take.u64().map_err(mark)?);
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.encoder.announce_turn(number, nanos);
                }
            }
            _ => {
                if self.suspended {
                    self.begin_sample(0, json!({"why": "the beginning was lost"}))?;
                }
                return Ok(false);
            }
        }
        *records = take.rest();
        Ok(true)
    }

    fn begin_sample(&mut self, id: u64, about: Value) -> RecorderResult<()> {
        if self.suspended {
            self.resume("sampling", Some(about))?;
        } else {
            self.part.add_sample(about);
        }
        self.living.push(id);
        Ok(())
    }

    fn end_sample(&mut self, id: u64) -> RecorderResult<()> {
        // What began without a mark ends with any.
        self.living.retain(|living| *living != id && *living != 0);
        if self.living.is_empty() && !self.suspended {
            self.end_part_and_calls("sampling", None)?;
        }
        Ok(())
    }
}
