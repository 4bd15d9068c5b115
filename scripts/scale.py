"""Records a very long run and watches memory and pace, then reads the whole trace back.

    .venv-3.12/bin/python scripts/scale.py                    10 million steps
    .venv-3.12/bin/python scripts/scale.py --steps 100000000  100 million: about a minute, 28 GB of events
    … --read-back count                                       reads it once, not twice (`both`)

Prints the memory of the process and the time per step for each tenth of the run, then what a process of its own read
back, its memory and its time: `count` counts every event of the trace and compares that with the metadata, `verify`
checks that each can be loaded. Ends with status 1 if memory grew by more than `--may-grow` after the third tenth, if
the reader took more than `--reader-may-take`, or if the trace does not hold every step.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
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


READER = """
import json, sys, time
from codetracer_python_recorder import codetracer_python_recorder as extension

def highest():
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM:"))

start = time.perf_counter()
if sys.argv[1] == "verify":
    read = list(extension.verify_trace(sys.argv[2]))
else:
    pieces = []
    extension.inspect_trace(sys.argv[2], "summary", 0, 0, pieces.append)
    words = [line.split() for line in "".join(pieces).splitlines()]
    read = {pair[0]: int(pair[1]) for pair in words if len(pair) == 2 and pair[1].isdigit()}
print(json.dumps({"read": read, "seconds": time.perf_counter() - start, "rss": highest()}))
"""


def read_back(how: str, directory: Path) -> dict[str, Any]:
    """What a process of its own finds in the trace, by `how`, and what that took."""
    command = [sys.executable, "-c", READER, how, str(directory / "trace")]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    print(f"{how}: {found['seconds']:.1f} s, {found['rss'] / 2**20:.1f} MiB")
    return found


def promised(trace: Path) -> dict[str, int]:
    """Events that the metadata say there are."""
    metadata: dict[str, Any] = json.loads((trace / "trace_metadata.json").read_text())
    kinds = {"steps": "Step", "values": "Value", "calls": "Call", "returns": "Return"}
    return {kind: sum(stream["counts"][key] for stream in metadata["streams"]) for key, kind in kinds.items()}


def problems_of(directory: Path, wanted: int, ways: Sequence[str], may_take: int) -> list[str]:
    """What is wrong with the trace that was read back."""
    problems = []
    expected = promised(directory / "trace")
    if expected["Step"] < wanted:
        problems.append(f"{expected['Step']} steps of {wanted} were recorded")
    for how in ways:
        found = read_back(how, directory)
        if how == "verify":
            problems += found["read"]
        else:
            counted = {kind: found["read"].get(kind, 0) for kind in expected}
            print(", ".join(f"{count} {kind}" for kind, count in counted.items()))
            if counted != expected:
                problems.append(f"there are {counted}, not {expected}")
        if found["rss"] > may_take * 2**20:
            problems.append(f"reading took {found['rss'] / 2**20:.0f} MiB")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(prog="scale.py", description="Records a very long run and reads it back.")
    parser.add_argument("--steps", type=int, default=10_000_000)
    parser.add_argument("--may-grow", type=int, default=16, metavar="MIB", help="default: %(default)s")
    parser.add_argument("--reader-may-take", type=int, default=128, metavar="MIB", help="default: %(default)s")
    parser.add_argument("--read-back", choices=("count", "verify", "both", "no"), default="both")
    parser.add_argument("--dir", type=Path, help="where the trace goes for the time being (default: a temporary one)")
    options = parser.parse_args()
    ways = {"both": ("count", "verify"), "no": ()}.get(options.read_back, (options.read_back,))
    with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
        directory = Path(scratch)
        tenths = record(directory, options.steps)
        for number, tenth in enumerate(tenths, 1):
            ns = 1e9 * tenth["seconds"] * 10 / options.steps
            print(f"{number:2}/10: {ns:6.0f} ns per step, {tenth['rss'] / 2**20:6.1f} MiB", flush=True)
        # Until then every buffer has been through the pipeline.
        warm = tenths[2]["rss"]
        grown = max(tenth["rss"] for tenth in tenths) - warm
        size = (directory / "trace" / "trace.bin").stat().st_size
        print(f"{size / options.steps:.2f} bytes per step on disk; memory grew by {grown / 2**20:.1f} MiB", flush=True)
        problems = problems_of(directory, options.steps, ways, options.reader_may_take)
    if grown > options.may_grow * 2**20:
        problems.append(f"memory grew by {grown / 2**20:.0f} MiB")
    print("; ".join(problems) or ("complete" if ways else "not read back"))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
