"""Recorded traces against the oracle's account, on every program."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import compare
from support.programs import COMPARED, Program
from support.recording import record
from support.running import run_oracle


@pytest.mark.parametrize("program", COMPARED, ids=lambda program: program.name)
def test_trace_tells_what_the_oracle_saw(program: Program, tmp_path: Path) -> None:
    recording = record(program, out=tmp_path / "trace")
    expected = run_oracle(program, tmp_path / "oracle.json")
    compare.assert_same(recording.trace.streams, expected)
