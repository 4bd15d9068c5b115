//! Reading traces from Python: `inspect_trace`, `verify_trace`, `recover_trace`.

use std::io::{self, Write};
use std::path::PathBuf;

use pyo3::prelude::*;

use super::{inspect, read, recover, verify};

/// Collects text and hands it to a Python callable in pieces of at least this many bytes.
const PIECE: usize = 64 * 1024;

struct PythonWriter<'py> {
    write: Bound<'py, PyAny>,
    buffer: Vec<u8>,
    error: Option<PyErr>,
}

impl PythonWriter<'_> {
    fn hand_over(&mut self) -> io::Result<()> {
        let text = String::from_utf8_lossy(&self.buffer).into_owned();
        self.buffer.clear();
        self.write.call1((text,)).map(drop).map_err(|error| {
            self.error = Some(error);
            io::Error::other("the Python writer failed")
        })
    }
}

impl Write for PythonWriter<'_> {
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
    max_calls: usize,
    write: Bound<'_, PyAny>,
) -> PyResult<()> {
    let trace = py.detach(|| read::read_trace(&path))?;
    let mut out = PythonWriter { write, buffer: Vec::new(), error: None };
    let written = match mode {
        "summary" => inspect::write_summary(&trace, &mut out),
        "tree" => inspect::write_tree(&trace, max_depth, max_calls, &mut out),
        "json" => inspect::write_json_lines(&trace, &mut out),
        other => {
            return Err(crate::usage!(Unknown, "unknown mode '{other}' (expected 'summary', 'tree' or 'json')").into());
        }
    };
    match written.and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) => Err(out.error.take().unwrap_or_else(|| error.into())),
    }
}

/// What is wrong with a trace, line by line; nothing if it is good.
#[pyfunction]
fn verify_trace(py: Python<'_>, path: PathBuf) -> PyResult<Vec<String>> {
    Ok(py.detach(|| verify::verify(&path))?)
}

/// Makes a damaged trace whole; what was done, line by line.
#[pyfunction]
fn recover_trace(py: Python<'_>, path: PathBuf) -> PyResult<Vec<String>> {
    Ok(py.detach(|| recover::recover(&path))?)
}

/// Adds the functions to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(inspect_trace, module)?)?;
    module.add_function(wrap_pyfunction!(verify_trace, module)?)?;
    module.add_function(wrap_pyfunction!(recover_trace, module)?)?;
    Ok(())
}
