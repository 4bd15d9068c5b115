"""The command line: `codetracer-python-recorder [options] script.py [args…]`.

Invariants:
- Options are the recorder's only before the program; everything after it is the program's, `-h` included.
- stdout belongs to the program. Nothing of the recorder is written there while or after a program runs.
- Exit status: 0 when the recorder worked, whatever the program returned (the program's own with
  `--propagate-script-exit` or when recording is disabled); 1 when the recorder failed; 2 for bad arguments.
- No module is imported for the arguments that plain `python` would not have imported (`argparse`, `pathlib`):
  a program that shadows a module of the standard library still finds its own.
"""

from __future__ import annotations

import os
import sys

from . import runner, session
from .auto_start import ENV_DISABLED, ENV_TRACE_FORMAT, filters_from_env, is_disabled
from .codetracer_python_recorder import VERSION, RecorderError, announce_outside_session, policy_snapshot
from .formats import is_supported, normalize_format, unsupported_format_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import NoReturn

    from . import verbs
    from .session import StrPath

PROGRAM = "codetracer-python-recorder"
ENV_OUT_DIR = "CODETRACER_PYTHON_RECORDER_OUT_DIR"
DEFAULT_OUT_DIR = "trace-out"

# Option → the key its value is kept under.
_VALUE_OPTIONS = {
    "-o": "out_dir",
    "--out-dir": "out_dir",
    "--trace-dir": "out_dir",
    "--format": "format",
    "--activation-path": "activation_path",
    "--trace-filter": "trace_filter",
    "--explain-filter": "explain_filter",
    "--io-capture": "io_capture",
    "--on-recorder-error": "on_recorder_error",
    "--log-level": "log_level",
    "--log-file": "log_file",
}
# Option → the policy key it sets, and to what.
_FLAG_OPTIONS = {
    "--require-trace": ("require_trace", True),
    "--keep-partial-trace": ("keep_partial_trace", True),
    "--json-errors": ("json_errors", True),
    "--module-name-from-globals": ("module_name_from_globals", True),
    "--no-module-name-from-globals": ("module_name_from_globals", False),
    "--propagate-script-exit": ("propagate_script_exit", True),
    "--no-propagate-script-exit": ("propagate_script_exit", False),
}
# Option → the module it runs.
_FRAMEWORKS = {"--pytest": "pytest", "--unittest": "unittest"}
_NO_FRAMEWORK_FILTERS = "--no-framework-filters"
# An empty log level or file clears what the environment says.
_MAY_BE_EMPTY = ("-c", "--log-level", "--log-file")
_CHOICES = {
    "io_capture": ("off", "proxies", "proxies+fd"),
    "on_recorder_error": ("abort", "disable"),
}


class RecorderCLIConfig:
    """What a command line asks for.

    Paths are absolute. `script` is the script's real path, or `-m`/`-c`'s operand; `activation_path` is
    `None` where recording starts with the program's first line, whatever its file. `policy_overrides` holds
    only what was said. `test_framework` names the framework whose own code is left out, if one is to be.
    """

    __slots__ = (
        "_activation_path",
        "_script",
        "_trace_dir",
        "format",
        "policy_overrides",
        "script_args",
        "target",
        "test_framework",
        "trace_filter",
    )

    def __init__(
        self,
        trace_dir: StrPath,
        format: str,
        activation_path: StrPath | None,
        script: StrPath,
        script_args: Sequence[str] = (),
        trace_filter: Sequence[str] = (),
        policy_overrides: Mapping[str, object] | None = None,
        *,
        target: runner.Target | None = None,
        test_framework: str | None = None,
    ) -> None:
        self._trace_dir = os.fspath(trace_dir)
        self.format = format
        self._activation_path = None if activation_path is None else os.fspath(activation_path)
        self._script = os.fspath(script)
        self.script_args = list(script_args)
        self.trace_filter = tuple(trace_filter)
        self.policy_overrides = dict(policy_overrides or {})
        self.target = target or runner.Target(runner.SCRIPT, self._script)
        self.test_framework = test_framework

    @property
    def trace_dir(self) -> Path:
        """Where the trace goes."""
        return _path(self._trace_dir)

    @property
    def out_dir(self) -> Path:
        """The same as `trace_dir`."""
        return self.trace_dir

    @property
    def script(self) -> Path:
        """What runs."""
        return _path(self._script)

    @property
    def activation_path(self) -> Path | None:
        """The file that switches recording on."""
        return None if self._activation_path is None else _path(self._activation_path)

    def begin(self) -> session.TraceSession:
        """Starts the recording. Raises what `session.start` raises."""
        announce_outside_session()
        return session._begin(
            session._absolute_trace_directory(self._trace_dir),
            session._coerce_format(self.format),
            self._activation_path,
            _filter_files(self.trace_filter),
            self.policy_overrides,
            True,
            self.test_framework,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status.

    With `argv` given, the caller goes on afterwards: `sys.argv`, `sys.path` and `__main__` are put back,
    nobody waits for the program's threads, and an interrupt is a status. Raises `SystemExit` for bad
    arguments, `-h` and `-V`.
    """
    guest = argv is not None
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments and arguments[0].isidentifier() and (verb := _verb(arguments[0])):
        return verb(arguments[0], arguments[1:])

    config = _parse_args(arguments)
    say = _Voice()
    if config.target.kind == runner.FRAMEWORK and not runner.is_installed(config.target.name):
        name = config.target.name
        say(
            f"{PROGRAM}: {name} is not installed for {sys.executable}; '{sys.executable} -m pip install {name}' adds it"
        )
        return 1
    recording = None
    process = os.getpid()
    host = runner.enter(config.target, config.script_args, guest=guest)
    try:
        if is_disabled():
            say(f"{PROGRAM}: recording disabled via {ENV_DISABLED}")
        else:
            try:
                recording = config.begin()
            except (RecorderError, OSError, RuntimeError, TypeError, ValueError) as error:
                say(f"Failed to start Codetracer session: {error}")
                return 1

        uncaught: BaseException | None = None
        try:
            function, operands = runner.entry_point(config.target)
            function(*operands)
        except BaseException as error:
            uncaught = error
        runner.flush_streams(config.target)
        status = runner.report(uncaught)
        recorder_failed = isinstance(uncaught, RecorderError)
        interrupt = uncaught if runner.is_interrupt(uncaught) and not guest else None
        # The exception's frames lead back to this one: let go, or the program's objects outlive their time.
        uncaught = None
        if not guest:
            runner.wait_for_threads()

        mirror = True
        if recording is not None:
            finished = _finish(recording, status, say, guest=guest or os.getpid() != process)
            if os.getpid() != process:
                # A child that the program forked: its parent waits for its own status, whatever ours is.
                return status
            if not finished or recorder_failed:
                return 1
            mirror = policy_snapshot()["propagate_script_exit"] is True
        if mirror and interrupt is not None and status == runner.INTERRUPTED:
            runner.end_by_interrupt(interrupt)
        if mirror or status == 0:
            return status
        say(
            f"Script exited with status {status}; returning 0. "
            "Use '--propagate-script-exit' to mirror the script exit code."
        )
        return 0
    finally:
        if guest:
            host.restore()


def _verb(word: str) -> verbs.Verb | None:
    """What runs instead of a program, if the first argument names it."""
    from . import verbs

    return verbs.find(word)


def _finish(recording: session.TraceSession, status: int, say: _Voice, *, guest: bool) -> bool:
    """Completes the recording, or leaves it to be completed behind the program's exit handlers; tells whether that
    worked."""

    def complain(error: RecorderError) -> None:
        say(f"Failed to finish Codetracer session: {error}")

    def complain_at_exit(error: RecorderError) -> None:
        complain(error)
        _end_with(1)

    if not guest and session.finish_after_exit_handlers(status, complain_at_exit):
        return True
    try:
        recording.stop(exit_code=status)
    except RecorderError as error:
        complain(error)
        return False
    return True


def _end_with(status: int) -> NoReturn:
    """Ends the process from within an exit handler, which has no other way to say how."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):  # there is none, its reader is gone, or it is closed
            continue
    os._exit(status)


class _Voice:
    """Writes lines to the stderr of before the program ran: the program may replace or close its own."""

    __slots__ = ("_stream",)

    def __init__(self) -> None:
        self._stream = sys.stderr

    def __call__(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (AttributeError, OSError, ValueError):  # there is none, its reader is gone, or it is closed
            pass


def _parse_args(argv: Sequence[str]) -> RecorderCLIConfig:
    """Reads a command line without acting on it.

    Raises `SystemExit`: with 0 after `-h` and `-V`, with 2 and a message on stderr for bad arguments.
    """
    values: dict[str, str] = {}
    filters: list[str] = []
    policy: dict[str, object] = {}
    framework_filters = True
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        if word == "-" or not word.startswith("-"):
            rest.insert(0, word)
            break
        option, attached = _split_option(word)
        if option in ("-h", "--help"):
            from .cli_help import HELP

            _finish_with(HELP)
        elif option in ("-V", "--version"):
            _finish_with(f"{PROGRAM} {VERSION}\n")
        elif option in ("-m", "-c"):
            kind = runner.MODULE if option == "-m" else runner.COMMAND
            operand = _operand(option, attached, rest)
            return _config(runner.Target(kind, operand), rest, values, filters, policy)
        elif option in _FRAMEWORKS:
            if attached is not None:
                rest.insert(0, attached)
            _check_framework_arguments(option, rest)
            name = _FRAMEWORKS[option]
            if subject := values.get("explain_filter"):
                _explain_filter(subject, filters, name if framework_filters else None)
            target = runner.Target(runner.FRAMEWORK, name)
            return _config(target, rest, values, filters, policy, name if framework_filters else None)
        elif option == _NO_FRAMEWORK_FILTERS:
            if attached is not None:
                _fail(f"argument {option}: takes no value")
            framework_filters = False
        elif option in _FLAG_OPTIONS:
            if attached is not None:
                _fail(f"argument {option}: takes no value")
            key, value = _FLAG_OPTIONS[option]
            policy[key] = value
        elif option in _VALUE_OPTIONS:
            key, text = _VALUE_OPTIONS[option], _operand(option, attached, rest)
            _check_choice(option, key, text)
            if key == "trace_filter":
                filters.append(text)
            else:
                values[key] = text
        else:
            _fail(f"unknown option {option}{_suggestion(option)}")
    if subject := values.get("explain_filter"):
        _explain_filter(subject, filters, None, session.absolute(rest[0]) if rest else None)
    if not rest:
        _fail("missing script to execute")
    script = rest.pop(0)
    if rest[:1] == ["--"]:
        del rest[0]
    if not os.path.exists(script):
        _fail(f"script '{script}' does not exist")
    if not os.access(script, os.R_OK):
        _fail(f"script '{script}' cannot be read")
    return _config(runner.Target(runner.SCRIPT, script), rest, values, filters, policy)


def _config(
    target: runner.Target,
    arguments: list[str],
    values: dict[str, str],
    filters: list[str],
    policy: dict[str, object],
    test_framework: str | None = None,
) -> RecorderCLIConfig:
    for key in ("on_recorder_error", "log_level"):
        if key in values:
            policy[key] = values[key]
    if (log_file := values.get("log_file")) is not None:
        policy["log_file"] = _path(session.absolute(log_file)) if log_file else ""
    if mode := values.get("io_capture"):
        policy["io_capture_line_proxies"] = mode != "off"
        policy["io_capture_fd_fallback"] = mode == "proxies+fd"
    out_dir = values.get("out_dir") or os.environ.get(ENV_OUT_DIR) or DEFAULT_OUT_DIR
    activation: str | None
    activation = session.absolute(explicit) if (explicit := values.get("activation_path")) else target.main_file
    return RecorderCLIConfig(
        session.absolute(out_dir),
        _format(values.get("format")),
        activation,
        target.name if target.filename is None else os.path.realpath(target.filename),
        arguments,
        filters,
        policy,
        target=target,
        test_framework=test_framework,
    )


def _filter_files(said: Sequence[str]) -> list[str] | None:
    """The environment's filter files and then those of the command line. Raises what is wrong with them."""
    return session._normalize_trace_filter([*filters_from_env(), *said] or None)


def _explain_filter(subject: str, said: Sequence[str], framework: str | None, script: str | None = None) -> NoReturn:
    """Ends with the explanation, or with 1 and what is wrong with the filters."""
    from .explain_filter import explain

    try:
        _finish_with(explain(subject, _filter_files(said) or [], framework, script))
    except (RecorderError, OSError, ValueError) as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        raise SystemExit(1) from None


def _check_framework_arguments(option: str, rest: list[str]) -> None:
    """Everything after the option is the framework's; what no framework would understand is a mistake."""
    if rest[:1] == ["--"]:
        del rest[0]
    if not rest:
        _fail(f"{option} requires at least one argument, e.g. '{option} tests' (its own options count too)")
    if (other := rest[0].partition("=")[0]) in _FRAMEWORKS and other != option:
        _fail(f"argument {other}: not allowed with argument {option}")


def _format(requested: str | None) -> str:
    inherited = os.environ.get(ENV_TRACE_FORMAT) or None
    trace_format = normalize_format(requested or inherited)
    if not is_supported(trace_format):
        source = "" if requested else f" (from ${ENV_TRACE_FORMAT})"
        _fail(unsupported_format_message(requested or inherited) + source)
    return trace_format


def _split_option(word: str) -> tuple[str, str | None]:
    """Takes `--name=value` and `-nvalue` apart; the value is `None` when none is attached."""
    if word.startswith("--"):
        option, equals, value = word.partition("=")
        return option, value if equals else None
    return word[:2], word[2:] or None


def _operand(option: str, attached: str | None, rest: list[str]) -> str:
    if attached is not None:
        operand = attached
    elif rest:
        operand = rest.pop(0)
    else:
        _fail(f"argument {option}: expected one argument")
    if not operand and option not in _MAY_BE_EMPTY:
        _fail(f"argument {option}: must not be empty")
    return operand


def _check_choice(option: str, key: str, value: str) -> None:
    choices = _CHOICES.get(key)
    if choices is not None and value not in choices:
        quoted = ", ".join(map(repr, choices))
        _fail(f"argument {option}: invalid choice: {value!r} (choose from {quoted})")


def _suggestion(option: str) -> str:
    from difflib import get_close_matches

    known = (*_VALUE_OPTIONS, *_FLAG_OPTIONS, *_FRAMEWORKS, _NO_FRAMEWORK_FILTERS, "--help", "--version")
    matches = get_close_matches(option, known, n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""


def _path(path: str) -> Path:
    from pathlib import Path

    return Path(path)


def _finish_with(text: str) -> NoReturn:
    sys.stdout.write(text)
    raise SystemExit(0)


def _fail(message: str) -> NoReturn:
    from .cli_help import USAGE

    sys.stderr.write(f"{USAGE}{PROGRAM}: error: {message}\n")
    raise SystemExit(2)


__all__ = ("RecorderCLIConfig", "main")
