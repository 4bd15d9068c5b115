"""`export DIR --parquet -o NEW`: events, calls and values of a recording as tables.

Invariants:
- Memory is bounded by a batch of rows of each table, whatever the length of the trace.
- The tables join: a call is known by (process, thread, call), a moment by (process, thread, step).
- Values are short text, as in the other exports, and what a filter hid stays hidden.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from . import whole
from .codetracer_python_recorder import VERSION
from .progress import Progress
from .trace_events import KINDS, Visitor, read, streams

_BATCH = 50_000


class MissingLibrary(OSError):
    """pyarrow is not installed."""


def export(directory: Path, target: Path, progress: Progress | None = None) -> None:
    """Makes the directory `target` with `events.parquet`, `calls.parquet` and `values.parquet`.

    Raises `RecorderError` or `OSError`.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingLibrary(
            "--parquet needs pyarrow: pip install 'codetracer-python-recorder[parquet]' adds it"
        ) from None

    def fill(scratch: Path) -> None:
        tables = [_Table(pyarrow, scratch, name) for name in ("events", "calls", "values")]
        try:
            for process, thread, trace in streams(directory):
                rows = _Rows(process, thread, *tables)
                read(trace, rows, progress)
                rows.finish()
        finally:
            for table in tables:
                table.close()
        shutil.copymode(directory, scratch)

    whole.write_directory(target, fill)


def _schema(arrow: Any, name: str) -> Any:
    text, number, word = arrow.string(), arrow.int64(), arrow.dictionary(arrow.int32(), arrow.string())
    place = [("process", word), ("thread", word)]
    columns = {
        "events": [
            ("step", number),
            ("kind", word),
            ("path", word),
            ("line", number),
            ("call", number),
            ("depth", number),
            ("text", text),
        ],
        "calls": [
            ("call", number),
            ("parent", number),
            ("depth", number),
            ("function", word),
            ("path", word),
            ("line", number),
            ("first_step", number),
            ("last_step", number),
            ("arguments", arrow.map_(text, text)),
            ("returned", text),
            ("finished", arrow.bool_()),
        ],
        "values": [
            ("step", number),
            ("call", number),
            ("path", word),
            ("line", number),
            ("name", word),
            ("type", word),
            ("value", text),
        ],
    }
    metadata = {"recorder": f"codetracer-python-recorder {VERSION}", "time": "a step is a line that ran"}
    return arrow.schema([*place, *columns[name]], metadata=metadata)


class _Table:
    """One file; rows become batches of columns."""

    def __init__(self, arrow: Any, directory: Path, name: str) -> None:
        self._arrow = arrow
        self._schema = _schema(arrow, name)
        self._writer = arrow.parquet.ParquetWriter(directory / f"{name}.parquet", self._schema, compression="zstd")
        self._rows: list[tuple[Any, ...]] = []

    def add(self, *row: Any) -> None:
        self._rows.append(row)
        if len(self._rows) >= _BATCH:
            self._write()

    def close(self) -> None:
        self._write()
        self._writer.close()

    def _write(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [
                self._arrow.array(column, type=field.type) for column, field in zip(columns, self._schema, strict=True)
            ]
            self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
            self._rows.clear()


class _Rows(Visitor):
    """The rows of one thread. Steps count from 1, calls from 0, which is `<toplevel>`."""

    def __init__(self, process: str, thread: str, events: _Table, calls: _Table, values: _Table) -> None:
        super().__init__()
        self._place = (process, thread)
        self._events, self._calls, self._values = events, calls, values
        self._step = 0
        self._path, self._line = "", 0
        self._count = 0
        self._open: list[tuple[int, dict[str, Any], int, dict[str, str]]] = []

    def step(self, path: str, line: int) -> None:
        self._step += 1
        self._path, self._line = path, line
        self._event("step", None)

    def call(self, function: dict[str, Any], arguments: list[dict[str, Any]]) -> None:
        texts = {self.names[each["variable_id"]]: self.text(each["value"]) for each in arguments}
        self._open.append((self._count, function, self._step, texts))
        self._count += 1
        self._event("call", function["name"])

    def returns(self, value: dict[str, Any]) -> None:
        text = self.text(value)
        self._event("return", text)
        self._end(text, True)

    def value(self, name: str, value: dict[str, Any]) -> None:
        kind = self.types[value["type_id"]]["lang_type"] if "type_id" in value else None
        self._values.add(*self._place, self._step, self._call, self._path, self._line, name, kind, self.text(value))

    def event(self, kind: int, metadata: str, content: str) -> None:
        self._event(KINDS.get(kind, "event"), content)

    def finish(self) -> None:
        while self._open:
            self._end(None, False)

    @property
    def _call(self) -> int | None:
        return self._open[-1][0] if self._open else None

    def _event(self, kind: str, text: str | None) -> None:
        self._events.add(*self._place, self._step, kind, self._path, self._line, self._call, len(self._open), text)

    def _end(self, returned: str | None, finished: bool) -> None:
        call, function, first, arguments = self._open.pop()
        where = self.paths[function["path_id"]]
        self._calls.add(
            *self._place,
            call,
            self._call,
            len(self._open),
            function["name"],
            where,
            function["line"],
            first,
            self._step,
            list(arguments.items()),
            returned,
            finished,
        )
