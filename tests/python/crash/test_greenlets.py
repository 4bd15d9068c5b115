"""Stacks that switch within a thread: each has a trace of its own, balanced, with every step and its values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from codetracer_python_recorder.codetracer_python_recorder import verify_trace
from oracle.model import Call, Return
from support.filters import only
from support.reading import Thread, Trace
from support.recording import STRUCTURE_FILTER, Recording
from support.running import python

Record = Callable[..., Recording]
Write = Callable[..., Path]

DEEPER = """
        from greenlet import getcurrent, greenlet

        def deeper(name, i):
            mark = f"{name} {i}"
            getcurrent().parent.switch()
            return mark
"""

PROGRAMS = {
    "greenlet": DEEPER
    + """
        def work(name):
            for i in range(20):
                mark = deeper(name, i)
            return name

        names = ["a", "b", "c"]
        running = {name: greenlet(work) for name in names}
        began = set()
        while running:
            for name in list(running):
                one = running[name]
                one.switch() if name in began else one.switch(name)
                began.add(name)
                if one.dead:
                    del running[name]
        print("done")
        """,
    "left": DEEPER
    + """
        def work(name):
            for i in range(20):
                mark = deeper(name, i)

        # Greenlets that are killed where they are, by an exception or because nobody knows them any more.
        for name in ["a", "b", "c"]:
            one = greenlet(work)
            one.switch(name)
            for i in range(19):
                one.switch()
            if name == "b":
                one.throw()
            del one
        print("done")
        """,
    "gevent": """
        import gevent

        def deeper(name, i):
            mark = f"{name} {i}"
            gevent.sleep(0)
            return mark

        def work(name):
            for i in range(20):
                mark = deeper(name, i)
            return name

        jobs = [gevent.spawn(work, name) for name in ["a", "b", "c"]]
        gevent.joinall(jobs)
        assert [job.value for job in jobs] == ["a", "b", "c"]
        print("done")
        """,
    "gevent in threads": """
        from gevent import monkey
        monkey.patch_all()
        import threading, time

        def deeper(name, i):
            mark = f"{name} {i}"
            time.sleep(0.0001)
            return mark

        def work(name):
            for i in range(20):
                mark = deeper(name, i)

        jobs = [threading.Thread(target=work, args=(name,)) for name in ["a", "b", "c"]]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        print("done")
        """,
}


# What gevent does is not the program's, and its objects refer to half the interpreter.
FILTER = (
    only("pkg:literal:__main__")
    + """\
value_default = "drop"

[[scope.rules.value_patterns]]
selector = "local:regex:^(mark|i|name)$"
action = "allow"

[[scope.rules.value_patterns]]
selector = "arg:regex:^(i|name)$"
action = "allow"
"""
)


@pytest.mark.parametrize("name", PROGRAMS)
def test_stacks_that_switch_leave_a_balanced_trace_with_every_step(
    name: str, record: Record, write: Write, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(FILTER)
    recording = record(write(PROGRAMS[name]), options=["--trace-filter", str(own)])
    assert (recording.stdout, recording.status) == ("done\n", 0), recording.stderr
    assert verify_trace(str(recording.directory)) == []
    # The line behind `mark = …` in `deeper` shows it, and with it its own frame's names.
    marks = set()
    for step in (step for thread in recording.trace.threads for step in thread.steps):
        if {"mark", "i", "name"} <= step.locals.keys():
            mark, i, of = (step.locals[key][1] for key in ("mark", "i", "name"))
            if mark == f"{of} {int(i, 16)}":
                marks.add(mark)
    expected = {f"{one} {i}" for one in "abc" for i in range(20)}
    assert marks == expected
    # No call was ended by a switch, none begun again, and none is below one of another stack.
    called = [thread for thread in recording.trace.threads if thread.calls_of("deeper")]
    assert sum(len(thread.calls_of("deeper")) for thread in called) == 60
    assert sum(len(thread.calls_of("work")) for thread in called) == 3
    for thread in called:
        assert {callers for name, callers in chains(thread) if name == "deeper"} == {("work",)}
    if name != "left":
        # All three were alive at a time.
        assert len(called) == 3
        assert all(value[0] != "None" for thread in called for value in thread.returns_of("deeper"))


def chains(thread: Thread) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each call's function and the functions that called it, outermost first."""
    stack: list[str] = []
    for event in thread.events:
        if isinstance(event, Call):
            yield event.name, tuple(stack)
            stack.append(event.name)
        elif isinstance(event, Return):
            stack.pop()


def test_where_stacks_cannot_be_told_apart_the_trace_is_balanced(record: Record, write: Write, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(FILTER)
    env = {"CODETRACER_FRAME_ACCESS": "public"}
    recording = record(write(PROGRAMS["greenlet"]), options=["--trace-filter", str(own)], env=env)
    assert (recording.stdout, recording.status) == ("done\n", 0), recording.stderr
    assert verify_trace(str(recording.directory)) == []
    assert len(recording.trace.threads) == 1
    assert {"work", "deeper"} <= {call.name for call in recording.trace.main.calls}


LATE = """
import threading
from greenlet import getcurrent, greenlet
import codetracer_python_recorder as recorder

def wait(name):
    getcurrent().parent.switch()
    return name

def work(name):
    said = []
    for _ in range(3):
        said.append(wait(name))
    return said

def several(names):
    running = [greenlet(work) for _ in names]
    for one, name in zip(running, names):
        one.switch(name)
    yield
    while not all(one.dead for one in running):
        for one in running:
            one.switch()

def in_thread(name):
    list(several([name + "x", name + "y"]))

before = several(["a", "b"])
next(before)
recorder.start(OUT)
try:
    list(before)
    threads = [threading.Thread(target=in_thread, args=(name,)) for name in ("s", "t")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
finally:
    recorder.stop()
print("done")
"""


def test_stacks_of_other_threads_and_from_before_the_start_have_traces_too(write: Write, tmp_path: Path) -> None:
    out = tmp_path / "trace"
    outcome = python([str(write(f"OUT = {str(out)!r}\n" + LATE))])
    assert (outcome.stdout, outcome.status) == ("done\n", 0), outcome.stderr
    assert verify_trace(str(out)) == []
    mine = [thread for thread in Trace(out).threads if thread.calls_of("wait")]
    assert len(mine) == 6
    for thread in mine:
        callers = {callers for name, callers in chains(thread) if name == "wait"}
        if thread.calls_of("work"):
            assert (len(thread.calls_of("wait")), callers) == (3, {("work",)})
        else:
            # It began before the recording, in the first of its three calls; what called them is not seen again.
            assert (len(thread.calls_of("wait")) in (2, 3), callers) == (True, {()})
    assert sum(bool(thread.calls_of("work")) for thread in mine) == 4


MANY = """
from greenlet import getcurrent, greenlet

def wait(number):
    getcurrent().parent.switch()
    return number

def alive(count):
    running = [greenlet(wait) for number in range(count)]
    for number, one in enumerate(running):
        one.switch(number)
    for one in running:
        one.switch()

def one_after_the_other(count):
    for number in range(count):
        one = greenlet(wait)
        one.switch(number)
        one.switch()

alive(300)
one_after_the_other(2000)
print("done")
"""


def test_very_many_stacks_leave_few_traces(record: Record, write: Write, tmp_path: Path) -> None:
    structure = tmp_path / "structure.toml"
    structure.write_text(STRUCTURE_FILTER)
    recording = record(write(MANY), options=["--trace-filter", str(structure)])
    assert (recording.stdout, recording.status) == ("done\n", 0), recording.stderr
    assert verify_trace(str(recording.directory)) == []
    calls = [len(thread.calls_of("wait")) for thread in recording.trace.threads]
    assert sum(calls) == 2300
    assert 100 < len(calls) <= 350
