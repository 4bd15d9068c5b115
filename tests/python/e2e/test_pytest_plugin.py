"""`pytest --codetracer`: a trace for every test, the failed ones kept, and the same outcome as without."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest
from codetracer_python_recorder.codetracer_python_recorder import verify_trace
from support.reading import Trace
from support.running import Outcome, python

Write = Callable[..., Path]

TESTS = """
    import pytest

    def double(n):
        return 2 * n

    @pytest.fixture
    def three():
        return 3

    @pytest.fixture
    def breaks_afterwards():
        yield 1
        raise OSError("teardown")

    def test_right(three):
        assert double(three) == 6

    def test_wrong(three):
        print("printed by the test")
        assert double(three) == 7

    @pytest.mark.parametrize("text", ["a/b ü", "a-b-u"])
    def test_parameter(text):
        assert not text

    def test_teardown(breaks_afterwards):
        assert double(breaks_afterwards) == 2

    @pytest.mark.skip
    def test_skipped():
        pass

    @pytest.mark.xfail
    def test_expected():
        assert double(1) == 3
"""
QUIET = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:asyncio", "--color=no"]
ALONE = [*QUIET, "-p", "no:xdist"]


def run_tests(directory: Path, *options: str, env: dict[str, str] | None = None) -> Outcome:
    return python(["-m", "pytest", *options], cwd=directory, env=env)


def traces(directory: Path, name: str = "codetracer-traces") -> dict[str, Path]:
    """The traces by the name of their test, each complete."""
    found = {}
    for path in sorted((directory / name).iterdir()):
        assert verify_trace(str(path)) == []
        found[path.name.removeprefix("test_it.py-").rpartition("-")[0]] = path
    return found


def names(trace: Path) -> list[str]:
    return [call.name for call in Trace(trace).main.calls]


def written(trace: Trace) -> str:
    """What the program wrote, once, though pytest reads captured output back through the same stream."""
    return "".join(output.content for output in trace.main.outputs)


def test_traces_of_failed_tests_are_kept_and_the_outcome_is_the_same(write: Write, tmp_path: Path) -> None:
    write(TESTS, "test_it.py")
    summary = "3 failed, 2 passed, 1 skipped, 1 xfailed, 1 error in"
    plain = run_tests(tmp_path, *ALONE)
    recorded = run_tests(tmp_path, *ALONE, "--codetracer", "test_it.py")
    assert summary in plain.stdout
    assert summary in recorded.stdout
    assert plain.status == recorded.status == 1
    assert plain.stderr == recorded.stderr == ""

    kept = traces(tmp_path)
    assert sorted(kept) == ["test_parameter-a-b-u", "test_parameter-a-b-xfc", "test_teardown", "test_wrong"]
    for path in kept.values():
        assert f"ct replay --trace-folder={path}" in recorded.stdout
    assert "ct replay" not in plain.stdout


def test_a_trace_has_its_test_and_nothing_of_pytest_or_other_tests(write: Write, tmp_path: Path) -> None:
    write(TESTS, "test_it.py")
    run_tests(tmp_path, *ALONE, "--codetracer=failed")
    trace = traces(tmp_path)["test_wrong"]
    called = names(trace)
    assert [name for name in called if not name.startswith("<")] == ["three", "test_wrong", "double"]
    read = Trace(trace)
    assert {Path(step.path).name for step in read.main.steps} == {"test_it.py"}
    assert read.main.returns_of("double") == [["Int", hex(6)]]
    assert read.metadata["recorder"]["test_framework"] == "pytest"
    assert read.metadata["process_exit_status"] == {"code": 1, "label": None}
    assert written(read) == "printed by the test\n"


@pytest.mark.parametrize("capture", ["--capture=sys", "--capture=no"])
def test_output_is_in_the_trace_with_every_way_of_capturing(capture: str, write: Write, tmp_path: Path) -> None:
    write(TESTS, "test_it.py")
    run_tests(tmp_path, *ALONE, capture, "--codetracer", "test_it.py::test_wrong")
    [trace] = traces(tmp_path).values()
    assert "printed by the test\n" in written(Trace(trace))


def test_all_keeps_the_trace_of_every_test_that_ran(write: Write, tmp_path: Path) -> None:
    write(TESTS, "test_it.py")
    run_tests(tmp_path, *ALONE, "--codetracer=all", "--codetracer-dir", "kept/here")
    kept = traces(tmp_path, "kept/here")
    assert {"test_right", "test_wrong", "test_teardown", "test_expected"} < set(kept)
    assert "test_skipped" not in kept
    assert "test_right" in names(kept["test_right"])
    assert Trace(kept["test_right"]).metadata["process_exit_status"]["code"] == 0


def test_the_junit_report_names_the_trace(write: Write, tmp_path: Path) -> None:
    write(TESTS, "test_it.py")
    run_tests(tmp_path, *ALONE, "--codetracer", "--junit-xml=report.xml")
    kept = traces(tmp_path)
    cases = ElementTree.parse(tmp_path / "report.xml").getroot().iter("testcase")
    named = {case.attrib["name"]: [each.attrib["value"] for each in case.iter("property")] for case in cases}
    assert named["test_wrong"] == [str(kept["test_wrong"])]
    assert named["test_teardown"] == [str(kept["test_teardown"])]
    assert named["test_right"] == []


def test_without_the_option_nothing_is_recorded_or_said(write: Write, tmp_path: Path) -> None:
    write(TESTS, "test_it.py")
    without = run_tests(tmp_path, *ALONE, "-q", "-p", "no:codetracer")
    installed = run_tests(tmp_path, *ALONE, "-q")
    assert installed.stdout.rpartition(" in ")[0] == without.stdout.rpartition(" in ")[0]
    assert [path.name for path in tmp_path.iterdir()] == ["test_it.py"]


def test_workers_of_xdist_record_their_tests(write: Write, tmp_path: Path) -> None:
    write(TESTS, "test_it.py")
    recorded = run_tests(tmp_path, *QUIET, "-n", "2", "--codetracer")
    assert "3 failed, 2 passed, 1 skipped, 1 xfailed, 1 error in" in recorded.stdout
    kept = traces(tmp_path)
    assert sorted(kept) == ["test_parameter-a-b-u", "test_parameter-a-b-xfc", "test_teardown", "test_wrong"]
    assert f"ct replay --trace-folder={kept['test_wrong']}" in recorded.stdout


def test_the_next_run_replaces_a_trace_and_removes_nothing_else(write: Write, tmp_path: Path) -> None:
    write(TESTS, "test_it.py")
    only = [*ALONE, "--codetracer", "test_it.py::test_wrong"]
    run_tests(tmp_path, *only)
    run_tests(tmp_path, *only)
    [trace] = traces(tmp_path).values()

    for path in trace.iterdir():
        path.unlink()
    precious = trace / "notes.txt"
    precious.write_text("mine")
    recorded = run_tests(tmp_path, *only)
    assert precious.read_text() == "mine"
    assert "1 failed, 1 warning in" in recorded.stdout
    assert "is in the way, and no trace" in recorded.stdout
    assert "1 failed in" in run_tests(tmp_path, *only, "-W", "error").stdout


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("--codetracer=some", "argument --codetracer/--codetracer=failed: ignored explicit argument 'some'"),
        ("--codetracer-dir", "argument --codetracer-dir: expected one argument"),
        ("--codetracer-dir=test_it.py", "test_it.py exists and is not a directory"),
    ],
)
def test_a_bad_option_is_refused_by_name(option: str, complaint: str, write: Write, tmp_path: Path) -> None:
    write(TESTS, "test_it.py")
    refused = run_tests(tmp_path, *ALONE, "--codetracer", option)
    assert refused.status == 4
    assert complaint in refused.stderr


HIDES = """\
[meta]
name = "hides"
version = 1
[scope]
default_exec = "trace"
default_value_action = "allow"
[[scope.rules]]
selector = "pkg:**"
[[scope.rules.value_patterns]]
selector = "PATTERN"
action = "redact"
"""


def test_filters_of_the_project_and_of_the_environment_hold_and_so_does_the_format(
    write: Write, tmp_path: Path
) -> None:
    write("def greet(name, place):\n    pass\ndef test_it():\n    greet('Bob', 'Bonn')\n", "tests/test_it.py")
    write(HIDES.replace("PATTERN", "arg:name"), ".codetracer/trace-filter.toml")
    write(HIDES.replace("PATTERN", "arg:place"), "hides.toml")
    env = {"CODETRACER_TRACE_FILTER": "hides.toml", "CODETRACER_FORMAT": "json"}
    done = run_tests(tmp_path, *ALONE, "--codetracer=all", "tests", env=env)
    assert "1 passed in" in done.stdout, done
    (directory,) = (tmp_path / "codetracer-traces").iterdir()
    text = (directory / "trace.json").read_text()
    assert "test_it" in text and "Bob" not in text and "Bonn" not in text

    env = {"CODETRACER_TRACE_FILTER": "missing.toml"}
    done = run_tests(tmp_path, *ALONE, "--codetracer=all", "tests", env=env)
    assert "1 passed, 1 warning in" in done.stdout and "missing.toml" in done.stdout


def test_disabled_recording_and_a_process_that_is_recorded_already(write: Write, tmp_path: Path) -> None:
    write(TESTS, "test_it.py")
    only = [*ALONE, "--codetracer", "test_it.py::test_wrong"]
    disabled = run_tests(tmp_path, *only, env={"CODETRACER_PYTHON_RECORDER_DISABLED": "1"})
    assert "1 failed in" in disabled.stdout
    assert not (tmp_path / "codetracer-traces").exists()

    words = ["-m", "codetracer_python_recorder", "--propagate-script-exit", "--pytest", *only]
    twice = python(words, cwd=tmp_path)
    assert twice.status == 4
    assert "being recorded already" in twice.stderr
