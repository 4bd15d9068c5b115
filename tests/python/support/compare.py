"""Compares what a trace holds with what the oracle expects, level by level."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from oracle.model import Call, Event, Return, Step, Stream, Value, normalise
from oracle.values import MAX_TEXT

CONTEXT = 6
"""Events shown before and after the first difference."""


@dataclass(frozen=True)
class Level:
    """What is compared besides the structure: which functions and lines, in which order."""

    values: bool = True
    """Arguments, returned, yielded and raised values."""
    locals: bool = True
    """Variables of the frame at each step."""
    globals: bool = True
    """Referenced globals at each step; nothing else may be shown."""
    types: bool = False
    """Type names of objects that have no form of their own."""

    def describe(self) -> str:
        """The parts that are on."""
        return ", ".join(["structure"] + [field.name for field in fields(self) if getattr(self, field.name)])


STRUCTURE = Level(values=False, locals=False, globals=False)
VALUES = Level(locals=False, globals=False)
LOCALS = Level(globals=False)
EVERYTHING = Level()


def assert_same(recorded: Sequence[Stream], expected: Sequence[Stream], level: Level = EVERYTHING) -> None:
    """Raises an AssertionError that shows the first difference of each thread."""
    # The order in which threads began is no property of the program: streams are paired by what happened in them.
    ours = [Stream(stream.thread, list(normalise(stream.events))) for stream in recorded]
    theirs = [Stream(stream.thread, list(normalise(stream.events))) for stream in expected]
    ours[1:] = sorted(ours[1:], key=_content)
    theirs[1:] = sorted(theirs[1:], key=_content)
    problems = [
        f"thread {right.thread!r}: {problem}"
        for left, right in zip(ours, theirs, strict=False)
        for problem in _differences(left.events, right.events, level)
    ]
    if len(ours) != len(theirs):
        problems.insert(0, f"{len(ours)} recorded threads, expected {len(theirs)}")
    if problems:
        raise AssertionError(f"({level.describe()}) " + "\n".join(problems[:5]))


def _content(stream: Stream) -> str:
    values = [event.value for event in stream.events if isinstance(event, Return)]
    arguments = [value for event in stream.events if isinstance(event, Call) for _, value in event.args]
    plain = [value for value in values + arguments if value[0] in ("Int", "Float", "Bool", "None")]
    return repr((stream.shape, plain))


def _differences(ours: list[Event], theirs: list[Event], level: Level) -> Iterator[str]:
    for index, (left, right) in enumerate(zip(ours, theirs, strict=False)):
        if left.shape != right.shape:
            yield _show(index, ours, theirs)
            return
        for problem in _details(left, right, level):
            yield f"event {index}, {right.shape}: {problem}"
    if len(ours) != len(theirs):
        yield _show(min(len(ours), len(theirs)), ours, theirs)


def _show(index: int, ours: list[Event], theirs: list[Event]) -> str:
    def excerpt(events: list[Event]) -> str:
        first = max(0, index - CONTEXT)
        rows = [
            f"  {'>' if number == index else ' '} {number} {' '.join(map(str, event.shape))}"
            for number, event in enumerate(events[first : index + CONTEXT], first)
        ]
        return "\n".join(rows) or "  (nothing)"

    return f"first difference at event {index}\nrecorded:\n{excerpt(ours)}\nexpected:\n{excerpt(theirs)}"


def _details(ours: Event, theirs: Event, level: Level) -> Iterator[str]:
    match ours, theirs:
        case Call(), Call() if level.values:
            left, right = _public(dict(ours.args)), _public(dict(theirs.args))
            if list(left) != list(right):
                yield f"arguments {list(left)}, expected {list(right)}"
            yield from _named("argument", left, right, level)
        case Return(), Return() if level.values:
            if not agrees(ours.value, theirs.value, level):
                yield f"returned {ours.value}, expected {theirs.value}"
        case Step(), Step() if level.locals:
            yield from _variables(ours, theirs, level)


def _variables(ours: Step, theirs: Step, level: Level) -> Iterator[str]:
    shown, local, glob = _public(ours.locals), _public(theirs.locals), _public(theirs.globals)
    for name in theirs.optional:
        shown.pop(name, None)
        local.pop(name, None)
    if level.globals:
        local |= glob
    if missing := local.keys() - shown.keys():
        yield f"variables not shown: {sorted(missing)}"
    if surplus := shown.keys() - local.keys() - (set() if level.globals else glob.keys()):
        yield f"variables shown without reason: {sorted(surplus)}"
    yield from _named("variable", shown, local, level)


def _named(what: str, ours: dict[str, Value], theirs: dict[str, Value], level: Level) -> Iterator[str]:
    for name in ours.keys() & theirs.keys():
        if not agrees(ours[name], theirs[name], level):
            yield f"{what} {name} = {_short(ours[name])}, expected {_short(theirs[name])}"


def _short(value: Value) -> str:
    text = repr(value)
    return text if len(text) < 400 else text[:400] + "…"


def _public(variables: dict[str, Value]) -> dict[str, Value]:
    """Without dunder names and the nameless iterator of a generator expression (`.0`)."""
    return {
        name: value
        for name, value in variables.items()
        if name.isidentifier() and not (name.startswith("__") and name.endswith("__"))
    }


def agrees(ours: Value, theirs: Value, level: Level = EVERYTHING) -> bool:
    """Whether a recorded value shows the expected one, as far as it shows it: both sides may be cut short.

    A recorded value is in the form of `oracle.values`, or `["Other", type name, text]` for whatever has no form
    there, or `["Truncated", text]` where the recorder says that it shows no more.
    """
    kind = theirs[0]
    if kind == "Unknown" or ours[0] == "Truncated":
        return True
    if kind == "Object":
        return ours[0] == "Other" and (not level.types or ours[1].rpartition(".")[2] == theirs[1].rpartition(".")[2])
    if kind == "Exception":
        return ours[0] == "Other" and (theirs[2] is None or theirs[2] in ours[2])
    if ours[0] != kind:
        return False
    if kind in ("String", "Bytes"):
        return _same_text(kind, ours[1], theirs[1], theirs[2])
    if kind in ("List", "Tuple", "Set", "FrozenSet", "Dict"):
        return _same_items(kind, ours[1], theirs, level)
    return ours == theirs


_CUT = re.compile(r"(?s)(.*?)\s*…(?: \+(\d+) more)?\W*\Z")


def _same_text(kind: str, ours: str, theirs: str, length: int) -> bool:
    if ours == theirs:
        return True
    quotes = "'\"" if kind == "Bytes" else ""
    cut = _CUT.fullmatch(ours)
    if cut and len(cut[1]) < len(theirs) and theirs.startswith(cut[1].rstrip(quotes)):
        return kind == "Bytes" or cut[2] is None or _characters(cut[1]) + int(cut[2]) == length
    # The oracle stops early, too: then what it has must be there.
    return length > MAX_TEXT and ours.startswith(theirs.rstrip(quotes))


def _characters(escaped: str) -> int:
    """The length of a text before its lone surrogates were escaped."""
    return len(re.sub(r"\\ud[89a-f][0-9a-f]{2}", "?", escaped))


def _same_items(kind: str, ours: list, theirs: Value, level: Level) -> bool:
    items, length = theirs[1], theirs[2]
    shown = ours
    if ours and ours[-1][0] == "Truncated":
        shown = ours[:-1]
        cut = _CUT.fullmatch(ours[-1][1])
        if cut and cut[2] and len(shown) + int(cut[2]) != length:
            return False
    elif len(ours) != length:
        return False
    if kind == "Dict":
        pairs = zip(shown, items, strict=False)
        return all(agrees(left[0], right[0], level) and agrees(left[1], right[1], level) for left, right in pairs)
    if kind in ("Set", "FrozenSet") and shown != items[: len(shown)]:
        return all(any(agrees(item, other, level) for other in items) for item in shown)
    return all(agrees(left, right, level) for left, right in zip(shown, items, strict=False))
