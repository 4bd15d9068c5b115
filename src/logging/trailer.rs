//! The JSON trailer: one line on stderr that tells a calling program what went wrong (`--json-errors`).
//!
//! Invariants: the keys are the public contract; always one line.

use std::io::Write;

use serde_json::{Value, json};

use super::logger::{run_id, trace_id};
use crate::errors::RecorderError;

/// Prints the trailer of an error.
pub fn print(error: &RecorderError) {
    let line = format!("{}\n", render(error, run_id(), trace_id().as_deref()));
    // A closed stderr is nobody's problem here.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn render(error: &RecorderError, run_id: &str, trace_id: Option<&str>) -> Value {
    json!({
        "run_id": run_id,
        "trace_id": trace_id,
        "error_code": error.code.as_str(),
        "error_kind": error.kind.as_str(),
        "message": error.to_string(),
        "context": error.context,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trailer_has_the_contracts_keys_on_one_line() {
        let error = crate::usage!(Io, "first\nsecond").with_context("path", "/x");
        let line = render(&error, "run", None).to_string();
        assert!(!line.contains('\n'));
        let parsed: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["error_code"], "ERR_IO");
        assert_eq!(parsed["error_kind"], "Usage");
        assert_eq!(parsed["context"]["path"], "/x");
        assert_eq!(parsed["message"], "first\nsecond");
        assert!(parsed["trace_id"].is_null() && parsed["run_id"] == "run");
    }
}
