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

FUNCTIONS = 10
PROGRAMS = 30
# The comparison is whole: nothing may be cut.
WIDE = "values.max_depth=12;values.max_items=400;values.max_string=4000;values.max_bytes_per_step=4MiB"


@pytest.mark.parametrize("seed", range(PROGRAMS))
def test_a_random_program_is_told_as_the_oracle_tells_it(seed: int, record: Record, tmp_path: Path) -> None:
    path = tmp_path / f"generated_{seed}.py"
    path.write_text(Writer(seed, FUNCTIONS).program(), encoding="utf-8")
    expected = run_oracle(Program(path), tmp_path / "expected.json")
    recorded = record(path, env={"CODETRACER_POLICY": WIDE})
    assert (recorded.status, recorded.stderr) == (0, "")
    assert recorded.trace.main.counts["Step"] > 20 * FUNCTIONS
    assert_same(recorded.trace.streams, expected, EVERYTHING)
