//! zstd frames from literals and matches that the caller has found itself.
//!
//! Invariants:
//! - A context belongs to one owner and is freed with it.
//! - zstd trusts the sequences; wrong ones make a frame that decodes to something else, but touch no foreign memory:
//!   it reads `sequences` and `literals` and writes within the room it is told of.

use std::ffi::c_void;
use std::io;
use std::ptr::NonNull;

use zstd_sys as z;

/// So many literals, then a copy of `matchLength` bytes from `offset` bytes ahead of it; one without a copy ends a
/// block.
pub use zstd_sys::ZSTD_Sequence as Sequence;

/// zstd may read so far beyond the literals.
const SLACK: usize = 8;

/// A zstd context for frames from sequences.
#[derive(Debug)]
pub struct SequenceCompressor {
    context: NonNull<z::ZSTD_CCtx>,
}

// SAFETY: a context is bound to no thread, only to be used by one at a time, which `&mut self` sees to.
unsafe impl Send for SequenceCompressor {}

impl SequenceCompressor {
    /// `level` decides how hard the entropy coder tries.
    pub fn new(level: i32) -> io::Result<Self> {
        // SAFETY: takes nothing; null is checked.
        let context = NonNull::new(unsafe { z::ZSTD_createCCtx() })
            .ok_or_else(|| io::Error::new(io::ErrorKind::OutOfMemory, "no memory for a zstd context"))?;
        let this = Self { context };
        let explicit_blocks = (z::ZSTD_cParameter::ZSTD_c_experimentalParam11, 1);
        let with_repeated_offsets = (z::ZSTD_cParameter::ZSTD_c_experimentalParam19, 1);
        // Nothing is buffered: without these a context holds a window's worth of memory that it never uses.
        let stable_input = (z::ZSTD_cParameter::ZSTD_c_experimentalParam9, 1);
        let stable_output = (z::ZSTD_cParameter::ZSTD_c_experimentalParam10, 1);
        for (parameter, value) in [
            (z::ZSTD_cParameter::ZSTD_c_compressionLevel, level),
            (z::ZSTD_cParameter::ZSTD_c_minMatch, 3),
            explicit_blocks,
            with_repeated_offsets,
            stable_input,
            stable_output,
        ] {
            this.set(parameter, value)?;
        }
        Ok(this)
    }

    fn set(&self, parameter: z::ZSTD_cParameter, value: i32) -> io::Result<()> {
        // SAFETY: the context is alive, and ours alone.
        let code = unsafe { z::ZSTD_CCtx_setParameter(self.context.as_ptr(), parameter, value) };
        // SAFETY: looks at the number only.
        if unsafe { z::ZSTD_isError(code) } != 0 {
            return Err(io::Error::other("this zstd cannot compress sequences"));
        }
        Ok(())
    }

    /// Puts the frame of `content` bytes into `frame`, whose former contents go. `false` if zstd cannot make a frame
    /// of these sequences: it has no way to store a block that does not get smaller.
    ///
    /// The literals keep their length; room is made behind them.
    pub fn compress(
        &mut self,
        sequences: &[Sequence],
        literals: &mut Vec<u8>,
        content: usize,
        frame: &mut Vec<u8>,
    ) -> io::Result<bool> {
        frame.clear();
        // As the content was made of less, this is enough; if it is not, there is the other way.
        let room = 1024 + literals.len() + literals.len() / 128 + 16 * sequences.len();
        frame.reserve(room);
        literals.reserve(SLACK);
        // SAFETY: the context is alive. The last frame, also one that failed, is over: parameters can be set again.
        unsafe { z::ZSTD_CCtx_reset(self.context.as_ptr(), z::ZSTD_ResetDirective::ZSTD_reset_session_only) };
        let log = usize::BITS - content.saturating_sub(1).leading_zeros();
        self.set(z::ZSTD_cParameter::ZSTD_c_windowLog, (log as i32).clamp(10, 27))?;
        // SAFETY: all pointers are to memory of at least the length that goes with them: `frame` has `room` bytes, and
        // the literals `SLACK` bytes behind their end, which zstd may read and does not use.
        let written = unsafe {
            z::ZSTD_compressSequencesAndLiterals(
                self.context.as_ptr(),
                frame.as_mut_ptr().cast::<c_void>(),
                room,
                sequences.as_ptr(),
                sequences.len(),
                literals.as_ptr().cast::<c_void>(),
                literals.len(),
                literals.capacity(),
                content,
            )
        };
        // SAFETY: looks at the number only.
        if unsafe { z::ZSTD_isError(written) } != 0 {
            // SAFETY: the context is alive; a failed frame must not be continued.
            let _ =
                unsafe { z::ZSTD_CCtx_reset(self.context.as_ptr(), z::ZSTD_ResetDirective::ZSTD_reset_session_only) };
            return Ok(false);
        }
        // SAFETY: zstd has written so many bytes, which are fewer than `room`.
        unsafe { frame.set_len(written) };
        Ok(true)
    }
}

impl Drop for SequenceCompressor {
    fn drop(&mut self) {
        // SAFETY: made by `ZSTD_createCCtx`, and used no more.
        let _ = unsafe { z::ZSTD_freeCCtx(self.context.as_ptr()) };
    }
}
