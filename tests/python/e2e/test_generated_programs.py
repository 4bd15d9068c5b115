"""Random programs: each trace tells, step by step and value by value, what the oracle tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.generated import Writer
from support.recording import Recording

PROGRAMS = 300
TOGETHER = 10
"""Programs that one process runs, each as a module: starting the process costs more than a program does."""
FUNCTIONS = 3
"""Random functions per program."""


@pytest.mark.parametrize("first", range(0, PROGRAMS, TOGETHER))
def test_random_programs_are_told_as_the_oracle_tells_them(
    first: int, record_as_oracle: Callable[[Path], Recording], tmp_path: Path
) -> None:
    names = []
    for seed in range(first, first + TOGETHER):
        names.append(f"generated_{seed}")
        (tmp_path / f"{names[-1]}.py").write_text(Writer(seed, FUNCTIONS).program(), encoding="utf-8")
    main = tmp_path / "main.py"
    main.write_text("".join(f"import {name}\n" for name in names), encoding="utf-8")
    calls = record_as_oracle(main).trace.main
    assert all(calls.calls_of(f"function_{number}") for number in range(FUNCTIONS))
    assert len(calls.calls_of(f"function_{FUNCTIONS - 1}")) == TOGETHER
    assert calls.counts["Step"] > 20 * FUNCTIONS * TOGETHER
