"""Puts the parts of a recording together again."""

from __future__ import annotations

import json
from pathlib import Path

from oracle.model import Call, Event, Return, Step

from .reading import BadTrace, read_thread


def part_directories(directory: Path) -> list[Path]:
    """The parts in order: the out dir, then those below `parts/`."""
    return [directory, *sorted((directory / "parts").glob("*/"))]


def joined(directory: Path, thread: str = ".") -> list[Event]:
    """The events of one thread over all parts, each once. Every part must be a trace that holds to the rules, and
    start with the calls in progress, where they were, with the variables they had."""
    events: list[Event] = []
    stack: list[Step | None] = []
    parts = [part / thread for part in part_directories(directory) if (part / thread).is_dir()]
    for index, part in enumerate(parts):
        own = read_thread(part).events
        own = own[_check_continuation(own, stack, part) :]
        if index + 1 < len(parts):
            closing = _continued(parts[index + 1], thread)
            if any(not isinstance(event, Return) for event in own[len(own) - closing :]):
                raise BadTrace(f"{part} does not end with the {closing} returns that balance it")
            own = own[: len(own) - closing]
        for event in own:
            if isinstance(event, Call):
                stack.append(None)
            elif isinstance(event, Return):
                stack.pop()
            elif stack:
                stack[-1] = event
        events += own
    return events


def _continued(part: Path, thread: str) -> int:
    """Calls that the part repeats."""
    directory = part if thread == "." else part.parent.parent
    streams = json.loads((directory / "trace_metadata.json").read_text())["streams"]
    (stream,) = [stream for stream in streams if stream["directory"] == thread]
    return int(stream["counts"]["continued"])


def _check_continuation(own: list[Event], stack: list[Step | None], part: Path) -> int:
    """Length of what `own` repeats of the parts before."""
    at = 0
    for depth, latest in enumerate(stack):
        if not isinstance(own[at], Call):
            raise BadTrace(f"{part} does not repeat call {depth} in progress")
        at += 1
        if latest is not None:
            step = own[at]
            if not isinstance(step, Step) or (step.path, step.line) != (latest.path, latest.line):
                raise BadTrace(f"{part} starts call {depth} at {step}, it was at {latest}")
            if step.locals.keys() != latest.locals.keys():
                raise BadTrace(f"{part} shows {step.locals.keys()} in call {depth}, it had {latest.locals.keys()}")
            at += 1
    return at
