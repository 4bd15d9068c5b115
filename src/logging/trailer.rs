//! The JSON trailer: an error as one line on stderr, for scripts (`json_errors`).

use serde_json::{Map, Value, json};

use super::sink::Sink;
use crate::errors::RecorderError;

/// Writes the trailer of `error` to stderr.
pub fn emit(error: &RecorderError) {
    Sink::Stderr.write_line(line(error, &super::run_id(), super::trace_id().as_ref().map(|id| id.as_str())));
}

/// The trailer, without a newline.
pub fn line(error: &RecorderError, run_id: &str, trace_id: Option<&str>) -> String {
    json!({
        "run_id": run_id,
        "trace_id": trace_id,
        "error_code": error.code.as_str(),
        "error_kind": error.kind.as_str(),
        "message": error.to_string(),
        "context": context(error),
    })
    .to_string()
}

/// The error's details as a JSON object.
pub(super) fn context(error: &RecorderError) -> Value {
    let details = error.context.iter().map(|(key, value)| ((*key).to_owned(), json!(value)));
    Value::Object(details.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enverr;

    #[test]
    fn the_trailer_is_one_line_with_exactly_the_documented_keys() {
        let error =
            enverr!(Io, "cannot write\n\"x\"").with_context("path", "/x").with_source(std::io::Error::other("full"));
        let line = line(&error, "r", None);
        assert!(!line.contains('\n'));
        assert_eq!(
            serde_json::from_str::<Value>(&line).unwrap(),
            json!({
                "run_id": "r", "trace_id": null, "error_code": "ERR_IO", "error_kind": "Environment",
                "message": "cannot write\n\"x\": full", "context": {"path": "/x"}
            })
        );
        assert!(super::line(&error, "r", Some("t")).contains(r#""trace_id":"t""#));
    }
}
