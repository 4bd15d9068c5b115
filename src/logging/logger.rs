//! Log lines: one JSON object each, with `ts_micros`, `level`, `target`, `run_id`, `trace_id?`, `error_code?`,
//! `message`, `fields?`.
//!
//! Invariants:
//! - The subscriber is installed once per process; filter and destination are replaced under it, without a lock.
//! - A child after a fork has a `run_id` of its own.
//! - An unusable filter is reported in the log and replaced by the default, as it was in release 0.3.0.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock, Once};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use super::sink::Sink;
use super::trailer;
use crate::errors::{RecorderError, RecorderResult};
use crate::policy::RecorderPolicy;

/// Silent as long as all is well.
const DEFAULT_FILTER: LevelFilter = LevelFilter::WARN;

/// What lines pass and where they go.
#[derive(Debug)]
struct Setup {
    filter: Targets,
    sink: Sink,
}

impl Default for Setup {
    fn default() -> Self {
        Self { filter: Targets::new().with_default(DEFAULT_FILTER), sink: Sink::Stderr }
    }
}

static SETUP: LazyLock<ArcSwap<Setup>> = LazyLock::new(ArcSwap::default);
static TRACE_ID: LazyLock<ArcSwapOption<String>> = LazyLock::new(ArcSwapOption::default);

struct Run {
    process: u32,
    id: Arc<str>,
}

static RUN: LazyLock<ArcSwapOption<Run>> = LazyLock::new(ArcSwapOption::default);

/// Identifies this process's run in log lines, trailers and metadata: a random UUID.
pub fn run_id() -> Arc<str> {
    let process = std::process::id();
    loop {
        let run = RUN.load_full();
        if let Some(run) = &run
            && run.process == process
        {
            return Arc::clone(&run.id);
        }
        let fresh = Arc::new(Run { process, id: uuid::Uuid::new_v4().to_string().into() });
        RUN.compare_and_swap(&run, Some(fresh));
    }
}

/// Names the recording that log lines belong to from now on; None: no recording.
pub fn set_trace_id(id: Option<&str>) {
    TRACE_ID.store(id.map(|id| Arc::new(id.to_owned())));
}

/// The recording that log lines belong to.
pub fn trace_id() -> Option<Arc<String>> {
    TRACE_ID.load_full()
}

/// Makes the log follow `policy`; may be called again at any time.
///
/// # Errors
/// `ERR_IO`: the log file cannot be opened. The log stays as it was.
pub fn init_logging(policy: &RecorderPolicy) -> RecorderResult<()> {
    let (filter, unusable) = choose_filter(policy.recorder.log_level.as_deref(), std::env::var("RUST_LOG").ok());
    let sink = match &policy.recorder.log_file {
        Some(path) => Sink::open(path)?,
        None => Sink::Stderr,
    };
    SETUP.store(Arc::new(Setup { filter, sink }));
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        // Another subscriber in this process (an embedding Rust program) keeps its place and gets our events.
        let _ = tracing::subscriber::set_global_default(Registry::default().with(JsonLines));
    });
    tracing::callsite::rebuild_interest_cache();
    if let Some(text) = unusable {
        tracing::warn!(
            target: "codetracer_python_recorder::logging",
            error_code = crate::errors::ErrorCode::InvalidPolicyValue.as_str(),
            "invalid log level filter '{text}'; reverting to default"
        );
    }
    Ok(())
}

/// The policy's filter, else `RUST_LOG`'s, else the default; and the text that could not be used.
fn choose_filter(log_level: Option<&str>, rust_log: Option<String>) -> (Targets, Option<String>) {
    let default = Targets::new().with_default(DEFAULT_FILTER);
    let wanted = log_level.map(str::to_owned).or(rust_log).filter(|text| !text.trim().is_empty());
    match wanted {
        None => (default, None),
        Some(text) => match Targets::from_str(text.trim()) {
            Ok(filter) => (filter, None),
            Err(_) => (default, Some(text)),
        },
    }
}

/// Logs an error with its code, kind and context.
pub fn log_error(error: &RecorderError) {
    tracing::error!(
        target: "codetracer_python_recorder::errors",
        error_code = error.code.as_str(),
        error_kind = error.kind.as_str(),
        context = %trailer::context(error),
        "recorder_error: {error}"
    );
}

/// Writes the events that pass the filter as lines of JSON.
struct JsonLines;

impl<S: Subscriber> Layer<S> for JsonLines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if passes(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        passes(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let setup = SETUP.load();
        setup.filter.iter().map(|(_, level)| level).max().max(setup.filter.default_level())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let setup = SETUP.load_full();
        setup.sink.write_line(line(event));
    }
}

fn passes(metadata: &Metadata<'_>) -> bool {
    SETUP.load().filter.would_enable(metadata.target(), metadata.level())
}

fn line(event: &Event<'_>) -> String {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    let mut line = Map::new();
    line.insert("ts_micros".into(), json!(u64::try_from(micros).unwrap_or(u64::MAX)));
    line.insert("level".into(), json!(event.metadata().level().as_str()));
    line.insert("target".into(), json!(event.metadata().target()));
    line.insert("run_id".into(), json!(&*run_id()));
    if let Some(id) = trace_id() {
        line.insert("trace_id".into(), json!(*id));
    }
    for name in ["error_code", "message"] {
        if let Some(value) = fields.0.remove(name) {
            line.insert(name.into(), value);
        }
    }
    if !fields.0.is_empty() {
        line.insert("fields".into(), Value::Object(fields.0));
    }
    Value::Object(line).to_string()
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), json!(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), json!(value));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), json!(value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enverr;
    use crate::errors::ErrorCode;

    fn policy(log_level: Option<&str>, log_file: &std::path::Path) -> RecorderPolicy {
        let mut policy = RecorderPolicy::default();
        policy.recorder.log_level = log_level.map(str::to_owned);
        policy.recorder.log_file = Some(log_file.to_owned());
        policy
    }

    #[test]
    fn lines_follow_the_filter_and_the_file_of_the_policy() {
        let _alone = crate::policy::TEST_LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("1.log"), directory.path().join("2.log"));
        let lines = |path: &std::path::Path| -> Vec<Value> {
            let text = std::fs::read_to_string(path).unwrap();
            let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            lines
                .filter(|line| line["target"] == "test" || line["target"] == "codetracer_python_recorder::errors")
                .collect()
        };
        init_logging(&policy(Some("warn"), &first)).unwrap();
        let log = || {
            tracing::debug!(target: "test", answer = 42, ok = true, "quiet");
            log_error(&enverr!(Io, "no {}", "space").with_context("path", "/x"));
        };
        log();
        set_trace_id(Some("T"));
        init_logging(&policy(Some("debug"), &second)).unwrap();
        log();
        set_trace_id(None);

        let [error] = lines(&first).try_into().unwrap();
        assert_eq!((&error["level"], &error["error_code"]), (&json!("ERROR"), &json!("ERR_IO")));
        assert_eq!(error["message"], json!("recorder_error: no space"));
        assert_eq!(error["fields"], json!({"error_kind": "Environment", "context": "{\"path\":\"/x\"}"}));
        assert_eq!((&error["run_id"], error.get("trace_id")), (&json!(&*run_id()), None));
        assert!(error["ts_micros"].as_u64().unwrap() > 0);
        let [quiet, error] = lines(&second).try_into().unwrap();
        assert_eq!((&quiet["level"], &quiet["trace_id"]), (&json!("DEBUG"), &json!("T")));
        assert_eq!(quiet["fields"], json!({"answer": 42, "ok": true}));
        assert_eq!(error["trace_id"], json!("T"));

        let refused = init_logging(&policy(None, &directory.path().join("none/x.log"))).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Io);
        log();
        assert_eq!(lines(&second).len(), 4, "a file that cannot be opened leaves the log as it was");

        init_logging(&policy(Some("a=b=c"), &first)).unwrap();
        let text = std::fs::read_to_string(&first).unwrap();
        assert!(text.contains("invalid log level filter 'a=b=c'; reverting to default"), "{text}");
        init_logging(&RecorderPolicy::default()).unwrap();
    }

    #[test]
    fn the_policy_outranks_rust_log_and_both_the_default() {
        let debug_in = |log_level: Option<&str>, rust_log: Option<&str>| {
            let (filter, unusable) = choose_filter(log_level, rust_log.map(str::to_owned));
            (filter.would_enable("codetracer_python_recorder::x", &tracing::Level::DEBUG), unusable)
        };
        assert_eq!(debug_in(None, None), (false, None));
        assert_eq!(debug_in(None, Some("debug")), (true, None));
        assert_eq!(debug_in(Some("error"), Some("debug")), (false, None));
        assert_eq!(debug_in(Some("warn,codetracer_python_recorder=trace"), None), (true, None));
        assert_eq!(debug_in(None, Some("  ")), (false, None));
        assert_eq!(debug_in(None, Some("a=b=c")), (false, Some("a=b=c".into())));
        assert!(choose_filter(None, None).0.would_enable("x", &tracing::Level::WARN));
    }

    #[test]
    fn the_run_id_is_one_uuid_per_process() {
        assert_eq!(run_id(), run_id());
        assert!(uuid::Uuid::parse_str(&run_id()).is_ok());
    }

    /// Runs itself with a stderr that nobody reads any more.
    #[cfg(unix)]
    #[test]
    fn a_broken_stderr_costs_the_lines_and_nothing_else() {
        const CHILD: &str = "LOGGER_TEST_CHILD";
        if std::env::var_os(CHILD).is_some() {
            init_logging(&RecorderPolicy::default()).unwrap();
            let error = enverr!(Io, "nobody reads this");
            log_error(&error);
            trailer::emit(&error);
            std::process::exit(17);
        }
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "logging::logger::tests::a_broken_stderr_costs_the_lines_and_nothing_else"])
            .env(CHILD, "1")
            .stderr(writer)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(17));
    }
}
