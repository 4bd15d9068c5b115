"""Samples come and go while others watch the same functions: coverage.py in both of its ways, and `sys.settrace`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.running import Outcome, python

Write = Callable[..., Path]
Run = Callable[..., Outcome]

WATCHED = """
    import sys
    import codetracer_python_recorder as recorder

    def move(n):
        a = n
        b = a
        c = b
        if n < 0:
            c = a
        return a, b, c

    def numbers(count):
        for n in range(count):
            got = n
            yield got

    def in_samples(work):
        policy = {"sampling": {"mode": "windows", "on": "10ms", "every": "100ms"}}
        session = recorder.start(sys.argv[1], policy=policy)
        rounds = 0
        while rounds < 200 or session.stats()["sampling"]["samples"] < 8:
            work()
            rounds += 1
        recorder.stop()
        return rounds
"""


def test_settrace_is_told_every_line_across_samples(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        WATCHED
        + """
    lines = {}

    def trace(frame, event, argument):
        if frame.f_code not in (move.__code__, numbers.__code__):
            return None
        if event == "line":
            where = (frame.f_code.co_name, frame.f_lineno - frame.f_code.co_firstlineno)
            lines[where] = lines.get(where, 0) + 1
        return trace

    def work():
        assert move(1) == (1, 1, 1)
        assert list(numbers(3)) == [0, 1, 2]

    def traced():
        sys.settrace(trace)
        try:
            work()
        finally:
            sys.settrace(None)

    traced()
    once, lines = lines, {}
    rounds = in_samples(traced)
    print(sorted(once), {where: count for where, count in lines.items() if count != once.get(where, 0) * rounds})
"""
    )
    outcome = run(script, str(tmp_path / "out"))
    assert outcome.stderr == ""
    told = [("move", line) for line in (1, 2, 3, 4, 6)] + [("numbers", line) for line in (1, 2, 3)]
    assert outcome.stdout == f"{told} {{}}\n"


@pytest.mark.parametrize("core", ["ctrace", "sysmon"])
def test_coverage_finds_the_same_lines_as_without_samples(core: str, write: Write, tmp_path: Path) -> None:
    script = write(
        WATCHED
        + """
    def work():
        move(1)
        list(numbers(3))

    if sys.argv[2] == "plain":
        recorder.start(sys.argv[1]).stop()
        work()
    else:
        in_samples(work)
        # What is run for the first time after a sample is seen, too.
        move(-1)
"""
    )
    found = {}
    for how in ("plain", "sampled"):
        data, report = tmp_path / f"{how}.data", tmp_path / f"{how}.json"
        env = {"COVERAGE_CORE": core, "COVERAGE_FILE": str(data)}
        done = python(["-m", "coverage", "run", f"--include={script}", script, tmp_path / how, how], env=env)
        assert (done.status, done.stderr) == (0, "")
        assert python(["-m", "coverage", "json", "-q", "-o", report], env=env).status == 0
        [file] = json.loads(report.read_text())["files"].values()
        found[how] = file["functions"]
    plain, sampled = found["plain"], found["sampled"]
    assert sampled["numbers"] == plain["numbers"] and plain["numbers"]["missing_lines"] == []
    [unseen] = plain["move"]["missing_lines"]
    assert sampled["move"]["missing_lines"] == []
    assert set(sampled["move"]["executed_lines"]) == {*plain["move"]["executed_lines"], unseen}
