"""Counts the instructions that the recorder adds to the interpreter's thread, per event, against a committed baseline.

    bench_check.py            fails where a count grew by more than 5 %, a long filter costs an event more, or a program
                              runs slower between two samples than plain
    bench_check.py --update   writes the baseline anew

Invariants:
- What is counted repeats: one thread alone, hashes fixed, two sizes of each program and the difference between them, so
  that start-up cancels out; and the same without the recorder is taken off.
- A baseline is good for one CPython, one compiler and one architecture only: where there is none for this machine's,
  the counts are shown and nothing fails.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import extension
from common import BETWEEN_SAMPLES, ROOT, Interpreter, clean_env, fail, primary, say

BASELINE = ROOT / "benches" / "events" / "baseline.json"
TOLERANCE = 1.05
SMALL, LARGE = 300, 1800
NOISE = 1.01
"""Filters are compiled into the decision about a code object: an event must cost the same with any number of rules.
Between two samples no event is on: a program must run as plain."""

FILTER_HEAD = """
[meta]
name = "many-rules"
version = 1

[scope]
default_exec = "inherit"
default_value_action = "inherit"
"""
FILTER_RULE = """
[[scope.rules]]
selector = "{selector}"
[[scope.rules.value_patterns]]
selector = "local:regex:^hidden_{number}$"
action = "redact"
"""


@dataclass(frozen=True)
class Subject:
    """A program of benches/events and how many events an iteration of it has."""

    name: str
    events: int


SUBJECTS = [Subject("scalars", 4), Subject("containers", 4), Subject("objects", 4), Subject("calls", 6)]


def many_rules(directory: Path) -> Path:
    """A filter of a hundred rules, all of which match the program's code and none its variables."""
    file = directory / "many-rules.toml"
    selectors = ["pkg:*", "obj:*", "file:**/*.py", "pkg:regex:^__main__$"]
    rules = (FILTER_RULE.format(selector=selectors[number % 4], number=number) for number in range(100))
    file.write_text(FILTER_HEAD + "".join(rules))
    return file


def instructions(
    interpreter: Interpreter, program: Path, size: int, policy: str | None, options: Sequence[str] = ()
) -> int:
    """Instructions of the main thread for one run, plain without a policy."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "callgrind.out"
        recorder = ["-m", "codetracer_python_recorder", "--out-dir", f"{directory}/trace", *options] if policy else []
        command = ["valgrind", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={out}"]
        command += [str(interpreter.python), *recorder, str(program), str(size)]
        env = clean_env() | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "CODETRACER_CAPTURE_IO": "off"}
        env |= {"CODETRACER_POLICY": policy} if policy else {}
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            fail(f"`{' '.join(command)}` ended with status {done.returncode}:\n{done.stderr}")
        # Thread 1 is the interpreter's; a process without other threads has no numbered file.
        for name in (f"{out}-01", str(out)):
            if os.path.exists(name) and (
                found := re.search(r"^(?:totals|summary): (\d+)", Path(name).read_text(), re.M)
            ):
                return int(found.group(1))
    fail(f"valgrind counted nothing for {program.name}")


def per_event(
    interpreter: Interpreter, subject: Subject, options: Sequence[str] = (), policy: str = "full"
) -> tuple[float, float]:
    """What one event of the program takes plain, and what recording adds to it."""
    program = ROOT / "benches" / "events" / f"{subject.name}.py"
    runs = [(size, side) for side in (policy, None) for size in (LARGE, SMALL)]
    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(lambda run: instructions(interpreter, program, run[0], run[1], options), runs))
    large, small, plain_large, plain_small = counts
    events = (LARGE - SMALL) * subject.events
    return (plain_large - plain_small) / events, ((large - small) - (plain_large - plain_small)) / events


def machine(interpreter: Interpreter) -> str:
    """What the counts depend on besides our own code."""
    version = subprocess.run(
        [interpreter.python, "-c", "import platform; print(platform.python_version(), platform.python_compiler())"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    compiler = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    return f"CPython {version}, rustc {compiler}, {platform.machine()}"


def need_valgrind() -> None:
    package = ["apt:valgrind", "dnf:valgrind", "apk:valgrind", "pacman:valgrind", "zypper:valgrind"]
    found = subprocess.run(["sh", "-c", "command -v valgrind"], capture_output=True).returncode == 0
    if not found and subprocess.run([ROOT / "scripts/dev/system-package.sh", "valgrind", *package]).returncode != 0:
        fail("instructions cannot be counted without valgrind")


def main(arguments: list[str]) -> None:
    if arguments not in ([], ["--update"]):
        fail(f"bench_check.py does not know {arguments}")
    need_valgrind()
    interpreter = primary()
    extension.ensure(interpreter)
    key = machine(interpreter)
    say(f"Instructions per event, {key}")
    counts = {subject.name: round(per_event(interpreter, subject)[1], 1) for subject in SUBJECTS}
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    if arguments == ["--update"]:
        BASELINE.write_text(json.dumps(known | {key: counts}, indent=2, sort_keys=True) + "\n")
    before = known.get(key, {})
    grown = []
    for name, count in counts.items():
        base = before.get(name)
        print(f"  {name:<12}{count:>10.1f}   baseline {base if base is not None else 'none for this machine'}")
        if base is not None and count > base * TOLERANCE:
            grown.append(f"{name}: {base} -> {count}")
    with tempfile.TemporaryDirectory() as directory:
        options = ["--trace-filter", str(many_rules(Path(directory)))]
        filtered = round(per_event(interpreter, SUBJECTS[0], options)[1], 1)
    print(f"  {SUBJECTS[0].name:<12}{filtered:>10.1f}   with a filter of a hundred rules")
    if filtered > counts[SUBJECTS[0].name] * NOISE:
        fail(f"a filter costs every event: {counts[SUBJECTS[0].name]} -> {filtered}")
    plain, idle = per_event(interpreter, SUBJECTS[-1], policy=BETWEEN_SAMPLES)
    for _ in range(2):
        # The recorder's own timers scatter by as much as a hundredth; what a program always pays is there every time.
        if idle > plain * (NOISE - 1):
            plain, idle = min((plain, idle), per_event(interpreter, SUBJECTS[-1], policy=BETWEEN_SAMPLES), key=sum)
    print(f"  {SUBJECTS[-1].name:<12}{idle:>10.1f}   between two samples, {plain:.1f} without the recorder")
    if idle > plain * (NOISE - 1):
        fail(f"a program is slower between samples: {plain:.1f} -> {plain + idle:.1f}")
    if grown and not arguments:
        fail(f"grew by more than {TOLERANCE - 1:.0%}: {'; '.join(grown)} (--update, if that is worth it)")


if __name__ == "__main__":
    main(sys.argv[1:])
