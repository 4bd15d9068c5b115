"""The events of a finished trace, for what is made from traces.

Invariants:
- Events come one after the other, in bounded memory, as the extension's reader gives them: those before any damage.
- Values become short text in Python's way of writing, cut with `…`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .codetracer_python_recorder import inspect_trace

MAX_TEXT = 200
# Kinds of `Event`s.
KINDS = {0: "stdout", 2: "stderr", 3: "stdin", 11: "error"}
_FILES = ("trace.json", "trace.bin")
_BRACKETS = {"Set": ("{", "}"), "FrozenSet": ("frozenset({", "})"), "Dict": ("{", "}")}


class Visitor:
    """Is shown one trace; keeps its definitions. Subclasses do something with calls, steps and returns."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.functions: list[dict[str, Any]] = []
        self.names: list[str] = []
        self.types: list[dict[str, Any]] = []

    def call(self, function: dict[str, Any], arguments: list[dict[str, Any]]) -> None:
        """A call begins; the function has `name`, `path_id` and `line`."""

    def returns(self, value: dict[str, Any]) -> None:
        """The innermost call ends."""

    def step(self, path: str, line: int) -> None:
        """A line runs."""

    def value(self, name: str, value: dict[str, Any]) -> None:
        """A variable at the latest step."""

    def event(self, kind: int, metadata: str, content: str) -> None:
        """The program wrote or read something, or the recorder notes something."""

    def take(self, kind: str, content: Any) -> None:
        """Takes one event as it was read."""
        match kind:
            case "Step":
                self.step(self.paths[content["path_id"]], content["line"])
            case "Value":
                self.value(self.names[content["variable_id"]], content["value"])
            case "Call":
                self.call(self.functions[content["function_id"]], content["args"])
            case "Return":
                self.returns(content["return_value"])
            case "Event":
                self.event(content["kind"], content["metadata"], content["content"])
            case "Path":
                self.paths.append(content)
            case "Function":
                self.functions.append(content)
            case "VariableName":
                self.names.append(content)
            case "Type":
                self.types.append(content)

    def text(self, value: dict[str, Any]) -> str:
        """A value as one short line."""
        text = self._text(value)
        return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"

    def _text(self, value: dict[str, Any]) -> str:
        kind = value["kind"]
        match kind:
            case "None":
                return "None"
            case "Bool":
                return str(value["b"])
            case "Int":
                return str(value["i"])
            case "Float":
                return str(value["f"])
            case "BigInt":
                number = base64.b64decode(value["b"])
                if len(number) > MAX_TEXT:
                    return f"<int of {8 * len(number)} bits>"
                return ("-" if value["negative"] else "") + str(int.from_bytes(number, "big"))
            case "String":
                return repr(value["text"][: MAX_TEXT + 1])
            case "Raw":
                return str(value["r"])
            case "Error":
                return str(value["msg"])
            case "Tuple" | "Sequence":
                return self._items(value)
            case "Struct":
                info = self.types[value["type_id"]]
                fields = [each["name"] for each in info["specific_info"].get("fields", [])]
                shown = (
                    f"{name}={self._text(each)}" for name, each in zip(fields, value["field_values"], strict=False)
                )
                return f"{info['lang_type']}({', '.join(shown)})"
        return f"<{kind}>"

    def _items(self, value: dict[str, Any]) -> str:
        name = self.types[value["type_id"]]["lang_type"]
        elements = value["elements"]
        if value["kind"] == "Tuple":
            items = [self._text(each) for each in elements]
            return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
        if name == "Dict":
            items = [
                ": ".join(map(self._text, each["elements"])) if each["kind"] == "Tuple" else self._text(each)
                for each in elements
            ]
        else:
            items = [self._text(each) for each in elements]
        if not items and name in ("Set", "FrozenSet"):
            return f"{name.lower()}()"
        opening, closing = _BRACKETS.get(name, ("[", "]"))
        return f"{opening}{', '.join(items)}{closing}"


def read(trace: Path, visitor: Visitor, progress: Callable[[int], None] | None = None) -> None:
    """Shows a visitor every event of one trace. Raises `RecorderError` when it cannot be read.

    `progress` is told the number of events so far, every now and then.
    """
    seen = 0

    def write(lines: str) -> None:
        nonlocal seen
        for line in filter(None, lines.split("\n")):  # and nowhere else: a string may hold U+2028
            ((kind, content),) = json.loads(line).items()
            visitor.take(kind, content)
            seen += 1
        if progress is not None:
            progress(seen)

    inspect_trace(str(trace), "json", 0, 0, write)


def streams(directory: Path) -> Iterator[tuple[str, str, Path]]:
    """The traces of a recording as (process, name, directory): threads, further parts, and child processes."""
    yield from _process(directory, "")
    for child in sorted(directory.glob("processes/*")):
        if _has_events(child):
            yield from _process(child, child.name)


def _process(directory: Path, process: str) -> Iterator[tuple[str, str, Path]]:
    yield process, "main", directory
    for part, prefix in [(directory, ""), *((each, f"part {each.name} ") for each in _below(directory, "parts"))]:
        if prefix:
            yield process, prefix + "main", part
        for thread in _below(part, "threads"):
            yield process, f"{prefix}thread {thread.name}", thread


def _below(directory: Path, name: str) -> list[Path]:
    """Traces in a subdirectory, by their number."""
    found = [path for path in (directory / name).glob("*") if _has_events(path)]
    return sorted(found, key=lambda path: (len(path.name.split("-")[0]), path.name))


def _has_events(directory: Path) -> bool:
    return any((directory / name).is_file() for name in _FILES)
