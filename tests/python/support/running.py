"""Runs programs in child processes: plainly, under the oracle, under the recorder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oracle.model import Stream, load

from .programs import Program

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 120.0
"""Seconds after which a child is hanging, on the slowest machine."""

LAYOUT_KNOWN = sys.version_info < (3, 14)
"""Whether the recorder knows how this interpreter lays out its frames; else it reads them through the public API."""


@dataclass(frozen=True)
class Outcome:
    """How a child process ended."""

    stdout: str
    stderr: str
    status: int


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A child's environment: ours, without what changes how Python or the recorder behaves; hashes and encoding fixed.

    A host that sets ``PYTHONUNBUFFERED`` would hide what only buffered streams do, so a test that wants it says so. Of
    the recorder's settings only how frames are read is kept, of Python's only where modules are found.
    """
    kept = {"CODETRACER_FRAME_ACCESS", "PYTHONPATH", "PYTHONHOME"}
    env = {
        key: value for key, value in os.environ.items() if key in kept or not key.startswith(("CODETRACER_", "PYTHON"))
    }
    env.pop("RUST_LOG", None)
    env.update(PYTHONHASHSEED="0", PYTHONIOENCODING="utf-8", PYTHONDONTWRITEBYTECODE="1")
    env.update(extra or {})
    return env


def python(
    args: Sequence[str | Path],
    *,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = TIMEOUT,
) -> Outcome:
    """Runs this interpreter with arguments and waits for it."""
    done = subprocess.run(
        [sys.executable, *map(str, args)],
        input=stdin.encode(),
        capture_output=True,
        env=environment(env),
        cwd=cwd,
        timeout=timeout,
        check=False,
    )
    return Outcome(
        done.stdout.decode("utf-8", "backslashreplace"),
        done.stderr.decode("utf-8", "backslashreplace"),
        done.returncode,
    )


def run_plain(program: Program, cwd: Path | None = None) -> Outcome:
    """Runs a program without any recorder."""
    return python([program.path, *program.args], stdin=program.stdin, cwd=cwd)


def run_oracle(
    program: Program, out: Path, *, witness: str = "settrace", variables: bool = True, cwd: Path | None = None
) -> list[Stream]:
    """The expected events of a program, a stream per thread, the main thread first."""
    options = ["--witness", witness, *([] if variables else ["--no-variables"])]
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    outcome = python(
        ["-m", "oracle", *options, "--out", out, program.path, *program.args],
        stdin=program.stdin,
        env={"PYTHONPATH": search},
        cwd=cwd,
        timeout=10 * TIMEOUT,
    )
    if not out.exists():
        raise AssertionError(f"the oracle failed on {program.name}: {outcome.stderr}")
    return load(out)
