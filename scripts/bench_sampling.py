#!/usr/bin/env python3
"""What sampling costs: processor time of whole programs under each mode, as a ratio to plain Python.

    .venv-3.12/bin/python scripts/bench_sampling.py [--rounds N] [--seconds S]

A line-heavy, a call-heavy and a service workload run again and again for some seconds; their time per round of work is
what is compared, plain and sampled runs taking turns. Processor time of all threads, so that what the recorder's own
threads do counts, too; waiting for a processor does not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

WORKLOADS = Path(__file__).resolve().parent.parent / "benches" / "workloads"

# Name, argument: lines, calls, a service.
PROGRAMS = {"lines": ("locals", "3"), "calls": ("fib", "18"), "service": ("wsgi", "60")}

# Name: the policy; None is plain Python.
MODES: dict[str, str | None] = {
    "plain": None,
    "installed": "",
    "idle": 'sampling.mode=windows;sampling.on="1ms";sampling.every="1h"',
    "sampled 1%": 'sampling.mode=windows;sampling.on="100ms";sampling.every="10s"',
    "requests 1%": 'sampling.mode=entries;sampling.entries="obj:*.main";sampling.rate="1%"',
    "budget 2%": 'sampling.mode=budget;sampling.budget="2%"',
    "calls": "calls",
    "full": "full",
}

RUN = """
import contextlib, importlib.util, io, json, sys, time
path, argument, seconds, out, policy = sys.argv[1:]
spec = importlib.util.spec_from_file_location("workload", path)
workload = importlib.util.module_from_spec(spec)
spec.loader.exec_module(workload)
sink = io.StringIO()
with contextlib.redirect_stdout(sink):
    workload.main(int(argument))
session = None
if policy != "plain":
    import codetracer_python_recorder as recorder
    if policy:
        session = recorder.start(out)
rounds, begin, clock = 0, time.process_time(), time.monotonic()
with contextlib.redirect_stdout(sink):
    while time.monotonic() - clock < float(seconds):
        workload.main(int(argument))
        rounds += 1
        sink.seek(0)
        sink.truncate()
share = session.stats()["overhead"]["share"] if session else 0
if session:
    session.stop()
print(json.dumps({"cost": (time.process_time() - begin) / rounds, "share": share}))
"""


def measure(program: str, mode: str, seconds: float) -> dict[str, float]:
    """One run in a process of its own."""
    name, argument = PROGRAMS[program]
    policy = MODES[mode]
    env = {key: value for key, value in os.environ.items() if not key.startswith("CODETRACER_")}
    if policy:
        env["CODETRACER_POLICY"] = policy + ("" if policy in ("calls", "full") else ";io_capture.line_proxies=false")
    with tempfile.TemporaryDirectory() as scratch:
        arguments = [str(WORKLOADS / f"{name}.py"), argument, str(seconds), scratch]
        command = [sys.executable, "-c", RUN, *arguments, "plain" if policy is None else policy]
        result = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=seconds * 20 + 120, check=True
        )
    measured: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each cell (3)")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of a run (12)")
    parser.add_argument("--modes", nargs="*", default=list(MODES), choices=list(MODES), help="which modes (all)")
    options = parser.parse_args()
    modes = ["plain", *(mode for mode in options.modes if mode != "plain")]
    print("| | " + " | ".join(PROGRAMS) + " | share measured |\n" + "|---" * (len(PROGRAMS) + 2) + "|", flush=True)
    ratios: dict[tuple[str, str], list[float]] = {}
    shares: dict[tuple[str, str], list[float]] = {}
    for program in PROGRAMS:
        for _ in range(options.rounds):
            plain = measure(program, "plain", options.seconds)["cost"]
            for mode in modes[1:]:
                measured = measure(program, mode, options.seconds)
                ratios.setdefault((mode, program), []).append(measured["cost"] / plain)
                shares.setdefault((mode, program), []).append(measured["share"])
    for mode in modes[1:]:
        cells = [f"{statistics.median(ratios[mode, program]):.3f}" for program in PROGRAMS]
        told = [f"{100 * statistics.median(shares[mode, program]):.1f} %" for program in PROGRAMS]
        print(f"| {mode} | " + " | ".join(cells) + " | " + ", ".join(told) + " |")


if __name__ == "__main__":
    main()
