"""Checks that every call recorded in a `trace.json` also returned."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any


class TraceBalanceError(RuntimeError):
    """The trace is missing or malformed, so nothing can be said about its balance."""


@dataclass(frozen=True)
class TraceBalanceResult:
    """How many calls and returns a trace has.

    `first_negative_index` is the index of the first event that returns from a call nobody made, or `None`.
    """

    call_count: int
    return_count: int
    first_negative_index: int | None

    @property
    def is_balanced(self) -> bool:
        """Every call returns, and nothing returns before it is called."""
        return self.delta == 0 and self.first_negative_index is None

    @property
    def delta(self) -> int:
        """Calls without a return; negative when there are more returns than calls."""
        return self.call_count - self.return_count


def load_trace_events(path: str | PathLike[str]) -> Sequence[Mapping[str, Any]]:
    """Reads a `trace.json`. Raises `TraceBalanceError` when it is missing or not an array of objects."""
    try:
        events = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TraceBalanceError(f"trace file not found: {path}") from error
    except OSError as error:
        raise TraceBalanceError(f"cannot read trace file: {path}: {error}") from error
    except (ValueError, RecursionError) as error:  # bad JSON and bad UTF-8 are ValueErrors
        raise TraceBalanceError(f"invalid JSON in trace file: {path}: {error}") from error
    if not isinstance(events, list):
        raise TraceBalanceError(f"trace root must be a JSON array, got {type(events).__name__}")
    for index, event in enumerate(events):
        if not isinstance(event, dict):
            raise TraceBalanceError(f"event #{index} is not a JSON object (found {type(event).__name__})")
    return events


def summarize_trace_balance(events: Iterable[Mapping[str, Any]]) -> TraceBalanceResult:
    """Counts the `Call` and `Return` events. Raises `TraceBalanceError` for an event that is both."""
    calls = returns = 0
    first_negative_index: int | None = None
    for index, event in enumerate(events):
        is_call, is_return = "Call" in event, "Return" in event
        if is_call and is_return:
            raise TraceBalanceError(f"event #{index} contains both Call and Return payloads, which is unsupported")
        calls += is_call
        returns += is_return
        if returns > calls and first_negative_index is None:
            first_negative_index = index
    return TraceBalanceResult(calls, returns, first_negative_index)


__all__ = ("TraceBalanceError", "TraceBalanceResult", "load_trace_events", "summarize_trace_balance")
