//! What a thread does when it finds that the recording was paused meanwhile.
//!
//! Invariants:
//! - The encoder has ended the calls that were open at the pause. So the stack goes without a record, and the frames
//!   that are running are entered anew, as those that ran before the recording.
//! - A frame of the file that switches recording on is counted once: by the gate when recording was resumed, or by the
//!   stack that it is pushed to.

use super::ThreadRecorder;
use crate::runtime::code_entry::TracedCode;

impl ThreadRecorder {
    /// The stack is none of the encoder's any more: the recording is paused, or was.
    #[inline]
    pub(super) fn is_void(&self) -> bool {
        let state = &self.shared.state;
        self.epoch != state.epoch() || state.is_paused()
    }

    /// The first event after a pause.
    #[cold]
    pub(super) fn start_afresh(&mut self) {
        self.epoch = self.shared.state.epoch();
        self.discard_stack();
        // A sample of an entry begins with it, not with its callers.
        self.joined = self.shared.entries.is_some();
    }

    /// Forgets all frames. Those of the file that switches recording on have been counted anew, so they do not count.
    pub(super) fn discard_stack(&mut self) {
        self.out.clear();
        self.stack.clear();
        self.published_depth = 0;
        self.kept_floor = 0;
    }

    /// A frame that ran already when recording was resumed is entered or left; the gate has counted it.
    #[inline]
    pub(super) fn forget_counted(&self, code: &TracedCode) {
        if code.activates && self.epoch > 0 {
            self.shared.gate.leave_if_entered();
        }
    }
}
