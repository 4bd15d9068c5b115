"""What a recorded `print` costs: 100,000 of them, as a ratio to plain Python.

    ./scripts/just bench --prints [--rounds N] [--scale F]

Runs of all ways alternate, so that a machine that gets slower meanwhile slows all of them; the fastest of each is
compared. What is measured is the CPU time of the program's thread in the loop: not the start, not the end of the
recording, not the workers. With `off` the steps of the loop are recorded, and no output.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

PROGRAM = """\
import sys, time
def work(count):
    for number in range(count):
        print("number", number)
start = time.thread_time()
work({count})
sys.stdout.flush()
print(time.thread_time() - start, file=sys.stderr)
"""
WAYS = {
    "plain": None,
    "off": ["--io-capture", "off"],
    "proxies": ["--io-capture", "proxies"],
    "proxies+fd": ["--io-capture", "proxies+fd"],
}
BUFFERINGS = {"buffered": "", "unbuffered": "1"}
TARGETS = ("file", "pipe")


def measure(
    python: str, directory: Path, options: Sequence[str] | None, unbuffered: str, target: str, count: int
) -> float:
    """Seconds of one run."""
    script = directory / "prints.py"
    script.write_text(PROGRAM.format(count=count))
    recorder = ["-m", "codetracer_python_recorder", "--out-dir", str(directory / "out")]
    command = [python, *([] if options is None else [*recorder, *options]), str(script)]
    env = {key: value for key, value in os.environ.items() if not key.startswith("CODETRACER_")}
    env["PYTHONUNBUFFERED"] = unbuffered
    with (directory / "stdout").open("wb") as file:
        if target == "file":
            done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, env=env, check=True)
            return float(done.stderr.split()[-1])
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file) as reader:
            done = subprocess.run(command, stdout=reader.stdin, stderr=subprocess.PIPE, env=env, check=True)
            assert reader.stdin is not None
            reader.stdin.close()
            return float(done.stderr.split()[-1])


def measure_all(python: str, rounds: int, count: int) -> dict[str, dict[str, float]]:
    """Seconds in the loop, the least of all rounds, by case and way; prints a table in Markdown."""
    cases = [(buffering, target) for buffering in BUFFERINGS for target in TARGETS]
    best = {f"{buffering}, to a {target}": dict.fromkeys(WAYS, float("inf")) for buffering, target in cases}
    with tempfile.TemporaryDirectory() as name:
        for _ in range(rounds):
            for (buffering, target), row in zip(cases, best.values(), strict=True):
                for way, words in WAYS.items():
                    taken = measure(python, Path(name), words, BUFFERINGS[buffering], target, count)
                    row[way] = min(row[way], taken)
    print(f"| {count:,} prints | plain | " + " | ".join(way for way in WAYS if way != "plain") + " |")
    print("|---|" + "---:|" * len(WAYS))
    for case, row in best.items():
        ratios = [f"{taken / row['plain']:.2f}" for way, taken in row.items() if way != "plain"]
        print(f"| {case} | {row['plain'] / count * 1e6:.2f} µs | " + " | ".join(ratios) + " |")
    return best
