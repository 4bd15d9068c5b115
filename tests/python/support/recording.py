"""Runs programs under the recorder's command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .programs import Program
from .reading import Trace
from .running import TIMEOUT, Outcome, python

STRUCTURE_FILTER = """
[meta]
name = "structure"
version = 1
description = "Records what runs and no value: a long trace that is read for its structure need not be huge."

[scope]
default_exec = "inherit"
default_value_action = "drop"
"""


@dataclass(frozen=True)
class Recording(Outcome):
    """How a recorded run ended, and its trace; unpacks as stdout, stderr, status, trace."""

    directory: Path = Path()

    @cached_property
    def trace(self) -> Trace:
        """The trace; read, and held to the rules of the format, when something of it is asked for."""
        return Trace(self.directory)

    @property
    def files(self) -> list[str]:
        """The names in the out dir; none if there is no such directory."""
        return sorted(path.name for path in self.directory.iterdir()) if self.directory.is_dir() else []

    def __iter__(self) -> Iterator[object]:
        return iter((self.stdout, self.stderr, self.status, self.trace))


def record(
    target: Program | Path | Sequence[str],
    *args: str,
    out: Path,
    format: str = "binary",
    options: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    cwd: Path | None = None,
    timeout: float = TIMEOUT,
) -> Recording:
    """Runs `python -m codetracer_python_recorder` on a program, a script, or words such as `["-c", "…"]`."""
    if isinstance(target, Program):
        args, stdin, target = target.args, target.stdin, target.path
    words = [str(target)] if isinstance(target, Path) else list(target)
    command = ["-m", "codetracer_python_recorder", "--out-dir", str(out), "--format", format]
    outcome = python([*command, *options, *words, *args], stdin=stdin, env=env, cwd=cwd, timeout=timeout)
    return Recording(outcome.stdout, outcome.stderr, outcome.status, out)
