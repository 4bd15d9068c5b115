"""What a recorded `print` costs: 100,000 of them, as a ratio to plain Python.

    python scripts/bench_prints.py [--rounds N] [--python EXECUTABLE]

The interpreter that runs this, or the one that is named, must have the recorder installed. Runs of all ways alternate,
so that a machine that gets slower meanwhile slows all of them; the fastest of each is compared. What is measured is the
CPU time of the program's thread in the loop: not the start, not the end of the recording, not the workers. With `off`
the steps of the loop are recorded, and no output.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

PROGRAM = """\
import sys, time
def work(count):
    for number in range(count):
        print("number", number)
start = time.thread_time()
work(100_000)
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


def measure(python: str, directory: Path, options: Sequence[str] | None, unbuffered: str, target: str) -> float:
    """Seconds of one run."""
    script = directory / "prints.py"
    script.write_text(PROGRAM)
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


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args(argv)
    cases = [(buffering, target) for buffering in BUFFERINGS for target in TARGETS]
    best = {(case, way): float("inf") for case in cases for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        for _ in range(options.rounds):
            for case in cases:
                for way, words in WAYS.items():
                    taken = measure(options.python, Path(name), words, BUFFERINGS[case[0]], case[1])
                    best[case, way] = min(best[case, way], taken)
    print("| 100,000 prints | plain | " + " | ".join(way for way in WAYS if way != "plain") + " |")
    print("|---|" + "---:|" * len(WAYS))
    for case in cases:
        plain = best[case, "plain"]
        ratios = [f"{best[case, way] / plain:.2f}x" for way in WAYS if way != "plain"]
        print(f"| {case[0]}, to a {case[1]} | {plain * 10:.2f} µs each | " + " | ".join(ratios) + " |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
