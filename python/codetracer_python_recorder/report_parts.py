"""The sections of a report, as HTML.

Invariant: every text that is not ours goes through `escape`.
"""

from __future__ import annotations

import json
import linecache
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from .codetracer_python_recorder import verify_trace
from .report_trace import Call, Summary

MAX_FILES = 60
MAX_LINES = 5000
_METADATA = "trace_metadata.json"


class Metadata:
    """`trace_metadata.json`, as far as it is there and as it should be."""

    def __init__(self, directory: Path) -> None:
        try:
            content = json.loads((directory / _METADATA).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            content = None
        self._content: dict[str, Any] = content if isinstance(content, dict) else {}

    def get(self, *keys: str) -> Any:
        """What is under a path of keys; `None` if it is not there."""
        found: Any = self._content
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    @property
    def program(self) -> str:
        return str(self.get("program") or "unknown program")


def overview(directory: Path, metadata: Metadata, traces: Sequence[Summary]) -> str:
    """What ran, how it ended, and what each thread has."""
    arguments = metadata.get("args")
    status = metadata.get("process_exit_status", "code")
    label = metadata.get("process_exit_status", "label")
    facts = [
        ("Arguments", " ".join(map(str, arguments)) if isinstance(arguments, list) else ""),
        ("Directory", metadata.get("workdir")),
        ("Exit status", label if status is None else status),
        ("Python", metadata.get("python_version")),
        ("Recorder", metadata.get("recorder", "version")),
        ("Trace", directory),
        ("Size on disk", _size(sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()))),
    ]
    rows = "".join(f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in facts if value != "")
    head = '<tr><th>Trace of</th><th class="n">Steps</th><th class="n">Calls</th><th class="n">Values</th>'
    head += '<th class="n">Size</th></tr>'
    threads = "".join(
        f'<tr><td>{escape(_name(each))}</td><td class="n">{each.steps:,}</td><td class="n">{each.calls:,}</td>'
        f'<td class="n">{each.values:,}</td><td class="n">{_size(_events_size(each.trace))}</td></tr>'
        for each in traces
    )
    return f"<table>{rows}</table>\n<h3>Traces</h3><table>{head}{threads}</table>"


def calls(traces: Sequence[Summary]) -> str:
    """The call tree of each thread."""
    parts = []
    for trace in traces:
        parts.append(f'<h3>{escape(_name(trace))}</h3><div class="tree">{"".join(_tree(trace.root))}</div>')
    return "\n".join(parts)


def _tree(root: Call) -> Iterator[str]:
    """Markup of the calls below `root`, without recursion: a program may be deeper than our stack."""
    work: list[str | tuple[Call, int]] = [(each, 0) for each in reversed(root.inner)]
    if root.hidden:
        work.insert(0, _hidden(root.hidden))
    while work:
        item = work.pop()
        if isinstance(item, str):
            yield item
            continue
        call, depth = item
        result = "" if call.returned is None else f' <span class="result">→ {escape(call.returned)}</span>'
        title = escape(f"{call.where}, {call.steps} steps", quote=True)
        shown = f'<span title="{title}"><b>{escape(call.name)}</b>({escape(call.arguments)}){result}</span>'
        if not call.inner and not call.hidden:
            yield f"<div>{shown}</div>"
            continue
        yield f"<details{' open' if depth < 4 else ''}><summary>{shown}</summary>"
        work.append("</details>")
        if call.hidden:
            work.append(_hidden(call.hidden))
        work.extend((each, depth + 1) for each in reversed(call.inner))


def _hidden(count: int) -> str:
    return f'<div class="note">… {count:,} more calls</div>'


def sources(lines: dict[str, dict[int, int]]) -> str:
    """Every file that ran, the busiest first, with how often each line did."""
    busiest = sorted(lines.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    parts = []
    for number, (path, counts) in enumerate(busiest[:MAX_FILES]):
        opened = " open" if number < 3 else ""
        head = f"{escape(path)} <span class='note'>{sum(counts.values()):,} steps</span>"
        parts.append(f"<details{opened}><summary>{head}</summary>{_file(path, counts)}</details>")
    if len(busiest) > MAX_FILES:
        parts.append(f'<p class="note">… {len(busiest) - MAX_FILES} more files</p>')
    return "\n".join(parts) or '<p class="note">No line ran.</p>'


def _file(path: str, counts: dict[int, int]) -> str:
    source = linecache.getlines(path)
    most = max(counts.values())
    if not source:
        rows = [(line, "") for line in sorted(counts)]
        note = '<p class="note">The source is not where it was.</p>'
    else:
        rows = list(enumerate(source, 1))
        late = sum(line > len(source) for line in counts)
        note = '<p class="note">The file has changed since: lines that ran are past its end.</p>' if late else ""
    cut = f'<p class="note">… {len(rows) - MAX_LINES:,} more lines</p>' if len(rows) > MAX_LINES else ""
    shown = []
    for line, text in rows[:MAX_LINES]:
        count = counts.get(line, 0)
        ran = f' class="ran" style="--heat:{8 + 32 * count // most}"' if count else ""
        cells = f'<td class="n">{line}</td><td class="n">{count or ""}</td><td>{escape(text.rstrip())}</td>'
        shown.append(f"<tr{ran}>{cells}</tr>")
    return f'{note}<div class="source"><table>{"".join(shown)}</table></div>{cut}'


def output(traces: Sequence[Summary]) -> str:
    """What each thread wrote and read, in its order."""
    parts = []
    for trace in traces:
        if trace.output:
            text = "".join(f'<span class="{name}">{escape(content)}</span>' for name, content in trace.output)
            cut = f'<p class="note">… {trace.left_out:,} more characters</p>' if trace.left_out else ""
            parts.append(f"<h3>{escape(_name(trace))}</h3><pre>{text}</pre>{cut}")
    return "\n".join(parts) or '<p class="note">Nothing was written or read, or it was not recorded.</p>'


def losses(directory: Path, metadata: Metadata, traces: Sequence[Summary]) -> str:
    """What the trace does not have, and what is wrong with it."""
    problems = verify_trace(str(directory))
    parts = [f'<p class="bad">{escape(problem)}</p>' for problem in problems]
    if not problems:
        parts.append("<p>The trace is complete and readable.</p>")
    rows = []
    for stream in metadata.get("streams") or []:
        counts = stream.get("counts") if isinstance(stream, dict) else None
        if isinstance(counts, dict):
            directory_name = Path(str(stream.get("directory"))).name
            thread = f"thread {directory_name}" if directory_name else "main"
            rows.append((thread, counts.get("lost", 0), counts.get("gaps", 0)))
    if rows:
        cells = "".join(
            f'<tr><td>{escape(name)}</td><td class="n">{lost}</td><td class="n">{gaps}</td></tr>'
            for name, lost, gaps in rows
        )
        head = '<tr><th>Thread</th><th class="n">Events lost</th><th class="n">Gaps</th></tr>'
        parts.append(f"<table>{head}{cells}</table>")
    stats = metadata.get("trace_filter", "stats")
    if isinstance(stats, dict):
        parts.append("<h3>Hidden by filters</h3>" + _table(stats))
    return "\n".join(parts)


def filters(metadata: Metadata) -> str:
    """The filter files in force, in their order."""
    chain = metadata.get("trace_filter", "filters")
    if not isinstance(chain, list) or not chain:
        return '<p class="note">The trace does not say.</p>'
    rows = "".join(
        f"<tr><td>{escape(str(each.get('name')))}</td><td>{escape(str(each.get('version')))}</td>"
        f"<td>{escape(str(each.get('path')))}</td><td><code>{escape(str(each.get('sha256'))[:16])}</code></td></tr>"
        for each in chain
        if isinstance(each, dict)
    )
    return f"<table><tr><th>Name</th><th>Version</th><th>File</th><th>SHA-256</th></tr>{rows}</table>"


def policy(metadata: Metadata) -> str:
    """The policy in force, with where each value was said."""
    text = metadata.get("policy")
    return f"<pre>{escape(text)}</pre>" if isinstance(text, str) else '<p class="note">The trace does not say.</p>'


def _table(content: dict[str, Any]) -> str:
    """Numbers under keys and keys of keys; only those that are not 0."""
    rows: list[tuple[str, object]] = []

    def collect(prefix: str, value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                collect(f"{prefix} {key}".strip().replace("_", " "), inner)
        elif value:
            rows.append((prefix, value))

    collect("", {key: value for key, value in content.items() if key != "io"})
    cells = "".join(f'<tr><td>{escape(name)}</td><td class="n">{escape(str(value))}</td></tr>' for name, value in rows)
    return f"<table>{cells}</table>" if cells else "<p>Nothing.</p>"


def _name(trace: Summary) -> str:
    return f"{f'process {trace.process}, ' if trace.process else ''}{trace.thread}"


def _events_size(directory: Path) -> int:
    return next(
        (path.stat().st_size for path in (directory / "trace.json", directory / "trace.bin") if path.is_file()), 0
    )


def _size(count: float) -> str:
    for unit in ["bytes", "KiB", "MiB", "GiB"]:
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
