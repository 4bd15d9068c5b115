//! Reading traces from Python: `inspect_trace`, `verify_trace`, `recover_trace`, `convert_trace`.

use std::io::{self, Write};
use std::path::PathBuf;

use pyo3::prelude::*;

use super::inspect::{self, Mode};
use super::read::Container;
use super::{convert, recover, verify};
use crate::errors::RecorderResult;

/// Collects text and hands it to a Python callable in pieces of at least this many bytes.
const PIECE: usize = 64 * 1024;

struct PythonWriter {
    write: Py<PyAny>,
    buffer: Vec<u8>,
    error: Option<PyErr>,
}

impl PythonWriter {
    fn hand_over(&mut self) -> io::Result<()> {
        let text = String::from_utf8_lossy(&self.buffer).into_owned();
        self.buffer.clear();
        Python::attach(|py| self.write.call1(py, (text,)).map(drop)).map_err(|error| {
            self.error = Some(error);
            io::Error::other("the Python writer failed")
        })
    }
}

impl Write for PythonWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        // Pieces end at line ends, so that no character is cut in two.
        if self.buffer.len() >= PIECE && bytes.ends_with(b"\n") {
            self.hand_over()?;
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() { Ok(()) } else { self.hand_over() }
    }
}

/// Writes what is in a trace through `write(text)`. `mode`: "summary", "tree" or "json".
#[pyfunction]
fn inspect_trace(
    py: Python<'_>,
    path: PathBuf,
    mode: &str,
    max_depth: usize,
    max_calls: u64,
    write: Py<PyAny>,
) -> PyResult<()> {
    let mode = match mode {
        "summary" => Mode::Summary,
        "tree" => Mode::Tree { max_depth, max_calls },
        "json" => Mode::JsonLines,
        other => {
            return Err(crate::usage!(Unknown, "unknown mode '{other}' (expected 'summary', 'tree' or 'json')").into());
        }
    };
    let mut out = PythonWriter { write, buffer: Vec::new(), error: None };
    // Other threads go on while the trace is read; the writer takes the interpreter for each piece.
    let shown = py.detach(|| {
        inspect::inspect(&path, mode, &mut out)?;
        out.flush().map_err(|error| crate::enverr!(Io, "cannot write what is in the trace").with_source(error))
    });
    match (shown, out.error.take()) {
        (_, Some(raised)) => Err(raised),
        (shown, None) => Ok(shown?),
    }
}

/// What is wrong with a trace, line by line; nothing if it is good.
#[pyfunction]
fn verify_trace(py: Python<'_>, path: PathBuf) -> PyResult<Vec<String>> {
    Ok(py.detach(|| verify::verify(&path))?)
}

/// Makes a damaged trace whole; what was done, line by line. `progress(events)` is called now and then.
#[pyfunction]
#[pyo3(signature = (path, progress=None))]
fn recover_trace(py: Python<'_>, path: PathBuf, progress: Option<Py<PyAny>>) -> PyResult<Vec<String>> {
    telling(py, progress, |tell| recover::recover_telling(&path, tell))
}

/// Writes a trace's events into a new file in another format; their number. `progress(events)` is called now and then.
#[pyfunction]
#[pyo3(signature = (source, target, format, progress=None))]
fn convert_trace(
    py: Python<'_>,
    source: PathBuf,
    target: PathBuf,
    format: &str,
    progress: Option<Py<PyAny>>,
) -> PyResult<u64> {
    let container = match format {
        "binary" => Container::Binary,
        "json" => Container::Json,
        other => {
            return Err(
                crate::usage!(UnsupportedFormat, "unsupported trace format '{other}': 'binary' or 'json'").into()
            );
        }
    };
    telling(py, progress, |tell| convert::convert(&source, &target, container, tell))
}

/// Runs what takes long without the interpreter, which it is lent for `progress` and for signals; what these raise ends it.
fn telling<T: Send>(
    py: Python<'_>,
    progress: Option<Py<PyAny>>,
    work: impl FnOnce(&mut dyn FnMut(u64) -> io::Result<()>) -> RecorderResult<T> + Send,
) -> PyResult<T> {
    let mut raised = None;
    let outcome = py.detach(|| {
        work(&mut |events| {
            Python::attach(|py| {
                py.check_signals()?;
                progress.as_ref().map_or(Ok(()), |progress| progress.call1(py, (events,)).map(drop))
            })
            .map_err(|error| {
                raised = Some(error);
                io::Error::other("the progress callback failed")
            })
        })
    });
    match raised {
        Some(error) => Err(error),
        None => Ok(outcome?),
    }
}

/// Adds the functions to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(inspect_trace, module)?)?;
    module.add_function(wrap_pyfunction!(verify_trace, module)?)?;
    module.add_function(wrap_pyfunction!(recover_trace, module)?)?;
    module.add_function(wrap_pyfunction!(convert_trace, module)?)?;
    Ok(())
}
