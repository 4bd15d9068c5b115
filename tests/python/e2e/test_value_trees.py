"""Trees of values drawn by Hypothesis: what the trace shows of them is what the oracle sees, step by step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from support.recording import Recording
from support.value_trees import VALUES, programs

BATCHES = 10
PROGRAMS = 5
"""Programs per batch."""


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_tree_of_values_is_told_as_the_oracle_tells_it(
    batch: int, record_as_oracle: Callable[[Path], Recording], tmp_path: Path
) -> None:
    # A batch draws the same programs in every run: none fails by chance, and one that fails can be looked at.
    @seed(batch)
    @settings(max_examples=PROGRAMS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(source=programs())
    def check(source: str) -> None:
        path = Path(tempfile.mkdtemp(dir=tmp_path)) / "trees.py"
        path.write_text(source, encoding="utf-8")
        assert record_as_oracle(path).trace.main.counts["Step"] > VALUES

    check()
