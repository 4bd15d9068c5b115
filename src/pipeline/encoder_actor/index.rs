//! What the encoder tells the index of threads; see [`crate::pipeline::index`].
//!
//! Invariants:
//! - A turn is told for the part it is in, before that part ends.
//! - What the index tells of a stream comes to the writer behind that stream's events, a part with very many turns
//!   excepted.

use std::sync::Arc;

use super::{Encoding, WriterWork};

impl Encoding {
    /// Notes the turns that the encoder of a stream has come to.
    pub(super) fn note_turns(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let turns = stream.encoder.take_turns();
        let Some(first) = turns.first() else { return };
        if !std::mem::replace(&mut stream.introduced, true) {
            self.index.introduce(id, &stream.shared.info, &stream.meter.place(), first);
        }
        self.index.add(id, turns);
        if self.index.are_many() {
            self.pass_index();
        }
    }

    /// Passes on what there is to say of turns.
    pub(super) fn pass_index(&mut self) {
        if let Some(lines) = self.index.take() {
            let ordinal = self.ordinal();
            self.parts.output.pass(ordinal, WriterWork::Index { part: Arc::clone(&self.part), lines });
            self.unmarked = true;
        }
    }
}
