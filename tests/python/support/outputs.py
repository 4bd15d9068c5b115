"""What a trace says the program wrote and read, and how that is compared with what really came out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .reading import Output, Thread

WRITE, WRITE_OTHER, READ = 0, 2, 3
"""Kinds of events: stdout, stderr, stdin."""


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
