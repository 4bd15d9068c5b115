"""A program behaves under the recorder as it does without: output, errors, status; and it is told the truth."""

from __future__ import annotations

import json
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.programs import COMPARED, PLAIN_ONLY, REAL, Program, program
from support.recording import Recording
from support.running import python, run_plain

Record = Callable[..., Recording]
Write = Callable[..., Path]


SUBJECTS = [
    *COMPARED,
    *(pytest.param(subject, marks=pytest.mark.private_layout) for subject in PLAIN_ONLY),
    *REAL,
]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_output_errors_and_status_are_those_of_plain_python(subject: Program, record: Record) -> None:
    plain = run_plain(subject)
    recorded = record(subject, options=["--propagate-script-exit"], timeout=600)
    assert recorded.stdout == plain.stdout
    assert recorded.stderr == plain.stderr
    assert recorded.status == plain.status == subject.status


def test_every_call_before_a_caught_recursion_error_is_recorded(record: Record) -> None:
    recorded = record(program("plain/recursion_limit"))
    depths = [int(line.split()[1]) for line in recorded.stdout.splitlines() if line.startswith("RecursionError")]
    assert len(depths) == 2 and min(depths) > 500
    calls = recorded.trace.main.calls_of("dive")
    numbers = [dict(call.args)["n"] for call in calls]
    # The call that met the limit never became a frame; the one before it set `deepest`.
    assert numbers[: depths[0]] == [["Int", hex(n)] for n in range(1, depths[0] + 1)]
    assert len(calls) == sum(depths)


@pytest.mark.private_layout
@pytest.mark.parametrize(
    "command",
    [["app/__main__.py"], ["-m", "app"], ["app"], ["app.zip"], ["-c", "import app.__main__"]],
    ids=["script", "module", "directory", "zip file", "source text"],
)
def test_the_stack_below_the_program_and_the_room_above_it_are_those_of_plain_python(
    record: Record, write: Write, tmp_path: Path, command: list[str]
) -> None:
    source = """
        import sys

        frame = sys._getframe()
        while frame := frame.f_back:
            print(frame.f_code.co_qualname, frame.f_lineno)

        def dive(depth):
            try:
                return dive(depth + 1)
            except RecursionError:
                return depth

        print(dive(0))
    """
    main = write(source, "app/__main__.py")
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.write(main, "__main__.py")
    plain = python(command, cwd=tmp_path)
    recorded = python(["-m", "codetracer_python_recorder", *command], cwd=tmp_path)
    assert plain.stdout.splitlines()[-1].isdigit()
    assert recorded.stdout == plain.stdout
    assert recorded.status == plain.status == 0


def test_an_object_whose_special_methods_raise_is_recorded_without_calling_one(record: Record) -> None:
    recorded = record(program("raising_dunders"))
    assert recorded.stdout == "called 0 times\n"
    calls = recorded.trace.main.calls_of("takes")
    assert len(calls) == 5
    assert [name for name, _ in calls[0].args] == ["argument", "rest", "option", "options"]


def test_a_hostile_metaclass_namespace_and_class_are_not_asked_anything(record: Record, write: Write) -> None:
    recorded = record(
        write(
            """
            asked = []

            class Namespace(dict):
                def __getitem__(self, name):
                    if name not in ("__name__", "base"):
                        asked.append(name)
                    return super().__getitem__(name)

                def items(self):
                    asked.append("items")
                    return super().items()

                def keys(self):
                    asked.append("keys")
                    return super().keys()

            class Meta(type):
                def __prepare__(*_, **__):
                    return Namespace()

                def __eq__(cls, other):
                    asked.append("eq")
                    return True

                def __hash__(cls):
                    asked.append("hash")
                    return 1

                def __getattribute__(cls, name):
                    asked.append(name)
                    return super().__getattribute__(name)

            base = 1

            class Body(metaclass=Meta):
                first = base
                second = 2

            mark = len(asked)
            held = Body
            again = [held]
            print(mark, len(asked))
            """
        )
    )
    before, after = recorded.stdout.split()
    assert before == after
    plain = python([recorded.directory.parent / "program.py"])
    assert plain.stdout == recorded.stdout


def test_a_keyboard_interrupt_leaves_a_complete_trace(record: Record, write: Write) -> None:
    source = """
        import signal

        def wait():
            signal.raise_signal(signal.SIGINT)
            for _ in range(1000):
                pass

        print("started", flush=True)
        wait()
        print("never")
    """
    path = write(source)
    recorded = record(path)
    assert recorded.stdout == "started\n"
    assert "KeyboardInterrupt" in recorded.stderr
    assert recorded.status == 0
    (interrupted,) = recorded.trace.main.returns_of("wait")
    assert interrupted[0] == "Other" and "KeyboardInterrupt" in interrupted[1]
    assert recorded.trace.main.toplevel_return == ["Int", hex(130)]
    mirrored = record(path, options=["--propagate-script-exit"])
    assert mirrored.status == python([path]).status == -signal.SIGINT


def test_the_recorder_never_appears_in_a_trace(record: Record) -> None:
    for subject in (program("imports"), program("asynchronous"), program("threads")):
        trace = record(subject).trace
        for thread in trace.threads:
            assert not [path for path in thread.paths if "codetracer_python_recorder" in path]
            assert not [path for path in thread.paths if Path(path).name in ("runpy.py", "threading.py")]


@pytest.mark.parametrize("name", ["generators", "exceptions", "classes", "asynchronous", "unicode_text", "cyclic"])
def test_two_runs_give_identical_events_in_either_format(name: str, record: Record) -> None:
    first, second = record(program(name)), record(program(name))
    text = record(program(name), format="json")
    assert _comparable(first) == _comparable(second)
    assert _comparable(first) == _comparable(text)
    assert len(first.trace.raw) > 100


def _comparable(recording: Recording) -> list[dict[str, Any]]:
    """The events, without what names the process's threads and places in its memory."""
    events: list[dict[str, Any]] = []
    begun: dict[str, dict[str, Any]] = {}
    for event in recording.trace.raw:
        if "Event" in event:
            facts = json.loads(event["Event"]["metadata"])
            flags = [flag for flag in facts["flags"] if flag != "time_split"]
            event["Event"]["metadata"] = {**facts, "thread": 0, "frame_id": 0, "flags": flags}
            if before := begun.pop(facts["stream"], None):  # split only because the machine was busy
                events.remove(before)
                event["Event"]["content"] = before["Event"]["content"] + event["Event"]["content"]
            if flags != facts["flags"]:
                begun[facts["stream"]] = event
        events.append(event)
    return events
