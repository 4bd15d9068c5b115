#!/usr/bin/env python3
"""Tells whether every call in a `trace.json` returned: exit status 0 if so, 1 if not, 2 if malformed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from codetracer_python_recorder.trace_balance import (
    TraceBalanceError,
    TraceBalanceResult,
    load_trace_events,
    summarize_trace_balance,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Checks the file named by `argv` (default: the command line) and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", metavar="TRACE_JSON", help="written by a recording with --format json")
    arguments = parser.parse_args(argv)
    try:
        result = summarize_trace_balance(load_trace_events(arguments.trace))
    except TraceBalanceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(_report(result))
    return 0 if result.is_balanced else 1


def _report(result: TraceBalanceResult) -> str:
    counts = f"{result.call_count} call events, {result.return_count} return events"
    if result.is_balanced:
        return f"Balanced trace: {counts}."
    lines = ["Unbalanced trace detected.", f"Found {counts}."]
    if result.delta > 0:
        lines.append(f"Missing {result.delta} return event(s).")
    elif result.delta < 0:
        lines.append(f"Unexpected {-result.delta} extra return event(s).")
    if result.first_negative_index is not None:
        lines.append(f"Event #{result.first_negative_index} returns from a call that was never made.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
