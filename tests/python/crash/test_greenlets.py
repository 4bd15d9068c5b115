"""Stacks that switch within a thread: whatever they do, the trace is balanced and has every step with its values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from codetracer_python_recorder.codetracer_python_recorder import verify_trace
from support.filters import only
from support.recording import Recording

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
