"""The pytest plugin: `pytest --codetracer` records every test into a trace of its own.

Invariants:
- Without `--codetracer` it adds options to pytest's help and does nothing else.
- A test's outcome is the same with and without it: what goes wrong in the recorder is a warning in the summary.
- A trace that is not wanted is removed when its test is over; one of an earlier run is replaced by the same test's
  next. No directory is removed that is not a trace.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from . import session
from .auto_start import filters_from_env, format_from_env, is_disabled
from .codetracer_python_recorder import RecorderError, find_project_filter

FAILED = "failed"
ALL = "all"
DEFAULT_DIRECTORY = "codetracer-traces"
PROPERTY = "codetracer_trace"
_NAME_LENGTH = 100
_MARKS_OF_A_TRACE = ("recording.json", "trace_metadata.json")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("codetracer", "recording tests with CodeTracer")
    # The forms with a value are options of their own: with an optional value, `--codetracer tests` would take
    # `tests` for the value.
    group.addoption(
        "--codetracer",
        f"--codetracer={FAILED}",
        dest="codetracer",
        action="store_const",
        const=FAILED,
        default=None,
        help="record every test into a trace of its own; keep those of tests that failed",
    )
    group.addoption(
        f"--codetracer={ALL}",
        dest="codetracer",
        action="store_const",
        const=ALL,
        help="record every test into a trace of its own; keep them all",
    )
    group.addoption(
        "--codetracer-dir",
        dest="codetracer_dir",
        metavar="DIR",
        default=DEFAULT_DIRECTORY,
        help="where the traces go, a directory for each test (default: %(default)s)",
    )


def pytest_configure(config: pytest.Config) -> None:
    keep = config.getoption("codetracer")
    if keep is None or is_disabled():
        return
    if session.is_tracing():
        raise pytest.UsageError("--codetracer: this process is being recorded already; leave out one of the two")
    directory = config.invocation_params.dir / Path(config.getoption("codetracer_dir")).expanduser()
    worker = getattr(config, "workerinput", None)  # in a process of pytest-xdist
    if worker is not None and config.getoption("dist", "no") == "each":
        directory /= worker["workerid"]  # every worker runs every test
    if directory.exists() and not directory.is_dir():
        raise pytest.UsageError(f"--codetracer-dir: {directory} exists and is not a directory")
    config.pluginmanager.register(TestRecorder(directory, keep), "codetracer-test-recorder")


class TestRecorder:
    """Records one test at a time."""

    __test__ = False  # its name looks like that of a class of tests

    def __init__(self, directory: Path, keep: str) -> None:
        self._directory = directory
        self._keep_all = keep == ALL
        self._used: set[str] = set()
        self._trace: Path | None = None
        self._failed = False
        self._kept = False

    @pytest.hookimpl(wrapper=True)  # within pytest's own wrapper, which collects warnings
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        recording = self._start(item)
        try:
            return (yield)
        finally:
            if recording is not None:
                self._finish(item, recording)

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # sees what others made of the report: an expected failure is none
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if self._trace is None:
            return report
        self._failed = self._failed or report.failed
        if report.failed or (self._keep_all and report.when == "call"):
            entry = (PROPERTY, str(self._trace))
            if not self._kept:
                self._kept = True
                item.user_properties.append(entry)  # for the reports of the phases to come
                report.user_properties.append(entry)
            report.sections.append(("CodeTracer", f"ct replay --trace-folder={self._trace}"))
        return report

    def _start(self, item: pytest.Item) -> session.TraceSession | None:
        self._trace, self._failed, self._kept = None, False, False
        try:
            trace = self._directory / self._name(item.nodeid)
            _clear(trace)
            with _streams_of_tests(item.config):
                recording = session.start(
                    trace, format=format_from_env(), trace_filter=_filters_of(item), test_framework="pytest"
                )
        except (RecorderError, OSError, RuntimeError, ValueError) as error:
            _warn(item, f"CodeTracer records nothing of this test: {error}")
            return None
        self._trace = trace
        return recording

    def _finish(self, item: pytest.Item, recording: session.TraceSession) -> None:
        trace, self._trace = recording.path, None
        try:
            recording.stop(exit_code=int(self._failed))
            if not self._kept:
                _clear(trace)
        except (RecorderError, OSError) as error:
            _warn(item, f"CodeTracer could not complete {trace}: {error}")

    def _name(self, nodeid: str) -> str:
        """A directory's name: readable, fit for every file system, and different for different tests and reruns."""
        digest = hashlib.sha256(nodeid.encode("utf-8", "backslashreplace")).hexdigest()[:8]
        words = re.sub(r"[^A-Za-z0-9_.]+", "-", nodeid).strip("-")[-_NAME_LENGTH:].lstrip("-.")
        name = first = f"{words}-{digest}"
        number = 1
        while name in self._used:
            number += 1
            name = f"{first}-{number}"
        self._used.add(name)
        return name


def _filters_of(item: pytest.Item) -> list[str] | None:
    """The filter of the project that the test is in, and then the environment's.

    `start` looks for a project's above the script, which is pytest.
    """
    project = find_project_filter(str(item.path))
    return [*([project] if project else []), *filters_from_env()] or None


@contextmanager
def _streams_of_tests(config: pytest.Config) -> Generator[None, None, None]:
    """Has `sys.stdout` and `sys.stderr` be what tests write to: the recorder watches those that it finds."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None or not capture.is_globally_capturing():  # `-s`
        yield
        return
    capture.resume_global_capture()
    try:
        yield
    finally:
        capture.suspend_global_capture(in_=False)


def _warn(item: pytest.Item, text: str) -> None:
    # Where warnings are errors (`-W error`), this one must still not fail the test.
    with suppress(pytest.PytestWarning):
        item.warn(pytest.PytestWarning(text))


def _clear(trace: Path) -> None:
    """Removes a trace. Raises `FileExistsError` for a directory that is something else."""
    if not os.path.lexists(trace):
        return
    if any((trace / name).is_file() for name in _MARKS_OF_A_TRACE):
        shutil.rmtree(trace)
    elif trace.is_symlink() or not trace.is_dir() or any(trace.iterdir()):
        raise FileExistsError(f"{trace} is in the way, and no trace: move it, or name another --codetracer-dir")
