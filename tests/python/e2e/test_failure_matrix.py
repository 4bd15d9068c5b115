"""Every failure that can be injected, under every combination of the policies that are about failures."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from codetracer_python_recorder.codetracer_python_recorder import verify_trace
from support.recording import Recording

PROGRAM = """
def f(n):
    m = n + 1
    return m

print(f(1), flush=True)
"""
TRACE_FILES = {"trace.bin", "trace_metadata.json", "trace_paths.json"}

WHILE_RUNNING = ["py-start", "line", "target-args", "panic"]
AT_THE_END = ["finish"]
NOTHING_RECORDED = ["suppress-events"]


@pytest.mark.parametrize("stage", WHILE_RUNNING + AT_THE_END + NOTHING_RECORDED)
@pytest.mark.parametrize(("policy", "keep", "require"), list(itertools.product(["abort", "disable"], [0, 1], [0, 1])))
def test_what_a_failure_does_depends_on_the_policy_alone(
    stage: str, policy: str, keep: int, require: int, record: Callable[..., Recording], tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    options = ["--on-recorder-error", policy, *["--keep-partial-trace"] * keep, *["--require-trace"] * require]
    recorded = record(program, options=options, env={"CODETRACER_TEST_INJECT_FAILURE": stage})

    fails = stage not in NOTHING_RECORDED
    disturbed = stage in WHILE_RUNNING and policy == "abort"
    assert recorded.stdout == ("" if disturbed else "2\n")
    if fails:
        assert recorded.status == (1 if policy == "abort" else 0), recorded.stderr
    else:
        assert recorded.status == (1 if require else 0), recorded.stderr
        assert ("recorder policy requires a trace but no events" in recorded.stderr) == bool(require)
    kept = TRACE_FILES & set(recorded.files)
    assert kept == (TRACE_FILES if keep or not fails else set())
    if kept:
        assert verify_trace(str(recorded.directory)) == []
