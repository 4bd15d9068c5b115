//! What the program writes and reads: watched where it goes through, attributed to the line that caused it.
//!
//! ```text
//! sys.stdout.write ──► ffi::stream (own method, then report) ──► observe ──► tracer::io ──► ThreadRecorder
//!                                                                which line?    its stream of records; the encoder joins
//! ```
//!
//! Invariants:
//! - The program's streams stay its own objects (see `ffi::retype`); what it sees of them does not change.
//! - What the program reads and writes passes first and is recorded afterwards, whatever becomes of the recording.
//! - A stream that the program put in place of another is left alone: replaced streams are not resurrected.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyAnyMethods;

#[cfg(target_os = "linux")]
pub mod catch_up;
pub mod chunk;
pub mod decode;
#[cfg(target_os = "linux")]
pub mod mirror;
pub mod observe;
pub mod totals;

pub use observe::Sink;

use crate::ffi::stream::{self, Layer};
#[cfg(unix)]
use crate::ffi::terminal;
use crate::pipeline::layout::output;

/// Names in `sys`, by number of the stream.
const NAMES: [(u8, &str); 3] = [(output::STDOUT, "stdout"), (output::STDERR, "stderr"), (output::STDIN, "stdin")];

/// Watches the program's streams for as long as it lives.
#[derive(Debug)]
pub struct Capture {
    sink: Arc<Sink>,
    #[cfg(target_os = "linux")]
    mirror: Option<mirror::Mirror>,
}

impl Capture {
    /// Begins to watch the streams `sink` wants.
    pub fn install(py: Python<'_>, sink: Arc<Sink>, with_descriptors: bool) -> Self {
        observe::publish(Some(Arc::clone(&sink)));
        for (number, name) in NAMES {
            if sink.wants(number)
                && let Err(error) = watch(py, number, name)
            {
                tracing::info!(%error, "sys.{name} is not recorded");
            }
        }
        #[cfg(unix)]
        {
            terminal::watch();
            // What it shows and what it reads is told there.
            if sink.wants(output::STDIN) || sink.wants(output::STDOUT) {
                crate::ffi::readline::watch();
            }
        }
        #[cfg(not(target_os = "linux"))]
        if with_descriptors {
            tracing::info!("output past Python's streams is recorded on Linux only");
        }
        Self {
            #[cfg(target_os = "linux")]
            mirror: with_descriptors.then(|| mirror::Mirror::start(py, &sink)).flatten(),
            sink,
        }
    }

    /// What was recorded, for the metadata.
    pub fn sink(&self) -> &Arc<Sink> {
        &self.sink
    }

    /// In a forked child: gives the streams back and touches nothing of the session.
    #[cfg_attr(not(target_os = "linux"), allow(unused_mut))]
    pub fn abandon(mut self, py: Python<'_>) {
        unwatch(py);
        #[cfg(target_os = "linux")]
        if let Some(mirror) = self.mirror.take() {
            mirror.abandon();
        }
        observe::forget();
        std::mem::forget(self);
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        Python::attach(|py| {
            #[cfg(target_os = "linux")]
            if let Some(mirror) = self.mirror.take() {
                mirror.finish(py);
            }
            unwatch(py);
            observe::finish(&self.sink);
        });
        observe::publish(None);
    }
}

fn unwatch(py: Python<'_>) {
    stream::unwatch(py);
    #[cfg(unix)]
    crate::ffi::readline::unwatch();
}

fn watch(py: Python<'_>, number: u8, name: &str) -> PyResult<()> {
    let Some(object) = py.import("sys")?.getattr_opt(name)?.filter(|object| !object.is_none()) else { return Ok(()) };
    // The buffer first: afterwards the stream is no exact TextIOWrapper any more. Only of an exact one `buffer` is
    // known to be its own, and reading it to run no code of the program.
    if is_exactly(&object, "TextIOWrapper")?
        && let Some(buffer) = object.getattr_opt("buffer")?
    {
        for class in ["BufferedWriter", "BufferedReader", "BufferedRandom", "FileIO"] {
            if is_exactly(&buffer, class)? {
                stream::watch(&buffer, number, Layer::Bytes)?;
            }
        }
    }
    stream::watch(&object, number, Layer::Text)
}

/// Whether an object is an instance of exactly this class of `_io`.
fn is_exactly(object: &Bound<'_, PyAny>, class: &str) -> PyResult<bool> {
    Ok(object.get_type().is(&object.py().import("_io")?.getattr(class)?))
}

/// … or of our subtype of it.
#[cfg(target_os = "linux")]
fn is_a(object: &Bound<'_, PyAny>, class: &str) -> PyResult<bool> {
    stream::is_class(&object.get_type(), class)
}
