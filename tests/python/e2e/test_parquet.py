"""`export --parquet`: tables that agree with the trace, and the queries of docs/query.md, run by DuckDB."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.recording import Recording
from support.running import Outcome, python

Record = Callable[..., Recording]
Write = Callable[..., Path]

ROOT = Path(__file__).resolve().parents[3]


def export(directory: Path, *options: str | Path) -> Outcome:
    return python(["-m", "codetracer_python_recorder", "export", directory, "--parquet", *options])


def rows(directory: Path, query: str) -> list[tuple[Any, ...]]:
    """What a query gives whose file names are relative to a directory."""
    with duckdb.connect() as connection:
        return connection.execute(re.sub(r"'((?:tables|traces)/[^']*)'", rf"'{directory}/\1'", query)).fetchall()


@pytest.fixture
def recorded(record: Record, tmp_path: Path) -> Recording:
    recording = record(ROOT / "examples" / "fibonacci.py")
    outcome = export(recording.directory, "-o", tmp_path / "tables")
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "", "")
    return recording


def test_the_tables_have_what_the_trace_has(recorded: Recording, tmp_path: Path) -> None:
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {
        "events.parquet",
        "calls.parquet",
        "values.parquet",
    }
    counts = dict(rows(tmp_path, "SELECT kind, count(*) FROM 'tables/events.parquet' GROUP BY kind"))
    raw = Counter(next(iter(event)) for event in recorded.trace.raw)
    assert (counts["step"], counts["call"], counts["return"]) == (raw["Step"], raw["Call"], raw["Return"])
    assert rows(tmp_path, "SELECT count(*) FROM 'tables/values.parquet'") == [(raw["Value"],)]
    written = rows(tmp_path, "SELECT text FROM 'tables/events.parquet' WHERE kind = 'stdout' ORDER BY step")
    assert "".join(text for (text,) in written) == recorded.stdout

    calls = rows(tmp_path, "SELECT function, arguments['n'], returned, finished FROM 'tables/calls.parquet'")
    assert len(calls) == raw["Call"] and all(finished for *_, finished in calls)
    assert ("slow", "6", "8", True) in calls
    # Every call but the outermost has a parent that it runs within.
    orphans = """
        SELECT count(*) FROM 'tables/calls.parquet' AS c LEFT JOIN 'tables/calls.parquet' AS p
        ON c.parent = p.call AND c.thread = p.thread AND c.process = p.process
        WHERE c.depth > 0 AND (p.call IS NULL OR c.depth <> p.depth + 1
            OR c.first_step < p.first_step OR c.last_step > p.last_step)
    """
    assert rows(tmp_path, orphans) == [(0,)]


def test_the_queries_of_the_documentation_answer_what_they_promise(recorded: Recording, tmp_path: Path) -> None:
    partition = tmp_path / "traces" / "day=2026-01-31" / "run=web"
    shutil.copytree(tmp_path / "tables", partition)
    shutil.copytree(tmp_path / "tables", tmp_path / "traces" / "day=2026-02-01" / "run=web")
    page = (ROOT / "docs" / "query.md").read_text(encoding="utf-8")
    queries = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    most, returned, changes, lines, printed, machines = [rows(tmp_path, query) for query in queries]

    calls = Counter(call.name for call in recorded.trace.main.calls) + Counter(["<toplevel>"])
    assert most[0][0] == "<toplevel>" and {(name, count) for name, count, _ in most} == set(calls.items())
    assert ("1", "1", 8) in returned and sum(times for *_, times in returned) == calls["slow"]
    assert [after for *_, after in changes][:6] == ["0", "1", "2", "3", "5", "8"]
    assert all(before != after for _, _, before, after in changes)
    assert lines[0][2] == max(Counter((step.path, step.line) for step in recorded.trace.main.steps).values())
    assert "".join(text for _, text in printed) == recorded.stdout
    assert {(name, count) for _, name, count in machines} == set(calls.items())


def test_it_needs_a_new_directory_and_says_what_is_missing(record: Record, write: Write, tmp_path: Path) -> None:
    trace = record(write("print(1)")).directory
    outcome = export(trace)
    assert outcome.status == 2
    assert "name it with -o" in outcome.stderr
    (tmp_path / "tables").mkdir()
    outcome = export(trace, "-o", tmp_path / "tables")
    assert outcome.status == 1
    assert "exists, and is not overwritten" in outcome.stderr
    outcome = export(tmp_path / "nothing", "-o", tmp_path / "new")
    assert outcome.status == 1
    assert "no trace in" in outcome.stderr
    write("raise ImportError", "hidden/pyarrow/__init__.py")
    words = ["-m", "codetracer_python_recorder", "export", trace, "--parquet", "-o", tmp_path / "new"]
    outcome = python(words, env={"PYTHONPATH": str(tmp_path / "hidden")})
    assert outcome.status == 1
    assert "pip install 'codetracer-python-recorder[parquet]'" in outcome.stderr
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".*"))
