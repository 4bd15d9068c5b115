"""Whole programs, recorded and not: how many times longer they take, and what else it costs.

    ./scripts/just bench --scale 0.5 --rounds 3           the tables of docs/performance.md, targets first
    ./scripts/just bench --workloads fib,loop --rounds 9
    ./scripts/just bench --recorders plain,floor,full --json results.json
    ./scripts/just bench --python 3.12,3.13               the tables for each of these versions
    ./scripts/just bench --dev …                          the build of `just dev`, no peers, nothing is installed
    ./scripts/just bench --callbacks                      what a step costs by what its frame holds
    ./scripts/just bench --sampling                       what a recording that is always on costs (bench_sampling.py)
    ./scripts/just bench --prints                         what a recorded `print` costs (bench_prints.py)

Invariants:
- Every cell is a process of its own (`benches/drive.py`), and a round runs every cell once: what disturbs the machine
  for a while disturbs all of them. Shown are medians, with half the distance between the quartiles.
- A run counts only if the workload computed what it computes under plain Python.
- Ours is a release wheel, built here; peers are pinned and come from the package index into environments of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "dev"))

import bench_prints
import bench_sampling
from bench_table import print_tables
from bench_targets import print_targets
from common import ROOT, Interpreter, clean_env, fail, interpreters, primary, run, say
from release_wheel import build_wheel

BENCHES = ROOT / "benches"
MADE = ROOT / "target" / "bench"

WORKLOADS = {
    "fib": 1200,
    "loop": 400,
    "locals": 8000,
    "json_parser": 2000,
    "objects": 1200,
    "asyncio_tasks": 500,
    "threads": 800,
    "wsgi": 2000,
    "imports": 2,
    "fresh": 1000,
}
"""Sizes at which plain Python takes about a tenth of a second."""

FAR = ("fib", "loop")
"""Also run with their code moved below line 256, where CPython makes an int for every line event."""

SLOW = {"fib": 10, "loop": 10, "locals": 30, "json_parser": 8, "objects": 10, "asyncio_tasks": 5}
"""Workloads and sizes for recorders hundreds of times slower; 0.3.0 hangs with several threads."""

OURS = ("full", "full-shallow", "calls", "flight-recorder", "off", "skipped", "actors")
PEERS = {
    "0.3.0": "codetracer-python-recorder==0.3.0",
    "viztracer": "viztracer==1.1.1",
    "viztracer-values": "viztracer==1.1.1",
}
"""Pinned: what others cost should change only when we want it to."""
RECORDERS = ("plain", "floor", "floor-calls", *OURS, *PEERS)


@dataclass
class Cell:
    """The runs of one recorder on one workload."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    problem: str | None = None

    def values(self, key: str) -> list[float]:
        return [run[key] for run in self.runs if run[key] is not None]

    def median(self, key: str) -> float | None:
        values = self.values(key)
        return statistics.median(values) if values else None


Results = dict[str, dict[str, Cell]]


def venv_with(interpreter: Interpreter, name: str, *packages: str) -> Path:
    """The Python of an environment that has these packages."""
    venv = MADE / f"venv-{interpreter.version}-{name}"
    stamp = venv / ".ready"
    if not (stamp.exists() and stamp.read_text() == " ".join(packages)):
        shutil.rmtree(venv, ignore_errors=True)
        run([interpreter.path, "-m", "venv", venv])
        if packages:
            install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            run([venv / "bin" / "python", *install, *packages])
        stamp.write_text(" ".join(packages))
    return venv / "bin" / "python"


def our_release(interpreter: Interpreter) -> Path:
    """A fresh release wheel, installed."""
    wheels = MADE / "wheels" / interpreter.version
    shutil.rmtree(wheels, ignore_errors=True)
    say(f"Building the release wheel for CPython {interpreter.version}")
    build_wheel(interpreter, wheels, "--quiet")
    [wheel] = wheels.glob("*.whl")
    python = venv_with(interpreter, "ours")
    install = ["--quiet", "--disable-pip-version-check", "--force-reinstall", "--no-deps"]
    run([python, "-m", "pip", "install", *install, wheel])
    return python


def our_dev_build(interpreter: Interpreter) -> Path:
    interpreter.ensure_venv()
    return interpreter.python


def build_floor(interpreter: Interpreter) -> Path:
    """Compiles benches/floor; returns the directory to import it from."""
    code = "import json, sysconfig as s; print(json.dumps([s.get_path('include'), s.get_config_var('EXT_SUFFIX')]))"
    answer = subprocess.run([interpreter.path, "-I", "-c", code], check=True, capture_output=True, text=True)
    include, suffix = json.loads(answer.stdout)
    directory = MADE / f"floor-{interpreter.version}"
    directory.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC") or (sysconfig.get_config_var("CC") or "cc").split()[0]
    if not shutil.which(compiler):
        compiler = "cc"
    undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    output = directory / f"floor{suffix}"
    run([compiler, "-O2", "-shared", "-fPIC", f"-I{include}", *undefined, BENCHES / "floor/floor.c", "-o", output])
    return directory


def moved_down(workload: Path, directory: Path) -> Path:
    """The same program, its code below line 256."""
    moved = directory / workload.name
    moved.write_text("\n" * 300 + workload.read_text())
    return moved


@dataclass
class Bench:
    pythons: dict[str, Path]
    floor: Path
    scratch: Path
    timeout: float

    def once(self, recorder: str, workload: Path, size: int, *, also_plain: bool = False) -> dict[str, Any] | str:
        """What one process measured, or why there is nothing."""
        env = clean_env() | {"PYTHONPATH": str(self.floor), "PYTHONDONTWRITEBYTECODE": "1"}
        if also_plain:
            env["BENCH_ALSO_PLAIN"] = "1"
        with tempfile.TemporaryDirectory(dir=self.scratch) as scratch:
            paths = [self.pythons[recorder], BENCHES / "drive.py", workload, scratch]
            python, drive, program, made = map(str, paths)
            command = [python, drive, recorder, program, str(size), made]
            try:
                done = subprocess.run(command, env=env, cwd=scratch, capture_output=True, timeout=self.timeout)
            except subprocess.TimeoutExpired:
                return f"not finished after {self.timeout:.0f} s"
        if done.returncode != 0:
            return f"status {done.returncode}: {done.stderr.decode(errors='replace')[-300:].strip()}"
        measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return measured


def measure(bench: Bench, workloads: dict[str, tuple[Path, int]], recorders: list[str], rounds: int) -> Results:
    results: Results = {name: {recorder: Cell() for recorder in recorders} for name in workloads}
    for turn in range(1, rounds + 1):
        for name, (path, size) in workloads.items():
            say(f"round {turn} of {rounds}: {name}")
            expected = None
            for recorder, cell in results[name].items():
                if cell.problem:
                    continue
                if recorder == "0.3.0":
                    if name not in SLOW:
                        cell.problem = "not tried"
                        continue
                    outcome = bench.once(recorder, path, SLOW[name], also_plain=True)
                else:
                    outcome = bench.once(recorder, path, size)
                if isinstance(outcome, str):
                    cell.problem = outcome
                elif recorder == "0.3.0" or expected in (None, outcome["result"]):
                    cell.runs.append(outcome)
                    if recorder != "0.3.0":
                        expected = outcome["result"]
                else:
                    cell.problem = f"computed {outcome['result'][:40]} instead of {expected}"
    return results


def names(text: str, known: Iterable[str]) -> list[str]:
    chosen = text.split(",")
    for name in chosen:
        if name not in known:
            fail(f"there is no {name!r}; there are {', '.join(known)}")
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.py", description="Measures whole programs, recorded and not.")
    programs = [*WORKLOADS, *(f"{name}-far" for name in FAR)]
    parser.add_argument("--workloads", default=",".join(programs), help="default: %(default)s")
    parser.add_argument("--recorders", help=f"default: all of {','.join(RECORDERS)}")
    parser.add_argument("--rounds", type=int, default=5, help="runs of every cell (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the sizes (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one run (default: %(default)s)")
    parser.add_argument("--python", metavar="X.Y[,…]", help="the interpreters to use (default: the lowest found)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there, too")
    parser.add_argument("--dev", action="store_true", help="use the development build, and no peers")
    parser.add_argument("--no-build", action="store_true", help="use the release wheel of the last run")
    parser.add_argument("--callbacks", action="store_true", help="measure steps by what their frames hold instead")
    parser.add_argument("--sampling", action="store_true", help="measure sampling and the flight recorder instead")
    parser.add_argument("--prints", action="store_true", help="measure what a recorded print costs instead")
    parser.add_argument("--modes", default=",".join(bench_sampling.MODES), help="of --sampling (default: all)")
    parser.add_argument("--seconds", type=float, default=12.0, help="a run of --sampling (default: %(default)s)")
    options = parser.parse_args()

    versions = options.python.split(",") if options.python else [None]
    if options.callbacks:
        for version in versions:
            callbacks_on(choose(version), options)
        return
    measure_one = prints_on if options.prints else sampling_on if options.sampling else bench_on
    reports = [measure_one(choose(version), options) for version in versions]
    if options.json:
        options.json.write_text(json.dumps(reports[0] if len(reports) == 1 else reports, indent=1))
    if any(report["failed"] for report in reports):
        sys.exit(1)


def our_build(interpreter: Interpreter, options: argparse.Namespace) -> Path:
    """The Python that has the build of ours to be measured."""
    MADE.mkdir(parents=True, exist_ok=True)
    if options.dev:
        return our_dev_build(interpreter)
    if options.no_build:
        return MADE / f"venv-{interpreter.version}-ours" / "bin" / "python"
    return our_release(interpreter)


def callbacks_on(interpreter: Interpreter, options: argparse.Namespace) -> None:
    """What a step costs by what its frame holds, over a C callback that does nothing."""
    python = our_build(interpreter, options)
    env = clean_env() | {"PYTHONPATH": str(build_floor(interpreter)), "PYTHONDONTWRITEBYTECODE": "1"}
    steps = max(300, round(30_000 * options.scale))
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        command = [python, BENCHES / "callbacks.py", scratch, str(steps), str(options.rounds)]
        done = subprocess.run(list(map(str, command)), env=env, cwd=scratch, check=True, capture_output=True, text=True)
    print(f"\nCPython {interpreter.version}\n")
    print("| frame | no-op callback, ns/step | recorded, ns/step | recorded / no-op | added / added by no-op |")
    print("|---|---:|---:|---:|---:|")
    measured: dict[str, dict[str, float]] = json.loads(done.stdout)
    for name, row in measured.items():
        plain, floor, recorded = row["plain"], row["floor"], row["recorded"]
        added = (recorded - plain) / max(floor - plain, 0.1)
        print(f"| {name} | {floor:.0f} | {recorded:.0f} | {recorded / floor:.1f}× | {added:.1f}× |")
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1))


def sampling_on(interpreter: Interpreter, options: argparse.Namespace) -> dict[str, Any]:
    """What a recording costs that is always on."""
    modes = names(options.modes, bench_sampling.MODES)
    python = our_build(interpreter, options)
    print(f"\nCPython {interpreter.version}\n")
    return {"failed": False} | bench_sampling.measure(python, modes, options.rounds, options.seconds)


def prints_on(interpreter: Interpreter, options: argparse.Namespace) -> dict[str, Any]:
    """What a print costs."""
    python = our_build(interpreter, options)
    print(f"\nCPython {interpreter.version}\n")
    count = max(1000, round(100_000 * options.scale))
    return {"failed": False} | bench_prints.measure_all(str(python), options.rounds, count)


def bench_on(interpreter: Interpreter, options: argparse.Namespace) -> dict[str, Any]:
    """Measures with one interpreter, prints the tables, and returns every measurement."""
    programs = [*WORKLOADS, *(f"{name}-far" for name in FAR)]
    available = [name for name in RECORDERS if not (options.dev and name in PEERS)]
    recorders = names(options.recorders, available) if options.recorders else available
    if "plain" not in recorders:
        recorders.insert(0, "plain")

    ours = our_build(interpreter, options)
    pythons = dict.fromkeys(recorders, ours)
    for peer, package in PEERS.items():
        if peer in recorders:
            pythons[peer] = venv_with(interpreter, package.replace("==", "-"), package)

    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        workloads = {}
        for name in names(options.workloads, programs):
            path = BENCHES / "workloads" / f"{name.removesuffix('-far')}.py"
            size = max(1, round(WORKLOADS[name.removesuffix("-far")] * options.scale))
            workloads[name] = (moved_down(path, Path(scratch)) if name.endswith("-far") else path, size)
        bench = Bench(pythons, build_floor(interpreter), Path(scratch), options.timeout)
        results = measure(bench, workloads, recorders, options.rounds)

    print(f"\nCPython {interpreter.version}")
    print_targets(results)
    print_tables(results, recorders)
    return {
        "python": interpreter.version,
        "failed": any(cell.problem for row in results.values() for name, cell in row.items() if name not in PEERS),
        "sizes": {name: size for name, (_, size) in workloads.items()},
        "workloads": {
            name: {recorder: {"runs": cell.runs, "problem": cell.problem} for recorder, cell in row.items()}
            for name, row in results.items()
        },
    }


def choose(version: str | None) -> Interpreter:
    if version is None:
        return primary()
    for interpreter in interpreters():
        if interpreter.version == version:
            return interpreter
    fail(f"there is no CPython {version} among those found")


if __name__ == "__main__":
    main()
