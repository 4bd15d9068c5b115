"""`codetracer-python-recorder convert DIR NEW`: a recording in the other format.

Invariants:
- The new directory appears whole or not at all, and replaces nothing.
- Every events file is compared with its source after it was written; a damaged source is refused.
- What else is in the recording (metadata, threads, parts, child processes) is in the new one, too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from . import whole
from .codetracer_python_recorder import RecorderError, convert_trace
from .formats import TRACE_BINARY, TRACE_JSON
from .progress import Progress, bar

_PROGRAM = "codetracer-python-recorder"
_FILES = {TRACE_BINARY: "trace.bin", TRACE_JSON: "trace.json"}
_STATE = "recording.json"


def run(verb: str, arguments: Sequence[str]) -> int:
    """Converts; returns 0, or 1 when the trace cannot be read or the new one not be written.

    Raises `SystemExit` with 2 for bad arguments, with 0 after `-h`.
    """
    options = _parser().parse_args(arguments)
    source, target = Path(options.trace), Path(options.new)
    try:
        with bar("convert") as progress:
            events = convert(source, target, options.format, progress)
    except (RecorderError, OSError) as error:
        print(f"{_PROGRAM}: {error}", file=sys.stderr)
        return 1
    print(f"{target}: {events} events, the same as in {source}")
    return 0


def convert(source: Path, target: Path, format: str | None = None, progress: Progress | None = None) -> int:
    """Makes the directory `target` a copy of the recording `source` in a format, the other one by default.

    Returns the number of events. Raises `RecorderError` or `OSError`.
    """
    if not any((source / name).is_file() for name in _FILES.values()):
        raise FileNotFoundError(f"no trace in '{source}': expected a directory with trace.bin or trace.json")
    if target.resolve().is_relative_to(source.resolve()):
        raise FileExistsError(f"'{target}' is inside of '{source}': name another place")
    wanted = format or (TRACE_BINARY if (source / _FILES[TRACE_JSON]).is_file() else TRACE_JSON)
    events = 0

    def fill(scratch: Path) -> None:
        nonlocal events
        for directory, _, names in os.walk(source):
            place = scratch / os.path.relpath(directory, source)
            place.mkdir(exist_ok=True)
            shutil.copymode(directory, place)
            _refuse_unfinished(Path(directory))
            for name in names:
                # The control socket of a process that was killed has no content.
                if name not in _FILES.values() and os.path.isfile(os.path.join(directory, name)):
                    shutil.copy2(os.path.join(directory, name), place / name)
            if not set(names).isdisjoint(_FILES.values()):
                events += convert_trace(directory, str(place / _FILES[wanted]), wanted, progress)
                taken = next(name for name in (_FILES[TRACE_JSON], _FILES[TRACE_BINARY]) if name in names)
                shutil.copymode(os.path.join(directory, taken), place / _FILES[wanted])

    whole.write_directory(target, fill)
    return events


def _refuse_unfinished(directory: Path) -> None:
    try:
        state = json.loads((directory / _STATE).read_text(encoding="utf-8")).get("state")
    except (OSError, ValueError, AttributeError):
        return
    if state == "recording":
        raise FileExistsError(f"'{directory}' is being recorded, or its program was killed: `recover` ends it")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{_PROGRAM} convert",
        description="Write a recording again in the other format, binary or JSON, and compare what was written.",
    )
    parser.add_argument("trace", metavar="DIR", help="the trace directory")
    parser.add_argument("new", metavar="NEW", help="the directory to make; it must not exist")
    parser.add_argument("--format", choices=tuple(_FILES), help="what to write (default: the other format)")
    return parser
