"""The oracle itself: `sys.settrace` and `sys.monitoring` must tell the same story of every program."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.programs import COMPARED, Program
from support.running import python, run_oracle

from oracle.model import Call, Return, Step, Stream, normalise


def tell(program: Program, directory: Path, witness: str) -> list[Stream]:
    streams = run_oracle(program, directory / f"{witness}.json", witness=witness)
    for stream in streams:
        stream.events = list(normalise(stream.events))
    return [streams[0], *sorted(streams[1:], key=lambda stream: stream.thread)]


@pytest.mark.parametrize("program", COMPARED, ids=lambda program: program.name)
def test_both_witnesses_tell_the_same_story(program: Program, tmp_path: Path) -> None:
    first = tell(program, tmp_path, "settrace")
    second = tell(program, tmp_path, "monitoring")
    assert [stream.thread for stream in first] == [stream.thread for stream in second]
    for left, right in zip(first, second, strict=True):
        assert left.shape == right.shape
        assert left.events == right.events


@pytest.mark.parametrize("program", COMPARED, ids=lambda program: program.name)
def test_a_program_ends_as_its_description_says_and_behaves_the_same_under_the_oracle(
    program: Program, tmp_path: Path
) -> None:
    plain = python([program.path, *program.args], stdin=program.stdin)
    assert plain.status == program.status, plain.stderr
    assert plain.stdout or program.status
    search = str(Path(__file__).parent.parent)
    watched = python(
        ["-m", "oracle", "--out", tmp_path / "events.json", program.path, *program.args],
        stdin=program.stdin,
        env={"PYTHONPATH": search},
    )
    assert watched.stdout == plain.stdout


def write(directory: Path, text: str) -> Program:
    path = directory / "program.py"
    path.write_text(text)
    return Program(path)


def test_the_oracle_counts_what_a_reader_of_the_program_counts(tmp_path: Path) -> None:
    source = "def f(a, *b, c=3, **d):\n    x = a\n    return [x]\n\nfor i in (1, 2):\n    f(i, i, k=i)\n"
    (stream,) = run_oracle(write(tmp_path, source), tmp_path / "events.json")
    path = str(tmp_path / "program.py")
    calls = [event for event in stream.events if isinstance(event, Call)]
    assert [(call.name, call.path, call.line) for call in calls] == [
        ("<__main__>", path, 1),
        ("f", path, 1),
        ("f", path, 1),
    ]
    one = ["Int", "0x1"]
    assert calls[1].args == [
        ("a", one),
        ("b", ["Tuple", [one], 1]),
        ("c", ["Int", "0x3"]),
        ("d", ["Dict", [[["String", "k", 1], one]], 1]),
    ]
    lines = [event.line for event in stream.events if isinstance(event, Step)]
    assert lines == [1, 5, 6, 2, 3, 5, 6, 2, 3, 5]
    last = [event for event in stream.events if isinstance(event, Step) and event.line == 3][-1]
    assert last.locals["x"] == ["Int", "0x2"]
    values = [event.value for event in stream.events if isinstance(event, Return)]
    assert values == [["List", [one], 1], ["List", [["Int", "0x2"]], 1], ["None"]]


def test_throw_resume_and_unwinding_are_told_apart(tmp_path: Path) -> None:
    source = "def g():\n    yield None\n    yield None\n\nit = g()\nnext(it)\nnext(it)\n" + (
        "try:\n    it.throw(KeyError('k'))\nexcept KeyError:\n    pass\n"
    )
    (stream,) = run_oracle(write(tmp_path, source), tmp_path / "events.json")
    calls = [event.args for event in stream.events if isinstance(event, Call) and event.name == "g"]
    error = ["Exception", "KeyError", "k"]
    assert calls == [[], [], [("exception", error)]]
    assert [event.value for event in stream.events if isinstance(event, Return)] == [
        ["None"],
        ["None"],
        error,
        ["None"],
    ]


def test_a_further_line_event_on_the_same_line_is_dropped_and_only_that() -> None:
    call, back = Call("f", "p", 1), Return(["None"])
    one, two = Step("p", 1), Step("p", 2)
    events = [call, one, one, call, one, back, one, two, one, back]
    assert list(normalise(events)) == [call, one, call, one, back, two, one, back]
    with pytest.raises(ValueError, match="more returns"):
        list(normalise([call, back, back]))
