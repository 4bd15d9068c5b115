"""What an instrumented build is to be fast at: `python train.py`, with the recorder installed for that Python.

`maturin build --pgo` calls it between its two builds (`pgo-command` in pyproject.toml). The programs are those of the
bench, at sizes of about half a second each; the recorders those that other code is run by.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent

PROGRAMS = {
    "fib": 120,
    "loop": 60,
    "locals": 600,
    "json_parser": 150,
    "objects": 80,
    "asyncio_tasks": 40,
    "threads": 80,
    "wsgi": 150,
    "imports": 1,
    "fresh": 100,
}

RUNS = {
    "full": PROGRAMS,
    "full-shallow": ["locals", "objects"],
    "calls": ["fib", "objects", "wsgi"],
    "flight-recorder": ["objects", "wsgi"],
    "skipped": ["imports", "wsgi"],
}
"""By the recorder of drive.py: the programs that are run so."""


def main() -> None:
    for recorder, programs in RUNS.items():
        for name in programs:
            with tempfile.TemporaryDirectory(prefix="train-") as scratch:
                arguments = [recorder, HERE / "workloads" / f"{name}.py", str(PROGRAMS[name]), scratch]
                command = [sys.executable, HERE / "drive.py", *arguments]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
