"""Records a program with the current sources, then says where the trace is and how to look at it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import extension
from common import ROOT, fail, human_size, primary


def main(program: str, arguments: list[str]) -> int:
    interpreter = primary()
    if program.startswith("-") or not Path(program).is_file():
        fail(
            f"there is no program {program!r} here. `run` takes a Python file and its arguments; for recorder "
            f"options use {interpreter.venv / 'bin/codetracer-python-recorder'}"
        )
    extension.ensure(interpreter)
    out_dir = Path(os.environ.get("CODETRACER_PYTHON_RECORDER_OUT_DIR") or "trace-out")
    before = fingerprint(out_dir)
    # The program gets the terminal to itself: Ctrl-C is its own affair, we only wait for the outcome.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    command = [
        str(interpreter.python),
        "-m",
        "codetracer_python_recorder",
        "--out-dir",
        str(out_dir),
        program,
        *arguments,
    ]
    child = subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    status = child.wait()
    after = fingerprint(out_dir)
    if after and after != before:
        describe(out_dir)
    else:
        print(f"\nNo trace was written to {out_dir}.", file=sys.stderr)
    # A program killed by a signal ends as the shell would say.
    return status if status >= 0 else 128 - status


def fingerprint(out_dir: Path) -> list[tuple[str, int, int]]:
    """Tells a new trace from one that lay there before."""
    found = []
    for name in ["trace.bin", "trace.json"]:
        if (out_dir / name).is_file():
            stat = (out_dir / name).stat()
            found.append((name, stat.st_mtime_ns, stat.st_size))
    return found


def describe(out_dir: Path) -> None:
    size = sum(path.stat().st_size for path in out_dir.rglob("*") if path.is_file())
    here = shlex.quote(str(out_dir))
    just = shlex.quote(os.path.relpath(ROOT / "scripts/just"))
    just = just if just.startswith((".", "'", "/")) else f"./{just}"
    print(
        f"\nTrace: {here} ({human_size(size)})\n"
        f"  look at it here:        {just} inspect {here}\n"
        f"  open it in CodeTracer:  ct replay --trace-folder={here}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
