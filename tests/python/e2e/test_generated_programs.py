"""Random programs: each trace tells, step by step and value by value, what the oracle tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.compare import EVERYTHING, assert_same
from support.generated import Writer
from support.programs import Program
from support.recording import Recording
from support.running import run_oracle

Record = Callable[..., Recording]

PROGRAMS = 300
TOGETHER = 10
"""Programs that one process runs, each as a module: starting the process costs more than a program does."""
FUNCTIONS = 3
"""Random functions per program."""
# The comparison is whole: nothing may be cut.
WIDE = "values.max_depth=12;values.max_items=400;values.max_string=4000;values.max_bytes_per_step=4MiB"


@pytest.mark.parametrize("first", range(0, PROGRAMS, TOGETHER))
def test_random_programs_are_told_as_the_oracle_tells_them(first: int, record: Record, tmp_path: Path) -> None:
    names = []
    for seed in range(first, first + TOGETHER):
        names.append(f"generated_{seed}")
        (tmp_path / f"{names[-1]}.py").write_text(Writer(seed, FUNCTIONS).program(), encoding="utf-8")
    main = tmp_path / "main.py"
    main.write_text("".join(f"import {name}\n" for name in names), encoding="utf-8")
    expected = run_oracle(Program(main), tmp_path / "expected.json")
    recorded = record(main, env={"CODETRACER_POLICY": WIDE})
    assert (recorded.status, recorded.stderr) == (0, "")
    calls = recorded.trace.main
    assert all(calls.calls_of(f"function_{number}") for number in range(FUNCTIONS))
    assert len(calls.calls_of(f"function_{FUNCTIONS - 1}")) == TOGETHER
    assert calls.counts["Step"] > 20 * FUNCTIONS * TOGETHER
    assert_same(recorded.trace.streams, expected, EVERYTHING)
