"""`codetracer-python-recorder export DIR`: a trace for the viewers of profiles, or as tables.

Invariants:
- The trace is read and the export written as a stream: memory does not grow with the number of calls.
- Time is counted in steps, the lines that ran: recording changes how long things take, not how many lines they take.
- Every call that begins ends, at the end of the trace if not before; so both formats nest properly.
- A file named by `--output` appears whole or not at all.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from . import whole
from .codetracer_python_recorder import VERSION, RecorderError
from .progress import Progress, bar
from .trace_events import KINDS, Visitor, read, streams

_PROGRAM = "codetracer-python-recorder"
SPEEDSCOPE_SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def run(verb: str, arguments: Sequence[str]) -> int:
    """Writes an export; returns 0, or 1 when the trace cannot be read or the file not be written.

    Raises `SystemExit` with 2 for bad arguments, with 0 after `-h`.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.export is _parquet and options.output is None:
        parser.error("--parquet makes a directory: name it with -o")
    directory = Path(options.trace)
    try:
        with bar("export") as progress:
            if options.export is _parquet:
                _parquet(directory, Path(options.output), progress)
            elif options.output is None:
                options.export(directory, sys.stdout, progress)
                sys.stdout.flush()
            else:
                whole.write_file(Path(options.output), lambda out: options.export(directory, out, progress))
    except BrokenPipeError:  # the reader has seen enough; keep the interpreter from flushing at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (RecorderError, OSError) as error:
        print(f"{_PROGRAM}: {error}", file=sys.stderr)
        return 1
    return 0


def chrome_json(directory: Path, out: TextIO, progress: Progress | None = None) -> None:
    """Trace events as Perfetto and chrome://tracing read them, a microsecond for each step."""
    first = True

    def put(**event: Any) -> None:
        nonlocal first
        out.write("\n" if first else ",\n")
        first = False
        json.dump(event, out)

    out.write('{"displayTimeUnit": "ns", "otherData": ')
    json.dump({"recorder": f"{_PROGRAM} {VERSION}", "time": "one microsecond is one step"}, out)
    out.write(', "traceEvents": [')
    processes: dict[str, int] = {}
    for tid, (process, name, trace) in enumerate(streams(directory), 1):
        if process not in processes:
            processes[process] = len(processes) + 1
            args = {"name": f"process {process}" if process else "program"}
            put(ph="M", name="process_name", pid=processes[process], tid=tid, args=args)
        put(ph="M", name="thread_name", pid=processes[process], tid=tid, args={"name": name})
        chrome = _Chrome(put, processes[process], tid)
        read(trace, chrome, progress)
        chrome.finish()
    out.write("\n]}\n")


def speedscope(directory: Path, out: TextIO, progress: Progress | None = None) -> None:
    """A file of speedscope, with a profile for each thread."""
    frames: dict[tuple[str, str, int], int] = {}
    out.write('{"$schema": ')
    json.dump(SPEEDSCOPE_SCHEMA, out)
    out.write(', "exporter": ')
    json.dump(f"{_PROGRAM} {VERSION}", out)
    out.write(', "profiles": [')
    for number, (process, name, trace) in enumerate(streams(directory)):
        out.write(",\n" if number else "\n")
        profile = _Speedscope(out, frames)
        out.write('{"type": "evented", "unit": "none", "startValue": 0, "name": ')
        json.dump(f"{process} {name}".strip() + " (steps)", out)
        out.write(', "events": [')
        read(trace, profile, progress)
        profile.finish()
        out.write(f'], "endValue": {profile.time}}}')
    out.write('\n], "shared": {"frames": ')
    json.dump([{"name": name, "file": file, "line": line} for name, file, line in frames], out)
    out.write("}}\n")


def _parquet(directory: Path, target: Path, progress: Progress) -> None:
    from . import parquet

    parquet.export(directory, target, progress)


class _Chrome(Visitor):
    def __init__(self, put: Callable[..., None], pid: int, tid: int) -> None:
        super().__init__()
        self._put = put
        self._place = {"pid": pid, "tid": tid}
        self._time = 0
        self._depth = 0

    def step(self, path: str, line: int) -> None:
        self._time += 1

    def call(self, function: dict[str, Any], arguments: list[dict[str, Any]]) -> None:
        self._depth += 1
        args = {self.names[each["variable_id"]]: self.text(each["value"]) for each in arguments}
        where = f"{self.paths[function['path_id']]}:{function['line']}"
        self._put(
            ph="B",
            name=function["name"],
            cat="call",
            ts=self._time,
            **self._place,
            args={"defined": where, "arguments": args},
        )

    def returns(self, value: dict[str, Any]) -> None:
        self._depth -= 1
        self._put(ph="E", ts=self._time, **self._place, args={"returns": self.text(value)})

    def event(self, kind: int, metadata: str, content: str) -> None:
        name = KINDS.get(kind, "event")
        self._put(ph="i", s="t", name=name, cat="io", ts=self._time, **self._place, args={"text": content})

    def finish(self) -> None:
        for _ in range(self._depth):
            self._put(ph="E", ts=self._time, **self._place)


class _Speedscope(Visitor):
    def __init__(self, out: TextIO, frames: dict[tuple[str, str, int], int]) -> None:
        super().__init__()
        self._out = out
        self._frames = frames
        self._open: list[int] = []
        self._first = True
        self.time = 0

    def step(self, path: str, line: int) -> None:
        self.time += 1

    def call(self, function: dict[str, Any], arguments: list[dict[str, Any]]) -> None:
        key = (function["name"], self.paths[function["path_id"]], function["line"])
        frame = self._frames.setdefault(key, len(self._frames))
        self._open.append(frame)
        self._put("O", frame)

    def returns(self, value: dict[str, Any]) -> None:
        self._put("C", self._open.pop())

    def finish(self) -> None:
        while self._open:
            self._put("C", self._open.pop())

    def _put(self, kind: str, frame: int) -> None:
        self._out.write("\n" if self._first else ",\n")
        self._first = False
        self._out.write(f'{{"type": "{kind}", "frame": {frame}, "at": {self.time}}}')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{_PROGRAM} export",
        description="Write a trace for viewers of profiles or as tables; time is counted in steps.",
    )
    parser.add_argument("trace", metavar="DIR", help="the trace directory")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument(
        "--chrome-json",
        dest="export",
        action="store_const",
        const=chrome_json,
        help="trace events, for Perfetto (https://ui.perfetto.dev) and chrome://tracing",
    )
    kind.add_argument(
        "--speedscope",
        dest="export",
        action="store_const",
        const=speedscope,
        help="a profile, for https://www.speedscope.app",
    )
    kind.add_argument(
        "--parquet",
        dest="export",
        action="store_const",
        const=_parquet,
        help="tables of events, calls and values, for DuckDB and other engines; needs pyarrow",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="where to (default: standard output; --parquet: a new directory)"
    )
    return parser
