//! A recording session: from `start_tracing` to `stop_tracing`.
//!
//! Invariants:
//! - At most one session per process; the slot's lock is never held while Python can run or workers are waited for.
//! - Start either succeeds whole or leaves nothing behind: no events, no threads, no files of ours.
//! - In a forked child the parent's session is forgotten without touching its files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use serde_json::{Map, Value, json};

use crate::errors::RecorderResult;
use crate::ffi;
use crate::logging;
use crate::monitoring::install;
use crate::pipeline::losses::LossCounts;
use crate::pipeline::model::{Exit, TraceFormat};
use crate::pipeline::tables::Tables;
use crate::pipeline::{Pipeline, PipelineConfig};
use crate::policy;
use crate::policy::model::{OnFull, RecorderPolicy, SamplingMode};
use crate::runtime::activation::ActivationGate;
use crate::runtime::bytecode::Opcodes;
use crate::runtime::entries::Entries;
use crate::runtime::inject::{Injection, Stage};
use crate::runtime::io_capture::Capture;
use crate::runtime::joins;
use crate::runtime::overhead::Overhead;
use crate::runtime::thread::{release_recorder, with_recorder};
use crate::runtime::tracer::RuntimeTracer;
use crate::runtime::tracer::shared::{SessionState, Shared, Stats};
use crate::runtime::tracer::skipped_file::SkippedFile;
use crate::runtime::value::{Limits, names::SharedTypes};
use crate::storage::FsStorage;
use crate::trace_filter::{FilterSummary, Framework, TraceFilterEngine};

pub mod bootstrap;
pub mod claim;
pub mod control;
mod exit;
pub mod explain;
pub mod flight;
mod fork;
pub mod processes;
#[cfg(target_os = "linux")]
mod remote;
mod sampler;
#[cfg(target_os = "linux")]
mod signals;

use bootstrap::{filesystem, filters, io, metadata};
use processes::Origin;

static ACTIVE: Mutex<Option<Session>> = Mutex::new(None);
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// What a session must remember until its end.
struct Session {
    tracer: Arc<RuntimeTracer>,
    policy: Arc<RecorderPolicy>,
    filters: Arc<Vec<FilterSummary>>,
    /// The program's streams, while they are watched.
    capture: Option<Capture>,
    /// Signals that end the program, while they are watched.
    #[cfg(target_os = "linux")]
    signals: Option<signals::Watch>,
    /// The signal that asks for a dump, while it is watched.
    #[cfg(target_os = "linux")]
    dump_signal: Option<flight::SignalWatch>,
    /// The way in for `ctl`.
    #[cfg(target_os = "linux")]
    remote: Option<remote::Remote>,
    /// What a child begins its own session with.
    options: StartOptions,
    origin: Origin,
    out_dir: PathBuf,
    pid: u32,
    control: Arc<control::Control>,
    /// What switches recording on and off, if that is sampled by time.
    sampler: Option<sampler::Sampler>,
}

fn active() -> MutexGuard<'static, Option<Session>> {
    // Plain data that every writer leaves consistent.
    ACTIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a session is started with.
#[derive(Debug, Default, Clone)]
pub struct StartOptions {
    pub path: PathBuf,
    pub format: TraceFormat,
    pub activation_path: Option<PathBuf>,
    pub filters: Vec<PathBuf>,
    pub framework: Option<Framework>,
    /// `None`: whoever was announced by [`processes::next_session_is_from_outside`], else the program.
    pub origin: Option<Origin>,
}

/// Starts recording; see the Python stub for the arguments.
///
/// # Errors
/// `ERR_ALREADY_TRACING`, the errors of the out dir and of filters, `ERR_TRACER_INSTALL_CONFLICT`.
pub fn start(py: Python<'_>, mut options: StartOptions) -> RecorderResult<()> {
    let origin = options.origin.get_or_insert_with(processes::take_origin).clone();
    if is_tracing() {
        return Err(crate::usage!(AlreadyTracing, "tracing already active"));
    }
    let policy = crate::policy::active();
    logging::init_logging(&policy)?;
    let cwd = std::env::current_dir().unwrap_or_default();
    let program = metadata::ProgramMetadata::collect(py)
        .map_err(|error| crate::bug!(Unknown, "cannot read the program's arguments: {error}"))?;
    let script = options.activation_path.clone().or_else(|| program.script());
    let chain = filters::chain(&filters::runtime_paths(py)?, options.framework, script.as_deref(), &options.filters)?;
    let summaries = Arc::new(chain.summaries());
    let io_filter = chain.io();
    let whole_program = io::is_whole_program(options.activation_path.as_deref(), program.script().as_deref());
    let out_dir = filesystem::prepare_trace_dir(&options.path)?;
    if let Some(reason) = ffi::probe::decide_frame_access(py) {
        tracing::info!(%reason, "frames are read through the public API");
    }
    fork::register_handler(py);
    exit::watch(py);
    let tracer = build_tracer(py, &policy, &options, &out_dir, &cwd, &program, TraceFilterEngine::new(chain))?;
    // The thread that starts the recording is stream 0, whoever else is busy.
    with_recorder(tracer.shared(), |_| ());
    logging::set_trace_id(Some(&out_dir.to_string_lossy()));
    if matches!(policy.sampling.mode, SamplingMode::Windows | SamplingMode::Budget) {
        joins::watch(py);
    }
    if let Err(error) = install::install_tracer(py, Arc::clone(&tracer) as Arc<dyn crate::monitoring::Tracer>) {
        discard(py, &tracer);
        return Err(error);
    }
    let ready = if tracer.shared().entries.is_some() {
        install::silence(py);
        // Each sample is a part; what is in none is nothing.
        let ended = py.detach(|| tracer.shared().pipeline.suspend("sampling"));
        ended.and_then(|_| install::watch_entries(py))
    } else {
        tracer.enroll_running_code(py).map(drop)
    };
    if let Err(error) = ready {
        let _ = install::uninstall_tracer(py);
        discard(py, &tracer);
        return Err(error);
    }
    let capture = io::watch(py, tracer.shared(), &policy, &io_filter, whole_program);
    let pid = std::process::id();
    #[cfg(target_os = "linux")]
    let signals = policy
        .durability
        .finish_on_signals
        .then(|| signals::Watch::start(Final { shared: Arc::clone(tracer.shared()), filters: Arc::clone(&summaries) }))
        .flatten();
    let control = Arc::new(control::Control::new());
    let sampler = match &tracer.shared().sampling {
        Some(log) => sampler::Sampler::start(py, &policy.sampling, &policy.events, &tracer, &control, log),
        None => Ok(None),
    };
    let sampler = match sampler {
        Ok(sampler) => sampler,
        Err(error) => {
            drop(capture);
            let _ = install::uninstall_tracer(py);
            discard(py, &tracer);
            return Err(error);
        }
    };
    #[cfg(target_os = "linux")]
    let dump_signal = flight::SignalWatch::start(policy.triggers.signal, tracer.shared());
    #[cfg(target_os = "linux")]
    let remote = remote::is_wanted(&policy).then(|| remote::Remote::start(&out_dir)).flatten();
    *active() = Some(Session {
        tracer,
        policy,
        filters: summaries,
        capture,
        #[cfg(target_os = "linux")]
        signals,
        #[cfg(target_os = "linux")]
        dump_signal,
        #[cfg(target_os = "linux")]
        remote,
        options,
        origin,
        out_dir,
        pid,
        control,
        sampler,
    });
    Ok(())
}

fn discard(py: Python<'_>, tracer: &RuntimeTracer) {
    release_recorder();
    py.detach(|| tracer.shared().pipeline.abandon(false));
}

fn build_tracer(
    py: Python<'_>,
    policy: &RecorderPolicy,
    options: &StartOptions,
    out_dir: &Path,
    cwd: &Path,
    program: &metadata::ProgramMetadata,
    engine: TraceFilterEngine,
) -> RecorderResult<Arc<RuntimeTracer>> {
    let code_slot = ffi::code::reserve_slot(py)?;
    let opcodes = Opcodes::of_interpreter(py)
        .map_err(|error| crate::bug!(FrameIntrospectionFailed, "cannot read the interpreter's opcodes: {error}"))?;
    let local_events = RuntimeTracer::local_events(py, policy.events.lines)?;
    let call_events = RuntimeTracer::local_events(py, false)?;
    let tables = Arc::new(Tables::new());
    let target = options
        .activation_path
        .as_ref()
        .map(|path| cwd.join(path))
        .or_else(|| program.script().filter(|script| options.framework.is_none() && script.exists()));
    let unknown = metadata::exit_status_json(None, Some("<exit>"));
    let mut base = metadata::base_metadata(program, target.as_deref(), options.framework, &logging::run_id(), unknown);
    base.insert("pid".to_owned(), json!(std::process::id()));
    base.insert("format".to_owned(), json!(if options.format == TraceFormat::Json { "json" } else { "binary" }));
    base.insert("policy".to_owned(), json!(policy::report::render(&policy::origins())));
    if let Some(Origin::Parent { parent_pid, .. }) = &options.origin {
        base.insert("parent_pid".to_owned(), json!(parent_pid));
    }
    let sampling = sampler::log_of(&policy.sampling).map(Arc::new);
    let entries = match (&policy.sampling.entries, &sampling) {
        (Some(selectors), Some(log)) if policy.sampling.mode == SamplingMode::Entries => {
            Some(Entries::new(selectors, policy.sampling.rate, Arc::clone(log), cwd)?)
        }
        _ => None,
    };
    // Entries say themselves when recording begins.
    let activation_path = options.activation_path.as_deref().filter(|_| entries.is_none());
    let injection = Injection::from_env();
    let usual = PipelineConfig::new(out_dir, options.format, program.absolute_program());
    let config = PipelineConfig {
        metadata: base,
        queue_bytes: policy.pipeline.queue_bytes,
        batch_bytes: policy.pipeline.batch_bytes,
        segment_bytes: policy.pipeline.segment_bytes,
        compression_level: policy.pipeline.compression_level,
        compression_threads: policy.pipeline.compression_threads,
        flush_interval: policy.durability.flush_interval,
        limits: policy.limits.clone(),
        marked_samples: policy.sampling.mode == SamplingMode::Entries,
        ring: flight::ring_limits(policy),
        stop_deadline: if injection.is(Stage::Impatience) { Duration::from_secs(1) } else { usual.stop_deadline },
        ..usual
    };
    let pipeline = py.detach(|| Pipeline::spawn(config, Arc::clone(&tables), Arc::new(FsStorage)))?;
    let shared = Shared {
        generation: GENERATION.fetch_add(1, Ordering::Relaxed) + 1,
        code_slot,
        pipeline,
        types: Arc::new(SharedTypes::new(Arc::clone(&tables))),
        tables,
        engine,
        skipped_file: SkippedFile::default(),
        limits: Limits {
            max_depth: policy.values.max_depth,
            max_items: policy.values.max_items,
            max_string: policy.values.max_string,
            max_bytes_per_step: policy.values.max_bytes_per_step,
        },
        globals: policy.values.globals,
        module_name_from_globals: policy.recorder.module_name_from_globals,
        block_when_full: policy.pipeline.on_full == OnFull::Block,
        record_returns: policy.events.returns,
        record_exceptions: policy.events.exceptions,
        local_events,
        call_events,
        only_calls: AtomicBool::new(false),
        sampling,
        entries,
        gate: ActivationGate::new(activation_path, cwd),
        cwd: cwd.to_path_buf(),
        search_path: metadata::search_path(py),
        opcodes,
        stats: Stats::default(),
        overhead: Overhead::default(),
        injection,
        state: SessionState::default(),
        triggers: flight::triggers(policy),
    };
    Ok(Arc::new(RuntimeTracer::new(py, Arc::new(shared), policy)?))
}

/// Whether a session is active.
pub fn is_tracing() -> bool {
    active().is_some()
}

/// Directory of this process's recording, and the number of the part that what happens now is in, if that is known now.
pub fn location() -> Option<(PathBuf, Option<u32>)> {
    active().as_ref().map(|session| {
        let shared = session.tracer.shared();
        let records_all = shared.entries.is_none() && shared.state.is_recording();
        (session.out_dir.clone(), records_all.then(|| shared.pipeline.current_part()))
    })
}

/// Makes everything recorded so far durable; nothing to do without a session.
///
/// # Errors
/// The failure of the pipeline.
pub fn flush(py: Python<'_>) -> RecorderResult<()> {
    let tracer = active().as_ref().map(|session| Arc::clone(&session.tracer));
    match tracer {
        Some(tracer) => py.detach(|| tracer.shared().pipeline.flush()),
        None => Ok(()),
    }
}

/// Ends the session and finishes its files; nothing to do without one.
///
/// # Errors
/// The failure of the pipeline, or `ERR_TRACE_MISSING` if the policy requires a trace and nothing was recorded.
pub fn stop(py: Python<'_>, exit_code: Option<i64>) -> RecorderResult<()> {
    let Some(session) = active().take() else { return Ok(()) };
    conclude(py, session, exit_code, Waiting::WithoutGil)
}

fn conclude(py: Python<'_>, mut session: Session, exit_code: Option<i64>, waiting: Waiting) -> RecorderResult<()> {
    #[cfg(target_os = "linux")]
    if let Some(remote) = session.remote.take() {
        match waiting {
            // A request that is being answered may need the GIL.
            Waiting::WithoutGil => py.detach(|| remote.end()),
            Waiting::WithGil => remote.leave(),
        }
    }
    session.control.end();
    if let Some(sampler) = session.sampler.take() {
        match waiting {
            Waiting::WithoutGil => py.detach(|| sampler.end()),
            // It may be waiting for the GIL; it finds the control closed.
            Waiting::WithGil => drop(sampler),
        }
    }
    // First of all: nothing the recorder does from here on is the program's.
    drop(session.capture.take());
    let result = finish(py, &session, exit_code, waiting);
    // Last: a signal that comes meanwhile waits until the files are complete.
    #[cfg(target_os = "linux")]
    drop((session.dump_signal.take(), session.signals.take()));
    logging::set_trace_id(None);
    result
}

/// Whether the program's other threads may go on while the workers are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    WithoutGil,
    WithGil,
}

impl Waiting {
    fn run<T: Send>(self, py: Python<'_>, wait: impl FnOnce() -> T + Send) -> T {
        match self {
            Self::WithoutGil => py.detach(wait),
            // Workers never need it.
            Self::WithGil => wait(),
        }
    }
}

fn finish(py: Python<'_>, session: &Session, exit_code: Option<i64>, waiting: Waiting) -> RecorderResult<()> {
    let shared = session.tracer.shared();
    let uninstalled = install::uninstall_tracer(py).map(drop);
    joins::end();
    let failed = shared.state.failure().is_some();
    shared.state.end();
    session.tracer.close_calling_thread();
    let injected = shared.injection.check(Stage::Finish).map_err(|error| *error);
    let keep = session.policy.recorder.keep_partial_trace;
    if (failed || injected.is_err()) && !keep {
        waiting.run(py, || shared.pipeline.abandon(false));
        return on_finish_error(session, injected);
    }
    let exit = exit_code.map_or(Exit::Unknown, Exit::Code);
    let last = Final { shared: Arc::clone(shared), filters: Arc::clone(&session.filters) };
    let metadata = last.metadata(exit_code);
    let stopped = waiting.run(py, || shared.pipeline.stop(exit, metadata));
    tell_of_losses(&shared.pipeline.stats().losses);
    on_finish_error(session, stopped.map(drop))?;
    on_finish_error(session, injected)?;
    uninstalled?;
    // A recording that was given up, as the policy `disable` wants it, is no failure of the run.
    if session.policy.recorder.require_trace && !failed && !shared.state.has_recorded() {
        return Err(crate::usage!(TraceMissing, "recorder policy requires a trace but no events were recorded"));
    }
    Ok(())
}

/// Says on stderr that a trace has gaps, whatever the log lets pass: who looks at it has to know.
fn tell_of_losses(losses: &LossCounts) {
    for (cause, count) in losses.causes() {
        logging::metrics::global().dropped(cause, count);
        let reason = cause.explanation();
        logging::tell(&format!("codetracer-python-recorder: {count} events were lost because {reason}"));
    }
}

/// A failure while finishing: the program has ended, so the policy `disable` has nothing to spare but the status.
fn on_finish_error(session: &Session, result: RecorderResult<()>) -> RecorderResult<()> {
    match result {
        Err(error) if session.policy.recorder.on_recorder_error == crate::policy::model::OnRecorderError::Disable => {
            logging::report(&error);
            Ok(())
        }
        other => other,
    }
}

/// What is written when a session ends, however it does.
#[derive(Debug)]
struct Final {
    shared: Arc<Shared>,
    filters: Arc<Vec<FilterSummary>>,
}

impl Final {
    fn metadata(&self, exit_code: Option<i64>) -> Map<String, Value> {
        let shared = &self.shared;
        let disabled = shared.state.failure();
        let label = match (&disabled, exit_code) {
            (Some(_), _) => Some("<disabled>"),
            (None, None) => Some("<exit>"),
            (None, Some(_)) => None,
        };
        let code = if disabled.is_some() { None } else { exit_code };
        let unmatched: Vec<String> = shared.engine.unmatched_rules().iter().map(ToString::to_string).collect();
        for rule in &unmatched {
            tracing::info!(%rule, "a filter rule matched no code");
        }
        let mut metadata = Map::new();
        metadata.insert("process_exit_status".to_owned(), metadata::exit_status_json(code, label));
        metadata.insert(
            "trace_filter".to_owned(),
            json!({"filters": *self.filters, "stats": shared.stats.to_json(), "unmatched_rules": unmatched}),
        );
        if let Some(log) = &shared.sampling {
            metadata.insert("sampling".to_owned(), log.to_json());
        }
        if let Some(failure) = disabled {
            metadata.insert(
            "recorder_error".to_owned(),
            json!({"error_code": failure.code.as_str(), "error_kind": failure.kind.as_str(), "message": failure.message}),
        );
        }
        metadata
    }
}
