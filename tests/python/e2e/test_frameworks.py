"""Test runs under `--pytest` and `--unittest`: the same outcome, the tests in the trace, the framework out of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.reading import Trace
from support.recording import Recording
from support.running import python

Record = Callable[..., Recording]
Write = Callable[..., Path]

PYTEST_FILE = """
    import pytest

    def double(n):
        return 2 * n

    @pytest.fixture
    def three():
        return 3

    def test_double(three):
        result = double(three)
        assert result == 6

    @pytest.mark.parametrize("n", [1, 2])
    def test_wrong(n):
        print("printed by", n)
        assert double(n) == 2, "only one"
"""
UNITTEST_FILE = """
    import unittest

    def double(n):
        return 2 * n

    class DoubleTest(unittest.TestCase):
        def setUp(self):
            self.three = 3

        def test_double(self):
            self.assertEqual(double(self.three), 6)

        def test_wrong(self):
            self.assertEqual(double(1), 3)
"""
ASYNCIO = ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
WITH_ASYNCIO = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest", "--color=no"]
WITHOUT_PLUGINS = [*WITH_ASYNCIO, "-p", "no:asyncio", "-p", "no:anyio"]


def without_times(text: str) -> list[str]:
    """The lines of a report, without how long it took."""
    lines = [re.sub(r" in [0-9.]+s =*$", "", line) for line in text.splitlines()]
    return [re.sub(r"^(Ran .* test.*) in .*", r"\1", line).strip("= ") for line in lines]


def calls(recorded: Recording) -> list[str]:
    trace = recorded.trace.main
    return [name for name in ("test_double", "test_wrong", "double", "three") for _ in trace.calls_of(name)]


def test_pytest_has_its_outcome_and_the_trace_has_the_tests(record: Record, write: Write, tmp_path: Path) -> None:
    write(PYTEST_FILE, "test_it.py")
    plain = python(["-m", "pytest", *WITHOUT_PLUGINS, "test_it.py"], cwd=tmp_path)
    recorded = record(["--pytest"], *WITHOUT_PLUGINS, "test_it.py", cwd=tmp_path)
    assert plain.status == 1
    assert without_times(recorded.stdout) == without_times(plain.stdout)
    assert recorded.stderr == (
        "Script exited with status 1; returning 0. Use '--propagate-script-exit' to mirror the script exit code.\n"
    )
    assert calls(recorded) == ["test_double", "test_wrong", "test_wrong", "double", "double", "double", "three"]
    # What else is installed may be imported by plugins.
    paths = [Path(path) for path in recorded.trace.paths if "platformdirs" not in Path(path).parts]
    assert {path.name for path in paths} == {"pytest", "test_it.py"}

    metadata = recorded.trace.metadata
    assert (metadata["program"], metadata["args"]) == ("pytest", [*WITHOUT_PLUGINS, "test_it.py"])
    assert metadata["recorder"]["test_framework"] == "pytest"
    assert metadata["recorder"]["target_script"] is None
    chain = [each["path"] for each in metadata["trace_filter"]["filters"]]
    assert chain == ["<inline:builtin-default>", "<inline:builtin-pytest>"]


def test_the_rewriting_of_assertions_moves_no_line(record: Record, write: Write, tmp_path: Path) -> None:
    path = write(PYTEST_FILE, "test_it.py")
    recorded = record(["--pytest"], *WITHOUT_PLUGINS, "test_it.py::test_double", cwd=tmp_path)
    source = path.read_text().splitlines()
    lines = [source[step.line - 1].strip() for step in recorded.trace.main.steps if step.path == str(path)]
    assert [line for line in lines if "result" in line] == ["result = double(three)", "assert result == 6"]


def test_unittest_has_its_outcome_and_the_trace_has_the_tests(record: Record, write: Write, tmp_path: Path) -> None:
    write(UNITTEST_FILE, "test_it.py")
    plain = python(["-m", "unittest", "test_it"], cwd=tmp_path)
    recorded = record(["--unittest"], "test_it", options=["--propagate-script-exit"], cwd=tmp_path)
    assert (plain.status, recorded.status) == (1, 1)
    assert without_times(recorded.stderr) == without_times(plain.stderr)
    names = [call.name for call in recorded.trace.main.calls]
    assert {"DoubleTest.setUp", "DoubleTest.test_double", "DoubleTest.test_wrong", "double"} <= set(names)
    assert not [path for path in recorded.trace.paths if "unittest" in Path(path).parts[:-1]]
    metadata = recorded.trace.metadata
    assert (metadata["program"], metadata["args"]) == ("unittest", ["test_it"])
    assert metadata["recorder"]["test_framework"] == "unittest"
    assert metadata["trace_filter"]["filters"][1]["path"] == "<inline:builtin-unittest>"


def test_without_framework_filters_the_framework_is_in_the_trace(record: Record, write: Write, tmp_path: Path) -> None:
    write(PYTEST_FILE, "test_it.py")
    options = ["--no-framework-filters"]
    recorded = record(["--pytest"], *WITHOUT_PLUGINS, "--collect-only", options=options, cwd=tmp_path)
    # The trace is long: what is asked for stands beside it.
    paths, metadata = (
        json.loads((recorded.directory / f"trace_{name}.json").read_text(encoding="utf-8"))
        for name in ("paths", "metadata")
    )
    assert any("_pytest" in Path(path).parts for path in paths)
    assert [each["name"] for each in metadata["trace_filter"]["filters"]] == ["builtin-default"]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_workers_of_xdist_run_as_without_the_recorder(
    workers: str, record: Record, write: Write, tmp_path: Path
) -> None:
    write(PYTEST_FILE, "test_it.py")
    recorded = record(["--pytest"], "-p", "no:cacheprovider", "-n", workers, "test_it.py", cwd=tmp_path)
    assert "1 failed, 2 passed" in recorded.stdout
    assert recorded.trace.metadata["process_exit_status"] == {"code": 1, "label": None}


def test_a_framework_that_is_not_installed_is_named_with_how_to_get_it(tmp_path: Path) -> None:
    # Without site-packages, but with the recorder.
    import codetracer_python_recorder

    package = Path(codetracer_python_recorder.__file__).parent.parent
    words = ["-S", "-m", "codetracer_python_recorder", "--out-dir", tmp_path / "out", "--pytest", "tests"]
    outcome = python(words, env={"PYTHONPATH": str(package)}, cwd=tmp_path)
    assert outcome.status == 1
    assert "pytest is not installed for" in outcome.stderr
    assert "-m pip install pytest" in outcome.stderr
    assert not (tmp_path / "out").exists()


ASYNCIO_FILE = """
    import asyncio
    import pytest

    async def double(n):
        await asyncio.sleep(0)
        return 2 * n

    @pytest.fixture
    async def three():
        yield await double(1) + 1

    async def test_double(three):
        both = await asyncio.gather(double(three), double(4))
        assert both == [6, 8]

    async def test_wrong():
        assert await double(1) == 3
"""


def test_tests_of_pytest_asyncio_are_recorded_with_their_coroutines(
    record: Record, write: Write, tmp_path: Path
) -> None:
    path = write(ASYNCIO_FILE, "test_it.py")
    options = [*WITH_ASYNCIO, *ASYNCIO, "test_it.py"]
    plain = python(["-m", "pytest", *options], cwd=tmp_path)
    recorded = record(["--pytest"], *options, cwd=tmp_path)
    assert "1 failed, 1 passed" in plain.stdout
    assert without_times(recorded.stdout) == without_times(plain.stdout)
    trace = recorded.trace.main
    # `double` runs four times, each time resumed once after its sleep.
    assert (len(trace.calls_of("double")), len(trace.calls_of("three"))) == (2 * 4, 3)
    source = path.read_text().splitlines()
    lines = [source[step.line - 1].strip() for step in trace.steps if step.path == str(path)]
    assert lines.count("return 2 * n") == 4
    assert not [path for path in recorded.trace.paths if "pytest_asyncio" in Path(path).parts]


def test_the_plugin_records_tests_of_pytest_asyncio_in_workers_of_xdist(write: Write, tmp_path: Path) -> None:
    write(ASYNCIO_FILE, "test_it.py")
    options = ["-p", "no:cacheprovider", *ASYNCIO, "-n", "2", "--codetracer=all", "test_it.py"]
    outcome = python(["-m", "pytest", *options], cwd=tmp_path)
    assert "1 failed, 1 passed" in outcome.stdout
    traces = sorted((tmp_path / "codetracer-traces").iterdir())
    assert [each.name.rpartition("-")[0] for each in traces] == ["test_it.py-test_double", "test_it.py-test_wrong"]
    for directory, calls_of_double in zip(traces, [6, 2], strict=True):
        assert len(Trace(directory).main.calls_of("double")) == calls_of_double
