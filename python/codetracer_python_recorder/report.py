"""`codetracer-python-recorder report DIR`: one HTML page that shows a recording without CodeTracer.

Invariants:
- The page is one file: no script, no font, no picture, no request; its own policy forbids them.
- Whatever the program, its source or its output contain is text on the page, never markup.
- The size of the page is bounded; what is left out is said where it is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from . import report_parts, whole
from .codetracer_python_recorder import VERSION, RecorderError
from .progress import Progress, bar
from .report_parts import Metadata
from .report_trace import Summary
from .trace_events import read, streams

_PROGRAM = "codetracer-python-recorder"
DEFAULT_MAX_CALLS = 2000


def run(verb: str, arguments: Sequence[str]) -> int:
    """Writes a report; returns 0, or 1 when the trace cannot be read or the page not be written.

    Raises `SystemExit` with 2 for bad arguments, with 0 after `-h`.
    """
    options = _parser().parse_args(arguments)
    directory = Path(options.trace)
    target = Path(options.output) if options.output else _beside(directory)
    try:
        with bar("report") as progress:
            text = page(directory, options.max_calls, progress)
        whole.write_text(target, text)
    except (RecorderError, OSError) as error:
        print(f"{_PROGRAM}: {error}", file=sys.stderr)
        return 1
    print(target)
    return 0


def page(directory: Path, max_calls: int = DEFAULT_MAX_CALLS, progress: Progress | None = None) -> str:
    """The page of a recording. Raises `RecorderError` or `OSError`."""
    lines: dict[str, dict[int, int]] = {}
    traces = []
    for process, thread, trace in streams(directory):
        summary = Summary(process, thread, trace, lines, max_calls)
        read(trace, summary, progress)
        summary.finish()
        traces.append(summary)
    metadata = Metadata(directory)
    title = f"{metadata.program} – recorded run"
    sections = [
        ("Overview", report_parts.overview(directory, metadata, traces)),
        ("Calls", report_parts.calls(traces)),
        ("Source", report_parts.sources(lines)),
        ("Output", report_parts.output(traces)),
        ("Losses", report_parts.losses(directory, metadata, traces)),
        ("Filters", report_parts.filters(metadata)),
        ("Policy", report_parts.policy(metadata)),
    ]
    links = "".join(f'<a href="#{name.lower()}">{name}</a>' for name, _ in sections)
    body = [f"<h1>{escape(metadata.program)}</h1>", f"<nav>{links}</nav>"]
    body += [f'<section id="{name.lower()}"><h2>{name}</h2>\n{content}</section>' for name, content in sections]
    body.append(f'<p class="note">Written by {_PROGRAM} {escape(VERSION)}. A step is a line that ran.</p>')
    template = Template(files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    return template.substitute(title=escape(title), body="\n".join(body))


def _beside(directory: Path) -> Path:
    """`DIR.html`, also for a DIR like `.` that has its name from elsewhere."""
    named = Path(os.path.normpath(directory))
    named = named if named.name not in ("", "..") else named.resolve()
    return named.with_name(f"{named.name}.html")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{_PROGRAM} report",
        description="Write one HTML page that shows a recording: source with step counts, calls, output, losses.",
    )
    parser.add_argument("trace", metavar="DIR", help="the trace directory")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to (default: DIR.html)")
    parser.add_argument(
        "--max-calls",
        type=int,
        default=DEFAULT_MAX_CALLS,
        metavar="N",
        help="show this many calls of each thread (default: %(default)s)",
    )
    return parser
