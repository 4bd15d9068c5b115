"""Looking at finished traces: `codetracer-python-recorder inspect|verify|recover DIR`.

`python -m codetracer_python_recorder.inspect DIR` is the same as the verb `inspect`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .codetracer_python_recorder import RecorderError, inspect_trace, recover_trace, verify_trace
from .progress import bar

_PROGRAM = "codetracer-python-recorder"
_DESCRIPTIONS = {
    "inspect": "Show what a trace holds: counts per kind of event, or the calls, or every event.",
    "verify": "Check that a trace is complete and readable; prints what is wrong and exits with 1.",
    "recover": "Make the trace of a killed program readable; says what was done.",
}
DEFAULT_MAX_DEPTH = 20
DEFAULT_MAX_CALLS = 1000


def run(verb: str, arguments: Sequence[str], *, program: str | None = None) -> int:
    """Runs one verb and returns its exit status: 0, or 1 when the trace cannot be read or is not sound.

    Raises `SystemExit` with 2 for bad arguments, with 0 after `-h`.
    """
    options = _parser(verb, program or f"{_PROGRAM} {verb}").parse_args(arguments)
    try:
        status = _run(verb, options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader (`head`) has seen enough; keep the interpreter from flushing at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except RecorderError as error:
        print(f"{_PROGRAM}: {error}", file=sys.stderr)
        return 1
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """The verb `inspect` on its own; `argv` defaults to the command line."""
    arguments = sys.argv[1:] if argv is None else argv
    return run("inspect", arguments, program="python -m codetracer_python_recorder.inspect")


def _run(verb: str, options: argparse.Namespace) -> int:
    if verb == "inspect":
        inspect_trace(options.trace, options.mode, options.max_depth, options.max_calls, sys.stdout.write)
        return 0
    if verb == "recover":
        with bar("recover") as progress:
            done = recover_trace(options.trace, progress)
        for line in done:
            print(line)
        return 0
    problems = verify_trace(options.trace)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{options.trace}: complete and readable")
    return 1 if problems else 0


def _parser(verb: str, program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=_DESCRIPTIONS[verb])
    parser.add_argument("trace", metavar="DIR", help="the trace directory (or the trace file in it)")
    if verb == "inspect":
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument(
            "--tree", dest="mode", action="store_const", const="tree", help="calls with arguments and results"
        )
        mode.add_argument("--json", dest="mode", action="store_const", const="json", help="the events as JSON lines")
        parser.set_defaults(mode="summary")
        parser.add_argument(
            "--max-depth",
            type=_count,
            default=DEFAULT_MAX_DEPTH,
            metavar="N",
            help="show calls of the tree down to this depth (default: %(default)s)",
        )
        parser.add_argument(
            "--max-calls",
            type=_count,
            default=DEFAULT_MAX_CALLS,
            metavar="N",
            help="show this many calls of the tree (default: %(default)s)",
        )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number that is not negative, got {text!r}")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
