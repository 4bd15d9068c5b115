//! What is said over the control socket: one JSON object per line, either way.
//!
//! ```text
//! {"version": 1, "command": "dump", "reason": "looks slow"}
//! {"version": 1, "ok": true, "result": {"directory": "…/dumps/0001-looks_slow"}}
//! {"version": 1, "ok": false, "error": {"code": "ERR_…", "message": "…"}}
//! ```
//!
//! Invariants:
//! - Every line is answered by one line; what cannot be understood is answered by an error, and nothing is done.
//! - A later version may add keys; a request of another version is refused.

use serde_json::{Map, Value, json};

use crate::errors::{RecorderError, RecorderResult};
use crate::usage;

/// Number of this protocol.
pub const VERSION: u64 = 1;

/// Longest line of a request, in bytes.
pub const MAX_LINE: usize = 16 * 1024;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Status,
    Dump { reason: String },
    Pause,
    Resume,
    Stop,
}

/// Reads a request.
///
/// # Errors
/// `ERR_UNKNOWN`, saying what was expected.
pub fn parse(line: &[u8]) -> RecorderResult<Command> {
    let request: Map<String, Value> = serde_json::from_slice(line)
        .map_err(|error| usage!(Unknown, "the request is no JSON object on one line: {error}"))?;
    if request.get("version").and_then(Value::as_u64) != Some(VERSION) {
        return Err(usage!(Unknown, "the request needs \"version\": {VERSION}; use the recorder's own ctl command"));
    }
    match request.get("command").and_then(Value::as_str) {
        Some("status") => Ok(Command::Status),
        Some("pause") => Ok(Command::Pause),
        Some("resume") => Ok(Command::Resume),
        Some("stop") => Ok(Command::Stop),
        Some("dump") => match request.get("reason").unwrap_or(&Value::Null) {
            Value::Null => Ok(Command::Dump { reason: "ctl".to_owned() }),
            Value::String(reason) => Ok(Command::Dump { reason: reason.clone() }),
            _ => Err(usage!(Unknown, "the reason of a dump is a text")),
        },
        _ => Err(usage!(Unknown, "the request needs a \"command\": status, dump, pause, resume or stop")),
    }
}

/// The line that answers a request.
pub fn answer(outcome: RecorderResult<Value>) -> Vec<u8> {
    let answer = match outcome {
        Ok(result) => json!({"version": VERSION, "ok": true, "result": result}),
        Err(error) => json!({"version": VERSION, "ok": false, "error": error_json(&error)}),
    };
    let mut line = answer.to_string().into_bytes();
    line.push(b'\n');
    line
}

fn error_json(error: &RecorderError) -> Value {
    json!({"code": error.code.as_str(), "kind": error.kind.as_str(), "message": error.message()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_are_read_and_what_is_none_is_refused_with_a_hint() {
        for (line, command) in [
            (r#"{"version": 1, "command": "status"}"#, Command::Status),
            (r#"{"version": 1, "command": "pause", "later": 2}"#, Command::Pause),
            (r#"{"command": "dump", "version": 1}"#, Command::Dump { reason: "ctl".to_owned() }),
            (r#"{"version": 1, "command": "dump", "reason": "x"}"#, Command::Dump { reason: "x".to_owned() }),
        ] {
            assert_eq!(parse(line.as_bytes()).unwrap(), command, "{line}");
        }
        for (line, hint) in [
            ("", "no JSON object"),
            ("GET / HTTP/1.1", "no JSON object"),
            ("[1]", "no JSON object"),
            (r#"{"command": "status"}"#, "needs \"version\": 1"),
            (r#"{"version": 2, "command": "status"}"#, "needs \"version\": 1"),
            (r#"{"version": 1, "command": "explode"}"#, "status, dump, pause, resume or stop"),
            (r#"{"version": 1, "command": "dump", "reason": 7}"#, "is a text"),
        ] {
            assert!(parse(line.as_bytes()).unwrap_err().to_string().contains(hint), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused_without_a_panic(line: Vec<u8>) {
            let _ = parse(&line);
        }
    }
}
