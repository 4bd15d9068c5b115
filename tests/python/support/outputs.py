"""What a trace says the program wrote and read, and how that is compared with what really came out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .reading import Output, Thread
from .recording import Recording
from .running import Outcome, python

WRITE, WRITE_OTHER, READ = 0, 2, 3
"""Kinds of events: stdout, stderr, stdin."""


def plain_and_recorded(
    script: Path,
    record: Callable[..., Recording],
    io: str,
    unbuffered: str,
    *options: str,
    comparable: Callable[[str], str] = str,
) -> tuple[Outcome, Recording]:
    """A plain and a recorded run, which show the same and end alike; `comparable` is what is compared of stderr."""
    env = {"PYTHONUNBUFFERED": unbuffered}
    plain = python([script], env=env)
    recorded = record(script, env=env, options=["--io-capture", io, *options])
    assert (recorded.stdout, recorded.status) == (plain.stdout, plain.status), recorded.stderr
    assert comparable(recorded.stderr) == comparable(plain.stderr)
    return plain, recorded


def facts(output: Output) -> dict[str, Any]:
    """The metadata of an output."""
    return json.loads(output.metadata)


def is_mirrored(output: Output) -> bool:
    """It was seen at the descriptor only."""
    return "mirror" in facts(output)["flags"]


def text_of(threads: Iterable[Thread], kind: int, mirror: bool | None = None) -> str:
    """The contents of one kind put together; only what was seen at the descriptor, or only what was not, if asked."""
    outputs = [output for thread in threads for output in thread.outputs if output.kind == kind]
    return "".join(output.content for output in outputs if mirror is None or is_mirrored(output) is mirror)


def lines_of(thread: Thread, kind: int = WRITE) -> list[tuple[int, str]]:
    """Line and content of each output of one kind."""
    return [(facts(output)["line"], output.content) for output in thread.outputs if output.kind == kind]


def is_merge(whole: str, first: str, second: str) -> bool:
    """Whether `whole` is these two texts, each complete and in its own order, one inside the other.

    This is what can be said of two writers whose order no one knows.
    """
    if len(whole) != len(first) + len(second):
        return False
    taken = {0}
    """How much of `first` may be used up by now."""
    for position, character in enumerate(whole):
        taken = {
            used
            for before in taken
            for used, text, index in ((before + 1, first, before), (before, second, position - before))
            if text[index : index + 1] == character
        }
        if not taken:
            return False
    return True
