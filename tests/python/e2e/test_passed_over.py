"""Variables that a line cannot have bound are not looked at: whatever is passed over is checked to be what it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.programs import COMPARED, REAL, Program
from support.reading import Trace
from support.recording import Recording

Record = Callable[..., Recording]
Write = Callable[..., Path]

CHECKED = {"CODETRACER_TEST_INJECT_FAILURE": "passed-over"}


@pytest.mark.parametrize("program", [*COMPARED, *REAL], ids=lambda program: program.name)
def test_nothing_that_is_passed_over_has_changed(program: Program, record: Record) -> None:
    """A change that was passed over is an error, which reaches the program by default."""
    recorded = record(program, options=["--propagate-script-exit"], env=CHECKED)
    assert "passed over" not in recorded.stderr
    assert recorded.status == program.status, recorded.stderr


REACHED_FROM_OUTSIDE = """\
import ctypes, sys

def from_outside(name, value):
    frame = sys._getframe(1)
    frame.f_locals[name] = value
    if sys.version_info < (3, 13):
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))

def f():
    a = 1
    b = 2
    from_outside("a", 10)
    b = 3
    from_outside("b", "text")
    return a, b

def g(n):
    text = ""
    for i in range(n):
        if i:
            text += "x"
        pass
    return text

print(f(), g(3))
"""


def test_what_others_bind_through_a_frame_object_is_shown(record: Record, write: Write) -> None:
    recorded = record(write(REACHED_FROM_OUTSIDE), env=CHECKED)
    assert recorded.stdout == "(10, 'text') xx\n"
    steps = Trace(recorded.directory).main.steps
    shown = [(step.locals.get("a"), step.locals.get("b")) for step in steps if 10 <= step.line <= 15]
    one, two, three, ten = (["Int", hex(number)] for number in (1, 2, 3, 10))
    text = ["String", "text"]
    assert shown == [(None, None), (one, None), (one, two), (ten, two), (ten, three), (ten, text)]
    assert [step.locals["text"][1] for step in steps if step.line == 23] == ["xx"]
