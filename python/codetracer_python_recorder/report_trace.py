"""What a report shows of one thread's trace, collected while its events pass.

Invariants: calls and output are kept up to a bound, counts beyond it go on; lines are counted, never listed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .trace_events import KINDS, Visitor

MAX_OUTPUT = 200_000
"""Characters of output of one thread."""


@dataclass
class Call:
    """A call with those it made."""

    name: str
    where: str
    arguments: str
    returned: str | None = None
    steps: int = 0
    inner: list[Call] = field(default_factory=list)
    hidden: int = 0
    """How many of the calls it made are not shown."""


class Summary(Visitor):
    """One thread of a report. `lines` is shared by all: path → line → how often it ran."""

    def __init__(
        self, process: str, thread: str, trace: Path, lines: dict[str, dict[int, int]], max_calls: int
    ) -> None:
        super().__init__()
        self.process, self.thread, self.trace = process, thread, trace
        self.steps = self.calls = self.values = 0
        self.root = Call("", "", "")
        self.output: list[tuple[str, str]] = []
        self.left_out = 0
        """Characters of output that are not shown."""
        self._lines, self._max_calls = lines, max_calls
        self._open: list[tuple[Call | None, int]] = []
        self._shown = [self.root]
        self._room = MAX_OUTPUT

    def step(self, path: str, line: int) -> None:
        self.steps += 1
        counts = self._lines.setdefault(path, {})
        counts[line] = counts.get(line, 0) + 1

    def call(self, function: dict[str, Any], arguments: list[dict[str, Any]]) -> None:
        shown = None
        if self.calls < self._max_calls:
            texts = [f"{self.names[each['variable_id']]}={self.text(each['value'])}" for each in arguments]
            where = f"{self.paths[function['path_id']]}:{function['line']}"
            shown = Call(function["name"], where, ", ".join(texts))
            self._shown[-1].inner.append(shown)
            self._shown.append(shown)
        else:
            self._shown[-1].hidden += 1
        self.calls += 1
        self._open.append((shown, self.steps))

    def returns(self, value: dict[str, Any]) -> None:
        self._end(self.text(value))

    def value(self, name: str, value: dict[str, Any]) -> None:
        self.values += 1

    def event(self, kind: int, metadata: str, content: str) -> None:
        room = self._room
        self._room = max(0, room - len(content))
        self.left_out += max(0, len(content) - room)
        if room > 0:
            name = KINDS.get(kind, "event")
            if self.output and self.output[-1][0] == name:
                self.output[-1] = (name, self.output[-1][1] + content[:room])
            else:
                self.output.append((name, content[:room]))

    def finish(self) -> None:
        while self._open:
            self._end(None)

    def _end(self, returned: str | None) -> None:
        call, first = self._open.pop()
        if call is not None:
            call.returned = returned
            call.steps = self.steps - first
            self._shown.pop()
