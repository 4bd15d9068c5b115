"""Every program's trace against the oracle's account: calls, steps and returns, then values, locals, globals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from oracle.model import Call, Event, Return, Step, counts, normalise
from support.compare import EVERYTHING, LOCALS, STRUCTURE, VALUES, assert_same
from support.programs import COMPARED, REAL, Program
from support.reading import read_structure
from support.recording import STRUCTURE_FILTER, Recording
from support.running import run_oracle

Record = Callable[..., Recording]


def name_of(program: Program) -> str:
    return program.name


def without_stack_walks(events: Iterable[Event]) -> Iterator[Event]:
    """Leaves out the steps of functions that count the frames below them: the oracle has frames of its own there."""
    walks: list[bool] = []
    for event in events:
        match event:
            case Call(name):
                walks.append(name == "_get_stack_depth")  # Markdown's
            case Return():
                walks.pop()
            case Step() if walks and walks[-1]:
                continue
        yield event


FRAME_ACCESS = {access: {"CODETRACER_FRAME_ACCESS": access} for access in ("private", "public")}
"""Frames are read through the interpreter's private layout, or through the API where that is not known."""


@pytest.mark.parametrize("program", COMPARED, ids=name_of)
def test_a_trace_tells_what_the_oracle_tells_whatever_way_frames_are_read(
    program: Program, record: Record, tmp_path: Path
) -> None:
    expected = run_oracle(program, tmp_path / "expected.json")
    for access, env in FRAME_ACCESS.items():
        recorded = record(program, env=env)
        assert recorded.status == 0, (access, recorded.stderr)
        for level in (STRUCTURE, VALUES, LOCALS, EVERYTHING):
            assert_same(recorded.trace.streams, expected, level)


@pytest.mark.parametrize("program", REAL, ids=name_of)
def test_the_trace_of_a_real_program_has_as_many_events_as_the_oracle_counts(
    program: Program, record: Record, tmp_path: Path
) -> None:
    (expected,) = run_oracle(program, tmp_path / "expected.json", variables=False)
    structure = tmp_path / "structure.toml"
    structure.write_text(STRUCTURE_FILTER)
    recorded = record(program, options=["--trace-filter", str(structure)])
    assert recorded.status == 0, recorded.stderr
    ours = list(without_stack_walks(normalise(read_structure(recorded.directory))))
    theirs = list(without_stack_walks(normalise(expected.events)))
    assert counts(theirs)["Step"] > 10_000, "too small to be a real program"
    assert counts(ours) == counts(theirs)
    assert [event.shape for event in ours] == [event.shape for event in theirs]
