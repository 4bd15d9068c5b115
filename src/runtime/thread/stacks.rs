//! The stacks of a thread: one, or with greenlets (and so gevent) one for each that runs recorded code.
//!
//! Invariants:
//! - What a recorder holds belongs to the stack that ran at its latest event; the others are parked here, each with a
//!   stream of its own, as if it were another thread's.
//! - A switch is found at the first event behind it: its frame neither is the top one nor was called by it, and then the
//!   interpreter is asked which stack runs. A call by recorded code costs a comparison for that, a line nothing.
//! - Parked stacks without frames are bounded: nobody says when a greenlet ends. A new one may run where one that has
//!   ended did; it goes on in the trace of that one.

use std::collections::VecDeque;
use std::mem::swap;

use rustc_hash::FxHashMap;

use super::{ShadowFrame, ThreadRecorder};
use crate::ffi;
use crate::ffi::frame::Frame;
use crate::pipeline::stream::{StreamInfo, StreamProducer};
use crate::runtime::io_capture::chunk::OpenChunk;
use crate::runtime::slots::SlotCache;

/// So many parked stacks are kept that have no frames; more are taken for ended.
const KEPT_IDLE: usize = 32;

/// What a greenlet's trace is called.
const NAME: &str = "greenlet";

/// See the module docs.
#[derive(Debug)]
pub(super) struct Stacks {
    /// Identity of the stack that the recorder has; 0 where stacks cannot be told apart.
    running: usize,
    parked: FxHashMap<usize, Box<Parked>>,
    /// Those of them without frames, the one longest so first.
    idle: VecDeque<usize>,
}

impl Default for Stacks {
    fn default() -> Self {
        Self { running: ffi::stack::identity(), parked: FxHashMap::default(), idle: VecDeque::new() }
    }
}

/// The fields of a [`ThreadRecorder`] that belong to a stack.
#[derive(Debug)]
struct Parked {
    producer: StreamProducer,
    stack: Vec<ShadowFrame>,
    slots: Vec<SlotCache>,
    published_depth: usize,
    kept_floor: usize,
    lost_events: u64,
    joined: bool,
    epoch: u32,
    chunk: OpenChunk,
}

impl Parked {
    fn exchange(&mut self, recorder: &mut ThreadRecorder) {
        swap(&mut self.producer, &mut recorder.producer);
        swap(&mut self.stack, &mut recorder.stack);
        swap(&mut self.slots, &mut recorder.slots);
        swap(&mut self.published_depth, &mut recorder.published_depth);
        swap(&mut self.kept_floor, &mut recorder.kept_floor);
        swap(&mut self.lost_events, &mut recorder.lost_events);
        swap(&mut self.joined, &mut recorder.joined);
        swap(&mut self.epoch, &mut recorder.epoch);
        swap(&mut self.chunk, &mut recorder.chunk);
    }
}

impl ThreadRecorder {
    /// Whether this frame is on the stack; then it is the top one afterwards.
    pub(super) fn bring_to_top(&mut self, frame: Frame<'_>) -> bool {
        if self.stack.last().is_some_and(|top| top.id == frame.id()) {
            return true;
        }
        self.unwind_to(frame)
    }

    #[cold]
    fn unwind_to(&mut self, frame: Frame<'_>) -> bool {
        self.follow(frame);
        let Some(index) = self.stack.iter().rposition(|known| known.id == frame.id()) else { return false };
        while self.stack.len() > index + 1 {
            // Frames that ended without an event.
            self.end_top();
        }
        true
    }

    /// A frame is about to be entered: its stack becomes the recorder's.
    #[inline]
    pub(super) fn follow_entry(&mut self, frame: Frame<'_>) {
        match (self.stack.last(), frame.previous()) {
            (Some(top), Some(caller)) if top.id == caller.id() => {}
            _ => self.follow(frame),
        }
    }

    /// The stack of a running frame becomes the recorder's.
    #[inline]
    pub fn follow_running(&mut self, frame: Frame<'_>) {
        if self.stack.last().is_none_or(|top| top.id != frame.id()) {
            self.follow(frame);
        }
    }

    pub(super) fn follow(&mut self, frame: Frame<'_>) {
        let running = ffi::stack::identity();
        if running != self.stacks.running && running != 0 {
            self.is_on(running, frame);
        }
    }

    #[cold]
    fn is_on(&mut self, running: usize, frame: Frame<'_>) {
        if self.stack.is_empty() && self.stacks.parked.is_empty() {
            // The thread of a C library has another stack each time it calls Python.
            self.stacks.running = running;
            self.joined = self.shared.entries.is_some();
            return;
        }
        self.switch_to(running, frame);
    }

    fn switch_to(&mut self, running: usize, frame: Frame<'_>) {
        debug_assert!(self.out.is_empty(), "records go to the stream of the event they are of");
        let mut other = match self.stacks.parked.remove(&running) {
            Some(known) => {
                self.stacks.idle.retain(|idle| *idle != running);
                known
            }
            None => self.new_stack(),
        };
        other.exchange(self);
        let left = std::mem::replace(&mut self.stacks.running, running);
        if other.stack.is_empty() {
            self.stacks.idle.push_back(left);
        }
        self.stacks.parked.insert(left, other);
        if self.stacks.idle.len() > KEPT_IDLE {
            self.end_an_idle_stack();
        }
        self.before_event();
        self.leave_what_has_ended(frame);
    }

    fn new_stack(&self) -> Box<Parked> {
        let info = StreamInfo { name: NAME.to_owned(), native_id: self.producer.shared().info.native_id };
        Box::new(Parked {
            producer: self.shared.pipeline.open_stream(info),
            stack: Vec::new(),
            slots: Vec::new(),
            published_depth: 0,
            kept_floor: 0,
            lost_events: 0,
            joined: self.shared.entries.is_some(),
            epoch: self.shared.state.epoch(),
            chunk: OpenChunk::default(),
        })
    }

    /// The one that has been idle longest; the thread's first stays, for it ends with the recording.
    fn end_an_idle_stack(&mut self) {
        let Stacks { parked, idle, .. } = &mut self.stacks;
        let ends = |key: &usize| parked.get(key).is_none_or(|stack| stack.producer.shared().id != 0);
        if let Some(ended) = idle.iter().position(ends).and_then(|index| idle.remove(index)) {
            parked.remove(&ended);
        }
    }

    /// Behind a switch: frames that ended without an event, as those of a greenlet that nobody knew any more.
    fn leave_what_has_ended(&mut self, frame: Frame<'_>) {
        while let Some(top) = self.stack.last() {
            let mut next = Some(frame);
            while next.is_some_and(|running| running.id() != top.id) {
                next = next.and_then(Frame::previous);
            }
            if next.is_some() {
                break;
            }
            self.end_top();
        }
    }
}
