"""Reads a recorded trace into the model of the oracle, holding it to the rules of the format on the way."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from oracle.model import Call, Event, Return, Step, Stream, Value, counts
from oracle.values import UNKNOWN, sort_key

from .running import TIMEOUT, environment

TOPLEVEL = "<toplevel>"
MAX_NESTING = 60
"""Levels of nested values that CodeTracer loads."""

_FORBIDDEN = frozenset(
    {
        "Asm",
        "AssignCell",
        "AssignCompoundItem",
        "Assignment",
        "BindVariable",
        "CellValue",
        "CompoundValue",
        "DropLastStep",
        "DropVariable",
        "DropVariables",
        "ThreadSwitch",
        "VariableCell",
    }
)
_COMPOUND = {"List": "Sequence", "Dict": "Sequence", "Set": "Sequence", "FrozenSet": "Sequence", "Tuple": "Tuple"}
_STRUCT_KIND = 6  # TypeKind::Struct


class BadTrace(AssertionError):
    """The trace breaks a rule of the format."""


@dataclass
class Output:
    """What the program wrote or read, or the recorder noted: an `Event` of the trace."""

    kind: int
    metadata: str
    content: str
    step: Step | None
    """The latest step before it."""


@dataclass
class Thread:
    """The trace of one thread, as it lies in a directory of its own."""

    directory: Path
    events: list[Event] = field(default_factory=list)
    """Without the call of `<toplevel>` and its return."""
    outputs: list[Output] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    functions: list[tuple[str, str, int]] = field(default_factory=list)
    """(name, path, line), the `<toplevel>` included."""
    toplevel_return: Value | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Number of calls, steps and returns, without those of `<toplevel>`."""
        return counts(self.events)

    @property
    def calls(self) -> list[Call]:
        """All calls in order."""
        return [event for event in self.events if isinstance(event, Call)]

    @property
    def steps(self) -> list[Step]:
        """All steps in order."""
        return [event for event in self.events if isinstance(event, Step)]

    def calls_of(self, name: str) -> list[Call]:
        """The calls of functions of this name."""
        return [call for call in self.calls if call.name == name]

    def returns_of(self, name: str) -> list[Value]:
        """What left frames of functions of this name."""
        stack: list[str] = []
        values = []
        for event in self.events:
            if isinstance(event, Call):
                stack.append(event.name)
            elif isinstance(event, Return) and stack.pop() == name:
                values.append(event.value)
        return values


class Trace:
    """A trace directory: the thread that started the recording, and under `threads/` the others."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @cached_property
    def main(self) -> Thread:
        """The thread that started the recording."""
        return read_thread(self.directory)

    @cached_property
    def threads(self) -> list[Thread]:
        """Every recorded thread, the one that started the recording first."""
        return [self.main, *(read_thread(directory) for directory in self._other_directories)]

    @property
    def structures(self) -> list[list[Event]]:
        """What `threads` did, without values; see `read_structure`."""
        return [read_structure(directory) for directory in (self.directory, *self._other_directories)]

    @property
    def _other_directories(self) -> list[Path]:
        return sorted((self.directory / "threads").glob("*/"))

    @property
    def streams(self) -> list[Stream]:
        """What `compare.assert_same` takes."""
        return [Stream(thread.directory.name, thread.events) for thread in self.threads]

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """`trace_metadata.json`."""
        return json.loads((self.directory / "trace_metadata.json").read_text(encoding="utf-8"))

    @cached_property
    def paths(self) -> list[str]:
        """`trace_paths.json`."""
        return json.loads((self.directory / "trace_paths.json").read_text(encoding="utf-8"))

    @property
    def raw(self) -> list[dict[str, Any]]:
        """The main thread's events as they are written."""
        return list(raw_events(self.directory))


def raw_events(directory: Path) -> Iterator[dict[str, Any]]:
    """The events of one trace directory, in serde's JSON form."""
    text, binary = directory / "trace.json", directory / "trace.bin"
    if text.exists() == binary.exists():
        raise BadTrace(f"{directory} must hold trace.json or trace.bin, and only one: {_listing(directory)}")
    if text.exists():
        yield from json.loads(text.read_text(encoding="utf-8"))
    else:
        yield from map(json.loads, inspected_lines(directory))


def inspected_lines(directory: Path) -> Iterator[str]:
    """The lines that the recorder's own reader prints, one event each."""
    command = [sys.executable, "-m", "codetracer_python_recorder", "inspect", str(directory), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), encoding="utf-8"
    ) as reader:
        assert reader.stdout is not None and reader.stderr is not None
        yield from reader.stdout
        problem = reader.stderr.read()
        if status := reader.wait(TIMEOUT):
            raise BadTrace(f"inspect failed with {status}: {problem}")


def read_thread(directory: Path) -> Thread:
    """Reads one trace directory. Raises `BadTrace` where CodeTracer would not load it, or show it wrongly."""
    return parse(raw_events(directory), directory)


def read_structure(directory: Path) -> list[Event]:
    """Calls, steps and returns of one trace directory, without values: fast enough for long traces."""
    kinds = ('{"Path"', '{"Function"', '{"Step"', '{"Call"', '{"Return"')
    parser = _Parser(Thread(directory), values=False)
    for line in inspected_lines(directory):
        if line.startswith(kinds):
            ((kind, content),) = json.loads(line).items()
            parser.take(kind, content)
    return parser.finish().events


def parse(events: Iterator[dict[str, Any]], directory: Path) -> Thread:
    """Turns events as written into the model."""
    parser = _Parser(Thread(directory))
    for number, event in enumerate(events):
        ((kind, content),) = event.items()
        try:
            parser.take(kind, content)
        except (BadTrace, KeyError, IndexError, TypeError) as error:
            raise BadTrace(f"event {number} ({kind} {str(content)[:200]}): {type(error).__name__}: {error}") from error
    return parser.finish()


class _Parser:
    def __init__(self, thread: Thread, *, values: bool = True) -> None:
        self._thread = thread
        self._values = values
        self._types: list[tuple[str, int, list[str]]] = []
        self._variables: list[str] = []
        self._depth = 0
        self._stepped = False
        self._step: Step | None = None
        """The latest step, while values may still follow."""
        self._latest: Step | None = None
        self._pending: Step | None = None
        """A step that nothing has followed yet: the next call's definition line, or a step without variables."""
        self._lengths: dict[str, int | None] = {}
        self._handlers: dict[str, Callable[[Any], None]] = {
            "Path": self._take_path,
            "Function": self._take_function,
            "Type": self._take_type,
            "VariableName": self._take_variable_name,
            "Step": self._take_step,
            "Value": self._take_value,
            "Call": self._take_call,
            "Return": self._take_return,
            "Event": self._take_event,
            "ThreadStart": lambda _: None,
            "ThreadExit": lambda _: None,
        }

    def take(self, kind: str, content: Any) -> None:
        if kind in _FORBIDDEN:
            raise BadTrace("CodeTracer cannot use this kind of event")
        if self._depth == 0 and self._thread.toplevel_return is not None:
            raise BadTrace(f"an event after the return of {TOPLEVEL}")
        if kind not in self._handlers:
            raise BadTrace("an unknown kind of event")
        self._handlers[kind](content)

    def finish(self) -> Thread:
        self._settle()
        if self._depth:
            raise BadTrace(f"{self._depth} calls without return")
        if self._thread.toplevel_return is None:
            raise BadTrace("no events")
        if not self._stepped:
            raise BadTrace("no step")
        return self._thread

    def _settle(self) -> None:
        """The pending step turned out to be one of its own."""
        if self._pending is not None:
            self._thread.events.append(self._pending)
            self._pending = None

    def _take_path(self, path: str) -> None:
        if path in self._thread.paths:
            raise BadTrace("a path defined twice")
        if not Path(path).is_absolute() or ".." in Path(path).parts:
            raise BadTrace("a path that is not absolute and normalised")
        self._thread.paths.append(path)

    def _take_function(self, content: dict[str, Any]) -> None:
        function = (content["name"], self._thread.paths[content["path_id"]], content["line"])
        self._thread.functions.append(function)

    def _take_type(self, content: dict[str, Any]) -> None:
        info = content["specific_info"]
        fields = [self._named_field(entry) for entry in info.get("fields", [])]
        if not self._types and content["lang_type"] != "None":
            raise BadTrace("the first type must be None")
        self._types.append((content["lang_type"], content["kind"], fields))

    def _named_field(self, entry: dict[str, Any]) -> str:
        if not 0 <= entry["type_id"] <= len(self._types):
            raise BadTrace("a field of an undefined type")
        return entry["name"]

    def _take_variable_name(self, name: str) -> None:
        if name in self._variables:
            raise BadTrace("a variable name defined twice")
        self._variables.append(name)

    def _step_of(self, content: dict[str, Any]) -> Step:
        path, line = self._thread.paths[content["path_id"]], content["line"]
        if line < 0:
            raise BadTrace("a negative line")
        if path not in self._lengths:
            file = Path(path)
            self._lengths[path] = len(file.read_bytes().splitlines()) if file.is_file() else None
        length = self._lengths[path]
        if length is not None and line > max(length, 1):
            raise BadTrace(f"line {line} of a file with {length} lines")
        return Step(path, line)

    def _take_step(self, content: dict[str, Any]) -> None:
        if not self._depth:
            raise BadTrace("a step before the first call")
        self._settle()
        self._stepped = True
        self._pending = self._step = self._latest = self._step_of(content)

    def _take_value(self, content: dict[str, Any]) -> None:
        self._settle()
        if self._step is None:
            raise BadTrace("a value that belongs to no step")
        name = self._variables[content["variable_id"]]
        if name in self._step.locals:
            raise BadTrace(f"{name} shown twice at one step")
        self._step.locals[name] = self._read(content["value"])

    def _take_call(self, content: dict[str, Any]) -> None:
        name, path, line = self._thread.functions[content["function_id"]]
        first = self._depth == 0
        self._depth += 1
        if first:
            if name != TOPLEVEL or content["args"]:
                raise BadTrace(f"the first call must be {TOPLEVEL} without arguments")
            return
        if self._pending is None or (self._pending.path, self._pending.line) != (path, line):
            raise BadTrace(f"a call without a step on its definition line right before it: {name}")
        self._pending = None
        self._step = None
        arguments = content["args"] if self._values else []
        args = [(self._variables[arg["variable_id"]], self._read(arg["value"])) for arg in arguments]
        if len(dict(args)) != len(args):
            raise BadTrace("an argument twice")
        self._thread.events.append(Call(name, path, line, args))

    def _take_return(self, content: dict[str, Any]) -> None:
        self._settle()
        self._step = None
        value = self._read(content["return_value"])
        self._depth -= 1
        if self._depth < 0:
            raise BadTrace("one return more than calls")
        if self._depth == 0:
            self._thread.toplevel_return = value
        else:
            self._thread.events.append(Return(value))

    def _take_event(self, content: dict[str, Any]) -> None:
        self._settle()
        self._thread.outputs.append(Output(content["kind"], content["metadata"], content["content"], self._latest))

    def _read(self, value: dict[str, Any], depth: int = 0) -> Value:
        if not self._values:
            return UNKNOWN
        if depth > MAX_NESTING:
            raise BadTrace("values nested too deep")
        name, kind_of_type, fields = self._types[value["type_id"]]
        match value["kind"]:
            case "None":
                return ["None"]
            case "Bool" if name == "Bool":
                return ["Bool", value["b"]]
            case "Int" if name == "Int":
                return ["Int", hex(value["i"])]
            case "BigInt" if name == "Int":
                magnitude = int.from_bytes(base64.b64decode(value["b"]), "big")
                return ["Int", hex(-magnitude if value["negative"] else magnitude)]
            case "String" if name == "String":
                return ["String", value["text"]]
            case "Raw":
                return self._read_raw(name, value["r"])
            case "Error":
                return ["Error", name, value["msg"]]
            case "Sequence" | "Tuple" as kind:
                items = [self._read(item, depth + 1) for item in value["elements"]]
                if _COMPOUND.get(name) != kind:
                    return ["Other", name, "", items]
                if name == "Dict":
                    items = [self._pair(item) for item in items]
                elif name in ("Set", "FrozenSet") and not (items and items[-1][0] == "Truncated"):
                    items.sort(key=sort_key)
                return [name, items]
            case "Struct":
                items = [self._read(item, depth + 1) for item in value["field_values"]]
                if kind_of_type != _STRUCT_KIND or len(items) != len(fields):
                    raise BadTrace(f"{len(items)} values for the fields {fields} of {name}")
                return ["Other", name, "", dict(zip(fields, items, strict=True))]
            case "Int" | "Bool" | "String" | "BigInt" as kind:
                text = {"Int": "i", "Bool": "b", "String": "text", "BigInt": "b"}[kind]
                return ["Other", name, str(value[text])]
            case kind:
                raise BadTrace(f"a value of the kind {kind}")

    @staticmethod
    def _read_raw(name: str, text: str) -> Value:
        match name:
            case "Float" | "Bytes" | "Truncated":
                return [name, text]
            case "Cycle":
                return ["Cycle"]
            case "Int":
                return ["Truncated", text]
            case _:
                return ["Other", name, text]

    @staticmethod
    def _pair(item: Value) -> Value:
        if item[0] == "Truncated":
            return item
        if item[0] != "Tuple" or len(item[1]) != 2:
            raise BadTrace(f"a dict entry that is no pair: {item}")
        return item[1]


def _listing(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else ["(no directory)"]
