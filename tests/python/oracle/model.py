"""The events of a program, as the oracle expects them and as a trace is read back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Value = list[Any]
"""A comparable value; see `oracle.values`."""


@dataclass(slots=True)
class Call:
    """A frame is entered, at the definition of its function."""

    name: str
    path: str
    line: int
    args: list[tuple[str, Value]] = field(default_factory=list)

    @property
    def shape(self) -> tuple[Any, ...]:
        """What must agree when only the structure is compared."""
        return ("call", self.name, self.path, self.line)


@dataclass(slots=True)
class Step:
    """A line is about to run."""

    path: str
    line: int
    locals: dict[str, Value] = field(default_factory=dict)
    """Variables of the frame. A trace does not tell locals from globals: there, all that the step shows."""
    globals: dict[str, Value] = field(default_factory=dict)
    """Referenced globals (expectation only)."""
    optional: list[str] = field(default_factory=list)
    """Names that may be shown or not: classes, functions and modules in a module's own namespace."""

    @property
    def shape(self) -> tuple[Any, ...]:
        """What must agree when only the structure is compared."""
        return ("step", self.path, self.line)


@dataclass(slots=True)
class Return:
    """A frame is left."""

    value: Value

    @property
    def shape(self) -> tuple[Any, ...]:
        """What must agree when only the structure is compared."""
        return ("return",)


Event = Call | Step | Return


@dataclass
class Stream:
    """What one thread did."""

    thread: str
    events: list[Event] = field(default_factory=list)

    @property
    def shape(self) -> list[tuple[Any, ...]]:
        """The structure alone."""
        return [event.shape for event in self.events]


def normalise(events: Iterable[Event]) -> Iterator[Event]:
    """Drops each Step on the line where its activation already is (difference 1 of the package docs)."""
    lines: list[tuple[str, int] | None] = [None]
    for event in events:
        match event:
            case Call():
                lines.append(None)
            case Return():
                lines.pop()
                if not lines:
                    raise ValueError("more returns than calls")
            case Step(path, line):
                if lines[-1] == (path, line):
                    continue
                lines[-1] = (path, line)
        yield event


def counts(events: Iterable[Event]) -> dict[str, int]:
    """How many events of each kind there are."""
    total = {"Call": 0, "Step": 0, "Return": 0}
    for event in events:
        total[type(event).__name__] += 1
    return total


def dump(streams: list[Stream], target: Path) -> None:
    """Writes streams as JSON."""
    rows = [{"thread": stream.thread, "events": [_row(event) for event in stream.events]} for stream in streams]
    target.write_text(json.dumps(rows), encoding="ascii")


def load(source: Path) -> list[Stream]:
    """Reads what `dump` wrote."""
    return [
        Stream(stream["thread"], [_event(*row) for row in stream["events"]])
        for stream in json.loads(source.read_text(encoding="ascii"))
    ]


def _row(event: Event) -> list[Any]:
    match event:
        case Call(name, path, line, args):
            return ["call", name, path, line, args]
        case Step(path, line, local, glob, optional):
            return ["step", path, line, local, glob, optional]
        case Return(value):
            return ["return", value]


def _event(kind: str, *fields: Any) -> Event:
    match kind:
        case "call":
            name, path, line, args = fields
            return Call(name, path, line, [(arg, value) for arg, value in args])
        case "step":
            return Step(*fields)
        case _:
            return Return(*fields)
