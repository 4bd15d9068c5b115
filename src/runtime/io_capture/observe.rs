//! What the watched streams report, on its way to the session.
//!
//! Invariants:
//! - A report never fails and never raises; without a session it goes nowhere.
//! - What the recorder writes itself (under a `ScopedMute`) is no output of the program.
//! - A stream that is left out is recorded by no way that leads here.
//! - What is typed while the terminal shows nothing of it is not recorded.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

#[cfg(target_os = "linux")]
use super::catch_up;
use super::decode::Decoder;
#[cfg(target_os = "linux")]
use super::mirror::Piece;
use super::totals::{Budget, Limits, cut};
use crate::ffi::object::Text;
#[cfg(unix)]
use crate::ffi::terminal;
use crate::logging;
use crate::pipeline::layout::output;
#[cfg(target_os = "linux")]
use crate::runtime::io_capture::chunk::Origin;
#[cfg(target_os = "linux")]
use crate::runtime::thread::with_recorder;
use crate::runtime::thread::{ThreadRecorder, continue_output};
use crate::runtime::tracer::io;
use crate::runtime::tracer::shared::Shared;

/// Copies of output that bypassed the streams wait for a thread to record them.
pub(super) static COPIES_WAIT: AtomicBool = AtomicBool::new(false);

/// Streams, a bit each, of which text is recorded as it comes.
static QUICK: AtomicU8 = AtomicU8::new(0);

static SINK: ArcSwapOption<Sink> = ArcSwapOption::const_empty();

/// Where a session's output goes.
#[derive(Debug)]
pub struct Sink {
    pub shared: Arc<Shared>,
    /// By number of the stream.
    pub streams: [bool; 3],
    /// The recording is of a whole program: what it writes after its main file has ended belongs to it.
    pub whole_program: bool,
    limits: Limits,
    budget: Budget,
    #[cfg(target_os = "linux")]
    pub queue: Arc<super::mirror::Queue>,
    #[cfg(target_os = "linux")]
    copy_decoders: [Mutex<Decoder>; 2],
    /// The limit of the whole was reached, and the place marked.
    exhausted: AtomicBool,
    decoders: [Mutex<Decoder>; 3],
}

/// What went through.
#[derive(Clone, Copy)]
pub enum Data<'a> {
    Text(Text<'a>),
    Bytes(&'a [u8]),
}

/// Stands for what was typed and not shown.
const HIDDEN: &str = "<redacted>";

/// Characters or bytes recorded at a time: what waits in memory does not grow with a write.
const PIECE: usize = 32 * 1024;

impl<'a> Data<'a> {
    fn len(self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// The first `length` characters or bytes, and the rest if there is one.
    fn split(self, length: usize) -> (Self, Option<Self>) {
        if self.len() <= length {
            return (self, None);
        }
        fn parts<'a, T: ?Sized, D>(halves: (&'a T, &'a T), wrap: impl Fn(&'a T) -> D) -> (D, Option<D>) {
            (wrap(halves.0), Some(wrap(halves.1)))
        }
        match self {
            Self::Bytes(bytes) => parts(bytes.split_at(length), Self::Bytes),
            Self::Text(Text::Ascii(text)) => parts(text.split_at(length), |part| Self::Text(Text::Ascii(part))),
            Self::Text(Text::Latin1(units)) => parts(units.split_at(length), |part| Self::Text(Text::Latin1(part))),
            Self::Text(Text::Ucs2(units)) => parts(units.split_at(length), |part| Self::Text(Text::Ucs2(part))),
            Self::Text(Text::Ucs4(units)) => parts(units.split_at(length), |part| Self::Text(Text::Ucs4(part))),
        }
    }
}

impl Sink {
    pub fn new(shared: Arc<Shared>, streams: [bool; 3], whole_program: bool, limits: Limits) -> Self {
        let (budget, exhausted, decoders) = Default::default();
        Self {
            shared,
            streams,
            whole_program,
            limits,
            budget,
            #[cfg(target_os = "linux")]
            queue: Arc::default(),
            #[cfg(target_os = "linux")]
            copy_decoders: Default::default(),
            exhausted,
            decoders,
        }
    }

    /// The stream is to be recorded.
    pub fn wants(&self, stream: u8) -> bool {
        self.streams.get(usize::from(stream)).is_some_and(|wanted| *wanted)
    }

    /// Events are recorded now.
    pub fn is_open(&self) -> bool {
        let state = &self.shared.state;
        state.is_recording() && (self.shared.gate.is_open() || (self.whole_program && state.has_recorded()))
    }

    /// Records what went through, in pieces, as far as the limits permit.
    fn pass(&self, stream: u8, data: Data<'_>, flags: u8) {
        let mut left = if self.limits.one == 0 { usize::MAX } else { self.limits.one };
        let mut rest = data;
        loop {
            let (piece, after) = rest.split(PIECE);
            let mut was_cut = false;
            io::record(self, stream, |out| {
                let start = out.len();
                let found = self.put(stream, piece, out);
                let length = out.len() - start;
                let wanted = length.min(left);
                let granted = self.budget.take(self.limits, wanted);
                left -= granted;
                if granted == length {
                    return flags | found;
                }
                was_cut = true;
                let missing = after.map_or(0, Data::len);
                if granted < wanted && self.exhausted.swap(true, Ordering::Relaxed) {
                    // The place was marked when the limit of the whole was reached.
                    out.truncate(start);
                    self.shared.stats.io.count_cut(stream, piece.len() + missing);
                    return flags;
                }
                self.shared.stats.io.count_cut(stream, cut(out, start, granted, missing));
                flags | found | output::TRUNCATED
            });
            match after {
                Some(after) if !was_cut => rest = after,
                _ => return,
            }
        }
    }

    /// Records what was copied at the descriptors: who wrote it is not known.
    #[cfg(target_os = "linux")]
    fn drain_into(&self, recorder: &mut ThreadRecorder) {
        for (stream, piece) in self.queue.take() {
            let bytes = match piece {
                Piece::Bytes(bytes) => bytes,
                Piece::Lost(count) => {
                    self.shared.stats.io.count_cut(stream, usize::try_from(count).unwrap_or(usize::MAX));
                    recorder.output_missing(stream, count);
                    continue;
                }
            };
            let Some(decoder) = self.copy_decoders.get(usize::from(stream)) else { continue };
            let mut text = String::new();
            let escaped = decoder.lock().unwrap_or_else(PoisonError::into_inner).push(&bytes, &mut text);
            let granted = self.budget.take(self.limits, text.len());
            if granted < text.len() {
                self.shared.stats.io.count_cut(stream, cut(&mut text, 0, granted, 0));
            }
            let origin = Origin { stream, code: output::NO_CODE, line: 0, frame: 0 };
            recorder.output_copy(origin, &text, if escaped { output::ESCAPED } else { 0 });
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn drain_into(&self, _: &mut ThreadRecorder) {}

    /// Appends the text of what went through, and says what is special about it.
    fn put(&self, stream: u8, data: Data<'_>, out: &mut String) -> u8 {
        let escaped = match data {
            Data::Text(text) => put_text(text, out),
            Data::Bytes(bytes) => match self.decoders.get(usize::from(stream)) {
                Some(decoder) => decoder.lock().unwrap_or_else(PoisonError::into_inner).push(bytes, out),
                None => false,
            },
        };
        if escaped { output::ESCAPED } else { 0 }
    }
}

/// From now on reports go to this session, or nowhere.
pub(super) fn publish(sink: Option<Arc<Sink>>) {
    let unlimited = sink.as_ref().filter(|sink| !sink.limits.are_any());
    let streams = [output::STDOUT, output::STDERR].into_iter();
    let quick = streams.filter(|&stream| unlimited.is_some_and(|sink| sink.wants(stream)));
    QUICK.store(quick.map(|stream| 1 << stream).sum(), Ordering::Relaxed);
    SINK.store(sink);
}

/// In a forked child: no reports any more. The session is not dropped, it belongs to the parent.
pub(super) fn forget() {
    COPIES_WAIT.store(false, Ordering::Relaxed);
    QUICK.store(0, Ordering::Relaxed);
    std::mem::forget(SINK.swap(None));
}

/// The program wrote this, and it is short. False if more is to be looked at: then [`written`] is to be told.
#[inline]
pub fn continued(stream: u8, text: &str) -> bool {
    // No mute is looked for: what the recorder writes itself goes past Python's streams.
    QUICK.load(Ordering::Relaxed) >> stream & 1 != 0 && continue_output(stream, text)
}

/// The program wrote this.
pub fn written(stream: u8, data: Data<'_>) {
    #[cfg(target_os = "linux")]
    if catch_up::is_wanted() && with_sink(stream, |sink| io::begins_chunk(sink)) == Some(true) {
        catch_up::now(stream);
    }
    with_sink(stream, |sink| match data {
        // Nearly everything.
        Data::Text(Text::Ascii(text)) if text.len() <= PIECE && !sink.limits.are_any() => {
            io::record_text(sink, stream, text);
        }
        _ => sink.pass(stream, data, 0),
    });
}

/// The program read this.
pub fn read(stream: u8, data: Data<'_>) {
    // What is read from an output is output that was recorded when it was written: capture by pytest works that way.
    if stream != output::STDIN || data.len() == 0 {
        return;
    }
    #[cfg(unix)]
    let data = if terminal::hides_what_is_typed() { Data::Text(Text::Ascii(HIDDEN)) } else { data };
    with_sink(stream, |sink| sink.pass(stream, data, output::INPUT));
}

/// The program flushed the stream.
pub fn flushed(stream: u8) {
    with_sink(stream, |sink| io::flush(sink, stream));
}

/// What waits for the rest of a character will not get it.
pub(super) fn finish(sink: &Sink) {
    for (stream, decoder) in (0u8..).zip(&sink.decoders) {
        let mut text = String::new();
        if decoder.lock().unwrap_or_else(PoisonError::into_inner).finish(&mut text) && sink.is_open() {
            io::record(sink, stream, |out| {
                out.push_str(&text);
                output::ESCAPED
            });
        }
    }
}

/// Whether copies of output that bypassed the streams wait: looked at before every event.
#[inline]
pub fn copies_wait() -> bool {
    COPIES_WAIT.load(Ordering::Relaxed)
}

/// Hands the copies that wait to the calling thread's recorder, which is about to record an event of its own.
#[cold]
pub fn drain_copies(recorder: &mut ThreadRecorder) {
    if let Some(sink) = &*SINK.load()
        && recorder.belongs_to(&sink.shared)
        && sink.is_open()
    {
        sink.drain_into(recorder);
    }
}

/// Records the copies that wait.
#[cfg(target_os = "linux")]
pub(super) fn record_copies(sink: &Sink) {
    if sink.is_open() {
        with_recorder(&sink.shared, |recorder| sink.drain_into(recorder));
    }
}

/// Gives `work` the session that records this stream now, if there is one.
#[inline]
fn with_sink<T>(stream: u8, work: impl FnOnce(&Arc<Sink>) -> T) -> Option<T> {
    let sink = SINK.load();
    match &*sink {
        Some(sink) if sink.wants(stream) && sink.is_open() && !logging::is_muted() => Some(work(sink)),
        _ => None,
    }
}

/// Appends text; what UTF-8 has no form for is escaped: bytes that Python smuggles through text (U+DC80 to U+DCFF) as
/// `\xNN`, other lone surrogates as `\uNNNN`. True if there was any.
fn put_text(text: Text<'_>, out: &mut String) -> bool {
    let mut escaped = false;
    let mut push = |unit: u32| match (char::from_u32(unit), unit) {
        (Some(c), _) => out.push(c),
        (None, 0xdc80..=0xdcff) => {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{:02x}", unit - 0xdc00);
            escaped = true;
        }
        (None, _) => {
            let _ = write!(out, "\\u{unit:04x}");
            escaped = true;
        }
    };
    match text {
        Text::Ascii(text) => out.push_str(text),
        Text::Latin1(units) => units.iter().for_each(|&unit| push(u32::from(unit))),
        Text::Ucs2(units) => units.iter().for_each(|&unit| push(u32::from(unit))),
        Text::Ucs4(units) => units.iter().for_each(|&unit| push(unit)),
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_a_form_in_utf_8_is_escaped_and_said_so() {
        let mut out = String::new();
        assert!(!put_text(Text::Latin1(&[0x61, 0xe9]), &mut out));
        assert!(put_text(Text::Ucs2(&[0x2192, 0xdcff, 0xd800]), &mut out));
        assert!(!put_text(Text::Ucs4(&[0x1f980]), &mut out));
        assert_eq!(out, "aé→\\xff\\ud800🦀");
    }
}
