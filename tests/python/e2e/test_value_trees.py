"""Trees of values drawn by Hypothesis: what the trace shows of them is what the oracle sees, step by step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from support.compare import EVERYTHING, assert_same
from support.programs import Program
from support.recording import Recording
from support.running import run_oracle
from support.value_trees import VALUES, programs

Record = Callable[..., Recording]

PROGRAMS = 50
# The comparison is whole: nothing may be cut.
WIDE = "values.max_depth=12;values.max_items=400;values.max_string=4000;values.max_bytes_per_step=4MiB"


@settings(
    max_examples=PROGRAMS,
    deadline=None,
    # The same programs in every run: a failure can be looked at, and none comes by chance.
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(source=programs())
def test_a_tree_of_values_is_told_as_the_oracle_tells_it(source: str, record: Record, tmp_path: Path) -> None:
    directory = Path(tempfile.mkdtemp(dir=tmp_path))
    path = directory / "trees.py"
    path.write_text(source, encoding="utf-8")
    expected = run_oracle(Program(path), directory / "expected.json")
    recorded = record(path, env={"CODETRACER_POLICY": WIDE})
    assert (recorded.status, recorded.stderr) == (0, "")
    assert recorded.trace.main.counts["Step"] > VALUES
    assert_same(recorded.trace.streams, expected, EVERYTHING)
