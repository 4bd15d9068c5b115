"""Runs a program exactly as `python script.py`, `python -m module` or `python -c code` would, or a test framework.

Invariants:
- `sys.argv`, `sys.path[0]` and a fresh `__main__` are what CPython itself would have set up.
- The program's stack is what it is under plain Python: none of the recorder's frames lies below it, and `report`
  takes them off a traceback before anyone sees it.
- Nothing is imported once `enter` has put the program's directory first on `sys.path`.

The model is CPython's `Modules/main.c` and `Python/pythonrun.c`; where a step looks odd, CPython takes it
too.
"""

from __future__ import annotations

import builtins

# Importing names from it would import `warnings`, too, from 3.14 on.
import importlib.machinery as machinery
import os
import runpy
import sys
from importlib.util import MAGIC_NUMBER

from .codetracer_python_recorder import call_detached, run_detached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType, ModuleType, TracebackType
    from typing import Any

SCRIPT = "script"
MODULE = "module"
COMMAND = "command"
FRAMEWORK = "framework"

# What a shell shows for a process that SIGINT ended.
INTERRUPTED = 130

_NOT_UTF_8 = "Non-UTF-8 code starting with"
_COMMAND_FILE = "<string>"
_RECORDER_DIRECTORY = os.path.dirname(__file__) + os.sep


class Target:
    """What to run: `kind` is `SCRIPT`, `MODULE`, `COMMAND` or `FRAMEWORK`; `name` its path, dotted name or source.

    A test framework runs as the module of its name does, and sees that bare name as `sys.argv[0]`.
    """

    __slots__ = ("container", "filename", "kind", "name")

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        self.filename = _absolute(name) if kind == SCRIPT else None
        # A directory or zip file with a `__main__.py` is run as a module of that name.
        self.container = self.filename is not None and _is_importable(self.filename)

    @property
    def main_file(self) -> str | None:
        """The file whose code runs as `__main__`, as its code objects name it; `None` if not known yet."""
        if not self.container or self.filename is None:
            return self.filename
        return os.path.join(self.filename, "__main__.py") if os.path.isdir(self.filename) else None


class Host:
    """What `enter` replaced, for a caller that has its own life to go on with."""

    __slots__ = ("_argv", "_main", "_path")

    def __init__(self) -> None:
        self._argv = sys.argv
        self._path = sys.path[:]
        self._main = sys.modules["__main__"]

    def restore(self) -> None:
        """Puts `sys.argv`, `sys.path` and `__main__` back."""
        sys.argv = self._argv
        sys.path[:] = self._path
        sys.modules["__main__"] = self._main


def enter(target: Target, arguments: Sequence[str], *, guest: bool) -> Host:
    """Gives this process the `sys.argv`, `sys.path` and `__main__` of `target`.

    A `guest` runs inside somebody else's process and adds its entry to `sys.path`; otherwise the first entry
    is the recorder's own and is replaced.
    """
    host = Host()
    argv0 = {MODULE: "-m", COMMAND: "-c"}.get(target.kind, target.name)
    sys.argv = [argv0, *arguments]
    _put_first_on_path(target, guest=guest)
    sys.modules["__main__"] = _fresh_main(target)
    return host


def entry_point(target: Target) -> tuple[Callable[..., object], tuple[object, ...]]:
    """Returns the function to call, and its arguments, to run `target` in the `__main__` that `enter` made.

    Raises `SyntaxError` when the program does not compile, and `SystemExit(2)` when its file cannot be read.
    """
    namespace = vars(sys.modules["__main__"])
    if target.kind == COMMAND:
        return run_detached, (_compile_command(target.name), namespace)
    if target.kind == MODULE:
        return call_detached, (_run_as_main, (target.name,))
    if target.kind == FRAMEWORK:
        return call_detached, (_run_as_main, (target.name, False))
    assert target.filename is not None
    if target.container:
        return call_detached, (_run_as_main, ("__main__", False))
    return run_detached, (_load_script(target.filename, namespace), namespace)


def is_installed(name: str) -> bool:
    """Tells whether the top-level module `name` can be found, as `python -m` would look for it."""
    from importlib.util import find_spec

    try:
        return find_spec(name) is not None or os.path.exists(os.path.join(os.getcwd(), name + ".py"))
    except (ImportError, ValueError):
        return False


def report(error: BaseException | None) -> int:
    """Treats what ended the program as the interpreter does at top level, and returns the exit status.

    `SystemExit` becomes its status, its message goes to stderr; anything else goes through `sys.excepthook`.
    Call it outside of an `except` block, so that the program's hook sees no exception being handled.
    """
    if error is None:
        return 0
    error.__traceback__ = traceback = _without_recorder(error.__traceback__)
    if isinstance(error, SystemExit):
        return _exit_status(error)
    kind = type(error)
    sys.last_exc = error
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, traceback
    return _call_excepthook(kind, error, traceback)


def flush_streams(target: Target) -> None:
    """Flushes `sys.stderr` and `sys.stdout` as the interpreter does when a script has ended, whatever they are by then.

    Call it outside of an `except` block, as `report`.
    """
    if target.kind != SCRIPT or target.container:
        return
    for name in ("stderr", "stdout"):
        try:
            call_detached(getattr(sys, name).flush, ())
        except BaseException:
            continue


def wait_for_threads() -> None:
    """Waits for the program's non-daemon threads and executors, as the interpreter does before it exits.

    The interpreter repeats this call later; it then has nothing left to do.
    """
    threading = sys.modules.get("threading")
    shutdown = getattr(threading, "_shutdown", None)
    if shutdown is None:
        return
    ignored = None
    try:
        shutdown()
    except BaseException as error:  # as CPython: an interrupted wait is shown and ends the waiting
        ignored = error
    if ignored is not None:
        if sys.version_info < (3, 13):
            _write_stderr(f"Exception ignored in: {threading!r}\n")
        _show(ignored)


def end_by_interrupt(error: BaseException) -> None:
    """Lets a `KeyboardInterrupt` that was reported end this process by SIGINT, as in plain `python`."""
    sys.excepthook = _say_nothing
    raise error


def _say_nothing(*_: object) -> None:
    """An excepthook for an exception that has been shown before."""


# CPython runs `-m`, directories and zip files through this; its frames belong in the traceback.
_run_as_main: Callable[..., object] = runpy._run_module_as_main  # type: ignore[attr-defined]


def _absolute(name: str) -> str:
    """The absolute path as CPython makes it for `__file__`: only the current directory is put in front."""
    return os.path.abspath(name) if os.name == "nt" else os.path.join(os.getcwd(), name)


def _is_importable(filename: str) -> bool:
    """Tells whether modules can be imported from `filename`, which makes it a directory or an archive."""
    for hook in sys.path_hooks:
        try:
            hook(filename)
        except ImportError:
            continue
        return True
    return False


def _put_first_on_path(target: Target, *, guest: bool) -> None:
    if target.filename is not None and target.container:
        first = target.filename
    elif target.filename is not None:
        first = os.path.dirname(os.path.realpath(target.filename))
    else:
        first = "" if target.kind == COMMAND else os.getcwd()
    own_entry = not guest and not sys.flags.safe_path
    if own_entry:
        sys.path[0] = first
    elif target.container or not sys.flags.safe_path:
        sys.path.insert(0, first)


def _fresh_main(target: Target) -> ModuleType:
    """A new `__main__` with the names, values and order CPython gives it."""
    module = type(sys)("__main__")
    namespace = vars(module)
    if "__annotations__" in vars(sys.modules["__main__"]):  # the recorder's own shows this version's habit
        namespace["__annotations__"] = {}
    namespace["__builtins__"] = builtins
    if target.filename is not None and not target.container:
        namespace["__loader__"] = machinery.SourceFileLoader("__main__", target.filename)
        namespace["__file__"] = target.filename
        namespace["__cached__"] = None
    else:
        namespace["__loader__"] = machinery.BuiltinImporter
    return module


def _load_script(filename: str, namespace: dict[str, object]) -> CodeType:
    try:
        with open(filename, "rb") as file:
            source = file.read()
    except OSError as error:
        reason = f"[Errno {error.errno}] {error.strerror}"
        _write_stderr(f"{sys.executable}: can't open file {filename!r}: {reason}\n")
        raise SystemExit(2) from None
    if filename.endswith(".pyc") or source.startswith(MAGIC_NUMBER):
        loader = machinery.SourcelessFileLoader("__main__", filename)
        namespace["__loader__"] = loader
        code = loader.get_code("__main__")
        assert code is not None
        return code
    return _compile_script(source, filename)


def _compile_script(source: bytes, filename: str) -> CodeType:
    """Compiles what was read from `filename`, with the errors CPython has when it reads the file itself.

    Compiling from memory has other words for a bad encoding, and lets it pass within a comment.
    """
    if b"\0" in source:
        before, _, _ = source.partition(b"\0")
        *lines, text = before.decode("utf-8", "replace").split("\n")
        raise SyntaxError("source code cannot contain null bytes", (filename, len(lines) + 1, None, text + "\n"))
    if sys.version_info < (3, 14):
        _refuse_undeclared(source, filename)
    try:
        return compile(source, filename, "exec", dont_inherit=True)
    except SyntaxError as error:
        unknown = "unknown encoding: "
        if sys.version_info >= (3, 14):
            if error.msg.startswith(_NOT_UTF_8) and source.count(b"\n") < 2 and source.lstrip().startswith(b"#"):
                return compile(b"", filename, "exec", dont_inherit=True)  # a lone comment is never looked at
            _tell_as_of_a_file(error, source, filename)
        elif error.msg.startswith(unknown):
            raise SyntaxError("encoding problem: " + error.msg.removeprefix(unknown)) from None
        raise


def _refuse_undeclared(source: bytes, filename: str) -> None:
    """Raises what CPython before 3.14 does for bytes that are not UTF-8 where no encoding is declared."""
    try:
        source.decode("utf-8")
    except UnicodeDecodeError as error:
        if not _declares_encoding(source):
            line, byte = source.count(b"\n", 0, error.start) + 1, source[error.start]
            raise SyntaxError(
                f"Non-UTF-8 code starting with '\\x{byte:02x}' in file {filename} on line {line}, "
                "but no encoding declared; see https://peps.python.org/pep-0263/ for details"
            ) from None


def _tell_as_of_a_file(error: SyntaxError, source: bytes, filename: str) -> None:
    """Gives an error of CPython 3.14 for bytes that are not UTF-8 the words it has when it reads the file itself."""
    line = error.lineno
    if line is None or not error.msg.startswith(_NOT_UTF_8):
        return
    *_, text = source.split(b"\n", line)[:line]
    if source.startswith(b"\xef\xbb\xbf") or _declares_encoding(source):
        try:
            text.decode("utf-8")
        except UnicodeDecodeError as wrong:
            place = (filename, line, 0, text.decode("utf-8", "replace") + "\n", line, -1)
            error.__init__(f"(unicode error) {wrong}", place)  # type: ignore[misc]
        return
    first = source.partition(b"\n")[0].strip()
    # The file's reader has not counted the second line yet when it looks at it for an encoding.
    shown = 1 if line == 2 and first and not first.startswith(b"#") else line
    words = error.msg.replace(f" on line {line},", f" in file {filename} on line {shown},")
    error.__init__(words, (filename, shown, error.offset, error.text, shown, error.end_offset))  # type: ignore[misc]


def _declares_encoding(source: bytes) -> bool:
    """Tells whether one of the first two lines is a comment that names an encoding."""
    return any(line.lstrip().startswith(b"#") and b"coding" in line for line in source.split(b"\n", 2)[:2])


def _compile_command(source: str) -> CodeType:
    if sys.version_info >= (3, 13):  # tracebacks show the source of `-c` since then
        import linecache

        lines = [line + "\n" for line in source.splitlines()]
        linecache.cache[_COMMAND_FILE] = (len(source), None, lines, _COMMAND_FILE)
    return compile(source + "\n", _COMMAND_FILE, "exec", dont_inherit=True)


def _without_recorder(traceback: TracebackType | None) -> TracebackType | None:
    """Drops the recorder's own frames from the head of a traceback."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_RECORDER_DIRECTORY):
        traceback = traceback.tb_next
    return traceback


def _exit_status(error: SystemExit) -> int:
    """`_Py_HandleSystemExit`: no code is 0, an integer is itself, anything else is printed and is 1."""
    code: object
    try:
        code = error.code
    except BaseException:  # a subclass may compute its code; CPython then prints the exception itself
        code = error
    if code is None:
        return 0
    if isinstance(code, int):
        return _as_process_status(code)
    failure = None
    try:
        if (stderr := getattr(sys, "stderr", None)) is not None:
            stderr.write(str(code))
        else:
            os.write(2, str(code).encode("utf-8", "backslashreplace"))
    except BaseException as raised:
        failure = raised
    _write_stderr("\n")
    if failure is not None:
        _show_leftover(failure)
    return 1


def _as_process_status(code: int) -> int:
    """What the parent process sees of `exit(code)`: -1 if it does not fit a C long, then masked by the OS."""
    bits = 32 if os.name == "nt" else 64
    if not -(2 ** (bits - 1)) <= code < 2 ** (bits - 1):
        _show_leftover(OverflowError("Python int too large to convert to C long"))
        code = -1
    return code & (0xFFFF_FFFF if os.name == "nt" else 0xFF)


def _show_leftover(error: BaseException) -> None:
    """CPython before 3.14 leaves an error of reading or printing an exit code pending, and shows it a moment later."""
    if sys.version_info >= (3, 14):
        return
    if getattr(sys.stderr, "closed", False):
        return
    if sys.version_info >= (3, 13):
        _write_stderr("Exception ignored on threading shutdown:\n")
    _show(error)


def _show(error: BaseException) -> None:
    """Shows `error` on stderr without the program's own excepthook."""
    error.__traceback__ = traceback = _without_recorder(error.__traceback__)
    sys.__excepthook__(type(error), error, traceback)


def _call_excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> int:
    """`PyErr_PrintEx`: shows `error` through the program's own `sys.excepthook`, whatever that does."""
    missing: Any = object()
    hook = getattr(sys, "excepthook", missing)
    try:
        sys.audit("sys.excepthook", hook, kind, error, traceback)
    except RuntimeError:  # an audit hook vetoes the report
        return _status_of(error)
    if hook is missing:
        _write_stderr("sys.excepthook is missing\n")
        _show(error)
        return _status_of(error)
    failure = None
    try:
        hook(kind, error, traceback)
    except BaseException as raised:
        failure = raised
    if failure is None:
        return _status_of(error)
    if isinstance(failure, SystemExit):
        return _exit_status(failure)
    _write_stderr("Error in sys.excepthook:\n")
    _show(failure)
    _write_stderr("\nOriginal exception was:\n")
    _show(error)
    return _status_of(error)


def _status_of(error: BaseException) -> int:
    return INTERRUPTED if is_interrupt(error) else 1


def is_interrupt(error: BaseException | None) -> bool:
    """Tells whether what was not caught ends a process by SIGINT. Before 3.14 a subclass does not."""
    if sys.version_info >= (3, 14):
        return isinstance(error, KeyboardInterrupt)
    return type(error) is KeyboardInterrupt


def _write_stderr(text: str) -> None:
    """`PySys_WriteStderr`: to the program's stderr, or to the process's where that does not work."""
    try:
        sys.stderr.write(text)
    except Exception:
        try:
            os.write(2, text.encode("utf-8", "backslashreplace"))
        except OSError:
            return  # nobody is left to tell
