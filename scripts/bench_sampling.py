"""What a recording that is always on costs: sampling, a flight recorder, and doing nothing, over plain Python.

    ./scripts/just bench --sampling [--rounds N] [--seconds S] [--modes idle,budget]

Invariants:
- Both sides of a comparison run at the same time on one processor, so that whatever disturbs the machine disturbs both
  alike. Compared is the processor time of all threads per round of work; waiting for a processor does not count.
- What recording adds is also told as a share of the time that passed: that is what a budget is held against.
- A start of the interpreter with the package's start-up hook is compared with one without, in turns.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "dev"))

from common import BETWEEN_SAMPLES, ROOT, clean_env, fail, run, say

BENCHES = ROOT / "benches"

PROGRAMS = {"lines": ("locals", 60), "calls": ("fib", 12), "service": ("wsgi", 12)}
"""Heavy on lines, heavy on calls, a service; sizes at which a round takes about two milliseconds."""

ENTRIES = 'sampling.mode=entries;sampling.entries="obj:*.main,obj:*.request";sampling.rate'

MODES: dict[str, str] = {
    "idle": BETWEEN_SAMPLES,
    "idle entries": f'{ENTRIES}="0%"',
    "sampled": "sampled",
    "entries": f'{ENTRIES}="1%"',
    "budget": 'sampling.mode=budget;sampling.budget="2%"',
    "calls": "calls",
    "flight recorder": "ring.storage=memory;ring.keep_at_exit=false",
    "flight recorder of calls": "ring.storage=memory;ring.keep_at_exit=false;events.lines=false;values.globals=off",
    "full": "full",
}
"""Name: the policy."""

STARTS = 30


@dataclass(frozen=True)
class Measured:
    """A recorded process beside a plain one."""

    ratio: float
    added: float
    """Share of the time that passed."""
    told: float
    """The same by the recorder's own measurements."""
    samples: int | None


def beside_plain(python: Path, program: str, policy: str, seconds: float) -> Measured:
    """Runs the program plain and recorded side by side."""
    name, size = PROGRAMS[program]
    env = clean_env() | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
    # The same processor for both; not everywhere can that be chosen.
    pin = _pin if hasattr(os, "sched_setaffinity") else None
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        arguments = [BENCHES / "workloads" / f"{name}.py", size, seconds, scratch]
        command = [str(part) for part in (python, BENCHES / "sampling.py", *arguments)]
        sides = [
            subprocess.Popen(
                [*command, side],
                env=env | ({} if side == "plain" else {"CODETRACER_POLICY": policy}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                preexec_fn=pin,
            )
            for side in ("plain", "recorded")
        ]
        answers = [_answer(sides, side) for side in sides] if _begin(sides) else []
    if len(answers) != 2:
        fail(f"{program} under {policy!r} did not end well: status {[side.returncode for side in sides]}")
    plain, recorded = answers
    expected = plain["cpu"] / plain["rounds"] * recorded["rounds"]
    return Measured(
        ratio=recorded["cpu"] / expected,
        added=(recorded["cpu"] - expected) / recorded["elapsed"],
        told=recorded["share"],
        samples=recorded["samples"],
    )


def _pin() -> None:
    os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])


def _begin(sides: list[subprocess.Popen[str]]) -> bool:
    """Waits for both, then starts both."""
    if [side.stdout and side.stdout.readline() for side in sides] != ["ready\n", "ready\n"]:
        for side in sides:
            side.kill()
            side.wait()
        return False
    for side in sides:
        if side.stdin is not None:
            side.stdin.write("\n")
            side.stdin.flush()
    return True


def _answer(sides: list[subprocess.Popen[str]], side: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = side.communicate()
    if side.returncode != 0:
        for other in sides:
            other.kill()
        fail(f"a run ended with status {side.returncode}")
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


def starts(python: Path) -> dict[str, float]:
    """Milliseconds of processor time that starting takes: the least of many, in turns. The hook in place, and not."""
    sys.path.insert(0, str(ROOT / "python"))
    from codetracer_python_recorder.environment import FILE_NAME, LINE

    found: dict[str, list[float]] = {"without the hook": [], "with the hook": []}
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        pythons = {}
        for name in found:
            venv = Path(scratch, name.replace(" ", "-"))
            run([python, "-m", "venv", "--without-pip", venv])
            pythons[name] = venv / "bin" / "python"
            if name == "with the hook":
                [packages] = venv.glob("lib/python*/site-packages")
                (packages / FILE_NAME).write_text(LINE)
        for _ in range(STARTS):
            for name, interpreter in pythons.items():
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                subprocess.run([interpreter, "-c", "pass"], env=clean_env(), check=True)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                found[name].append(1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    return {name: min(times) for name, times in found.items()}


def measure(python: Path, modes: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    """Everything, in rounds in which each comparison comes once; prints the table."""
    results: dict[str, dict[str, list[Measured]]] = {mode: {program: [] for program in PROGRAMS} for mode in modes}
    for turn in range(1, rounds + 1):
        for mode in modes:
            say(f"round {turn} of {rounds}: {mode}")
            for program in PROGRAMS:
                results[mode][program].append(beside_plain(python, program, MODES[mode], seconds))
    say("starting the interpreter")
    start_times = starts(python)
    _print(results, start_times)
    return {
        "starts_ms": start_times,
        "modes": {
            mode: {program: [vars(each) for each in cell] for program, cell in row.items()}
            for mode, row in results.items()
        },
    }


def _print(results: dict[str, dict[str, list[Measured]]], start_times: dict[str, float]) -> None:
    heads = [f"{program}, {what}" for program in PROGRAMS for what in ("over plain", "% of the time", "told")]
    print("| | " + " | ".join(heads) + " |\n|---" + "|---:" * len(heads) + "|")
    for mode, row in results.items():
        cells = []
        for cell in row.values():
            cells.append(_spread([each.ratio for each in cell], 3))
            cells.append(_spread([100 * each.added for each in cell], 1))
            cells.append(f"{100 * statistics.median(each.told for each in cell):.1f}")
        print(f"| {mode} | " + " | ".join(cells) + " |")
    print("\nStarting the interpreter: " + ", ".join(f"{ms:.2f} ms {name}" for name, ms in start_times.items()))


def _spread(values: list[float], digits: int) -> str:
    """The median, and the least and the most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
