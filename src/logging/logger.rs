//! JSON log lines on stderr or in a file.
//!
//! Invariants:
//! - One subscriber per process, installed at the first call; target and level change in place afterwards.
//! - Each line is one JSON object with `run_id`, and `trace_id` while a recording is active.
//! - While a line is written the thread says so ([`is_writing`]), so that output capture can leave it out.

use std::cell::Cell;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::errors::RecorderResult;
use crate::policy::model::RecorderPolicy;

/// Levels that are accepted without being a filter expression.
const DEFAULT_LEVEL: &str = "warn";

static RUN_ID: OnceLock<String> = OnceLock::new();
static TARGET: Mutex<Target> = Mutex::new(Target { path: None, file: None, trace_id: None });
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

thread_local! {
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

struct Target {
    path: Option<PathBuf>,
    file: Option<File>,
    trace_id: Option<String>,
}

fn target() -> MutexGuard<'static, Target> {
    // Each field is replaced as a whole.
    TARGET.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Identifies this process's run in log lines and traces.
pub fn run_id() -> &'static str {
    RUN_ID.get_or_init(|| uuid::Uuid::new_v4().to_string())
}

/// Names the recording that log lines belong to from now on.
pub fn set_trace_id(id: Option<&str>) {
    target().trace_id = id.map(str::to_owned);
}

/// The trace log lines belong to.
pub fn trace_id() -> Option<String> {
    target().trace_id.clone()
}

/// This thread is writing a log line right now.
pub fn is_writing() -> bool {
    WRITING.with(Cell::get)
}

/// Applies the policy's log level and file. `RUST_LOG` decides where the policy says nothing.
///
/// # Errors
/// `ERR_IO` if the log file cannot be opened, `ERR_INVALID_POLICY_VALUE` for a level that is none.
pub fn init_logging(policy: &RecorderPolicy) -> RecorderResult<()> {
    let filter = filter_of(policy.recorder.log_level.as_deref())?;
    open_target(policy.recorder.log_file.as_deref())?;
    if let Some(handle) = FILTER.get() {
        // Fails only if the subscriber is gone; then nobody listens.
        let _ = handle.reload(filter);
        return Ok(());
    }
    let (layer, handle) = reload::Layer::new(filter);
    if FILTER.set(handle).is_ok() {
        let subscriber = Registry::default().with(layer).with(JsonLines);
        // A host program that set its own subscriber keeps it.
        let _ = tracing::subscriber::set_global_default(subscriber);
    }
    Ok(())
}

fn filter_of(level: Option<&str>) -> RecorderResult<EnvFilter> {
    let said = match level {
        Some(level) => level.to_owned(),
        None => std::env::var("RUST_LOG")
            .ok()
            .filter(|text| !text.trim().is_empty())
            .unwrap_or_else(|| DEFAULT_LEVEL.to_owned()),
    };
    EnvFilter::try_new(&said).or_else(|error| match level {
        Some(level) => Err(crate::usage!(
            InvalidPolicyValue,
            "invalid log_level value '{level}' (expected error, warn, info, debug, trace, off or a filter like \
             'codetracer_python_recorder=debug'): {error}"
        )),
        // RUST_LOG belongs to everybody; what is wrong with it is not ours to refuse.
        None => Ok(EnvFilter::new(DEFAULT_LEVEL)),
    })
}

fn open_target(path: Option<&Path>) -> RecorderResult<()> {
    let mut target = target();
    if target.path.as_deref() == path {
        return Ok(());
    }
    let file = match path {
        None => None,
        Some(path) => {
            let mut options = OpenOptions::new();
            options.create(true).append(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let opened = options.open(path).map_err(|error| {
                crate::enverr!(Io, "cannot open log file '{}'", path.display())
                    .with_context("path", path.display().to_string())
                    .with_source(error)
            })?;
            Some(opened)
        }
    };
    target.path = path.map(Path::to_path_buf);
    target.file = file;
    Ok(())
}

/// Writes events as JSON lines.
struct JsonLines;

#[derive(Default)]
struct Fields {
    message: String,
    values: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.values.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.put(field, json!(format!("{value:?}")));
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_owned();
        } else {
            self.put(field, json!(value));
        }
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, json!(value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, json!(value));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, json!(value));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        let mut line = Map::new();
        line.insert("ts_micros".to_owned(), json!(micros));
        line.insert("level".to_owned(), json!(event.metadata().level().as_str()));
        line.insert("target".to_owned(), json!(event.metadata().target()));
        line.insert("run_id".to_owned(), json!(run_id()));
        if let Some(trace_id) = trace_id() {
            line.insert("trace_id".to_owned(), json!(trace_id));
        }
        line.insert("message".to_owned(), json!(fields.message));
        if let Some(code) = fields.values.remove("error_code") {
            line.insert("error_code".to_owned(), code);
        }
        if !fields.values.is_empty() {
            line.insert("fields".to_owned(), Value::Object(fields.values));
        }
        write_line(&Value::Object(line).to_string());
    }
}

/// Writes one line to the log's target; a closed target is not an error.
pub(super) fn write_line(line: &str) {
    WRITING.with(|writing| {
        writing.set(true);
        let mut target = target();
        let text = format!("{line}\n");
        let _ = match &mut target.file {
            Some(file) => file.write_all(text.as_bytes()),
            None => std::io::stderr().write_all(text.as_bytes()),
        };
        writing.set(false);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_none_is_refused_with_what_would_do() {
        let error = filter_of(Some("loud=very=much")).unwrap_err();
        assert!(error.message().contains("invalid log_level value 'loud=very=much'"), "{error}");
        assert!(filter_of(Some("debug")).is_ok());
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_is_an_environment_error() {
        let error = open_target(Some(Path::new("/nonexistent-dir/x.log"))).unwrap_err();
        assert_eq!(error.code, crate::errors::ErrorCode::Io);
        assert_eq!(error.context["path"], "/nonexistent-dir/x.log");
    }

    #[test]
    fn the_run_id_stays_the_same() {
        assert_eq!(run_id(), run_id());
        assert_eq!(run_id().len(), 36);
    }
}
