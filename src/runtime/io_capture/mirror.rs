//! Output that bypasses Python's streams: C libraries, child processes, `os.write`.
//!
//! Invariants:
//! - Bytes of Python's own streams never come this way (`ffi::direct`), so nothing is recorded twice.
//! - What waits here is bounded; what does not fit is counted.
//! - Bytes taken from a file are in the queue before anybody else takes some: none are on their way when a session ends.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::catch_up::{self, Catching, Credit};
use super::{Sink, observe};
use crate::ffi::direct::{self, Catcher, Terminal};
use crate::ffi::read_back::ReadBack;
use crate::ffi::relay::{Copies, Relay, can_relay, is_same};
use crate::ffi::{os_write, signals, stream};
use crate::pipeline::layout::output;

/// Bytes that may wait for a thread to record them.
const MOST_WAITING: usize = 16 * 1024 * 1024;
/// Bytes that are handed over at a time.
const PIECE: usize = 64 * 1024;
/// How long the end of a session waits for a reader of the program's output, and for what is still to be recorded.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often files are looked at: while there is output, and at rest.
const LOOKS: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(20)];

/// Copies that no thread has recorded yet.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    pieces: Vec<(u8, Piece)>,
    bytes: usize,
}

/// What was seen at a descriptor.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// So many bytes were too many.
    Lost(u64),
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self) -> bool {
        self.lock().bytes + PIECE <= MOST_WAITING
    }

    fn push(&self, stream: u8, bytes: &[u8]) {
        let mut waiting = self.lock();
        if waiting.bytes + bytes.len() > MOST_WAITING {
            waiting.lose(stream, bytes.len() as u64);
        } else if !bytes.is_empty() {
            waiting.bytes += bytes.len();
            waiting.pieces.push((stream, Piece::Bytes(bytes.to_vec())));
        }
        observe::COPIES_WAIT.store(true, Ordering::Relaxed);
    }

    fn lose(&self, stream: u8, count: u64) {
        if count > 0 {
            self.lock().lose(stream, count);
            observe::COPIES_WAIT.store(true, Ordering::Relaxed);
        }
    }

    /// Everything that waits.
    pub fn take(&self) -> Vec<(u8, Piece)> {
        let mut waiting = self.lock();
        observe::COPIES_WAIT.store(false, Ordering::Relaxed);
        waiting.bytes = 0;
        std::mem::take(&mut waiting.pieces)
    }
}

impl Waiting {
    fn lose(&mut self, stream: u8, count: u64) {
        match self.pieces.last_mut() {
            Some((last, Piece::Lost(lost))) if *last == stream => *lost += count,
            _ => self.pieces.push((stream, Piece::Lost(count))),
        }
    }
}

/// What catches the output of a session.
#[derive(Debug)]
pub struct Mirror {
    catchers: Arc<Vec<Catcher>>,
    /// The stream of each, and the bytes that arrived from it.
    received: Vec<(u8, Arc<AtomicU64>)>,
    /// The files are looked at no more.
    ended: Arc<AtomicBool>,
    piece: Arc<OnePiece>,
    sink: Arc<Sink>,
}

/// Who takes bytes from a file holds this until they are in the queue.
pub(super) type OnePiece = Mutex<Vec<u8>>;

impl Mirror {
    /// Catches what is written to the standard descriptors, where that is possible.
    pub fn start(py: Python<'_>, sink: &Arc<Sink>) -> Option<Self> {
        let mut groups = Vec::new();
        let wanted = |descriptor: RawFd| {
            let stream = if descriptor == 1 { output::STDOUT } else { output::STDERR };
            if !sink.wants(stream) {
                return None;
            }
            let possible = can_relay(descriptor) || ReadBack::is_possible(descriptor);
            if !possible {
                tracing::info!(
                    "descriptor {descriptor} is a terminal or closed: of what is written there, the output of Python's \
                     streams and of os.write is recorded, that of C code and child processes is not; send it to a \
                     pipe or a file to have it recorded"
                );
            }
            possible.then_some((stream, vec![descriptor]))
        };
        groups.extend(wanted(1));
        match wanted(2) {
            // One for both keeps their order.
            Some(_) if !groups.is_empty() && is_same(1, 2) => groups[0].1.push(2),
            other => groups.extend(other),
        }
        // What Python holds back was written before.
        for name in ["stdout", "stderr"] {
            if let Ok(Some(stream)) = py.import("sys").and_then(|sys| sys.getattr_opt(name))
                && super::is_exactly(&stream, "TextIOWrapper").unwrap_or(false)
            {
                let _ = stream.call_method0("flush");
            }
        }
        let (mut catchers, mut received) = (Vec::new(), Vec::new());
        for (stream, descriptors) in groups {
            let count = Arc::new(AtomicU64::new(0));
            let started = if can_relay(descriptors[0]) {
                Relay::start(descriptors).map(|(relay, copies)| {
                    collect(copies, stream, Arc::clone(&sink.queue), Arc::clone(&count));
                    Catcher::Relay(relay)
                })
            } else {
                ReadBack::start(descriptors).map(Catcher::File)
            };
            match started {
                Ok(catcher) => {
                    catchers.push(catcher);
                    received.push((stream, count));
                }
                Err(error) => tracing::info!(%error, "output past Python's streams is not recorded"),
            }
        }
        for (descriptor, stream) in [(1, output::STDOUT), (2, output::STDERR)] {
            if sink.wants(stream)
                && let Some(terminal) = Terminal::at(descriptor)
            {
                catchers.push(Catcher::Terminal(terminal));
                received.push((stream, Arc::default()));
            }
        }
        if catchers.is_empty() {
            return None;
        }
        let this = Self {
            catchers: Arc::new(catchers),
            received,
            ended: Arc::default(),
            piece: Arc::default(),
            sink: Arc::clone(sink),
        };
        direct::publish(Some(Arc::clone(&this.catchers)));
        if let Err(error) = write_directly(py, sink) {
            tracing::info!(%error, "a stream of Python's is not told apart from what bypasses them");
        }
        if let Err(error) = os_write::watch(py) {
            tracing::info!(%error, "what os.write writes is not told apart from what bypasses Python");
        }
        if this.catchers.iter().any(|catcher| matches!(catcher, Catcher::File(_))) {
            this.follow_files();
        }
        catch_up::publish(Some(Catching {
            catchers: Arc::clone(&this.catchers),
            received: this.received.clone(),
            piece: Arc::clone(&this.piece),
            queue: Arc::clone(&sink.queue),
            credit: Mutex::new(Credit::new(Instant::now())),
        }));
        Some(this)
    }

    /// Looks at the files now and then, on a thread of its own.
    fn follow_files(&self) {
        let (catchers, queue) = (Arc::clone(&self.catchers), Arc::clone(&self.sink.queue));
        let streams: Vec<u8> = self.received.iter().map(|(stream, _)| *stream).collect();
        let (ended, piece) = (Arc::clone(&self.ended), Arc::clone(&self.piece));
        spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                let found = read_files(&catchers, &streams, &queue, &piece);
                std::thread::sleep(LOOKS[usize::from(!found)]);
            }
        });
    }

    /// Puts the descriptors back and records what arrived. Call it before the streams are given back.
    pub fn finish(&self, py: Python<'_>) {
        catch_up::publish(None);
        let deadline = Instant::now() + PATIENCE;
        py.detach(|| {
            for (catcher, (_, received)) in self.catchers.iter().zip(&self.received) {
                let Catcher::Relay(relay) = catcher else { continue };
                relay.restore(PATIENCE);
                while received.load(Ordering::SeqCst) < relay.copied() && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
        });
        self.ended.store(true, Ordering::SeqCst);
        self.read_the_rest(py, deadline);
        direct::publish(None);
        observe::record_copies(&self.sink);
    }

    /// What is in the files still: the queue takes so much at a time.
    fn read_the_rest(&self, py: Python<'_>, deadline: Instant) {
        let streams: Vec<u8> = self.received.iter().map(|(stream, _)| *stream).collect();
        while py.detach(|| read_files(&self.catchers, &streams, &self.sink.queue, &self.piece)) {
            observe::record_copies(&self.sink);
            if Instant::now() >= deadline {
                for (catcher, stream) in self.catchers.iter().zip(&streams) {
                    if let Catcher::File(file) = catcher {
                        self.sink.queue.lose(*stream, file.left());
                    }
                }
                return;
            }
        }
    }

    /// In a forked child: its output goes on as its parent's; the rest is its parent's.
    pub fn abandon(self) {
        catch_up::forget();
        direct::forget();
        std::mem::forget(self);
    }
}

/// Takes what is new in files, as far as there is room. Whether there was any.
pub(super) fn read_files(catchers: &[Catcher], streams: &[u8], queue: &Queue, piece: &OnePiece) -> bool {
    let mut found = false;
    let mut buffer = piece.lock().unwrap_or_else(PoisonError::into_inner);
    buffer.resize(PIECE, 0);
    for (catcher, stream) in catchers.iter().zip(streams) {
        let Catcher::File(file) = catcher else { continue };
        while queue.has_room() {
            let count = file.read(&mut buffer);
            if count == 0 {
                break;
            }
            found = true;
            queue.push(*stream, &buffer[..count]);
        }
    }
    found
}

/// The files below Python's own streams write past the relay; those of streams that are not recorded are left alone.
fn write_directly(py: Python<'_>, sink: &Sink) -> PyResult<()> {
    let sys = py.import("sys")?;
    for name in ["__stdout__", "__stderr__", "stdout", "stderr"] {
        let Some(text) = sys.getattr_opt(name)? else { continue };
        if !super::is_a(&text, "TextIOWrapper")? {
            continue;
        }
        let buffer = text.getattr("buffer")?;
        let file = if super::is_a(&buffer, "BufferedWriter")? { buffer.getattr("raw")? } else { buffer };
        if super::is_a(&file, "FileIO")? {
            let descriptor: RawFd = file.call_method0("fileno")?.extract()?;
            let number = match descriptor {
                1 => output::STDOUT,
                2 => output::STDERR,
                _ => continue,
            };
            if sink.wants(number) {
                stream::write_directly(&file, descriptor)?;
            }
        }
    }
    Ok(())
}

fn collect(mut copies: Copies, stream: u8, queue: Arc<Queue>, received: Arc<AtomicU64>) {
    spawn(move || {
        let mut buffer = vec![0; PIECE];
        loop {
            let count = copies.read(&mut buffer);
            // What nobody took came after what was taken.
            let dropped = copies.dropped();
            queue.push(stream, &buffer[..count]);
            queue.lose(stream, dropped);
            if count == 0 {
                // Nobody need wait for more.
                received.store(u64::MAX, Ordering::SeqCst);
                return;
            }
            received.fetch_add(count as u64, Ordering::SeqCst);
        }
    });
}

fn spawn(work: impl FnOnce() + Send + 'static) {
    let spawned =
        signals::with_signals_blocked(|| std::thread::Builder::new().name("codetracer-mirror".into()).spawn(work));
    if let Err(error) = spawned {
        tracing::info!(%error, "output past Python's streams is not recorded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_where_it_is_missing() {
        let queue = Queue::default();
        let block = vec![b'x'; MOST_WAITING / 2];
        for _ in 0..2 {
            queue.push(0, &block);
        }
        assert!(!queue.has_room());
        queue.push(0, b"12345");
        queue.lose(0, 3);
        queue.lose(1, 4);
        let pieces = queue.take();
        assert_eq!(pieces[2..], [(0, Piece::Lost(8)), (1, Piece::Lost(4))]);
        assert!(queue.has_room());
        queue.push(0, b"12345");
        assert_eq!(queue.take(), [(0, Piece::Bytes(b"12345".to_vec()))]);
    }
    #[test]
    fn two_who_look_at_a_file_at_the_same_time_keep_its_order_and_leave_nothing_on_its_way() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = file.reopen().unwrap();
        let follower = ReadBack::start(vec![std::os::fd::AsRawFd::as_raw_fd(&writer)]).unwrap();
        let (catchers, queue, piece) = ([Catcher::File(follower)], Queue::default(), OnePiece::default());
        let ended = AtomicBool::new(false);
        let look = || read_files(&catchers, &[output::STDOUT], &queue, &piece);
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        let take = |found: &mut Vec<u8>| {
            for (_, piece) in queue.take() {
                let Piece::Bytes(bytes) = piece else { panic!("there is room") };
                found.extend(bytes);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::SeqCst) {
                    look();
                }
            });
            for number in 0..20_000 {
                let line = format!("{number}\n").into_bytes();
                std::io::Write::write_all(&mut writer, &line).unwrap();
                expected.extend(line);
                while look() {}
                take(&mut found);
                if found.len() < expected.len() {
                    break; // Something was on its way: the comparison fails.
                }
            }
            ended.store(true, Ordering::SeqCst);
        });
        assert!(
            found == expected,
            "all that was written was in the queue, in order: {}",
            String::from_utf8_lossy(&found)
        );
    }
}
