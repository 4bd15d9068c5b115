"""Trees of values drawn by Hypothesis: what the trace shows of them is what the oracle sees, step by step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from support.compare import EVERYTHING, assert_same
from support.programs import Program
from support.recording import Recording
from support.running import run_oracle
from support.value_trees import VALUES, programs

Record = Callable[..., Recording]

BATCHES = 10
PROGRAMS = 5
"""Programs per batch."""
# The comparison is whole: nothing may be cut.
WIDE = "values.max_depth=12;values.max_items=400;values.max_string=4000;values.max_bytes_per_step=4MiB"


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_tree_of_values_is_told_as_the_oracle_tells_it(batch: int, record: Record, tmp_path: Path) -> None:
    # A batch draws the same programs in every run: none fails by chance, and one that fails can be looked at.
    @seed(batch)
    @settings(max_examples=PROGRAMS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(source=programs())
    def check(source: str) -> None:
        directory = Path(tempfile.mkdtemp(dir=tmp_path))
        path = directory / "trees.py"
        path.write_text(source, encoding="utf-8")
        expected = run_oracle(Program(path), directory / "expected.json")
        recorded = record(path, env={"CODETRACER_POLICY": WIDE})
        assert (recorded.status, recorded.stderr) == (0, "")
        assert recorded.trace.main.counts["Step"] > VALUES
        assert_same(recorded.trace.streams, expected, EVERYTHING)

    check()
