"""A progress bar for what takes long, on a terminal, where rich is installed; nothing otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

type Progress = Callable[[int], None]
"""Is told how many events there were so far."""


@contextmanager
def bar(what: str) -> Iterator[Progress]:
    """Shows on stderr that `what` goes on, and how many events it has seen. The bar is gone afterwards."""
    if not _is_terminal():
        yield _nothing
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        yield _nothing
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[seen]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=None, seen="")
        yield lambda events: shown.update(task, seen=f"{events:,} events")


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def _nothing(events: int) -> None:
    pass
