//! Control of a running recording from outside: a Unix socket in the recording's directory.
//!
//! Invariants:
//! - Only the user that the process acts for is listened to: the socket has mode 0600, and every peer's user id is
//!   checked.
//! - The program never waits: requests are answered by threads of our own, which take the GIL only for what needs it and
//!   never hold a lock meanwhile. A client that says nothing, or reads nothing, costs one of few places for a few
//!   seconds.
//! - What cannot be set up is logged, and the recording goes on without.
//! - A program that closes descriptors that are not its own, and gets the number again, keeps what it got: the listener
//!   knows its socket.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use serde_json::{Value, json};

use super::{control, flight};
use crate::errors::RecorderResult;
use crate::ffi::peer;
use crate::pipeline::artifacts::CONTROL_SOCKET as SOCKET;
use crate::pipeline::supervisor::Worker;
use crate::policy::flight::{ControlSocket, RingStorage};
use crate::policy::model::RecorderPolicy;
use crate::{enverr, usage};

mod protocol;

use protocol::Command;

/// Longest path that fits into the address of a socket.
const MAX_PATH: usize = 100;

/// Connections at a time: one person, and a script or two.
const MAX_CONNECTIONS: usize = 4;

/// How long a client may take for its next line, or for reading an answer.
const CLIENT_PATIENCE: Duration = Duration::from_secs(5);

/// How often the listener looks whether it is to end, in milliseconds.
const LISTEN_STEP: i32 = 200;

/// How long the end of a session waits for a request that is being answered.
const END_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct State {
    ended: AtomicBool,
    connections: AtomicUsize,
    /// Requests that are being obeyed.
    obeying: AtomicUsize,
}

/// The listener of one recording.
#[derive(Debug)]
pub(super) struct Remote {
    worker: Worker,
    state: Arc<State>,
    path: PathBuf,
    listener: RawFd,
    /// Keeps the descriptor open that the socket was bound through, if it was.
    directory: Option<File>,
    process: u32,
}

/// Whether the policy wants a recording to listen.
pub(super) fn is_wanted(policy: &RecorderPolicy) -> bool {
    match policy.output.control {
        ControlSocket::Auto => policy.ring.storage != RingStorage::Off,
        ControlSocket::Always => true,
        ControlSocket::Never => false,
    }
}

impl Remote {
    /// Starts to listen in `directory`.
    pub fn start(directory: &Path) -> Option<Self> {
        let path = directory.join(SOCKET);
        let listen = || -> RecorderResult<Self> {
            let (listener, directory) = bind(directory)
                .map_err(|error| enverr!(Io, "cannot listen for ctl at {}", path.display()).with_source(error))?;
            let state = Arc::new(State::default());
            let descriptor = listener.as_raw_fd();
            let served = Arc::clone(&state);
            let worker = Worker::start("ct-control", move || serve(listener, &served))?;
            Ok(Self { worker, state, path: path.clone(), listener: descriptor, directory, process: std::process::id() })
        };
        listen().inspect_err(|error| tracing::info!(%error, "no control socket")).ok()
    }

    /// Ends the listener; call it without the GIL, which a request may be waiting for.
    pub fn end(self) {
        self.state.ended.store(true, Ordering::Release);
        // Wakes the listener, which looks by itself now and then.
        drop(UnixStream::connect(&self.path));
        drop(std::fs::remove_file(&self.path));
        let deadline = Instant::now() + END_PATIENCE;
        self.worker.ended_by(deadline);
        // A request to stop is one of them, and waits for nobody.
        let own = usize::from(OBEYING.get());
        while self.state.obeying.load(Ordering::Acquire) > own && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The process ends, and nobody may be waited for.
    pub fn leave(self) {
        drop(std::fs::remove_file(&self.path));
        self.state.ended.store(true, Ordering::Release);
    }

    /// In a forked child: the thread does not exist there, and the socket is the parent's.
    pub fn forget(self) {
        if self.process != std::process::id() {
            peer::close_inherited(self.listener);
            if let Some(directory) = &self.directory {
                peer::close_inherited(directory.as_raw_fd());
            }
        }
        std::mem::forget(self);
    }
}

thread_local! {
    /// This thread obeys a request.
    static OBEYING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// A socket in `directory` for its user alone. One that an earlier recording has left goes.
fn bind(directory: &Path) -> std::io::Result<(UnixListener, Option<File>)> {
    let path = directory.join(SOCKET);
    if std::fs::symlink_metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
        std::fs::remove_file(&path)?;
    }
    let (listener, opened) = if path.as_os_str().len() <= MAX_PATH {
        (UnixListener::bind(&path)?, None)
    } else {
        // An address holds 107 bytes; a descriptor of the directory is short. `ctl` finds the socket through it.
        let opened = File::open(directory)?;
        let short = Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string()).join(SOCKET);
        (UnixListener::bind(short)?, Some(opened))
    };
    // Until then the directory keeps others out, if it is one of ours; and every peer is asked who it is.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok((listener, opened))
}

fn serve(listener: UnixListener, state: &Arc<State>) {
    let descriptor = listener.as_raw_fd();
    let identity = peer::identity(descriptor);
    while !state.ended.load(Ordering::Acquire) {
        if !peer::wait_readable(descriptor, LISTEN_STEP) {
            if peer::identity(descriptor) == identity {
                continue;
            }
        } else if peer::identity(descriptor) == identity {
            if let Ok((stream, _)) = listener.accept()
                && !state.ended.load(Ordering::Acquire)
            {
                receive(stream, state);
            }
            continue;
        }
        // The program has closed it, and the number may be the program's own by now.
        std::mem::forget(listener);
        return;
    }
}

/// Takes a client in: a thread of its own answers it.
fn receive(stream: UnixStream, state: &Arc<State>) {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(CLIENT_PATIENCE));
    let _ = stream.set_write_timeout(Some(CLIENT_PATIENCE));
    let refusal = match peer::peer_uid(&stream) {
        Ok(uid) if uid == peer::own_uid() => None,
        _ => Some(usage!(Unknown, "only the user that runs the process may control it")),
    };
    let refusal = refusal.or_else(|| {
        let busy = state.connections.load(Ordering::Acquire) >= MAX_CONNECTIONS;
        busy.then(|| enverr!(Io, "too many connections at once; try again"))
    });
    if let Some(refusal) = refusal {
        let _ = (&stream).write_all(&protocol::answer(Err(refusal)));
        return;
    }
    state.connections.fetch_add(1, Ordering::AcqRel);
    let counted = Counted(Arc::clone(state));
    // Without a thread the client finds its connection closed.
    let _ = Worker::start("ct-ctl", move || {
        let counted = counted;
        converse(&stream, &counted.0);
    });
}

/// One connection, until it is over.
struct Counted(Arc<State>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

fn converse(stream: &UnixStream, state: &State) {
    let mut reader = BufReader::new(stream);
    while !state.ended.load(Ordering::Acquire) {
        let mut line = Vec::new();
        let taken = (&mut reader).take(protocol::MAX_LINE as u64 + 1).read_until(b'\n', &mut line);
        if !taken.is_ok_and(|bytes| bytes > 0) {
            return;
        }
        let too_long = line.len() > protocol::MAX_LINE;
        let outcome = if too_long {
            Err(usage!(Unknown, "a request is at most {} bytes long", protocol::MAX_LINE))
        } else {
            protocol::parse(&line).and_then(|command| obey_unless_ended(command, state))
        };
        let mut out = stream;
        if out.write_all(&protocol::answer(outcome)).is_err() || too_long {
            return;
        }
    }
}

fn obey_unless_ended(command: Command, state: &State) -> RecorderResult<Value> {
    state.obeying.fetch_add(1, Ordering::AcqRel);
    OBEYING.set(true);
    let outcome = if state.ended.load(Ordering::Acquire) {
        Err(usage!(TraceMissing, "the recording has ended"))
    } else {
        obey(command)
    };
    OBEYING.set(false);
    state.obeying.fetch_sub(1, Ordering::AcqRel);
    outcome
}

fn obey(command: Command) -> RecorderResult<Value> {
    match command {
        Command::Status => {
            control::stats_now().ok_or_else(|| usage!(TraceMissing, "no recording is running in this process any more"))
        }
        Command::Dump { reason } => {
            flight::dump_now(reason).map(|directory| json!({"directory": directory.to_string_lossy()}))
        }
        Command::Pause => with_interpreter(|py| control::pause(py).map(|changed| json!({"changed": changed}))),
        Command::Resume => with_interpreter(|py| control::resume(py).map(|changed| json!({"changed": changed}))),
        Command::Stop => {
            let directory = super::location().map(|(directory, _)| directory.to_string_lossy().into_owned());
            with_interpreter(|py| super::stop(py, None))?;
            Ok(json!({"directory": directory}))
        }
    }
}

/// Runs something that needs the GIL, if the interpreter still gives it.
fn with_interpreter<T>(work: impl FnOnce(Python<'_>) -> RecorderResult<T>) -> RecorderResult<T> {
    Python::try_attach(work).unwrap_or_else(|| Err(usage!(Unknown, "the program is ending")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(stream: &UnixStream, line: &str) -> Value {
        let mut out = stream;
        out.write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    #[test]
    fn the_socket_is_its_users_alone_and_garbage_hanging_and_too_many_clients_stop_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        for directory in [dir.path(), &deep] {
            // What an earlier process has left is no obstacle.
            drop(UnixListener::bind(dir.path().join(SOCKET)));
            let control = Remote::start(directory).unwrap();
            let mode = std::fs::metadata(directory.join(SOCKET)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let opened = std::fs::File::open(directory).unwrap();
            let short = Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string()).join(SOCKET);
            let hanging: Vec<_> = (1..MAX_CONNECTIONS).map(|_| UnixStream::connect(&short).unwrap()).collect();
            let client = UnixStream::connect(&short).unwrap();
            assert_eq!(ask(&client, "what?\n")["ok"], false);
            let status = ask(&client, "{\"version\": 1, \"command\": \"status\"}\n");
            assert_eq!((&status["ok"], &status["error"]["code"]), (&false.into(), &"ERR_TRACE_MISSING".into()));
            let refused = UnixStream::connect(&short).unwrap();
            assert_eq!(ask(&refused, "")["error"]["message"], "too many connections at once; try again");
            drop((hanging, client));
            control.end();
            assert!(!directory.join(SOCKET).exists());
        }
    }

    #[test]
    fn an_endless_line_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let control = Remote::start(dir.path()).unwrap();
        let client = UnixStream::connect(dir.path().join(SOCKET)).unwrap();
        let answer = ask(&client, &"x".repeat(protocol::MAX_LINE + 1));
        assert!(answer["error"]["message"].as_str().unwrap().contains("at most"));
        drop(client);
        control.end();
    }
}
