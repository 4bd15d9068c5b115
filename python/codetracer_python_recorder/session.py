"""Recording sessions: one per process at a time.

Invariants:
- `_active_session` is the session that `start` returned last and that nobody has stopped; a session forgotten
  open is stopped when the interpreter exits.
- Paths are made absolute when a session starts, so a later `chdir` of the program moves nothing.
- Importing this module imports nothing but builtin modules, `os` and the extension: the traced program finds
  its own `sys.modules` (and its own shadows of the standard library) as under plain `python`.
"""

from __future__ import annotations

import atexit
import os
import sys

from .codetracer_python_recorder import RecorderError
from .codetracer_python_recorder import configure_policy as _configure_policy
from .codetracer_python_recorder import dump_recording as _dump_backend
from .codetracer_python_recorder import flush_tracing as _flush_backend
from .codetracer_python_recorder import is_tracing as _is_tracing_backend
from .codetracer_python_recorder import pause_tracing as _pause_backend
from .codetracer_python_recorder import refresh_policy_from_env as _configure_policy_from_env
from .codetracer_python_recorder import resume_tracing as _resume_backend
from .codetracer_python_recorder import start_tracing as _start_backend
from .codetracer_python_recorder import stop_tracing as _stop_backend
from .codetracer_python_recorder import tracing_stats as _stats_backend
from .formats import DEFAULT_FORMAT, is_supported, normalize_format, unsupported_format_message

TYPE_CHECKING = False  # the name is what type checkers look for; importing `typing` costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Any

    StrPath = str | os.PathLike[str]
    TraceFilter = StrPath | Sequence[StrPath]


class TraceSession:
    """A recording that runs until `stop` is called, the `with` block ends, or the interpreter exits."""

    __slots__ = ("_directory", "_format")

    def __init__(self, path: StrPath, format: str) -> None:
        self._directory = os.fspath(path)
        self._format = format

    @property
    def path(self) -> Path:
        """The trace directory, absolute."""
        from pathlib import Path

        return Path(self._directory)

    @property
    def format(self) -> str:
        """`"binary"` or `"json"`."""
        return self._format

    def flush(self) -> None:
        """Writes everything recorded so far to disk; nothing happens when this session is over.

        Raises `RecorderError` when the recording cannot be written.
        """
        if _active_session is self:
            flush()

    def pause(self) -> bool:
        """Switches recording off until `resume`, as the function `pause` does; False when this session is over."""
        return _active_session is self and pause()

    def resume(self) -> bool:
        """Goes on recording, as the function `resume` does; False when this session is over."""
        return _active_session is self and resume()

    def stats(self) -> dict[str, Any] | None:
        """What the function `stats` tells; None when this session is over."""
        return stats() if _active_session is self else None

    def stop(self, *, exit_code: int | None = None) -> None:
        """Ends this session and completes its files; nothing happens when it is over already.

        `exit_code` goes to the trace as the program's exit status. Raises `RecorderError` when the recording
        could not be completed.
        """
        if _active_session is self:
            stop(exit_code=exit_code)

    def __enter__(self) -> TraceSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "active" if _active_session is self else "stopped"
        return f"<TraceSession {state} {self._format} {self._directory!r}>"


_active_session: TraceSession | None = None
_exit_hook_registered = False
_exit_code: int | None = None
_complain: Callable[[RecorderError], None] | None = None


def start(
    path: StrPath,
    *,
    format: str = DEFAULT_FORMAT,
    start_on_enter: StrPath | None = None,
    trace_filter: TraceFilter | None = None,
    policy: Mapping[str, object] | None = None,
    apply_env_policy: bool = True,
    test_framework: str | None = None,
) -> TraceSession:
    """Starts recording this process into the directory `path`.

    - `path`: created when missing; `~` is expanded.
    - `format`: `"binary"` or `"json"`, in any case.
    - `start_on_enter`: hold recording back until the interpreter enters this file, and end it when that
      file's frame returns.
    - `trace_filter`: filter files, later ones win: a path, several joined by `::`, or a sequence of either.
    - `policy`: arguments of `configure_policy`; they win over the environment.
    - `apply_env_policy`: read the `CODETRACER_*` policy variables first.
    - `test_framework`: `"pytest"` or `"unittest"`: what runs the program, whose own code a built-in filter leaves out.

    Raises `RuntimeError` when a session is active, `ValueError` for a bad path, format or filter,
    `FileNotFoundError` for a missing filter, `TypeError` for arguments of a wrong type, and `RecorderError`
    for everything the recorder itself refuses (`EnvironmentError` when the directory cannot be created).
    """
    _refuse_second_session()
    if _validate_trace_path is _PATH_SEAM:
        directory = _absolute_trace_directory(path)
    else:
        directory = os.fspath(_validate_trace_path(path))
    trace_format = _coerce_format(format)
    activation = _normalize_activation_path(start_on_enter)
    filters = _normalize_trace_filter(trace_filter)
    return _begin(directory, trace_format, activation, filters, policy, apply_env_policy, test_framework)


def stop(*, exit_code: int | None = None) -> None:
    """Ends the active session and completes its files; nothing happens without one.

    `exit_code` goes to the trace as the program's exit status. Raises `RecorderError` when the recording
    could not be completed, or was required and is missing; the session is over all the same.
    """
    global _active_session
    if _active_session is None and not _is_tracing_backend():
        return
    _active_session = None
    _stop_backend(exit_code)


def is_tracing() -> bool:
    """Tells whether a session is recording."""
    return _is_tracing_backend()


def flush() -> None:
    """Writes everything recorded so far to disk, so that the file opens; nothing happens without a session.

    Raises `RecorderError` when the recording cannot be written.
    """
    if _is_tracing_backend():
        _flush_backend()


def pause() -> bool:
    """Switches recording off until `resume`; the program runs at its own speed meanwhile, in all threads.

    What was recorded is complete on disk when this returns: the calls in progress end there, without values.
    Returns False when there is no session, or it is paused already. Raises `RecorderError` when the recording cannot
    be written.
    """
    return _pause_backend()


def resume() -> bool:
    """Goes on recording after `pause`, in a further part of the trace.

    Functions that are running are entered at their next line. Returns False when nothing was paused. Raises
    `RecorderError` when the recording cannot be written.
    """
    return _resume_backend()


def stats() -> dict[str, Any] | None:
    """What the session has done so far: state, part, events, bytes, queue, losses, lag of the workers, overhead.

    Returns None without a session. The keys are described in docs/sampling.md.
    """
    return _stats_backend()


def dump(reason: str = "asked") -> Path:
    """Writes what the flight recorder holds as a trace of its own, and returns its directory.

    The directory is `dumps/NNNN-reason` in that of the recording, which goes on. Raises `RecorderError` when no
    recording runs, when its policy keeps no flight recorder (`ring.storage`), or when the dump cannot be written.
    """
    from pathlib import Path

    return Path(_dump_backend(reason))


class trace:
    """Records the body of a `with` statement; takes what `start` takes and raises what `start` raises.

    >>> with trace("trace-out") as session:
    ...     main()
    """

    def __init__(
        self,
        path: StrPath,
        *,
        format: str = DEFAULT_FORMAT,
        trace_filter: TraceFilter | None = None,
        policy: Mapping[str, object] | None = None,
        apply_env_policy: bool = True,
    ) -> None:
        self._path = path
        self._options: dict[str, Any] = {
            "format": format,
            "trace_filter": trace_filter,
            "policy": policy,
            "apply_env_policy": apply_env_policy,
        }
        self._session: TraceSession | None = None

    def __enter__(self) -> TraceSession:
        self._session = session = start(self._path, **self._options)
        return session

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            self._session.stop()


def _begin(
    directory: str,
    trace_format: str,
    activation: str | None,
    filters: list[str] | None,
    policy: Mapping[str, object] | None,
    apply_env_policy: bool,
    test_framework: str | None = None,
) -> TraceSession:
    """Starts a session from checked arguments; the command line comes in here, without `pathlib`."""
    global _active_session
    _refuse_second_session()
    if apply_env_policy:
        _configure_policy_from_env()
    if policy:
        _configure_policy(**_policy_arguments(policy))
    # A seam that users' own tests replace with functions of four arguments.
    framework = () if test_framework is None else (test_framework,)
    _start_backend(directory, trace_format, activation, filters, *framework)
    _active_session = session = TraceSession(directory, trace_format)
    _stop_at_exit()
    return session


def _refuse_second_session() -> None:
    if _is_tracing_backend():
        raise RuntimeError("tracing already active")


def _policy_arguments(policy: Mapping[str, object]) -> dict[str, Any]:
    """The keyword arguments of `configure_policy`; paths (`log_file`) become text."""
    return {key: os.fspath(value) if isinstance(value, os.PathLike) else value for key, value in policy.items()}


def _stop_at_exit() -> None:
    global _exit_hook_registered
    if not _exit_hook_registered:
        atexit.register(_finish_forgotten_session)
        _exit_hook_registered = True


def _finish_forgotten_session() -> None:
    """Completes a session that is still open when the interpreter exits, with an unknown exit status."""
    try:
        if _active_session is not None:
            stop(exit_code=_exit_code)
    except RecorderError as error:
        if _complain is not None:
            _complain(error)
        elif sys.stderr is not None:
            sys.stderr.write(f"codetracer-python-recorder: {error}\n")


def finish_after_exit_handlers(exit_code: int, complain: Callable[[RecorderError], None]) -> bool:
    """Leaves the active session to the interpreter's exit, if handlers of others run there that may still write.

    `complain` is told if it cannot be completed then. False if there is nothing to wait for.
    """
    global _exit_code, _complain
    # The session's own handler was registered before the program ran, so it is the last. Without any other, or if the
    # program has cleared them all, there is nothing to wait for.
    if _active_session is None or atexit._ncallbacks() <= 1:
        return False
    _exit_code, _complain = exit_code, complain
    return True


def _coerce_format(value: str | None) -> str:
    """Returns the format in lower case. Raises `ValueError` for an unknown one."""
    trace_format = normalize_format(value)
    if not is_supported(trace_format):
        raise ValueError(unsupported_format_message(value))
    return trace_format


def _validate_trace_path(path: StrPath) -> Path:
    """Returns the absolute trace directory. Raises `ValueError` when it exists and is something else."""
    from pathlib import Path

    return Path(_absolute_trace_directory(path))


# As long as nobody has put something else in its place, `start` does without `pathlib`: that is ten milliseconds and a
# dozen modules that the program has not imported.
_PATH_SEAM = _validate_trace_path


def _absolute_trace_directory(path: StrPath) -> str:
    directory = absolute(path)
    if os.path.exists(directory) and not os.path.isdir(directory):
        raise ValueError(f"trace path exists and is not a directory: {directory}")
    return directory


def _normalize_activation_path(value: StrPath | None) -> str | None:
    """Returns the absolute path of the file that switches recording on; it need not exist yet."""
    return None if value is None else absolute(value)


def _normalize_trace_filter(value: TraceFilter | None) -> list[str] | None:
    """Returns the absolute paths of the filter files in order, or `None` when none were asked for.

    Raises `TypeError`, `ValueError` and `FileNotFoundError` as `start` does.
    """
    if value is None:
        return None
    entries: Sequence[object]
    if isinstance(value, str | os.PathLike):
        entries = (value,)
    elif hasattr(value, "__getitem__") and hasattr(value, "__len__") and not hasattr(value, "keys"):
        entries = value
    else:
        raise TypeError("trace_filter must be a path, a sequence of paths, or None")
    files = [_filter_file(segment) for entry in entries for segment in _filter_segments(entry)]
    if not files:
        raise ValueError("trace_filter must resolve to at least one path")
    return files


def _filter_segments(entry: object) -> list[str]:
    """Splits `a.toml::b.toml`; empty parts are dropped."""
    if not isinstance(entry, str | os.PathLike):
        raise TypeError(f"trace_filter sequence entries must be str or os.PathLike, not {type(entry).__name__}")
    return [part for segment in os.fspath(entry).split("::") if (part := segment.strip())]


def _filter_file(segment: str) -> str:
    path = os.path.abspath(os.path.expanduser(segment))
    if not os.path.exists(path):
        raise FileNotFoundError(f"trace filter '{segment}' does not exist")
    if not os.path.isfile(path):
        raise ValueError(f"trace filter '{path}' is not a file")
    return path


def absolute(path: StrPath) -> str:
    """Expands `~`, puts the current directory in front of a relative path; symlinks and `..` stay."""
    return os.path.join(os.getcwd(), os.path.expanduser(os.fspath(path)))


__all__ = ("TraceSession", "dump", "flush", "is_tracing", "pause", "resume", "start", "stats", "stop", "trace")
