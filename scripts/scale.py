"""Records a very long run and watches memory and pace, then reads the whole trace back.

    .venv-3.12/bin/python scripts/scale.py                    10 million steps
    .venv-3.12/bin/python scripts/scale.py --steps 100000000  100 million: about a minute, 28 GB of events

Prints the memory of the process and the time per step for each tenth of the run, and what `verify` says. Ends with
status 1 if memory grew by more than `--may-grow` after the third tenth, or if the trace does not hold every step.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROGRAM = """
import json, sys, time
import codetracer_python_recorder as recorder

def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def work(n):
    x = 12345
    for _ in range(n):
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
    return x

tenths = []
with recorder.trace(sys.argv[1], policy={"values": {"globals": "off"}}):
    for _ in range(10):
        start = time.perf_counter()
        work(int(sys.argv[2]) // 20)
        tenths.append({"seconds": time.perf_counter() - start, "rss": memory()})
print(json.dumps(tenths))
"""


def record(directory: Path, steps: int) -> list[dict[str, float]]:
    """What was measured after each tenth."""
    program = directory / "long_run.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(directory / "trace"), str(steps)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=directory).stdout
    measured: list[dict[str, float]] = json.loads(output)
    return measured


def read_back(trace: Path) -> tuple[list[str], int]:
    """What is wrong with the trace, and how many steps its metadata promises."""
    from codetracer_python_recorder.codetracer_python_recorder import verify_trace

    metadata: dict[str, Any] = json.loads((trace / "trace_metadata.json").read_text())
    return list(verify_trace(str(trace))), sum(stream["counts"]["steps"] for stream in metadata["streams"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="scale.py", description="Records a very long run and reads it back.")
    parser.add_argument("--steps", type=int, default=10_000_000)
    parser.add_argument("--may-grow", type=int, default=16, metavar="MIB", help="default: %(default)s")
    parser.add_argument("--dir", type=Path, help="where the trace goes for the time being (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
        directory = Path(scratch)
        tenths = record(directory, options.steps)
        for number, tenth in enumerate(tenths, 1):
            ns = 1e9 * tenth["seconds"] * 10 / options.steps
            print(f"{number:2}/10: {ns:6.0f} ns per step, {tenth['rss'] / 2**20:6.1f} MiB")
        size = (directory / "trace" / "trace.bin").stat().st_size
        start = time.perf_counter()
        problems, steps = read_back(directory / "trace")
        seconds = time.perf_counter() - start
    # Until then every buffer has been through the pipeline.
    warm = tenths[2]["rss"]
    grown = max(tenth["rss"] for tenth in tenths) - warm
    print(f"{steps} steps, {size / steps:.2f} bytes each on disk; memory grew by {grown / 2**20:.1f} MiB")
    print(f"read back in {seconds:.1f} s: {'; '.join(problems) or 'complete'}")
    return int(bool(problems) or steps < options.steps or grown > options.may_grow * 2**20)


if __name__ == "__main__":
    sys.exit(main())
