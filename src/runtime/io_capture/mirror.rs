//! Output that bypasses Python's streams: C libraries, child processes, `os.write`.
//!
//! Invariants:
//! - Bytes of Python's own streams never come this way (`ffi::direct`), so nothing is recorded twice.
//! - What waits here is bounded; what does not fit is counted.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::Sink;
use super::observe;
use crate::ffi::relay::{Copies, Relay, can_relay, is_same};
use crate::ffi::{direct, signals, stream};
use crate::pipeline::layout::output;

/// Bytes that may wait for a thread to record them.
const MOST_WAITING: usize = 16 * 1024 * 1024;
/// How long the end of a session waits for a reader of the program's output.
const PATIENCE: Duration = Duration::from_secs(2);

/// Copies that no thread has recorded yet.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    dropped: [AtomicU64; 2],
}

#[derive(Debug, Default)]
struct Waiting {
    chunks: Vec<(u8, Vec<u8>)>,
    bytes: usize,
}

impl Queue {
    fn push(&self, stream: u8, bytes: &[u8]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.bytes + bytes.len() > MOST_WAITING {
            if let Some(dropped) = self.dropped.get(usize::from(stream)) {
                dropped.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            return;
        }
        waiting.bytes += bytes.len();
        waiting.chunks.push((stream, bytes.to_vec()));
        observe::COPIES_WAIT.store(true, Ordering::Relaxed);
    }

    /// Everything that waits.
    pub fn take(&self) -> Vec<(u8, Vec<u8>)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        observe::COPIES_WAIT.store(false, Ordering::Relaxed);
        waiting.bytes = 0;
        std::mem::take(&mut waiting.chunks)
    }
}

/// The relays of a session.
#[derive(Debug)]
pub struct Mirror {
    relays: Arc<Vec<Relay>>,
    /// The stream of each, and the bytes of it that arrived.
    received: Vec<(u8, Arc<AtomicU64>)>,
    sink: Arc<Sink>,
}

impl Mirror {
    /// Puts relays behind the standard descriptors that can have one.
    pub fn start(py: Python<'_>, sink: &Arc<Sink>) -> Option<Self> {
        let mut groups = Vec::new();
        let wanted = |descriptor: RawFd| {
            let stream = if descriptor == 1 { output::STDOUT } else { output::STDERR };
            (sink.wants(stream) && can_relay(descriptor)).then_some((stream, vec![descriptor]))
        };
        groups.extend(wanted(1));
        match wanted(2) {
            // One relay for both keeps their order.
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
        let (mut relays, mut received) = (Vec::new(), Vec::new());
        for (stream, descriptors) in groups {
            match Relay::start(descriptors) {
                Ok((relay, copies)) => {
                    let count = Arc::new(AtomicU64::new(0));
                    collect(copies, stream, Arc::clone(&sink.queue), Arc::clone(&count));
                    relays.push(relay);
                    received.push((stream, count));
                }
                Err(error) => tracing::info!(%error, "output past Python's streams is not recorded"),
            }
        }
        if relays.is_empty() {
            return None;
        }
        let relays = Arc::new(relays);
        direct::publish(Some(Arc::clone(&relays)));
        if let Err(error) = write_directly(py) {
            tracing::info!(%error, "a stream of Python's goes through the relay");
        }
        Some(Self { relays, received, sink: Arc::clone(sink) })
    }

    /// Puts the descriptors back and records what arrived. Call it before the streams are given back.
    pub fn finish(&self, py: Python<'_>) {
        py.detach(|| {
            let deadline = Instant::now() + PATIENCE;
            for (relay, (_, received)) in self.relays.iter().zip(&self.received) {
                relay.restore(PATIENCE);
                while received.load(Ordering::SeqCst) < relay.copied().0 && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
        });
        direct::publish(None);
        observe::record_copies(&self.sink);
        for (relay, (stream, _)) in self.relays.iter().zip(&self.received) {
            let dropped = self.sink.queue.dropped.get(usize::from(*stream)).map_or(0, |n| n.load(Ordering::Relaxed));
            let lost = relay.copied().1 + dropped;
            self.sink.shared.stats.io.count_cut(*stream, usize::try_from(lost).unwrap_or(usize::MAX));
        }
    }

    /// In a forked child: its output goes on through the relay; the rest is its parent's.
    pub fn abandon(self) {
        direct::forget();
        std::mem::forget(self);
    }
}

/// The files below Python's own streams write past the relay.
fn write_directly(py: Python<'_>) -> PyResult<()> {
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
            if descriptor == 1 || descriptor == 2 {
                stream::write_directly(&file, descriptor)?;
            }
        }
    }
    Ok(())
}

fn collect(copies: Copies, stream: u8, queue: Arc<Queue>, received: Arc<AtomicU64>) {
    let work = move || {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = copies.read(&mut buffer);
            if count == 0 {
                return;
            }
            queue.push(stream, &buffer[..count]);
            received.fetch_add(count as u64, Ordering::SeqCst);
        }
    };
    let spawned =
        signals::with_signals_blocked(|| std::thread::Builder::new().name("codetracer-mirror".into()).spawn(work));
    if let Err(error) = spawned {
        tracing::info!(%error, "output past Python's streams is not recorded");
    }
}
