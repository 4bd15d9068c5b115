//! One thread's recorder: its shadow stack, what the encoder knows of each variable, and its stream; [`stacks`] has those
//! of its greenlets.
//!
//! Invariants:
//! - The shadow stack mirrors the recorded frames of the thread. A frame is known by its address; events that arrive
//!   for another frame than the top one first bring the stack in step (CPython leaves out some events, e.g. for a
//!   suspended generator that is closed).
//! - Whatever was sent, the stream is balanced: every push record has its pop.
//! - Records of one event are published together or not at all; after a loss the stack is sent again and every cached
//!   value counts as unknown.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use crate::errors::RecorderError;
use crate::ffi;
use crate::ffi::frame::Frame;
use crate::ffi::latest::{Home, Latest};
use crate::ffi::object::Obj;
use crate::monitoring::CodeObjectWrapper;
use crate::pipeline::layout::{LossCause, Put, record, value as tag};
use crate::pipeline::stream::{Pushed, StreamInfo, StreamProducer};
use crate::runtime::code_entry::{Namespace, TracedCode};
use crate::runtime::io_capture::chunk::OpenChunk;
use crate::runtime::namespace::NamespaceView;
use crate::runtime::overhead::Timer;
use crate::runtime::slots::{SlotCache, number};
use crate::runtime::tracer::filtering::{self, NameDecisions};
use crate::runtime::tracer::io::LineCache;
use crate::runtime::tracer::shared::Shared;
use crate::runtime::value::{Hidden, Snapshotter, dropped, redacted};
use crate::trace_filter::{ValueAction, ValueKind};

mod globals;
mod look;
mod output;
mod pause;
mod samples;
mod stacks;

/// A thread's recorder, once it has one.
type Own = RefCell<Option<Box<ThreadRecorder>>>;

static LATEST: Latest<Own> = Latest::nobodys();

thread_local! {
    static RECORDER: Home<Own> = const { Home::new(&LATEST, RefCell::new(None)) };
}

/// How long one wait for room in the queue lasts before the state of the pipeline is looked at again.
const WAIT_SLICE: Duration = Duration::from_millis(100);

/// A frame on the shadow stack.
#[derive(Debug)]
struct ShadowFrame {
    id: usize,
    code: u32,
    /// Its first slot in `ThreadRecorder::slots`, and how many it has.
    base: usize,
    count: usize,
    activates: bool,
    /// What is known of the globals that are shown with it; see `globals`.
    globals: globals::Known,
    /// Which of its slots are looked at.
    look: look::Look,
    namespace: Option<Box<NamespaceView>>,
}

/// What a frame is entered by.
pub enum Entry<'a> {
    /// A call, with arguments.
    Call,
    /// A generator or coroutine goes on.
    Resume,
    /// … with an exception thrown into it.
    Throw(Obj<'a>),
}

/// See the module docs.
#[derive(Debug)]
pub struct ThreadRecorder {
    shared: Arc<Shared>,
    producer: StreamProducer,
    /// The records of the current event.
    out: Vec<u8>,
    stack: Vec<ShadowFrame>,
    slots: Vec<SlotCache>,
    /// The thread's other stacks.
    stacks: stacks::Stacks,
    snapshotter: Snapshotter,
    decisions: NameDecisions,
    /// Frames the encoder has: the height of the stack when records were published last.
    published_depth: usize,
    /// How many of these are certainly still the same: the lowest height since then.
    kept_floor: usize,
    /// Events lost since then.
    lost_events: u64,
    /// The frames that ran already when this thread's first event came have been entered.
    joined: bool,
    /// The epoch of the session that the stack belongs to.
    epoch: u32,
    /// Measures some of the callbacks.
    pub(super) timer: Timer,
    chunk: OpenChunk,
    /// The text of the latest write, for its memory.
    text: String,
    lines: LineCache,
}

/// Runs `work` with the calling thread's recorder of this session, made if need be.
///
/// Does nothing if the thread is inside its recorder already: then the event comes from our own doing.
#[inline]
pub fn with_recorder<T>(shared: &Arc<Shared>, work: impl FnOnce(&mut ThreadRecorder) -> T) -> Option<T> {
    let worked = LATEST.with(&RECORDER, |cell| {
        let mut guard = cell.try_borrow_mut().ok()?;
        let recorder = match &mut *guard {
            Some(recorder) if Arc::ptr_eq(&recorder.shared, shared) => recorder,
            other => ThreadRecorder::begin(other, shared),
        };
        Some(work(recorder))
    });
    worked.flatten()
}

/// Adds text to the chunk of output that the calling thread is writing, if that is all there is to do. Call it with the
/// GIL held.
#[inline]
pub fn continue_output(stream: u8, text: &str) -> bool {
    let continued = LATEST.with(&RECORDER, |cell| {
        let mut guard = cell.try_borrow_mut().ok()?;
        Some(guard.as_mut()?.continue_output(stream, text))
    });
    continued.flatten() == Some(true)
}

/// Lets go of the calling thread's recorder, so that its stream is closed.
pub fn release_recorder() {
    let recorder = RECORDER.with(|home| home.try_borrow_mut().ok().and_then(|mut guard| guard.take()));
    drop(recorder);
}

/// In a forked child: forgets the parent's recorder without touching anything it shares with the parent's threads.
pub fn forget_recorder() {
    std::mem::forget(RECORDER.with(|home| home.try_borrow_mut().ok().and_then(|mut guard| guard.take())));
}

impl ThreadRecorder {
    #[cold]
    fn begin<'a>(own: &'a mut Option<Box<Self>>, shared: &Arc<Shared>) -> &'a mut Box<Self> {
        own.insert(Box::new(Self::new(shared)))
    }

    fn new(shared: &Arc<Shared>) -> Self {
        let native_id = ffi::python_types::native_thread_id();
        let name = ffi::python_types::current_thread_name().unwrap_or_else(|| format!("thread-{native_id}"));
        Self {
            shared: Arc::clone(shared),
            producer: shared.pipeline.open_stream(StreamInfo { name, native_id }),
            out: Vec::with_capacity(4096),
            stack: Vec::new(),
            slots: Vec::new(),
            stacks: stacks::Stacks::default(),
            snapshotter: Snapshotter::new(shared.limits, Arc::clone(&shared.types)),
            decisions: NameDecisions::default(),
            published_depth: 0,
            kept_floor: 0,
            lost_events: 0,
            joined: shared.entries.is_some(),
            epoch: shared.state.epoch(),
            timer: Timer::default(),
            chunk: OpenChunk::default(),
            text: String::new(),
            lines: LineCache::default(),
        }
    }

    /// The top frame ended without an event.
    fn end_top(&mut self) {
        self.out.put_u8(record::RETURN);
        self.out.put_u8(tag::NONE);
        self.pop();
    }

    fn pop(&mut self) {
        if let Some(frame) = self.stack.pop() {
            if frame.activates {
                self.shared.gate.leave();
            }
            self.kept_floor = self.kept_floor.min(self.stack.len());
        }
    }

    /// A frame starts or goes on.
    pub fn enter(&mut self, frame: Frame<'_>, code: &TracedCode, entry: &Entry<'_>) -> Result<(), Box<RecorderError>> {
        self.before_event();
        self.follow_entry(frame);
        self.join_running_callers(frame)?;
        self.push_frame(frame, code, entry)?;
        self.publish();
        Ok(())
    }

    /// Once per thread: enters the recorded frames that were running before its first event, outermost first, so that
    /// what follows nests as the program does.
    #[inline]
    fn join_running_callers(&mut self, frame: Frame<'_>) -> Result<(), Box<RecorderError>> {
        if self.joined { Ok(()) } else { self.join_now(frame) }
    }

    #[cold]
    fn join_now(&mut self, frame: Frame<'_>) -> Result<(), Box<RecorderError>> {
        self.joined = true;
        let mut open = self.shared.gate.is_unconditional();
        if !open && self.epoch == 0 {
            return Ok(());
        }
        let mut callers = Vec::new();
        let mut next = frame.previous();
        while let Some(caller) = next {
            callers.push(caller);
            next = caller.previous();
        }
        let shared = Arc::clone(&self.shared);
        for caller in callers.into_iter().rev() {
            let Some(code) = caller.code().map(CodeObjectWrapper::new) else { continue };
            if let Some(traced) = filtering::known_entry(&shared, code).and_then(|entry| entry.traced.as_deref()) {
                open |= traced.activates;
                if open {
                    self.push_frame(caller, traced, &Entry::Call)?;
                    self.forget_counted(traced);
                }
            }
        }
        Ok(())
    }

    fn push_frame(&mut self, frame: Frame<'_>, code: &TracedCode, entry: &Entry<'_>) -> Result<(), Box<RecorderError>> {
        let base = self.stack.last().map_or(0, |top| top.base + top.count);
        let count = code.fixed.len() + code.globals.len();
        if self.slots.len() < base + count {
            self.slots.resize_with(base + count, SlotCache::default);
        }
        for cache in &mut self.slots[base..base + count] {
            cache.reset();
        }
        let namespace = (code.namespace != Namespace::None).then(Box::default);
        if code.activates {
            self.shared.gate.enter();
        }
        self.stack.push(ShadowFrame {
            id: frame.id(),
            code: code.id,
            base,
            count,
            activates: code.activates,
            globals: globals::Known::FRESH,
            look: look::Look::around(),
            namespace,
        });
        self.snapshotter.begin_step(self.out.len());
        match entry {
            Entry::Call => {
                self.shared.injection.check(crate::runtime::inject::Stage::TargetArgs)?;
                let id = code.id.to_le_bytes();
                self.out.put_array([record::CALL, id[0], id[1], id[2], id[3]]);
                for parameter in &code.parameters {
                    let index = usize::from(parameter.slot);
                    if !self.send_number(frame, base, index, parameter.action) {
                        self.update_fixed(frame, code, base, index, (parameter.action, ValueKind::Argument));
                    }
                    if parameter.differs {
                        self.slots[base + index].invalidate();
                    }
                }
                self.out.put_u8(record::CALL_END);
            }
            Entry::Resume => {
                self.out.put_u8(record::RESUME);
                self.out.put_u32(code.id);
            }
            Entry::Throw(exception) => {
                self.out.put_u8(record::THROW);
                self.out.put_u32(code.id);
                self.snapshotter.write(*exception, &mut self.decisions.of(code), &mut self.out);
            }
        }
        Ok(())
    }

    /// A line is about to run. `late` frames (already running when recording began) are entered first.
    pub fn step(&mut self, frame: Frame<'_>, code: &TracedCode, line: u32) -> Result<(), Box<RecorderError>> {
        self.before_event();
        if !self.bring_to_top(frame) {
            self.enter_late(frame, code)?;
        }
        self.snapshotter.begin_step(self.out.len());
        let Some(base) = self.stack.last().map(|top| top.base) else { return Ok(()) };
        self.update_fixed_slots(frame, code, base, line)?;
        if !code.globals.is_empty() && !self.globals_are_known(frame, code) {
            self.update_globals(frame, code, base);
        }
        if code.namespace != Namespace::None {
            self.update_namespace(frame, code);
        }
        let line = line.to_le_bytes();
        self.out.put_array([record::STEP, line[0], line[1], line[2], line[3]]);
        self.publish();
        Ok(())
    }

    /// A frame that ran already when recording began.
    #[cold]
    fn enter_late(&mut self, frame: Frame<'_>, code: &TracedCode) -> Result<(), Box<RecorderError>> {
        self.join_running_callers(frame)?;
        self.push_frame(frame, code, &Entry::Call)?;
        self.forget_counted(code);
        Ok(())
    }

    /// The frame is left (return, yield, unwind). Frames that are not on the stack are none of ours.
    pub fn leave(&mut self, frame: Frame<'_>, code: &TracedCode, value: Obj<'_>, raised: bool) {
        self.before_event();
        if !self.bring_to_top(frame) {
            self.forget_counted(code);
            self.publish();
            return;
        }
        self.snapshotter.begin_step(self.out.len());
        let recorded = if raised { self.shared.record_exceptions } else { self.shared.record_returns };
        if recorded
            && code.return_action == ValueAction::Allow
            && let Some((tag, bits)) = number(value)
        {
            let b = bits.to_le_bytes();
            self.out.put_array([record::RETURN, tag, b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
            self.pop();
            self.publish();
            return;
        }
        self.out.put_u8(record::RETURN);
        match code.return_action {
            _ if !recorded => self.out.put_u8(tag::NONE),
            ValueAction::Allow => self.snapshotter.write_quickly(value, &mut self.decisions.of(code), &mut self.out),
            ValueAction::Redact | ValueAction::RedactData => redacted(&mut self.out),
            ValueAction::Drop => dropped(&mut self.out),
        }
        if code.return_action != ValueAction::Allow {
            self.shared.stats.count(code.return_action, ValueKind::Return);
        }
        self.pop();
        self.publish();
    }

    /// Forgets what was composed for an event that failed; the stack stays as the encoder knows it.
    pub fn abandon_event(&mut self) {
        self.mark_loss(LossCause::RecorderError);
    }

    /// Closes every frame of the stack.
    pub fn close(&mut self) {
        self.out.clear();
        if self.is_void() {
            self.discard_stack();
            return;
        }
        while !self.stack.is_empty() {
            self.end_top();
        }
        if self.lost_events == 0 {
            self.publish();
        }
    }

    /// Hands the event's records over.
    #[inline]
    fn publish(&mut self) {
        if self.out.is_empty() {
            return;
        }
        match self.producer.push(&self.out) {
            Pushed::Stored => self.published(),
            other => self.publish_slowly(other),
        }
    }

    #[cold]
    fn publish_slowly(&mut self, mut result: Pushed) {
        while result == Pushed::NoRoom && self.shared.block_when_full && !self.shared.pipeline.has_failed() {
            let producer = &mut self.producer;
            let waited = ffi::monitoring::without_gil(|| producer.wait_for_room(WAIT_SLICE));
            if self.is_void() {
                // Paused meanwhile: what is not stored yet belongs to calls that are over for the encoder.
                self.out.clear();
                return;
            }
            result = if waited == Pushed::Stored { self.producer.push(&self.out) } else { waited };
        }
        match result {
            Pushed::Stored => self.published(),
            _ if self.shared.pipeline.has_failed() => {
                self.mark_loss(LossCause::RecordingFailed);
                // The pipeline has ended by itself.
                self.shared.state.end();
            }
            Pushed::NoRoom => self.mark_loss(LossCause::QueueFull),
            Pushed::Ended => {
                // A limit was reached: what comes behind it is not lost, nobody wanted it.
                self.out.clear();
                self.shared.state.end();
            }
        }
    }

    #[inline]
    fn published(&mut self) {
        self.out.clear();
        if self.snapshotter.hidden != Hidden::default() {
            let Hidden { redacted, dropped } = std::mem::take(&mut self.snapshotter.hidden);
            self.shared.stats.count_many(ValueAction::Redact, ValueKind::Attribute, redacted.into());
            self.shared.stats.count_many(ValueAction::Drop, ValueKind::Attribute, dropped.into());
        }
        self.published_depth = self.stack.len();
        self.kept_floor = self.published_depth;
    }

    fn mark_loss(&mut self, cause: LossCause) {
        self.out.clear();
        self.producer.lose(cause);
        self.lost_events += 1;
        self.look_around();
    }

    /// Before an event: what bypassed the streams comes first; and if events were lost: says so, and sends the stack as it
    /// is now.
    #[inline]
    fn before_event(&mut self) {
        if self.epoch != self.shared.state.epoch() {
            self.start_afresh();
        }
        self.take_copies();
        self.chunk.close();
        if self.lost_events > 0 {
            self.send_stack_again();
        }
    }

    #[cold]
    fn send_stack_again(&mut self) {
        let mut records = self.producer.shared().untold().records();
        for _ in self.kept_floor..self.published_depth {
            records.put_u8(record::RETURN);
            records.put_u8(tag::NONE);
        }
        for frame in &self.stack[self.kept_floor..] {
            records.put_u8(record::RESUME);
            records.put_u32(frame.code);
        }
        if self.producer.push(&records) != Pushed::Stored {
            return;
        }
        self.producer.told_of_losses();
        self.lost_events = 0;
        self.published();
        for cache in &mut self.slots {
            cache.invalidate();
        }
        self.look_around();
        for frame in &mut self.stack {
            frame.globals = globals::Known::NOTHING;
            if let Some(view) = &mut frame.namespace {
                view.invalidate();
            }
        }
    }
}
