//! The thread that switches recording on and off as sampling decides: windows of time, or bursts within a budget.
//!
//! Invariants:
//! - It takes the GIL only to switch, and to undo what events have left behind; it waits without it. It is no worker of
//!   the pipeline: nothing waits for it but the end of the session, for a moment and without the GIL.
//! - Between samples no event is on. What the program, or somebody outside, pauses stays paused.
//! - Its own processor time counts as a cost of recording, as that of the workers does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::Python;
use serde_json::{Value, json};

use super::control::Control;
use crate::errors::RecorderResult;
use crate::logging;
use crate::pipeline::supervisor::Worker;
use crate::pipeline::worker_time;
use crate::policy::model::{EventsSection, SamplingMode, SamplingSection};
use crate::runtime::joins;
use crate::runtime::tracer::RuntimeTracer;
use crate::sampling::budget::{Budget, Depth, Plan};
use crate::sampling::generator::fresh_seed;
use crate::sampling::log::SamplingLog;
use crate::sampling::windows::Windows;

/// How often a burst is looked at for what it has cost.
const LOOK: Duration = Duration::from_millis(5);

/// When, after a sample, functions are looked at that run again since: at first those that run all the time.
const SETTLED: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(300)];

/// How long the end of a session waits for this thread.
const PATIENCE: Duration = Duration::from_secs(5);

/// The running thread.
#[derive(Debug)]
pub(super) struct Sampler {
    stop: flume::Sender<()>,
    worker: Worker,
}

/// What the metadata say of a session's sampling; `None` if everything is recorded.
pub(super) fn log_of(policy: &SamplingSection) -> Option<SamplingLog> {
    let settings = match policy.mode {
        SamplingMode::Off => return None,
        SamplingMode::Windows => json!({
            "on_s": policy.on.as_secs_f64(), "every_s": policy.every.as_secs_f64(), "jitter": policy.jitter.fraction(),
        }),
        SamplingMode::Entries => json!({"entries": policy.entries, "rate": policy.rate.fraction()}),
        SamplingMode::Budget => json!({"budget": policy.budget.fraction()}),
    };
    let seed = if policy.seed == 0 { fresh_seed() } else { policy.seed };
    Some(SamplingLog::new(policy.mode.as_str(), seed, settings))
}

impl Sampler {
    /// Starts the thread, if the mode has one; recording is paused until the first sample.
    ///
    /// # Errors
    /// Those of pausing, and `ERR_IO` if there is no thread to be had.
    pub fn start(
        py: Python<'_>,
        policy: &SamplingSection,
        events: &EventsSection,
        tracer: &Arc<RuntimeTracer>,
        control: &Arc<Control>,
        log: &Arc<SamplingLog>,
    ) -> RecorderResult<Option<Self>> {
        if !matches!(policy.mode, SamplingMode::Windows | SamplingMode::Budget) {
            return Ok(None);
        }
        control.close_sample(py, tracer)?;
        let (stop, stopped) = flume::bounded(1);
        let job = Job {
            policy: policy.clone(),
            deepest: if events.lines { Depth::Lines } else { Depth::Calls },
            tracer: Arc::clone(tracer),
            control: Arc::clone(control),
            log: Arc::clone(log),
            stopped,
        };
        let worker = Worker::start("ct-sampler", move || job.run())?;
        Ok(Some(Self { stop, worker }))
    }

    /// Ends the thread. Call it without the GIL, which the thread may be waiting for.
    pub fn end(self) {
        // It may have ended by itself.
        let _ = self.stop.try_send(());
        self.worker.ended_by(Instant::now() + PATIENCE);
    }
}

/// What the thread works with.
struct Job {
    policy: SamplingSection,
    deepest: Depth,
    tracer: Arc<RuntimeTracer>,
    control: Arc<Control>,
    log: Arc<SamplingLog>,
    stopped: flume::Receiver<()>,
}

/// The session has ended.
struct Over;

impl Job {
    fn run(self) {
        // Whatever ends it: the session is over, or has failed and says so itself.
        let _: Result<(), Over> = match self.policy.mode {
            SamplingMode::Windows => self.windows(),
            SamplingMode::Budget => self.bursts(),
            SamplingMode::Off | SamplingMode::Entries => Ok(()),
        };
    }

    fn wait(&self, time: Duration) -> Result<(), Over> {
        match self.stopped.recv_timeout(time) {
            Err(flume::RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(flume::RecvTimeoutError::Disconnected) => Err(Over),
        }
    }

    fn switch(&self, change: impl FnOnce(Python<'_>) -> RecorderResult<()>) -> Result<(), Over> {
        match Python::try_attach(change) {
            Some(changed) if !self.tracer.shared().state.has_ended() => changed.map_err(|error| {
                logging::report(&error);
                Over
            }),
            // The session has ended meanwhile, which is no error of ours; or the interpreter is shutting down.
            Some(_) | None => Err(Over),
        }
    }

    fn open(&self, sample: Value) -> Result<(), Over> {
        self.log.decided(sample.clone());
        self.switch(|py| self.control.open_sample(py, &self.tracer, sample))
    }

    fn close(&self) -> Result<(), Over> {
        // At once, and not when the GIL comes.
        self.tracer.shared().state.pause();
        self.switch(|py| self.control.close_sample(py, &self.tracer))
    }

    /// Waits between two samples. What the interpreter has left undone after the last one is undone meanwhile.
    fn rest(&self, time: Duration) -> Result<(), Over> {
        let begin = Instant::now();
        for moment in SETTLED {
            if time > moment {
                self.wait(moment.saturating_sub(begin.elapsed()))?;
                self.switch(|py| {
                    joins::restore(py);
                    Ok(())
                })?;
            }
        }
        self.wait(time.saturating_sub(begin.elapsed()))
    }

    fn windows(&self) -> Result<(), Over> {
        let SamplingSection { on, every, jitter, .. } = self.policy;
        let windows = Windows::new(on, every, jitter.fraction(), self.log.seed);
        let probability = windows.probability();
        for window in windows {
            self.rest(window.wait)?;
            self.open(json!({
                "number": self.log.sample(), "mode": self.log.mode, "seed": self.log.seed, "probability": probability,
                "why": "a window of time",
            }))?;
            self.wait(window.on)?;
            self.close()?;
        }
        Ok(())
    }

    /// Time that recording has cost so far, on the program's threads and on ours.
    fn cost(&self) -> Duration {
        self.tracer.shared().overhead.time() + worker_time::total()
    }

    fn bursts(&self) -> Result<(), Over> {
        let mut budget = Budget::new(self.policy.budget.fraction(), self.deepest);
        let (mut last_end, mut last_cost) = (Instant::now(), self.cost());
        let mut open: Option<Depth> = None;
        loop {
            let plan = budget.plan();
            if open.is_none() {
                self.rest(plan.rest)?;
                self.tracer.record_lines(plan.depth == Depth::Lines);
                self.open(self.burst_json(plan))?;
                open = Some(plan.depth);
            }
            let begin = Instant::now();
            while begin.elapsed() < plan.burst && self.cost().saturating_sub(last_cost) < plan.allowance {
                self.wait(LOOK.min(plan.burst))?;
            }
            let on = begin.elapsed();
            if !budget.is_cheap(on, self.cost().saturating_sub(last_cost)) {
                // What is on its way to the disk is paid for, too: this returns when it is there.
                self.close()?;
                open = None;
            }
            let cost = self.cost();
            budget.spent(last_end.elapsed(), on, cost.saturating_sub(last_cost));
            (last_end, last_cost) = (Instant::now(), cost);
        }
    }

    fn burst_json(&self, plan: Plan) -> Value {
        let probability = plan.burst.as_secs_f64() / (plan.burst + plan.rest).as_secs_f64().max(1e-9);
        json!({
            "number": self.log.sample(), "mode": self.log.mode, "probability": probability,
            "why": "the budget allows it", "depth": plan.depth.as_str(),
            "rest_s": plan.rest.as_secs_f64(), "burst_s": plan.burst.as_secs_f64(),
        })
    }
}
