"""`convert`: a recording in the other format, whole or not at all, with the same events."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from codetracer_python_recorder.codetracer_python_recorder import convert_trace, verify_trace
from support.reading import Trace
from support.recording import Recording
from support.running import Outcome, python
from support.terminal import run as run_at_terminal

Record = Callable[..., Recording]
Write = Callable[..., Path]

PROGRAM = """
    import os, threading

    def work(n):
        values = {"n": n, "big": -(10 ** 40), "text": "\\u2028 \\udc80", "float": n / 3, "cut": list(range(500))}
        print("written", n)
        return values

    work(1)
    thread = threading.Thread(target=work, args=(2,))
    thread.start()
    thread.join()
    if os.fork() == 0:
        work(3)
        os._exit(0)
    os.wait()
"""


def convert(*arguments: str | Path) -> Outcome:
    return python(["-m", "codetracer_python_recorder", "convert", *arguments])


def everything(directory: Path) -> dict[str, object]:
    """All events by the trace's place in the recording, and the contents of the other files."""
    found: dict[str, object] = {}
    for path in sorted(directory.rglob("*")):
        place = str(path.relative_to(directory).parent)
        if path.name in ("trace.bin", "trace.json"):
            found[place] = Trace(path.parent).main.events
        elif path.is_file():
            found[f"{place}/{path.name}"] = path.read_bytes()
    return found


def test_there_and_back_again_every_event_of_every_thread_and_process_is_the_same(
    record: Record, write: Write, tmp_path: Path
) -> None:
    binary = record(write(PROGRAM)).directory
    outcome = convert(binary, tmp_path / "as-json")
    assert (outcome.status, outcome.stderr) == (0, "")
    assert "events, the same as in" in outcome.stdout
    assert convert(tmp_path / "as-json", tmp_path / "back").status == 0

    expected = everything(binary)
    traces = [place for place, content in expected.items() if isinstance(content, list)]
    assert len(traces) == 3  # the program, its thread, its child
    assert everything(tmp_path / "as-json") == everything(tmp_path / "back") == expected
    for directory, name in [("as-json", "trace.json"), ("back", "trace.bin")]:
        assert verify_trace(str(tmp_path / directory)) == []
        assert {path.name for path in (tmp_path / directory).rglob("trace.*")} == {name}
        for path in binary.rglob("*"):
            copy = tmp_path / directory / path.relative_to(binary)
            copy = copy.with_name(name) if path.name == "trace.bin" else copy
            assert copy.stat().st_mode == path.stat().st_mode
    assert (tmp_path / "back").stat().st_mode == binary.stat().st_mode


def test_nothing_is_overwritten_and_nothing_is_left_of_what_failed(
    record: Record, write: Write, tmp_path: Path
) -> None:
    trace = record(write("print(1)")).directory
    precious = tmp_path / "precious"
    precious.write_text("mine")
    outcome = convert(trace, precious)
    assert (outcome.status, outcome.stdout) == (1, "")
    assert "exists, and is not overwritten" in outcome.stderr
    assert precious.read_text() == "mine"
    assert "is inside of" in convert(trace, trace / "inside").stderr
    assert "no trace in" in convert(tmp_path / "nothing", tmp_path / "new").stderr

    damaged = trace / "trace.bin"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    outcome = convert(trace, tmp_path / "new")
    assert outcome.status == 1
    assert "`recover` makes it whole" in outcome.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious", "program.py", "trace-1"]
    assert convert().status == 2


def test_what_has_no_content_is_left_out(record: Record, write: Write, tmp_path: Path) -> None:
    trace = record(write("print(1)")).directory
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(trace / "control.sock"))
    os.mkfifo(trace / "pipe")
    outcome = convert(trace, tmp_path / "new")
    assert (outcome.status, outcome.stderr) == (0, "")
    assert everything(tmp_path / "new") == everything(trace)
    assert not (tmp_path / "new" / "control.sock").exists() and not (tmp_path / "new" / "pipe").exists()


def test_what_is_being_recorded_is_not_converted(record: Record, write: Write, tmp_path: Path) -> None:
    trace = record(write("print(1)")).directory
    (trace / "recording.json").write_text(json.dumps({"state": "recording", "pid": 1}))
    outcome = convert(trace, tmp_path / "new")
    assert outcome.status == 1
    assert "`recover` ends it" in outcome.stderr
    assert not (tmp_path / "new").exists()


def test_what_the_progress_callback_raises_ends_the_conversion(record: Record, write: Write, tmp_path: Path) -> None:
    trace = record(write("for n in range(30_000):\n    m = n\n")).directory

    def stop(events: int) -> None:
        raise KeyError(events)

    with pytest.raises(KeyError, match="50000"):
        convert_trace(str(trace), str(tmp_path / "trace.json"), "json", stop)


def test_a_bar_is_shown_on_a_terminal_only(record: Record, write: Write, tmp_path: Path) -> None:
    trace = record(write("print(1)")).directory
    screen = run_at_terminal(["-m", "codetracer_python_recorder", "convert", trace, tmp_path / "new"])
    assert screen.status == 0
    assert b" events" in screen.output and b"\x1b[" in screen.output
    assert "\x1b[" not in convert(trace, tmp_path / "another").stderr
