"""The test suites of known packages under `--pytest`: every test ends as it does without, and the trace is sound."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from codetracer_python_recorder.codetracer_python_recorder import verify_trace
from support.recording import Recording
from support.running import python
from support.sdists import Sdist

Record = Callable[..., Recording]

TOOLZ = Sdist("toolz", "1.2.0", "9667a038e9d6ecba37995e26cb2f59ec6420b6ad8dd9677de59db9b956b08490")
CLICK = Sdist("click", "8.5.1", "9bbfada76703fd1d784b83eea012e3e8c6a001a876543ef104fa56aaaeb072b4")
SUITES = [
    pytest.param(TOOLZ, ".", ["toolz", "tlz"], "", 180, id="toolz"),
    pytest.param(CLICK, "src", ["tests/test_commands.py", "tests/test_context.py"], "", 130, id="click-lines"),
    # All of it, without lines: to check a trace of them takes a minute.
    pytest.param(CLICK, "src", ["tests"], "calls", 2400, id="click-calls"),
]
PLUGINS = ["cacheprovider", "xdist", "hypothesispytest", "asyncio", "timeout"]
QUIET = ["-q", *(word for plugin in PLUGINS for word in ("-p", f"no:{plugin}"))]


def outcomes(report: Path) -> dict[str, str]:
    """How every test of a JUnit report ended, with the text of its failure or its reason to be skipped."""
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        result = [f"{each.tag}: {each.get('message')}" for each in case if each.tag not in ("system-out", "properties")]
        found[f"{case.get('classname')}::{case.get('name')}"] = " ".join(result) or "passed"
    return found


@pytest.mark.timeout(900)  # less than a minute on a machine that is idle
@pytest.mark.parametrize(("sdist", "sources", "tests", "policy", "at_least"), SUITES)
def test_a_known_suite_has_its_outcomes_and_a_sound_trace(
    sdist: Sdist, sources: str, tests: Sequence[str], policy: str, at_least: int, record: Record, tmp_path: Path
) -> None:
    root = sdist.unpack(tmp_path)
    env = {"PYTHONPATH": str(root / sources), "CODETRACER_POLICY": policy}
    words = ["-m", "pytest", *QUIET, "--junit-xml", tmp_path / "plain.xml", *tests]
    plain = python(words, cwd=root, env=env, timeout=400)
    assert plain.status == 0, plain.stdout
    words = [*QUIET, "--junit-xml", str(tmp_path / "recorded.xml"), *tests]
    recorded = record(["--pytest"], *words, cwd=root, env=env, timeout=400)
    assert (recorded.status, recorded.stderr) == (0, plain.stderr), recorded.stdout
    expected = outcomes(tmp_path / "plain.xml")
    assert outcomes(tmp_path / "recorded.xml") == expected
    assert sum(each == "passed" for each in expected.values()) >= at_least

    assert verify_trace(str(recorded.directory)) == []
    # The package and its tests are in the trace, pytest's own code is not.
    paths = (recorded.directory / "trace_paths.json").read_text(encoding="utf-8")
    assert f"/{sdist.name}/" in paths and "/_pytest/" not in paths
