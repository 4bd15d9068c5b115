"""`export`: the calls of a trace in the formats of profile viewers, held to the rules of those formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.recording import Recording
from support.running import Outcome, python

Record = Callable[..., Recording]
Write = Callable[..., Path]

SCHEMAS = Path(__file__).resolve().parents[1] / "support" / "schemas"
PROGRAM = """
    import threading

    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    def shown(names, *rest, deep, big):
        print("written", chr(0x2028))
        return {"set": {1}, "none": None}

    def numbers():
        yield 1
        yield 2

    fib(3)
    shown(["x", 1.5], True, deep={"a": (1,)}, big=-(10 ** 30))
    list(numbers())
    thread = threading.Thread(target=fib, args=(2,))
    thread.start()
    thread.join()
"""


def export(directory: Path, *options: str) -> Outcome:
    return python(["-m", "codetracer_python_recorder", "export", directory, *options])


@pytest.fixture(params=["binary", "json"])
def recorded(request: pytest.FixtureRequest, record: Record, write: Write) -> Recording:
    return record(write(PROGRAM), format=request.param)


def test_chrome_events_nest_in_every_thread_and_hold_arguments_and_results(recorded: Recording) -> None:
    outcome = export(recorded.directory, "--chrome-json")
    assert (outcome.status, outcome.stderr) == (0, "")
    events = json.loads(outcome.stdout)["traceEvents"]
    open_calls: dict[int, list[str]] = {}
    latest: dict[int, int] = {}
    finished: list[tuple[int, str, dict[str, Any], str]] = []
    stacks: dict[int, list[dict[str, Any]]] = {}
    for event in events:
        assert event["ph"] in "BEiM" and event["pid"] == 1
        if event["ph"] == "M":
            continue
        thread = event["tid"]
        assert event["ts"] >= latest.get(thread, 0)
        latest[thread] = event["ts"]
        stack = stacks.setdefault(thread, [])
        if event["ph"] == "B":
            stack.append(event)
            open_calls.setdefault(thread, []).append(event["name"])
        elif event["ph"] == "E":
            begun = stack.pop()
            finished.append((thread, begun["name"], begun["args"]["arguments"], event["args"]["returns"]))
    assert not any(stacks.values())
    assert [name for name in open_calls[1] if name == "fib"] == ["fib"] * 5
    assert [name for name in open_calls[2] if name == "fib"] == ["fib"] * 3
    assert (1, "fib", {"n": "3"}, "2") in finished
    arguments = {"names": "['x', 1.5]", "rest": "(True,)", "deep": "{'a': (1,)}", "big": str(-(10**30))}
    assert (1, "shown", arguments, "{'set': {1}, 'none': None}") in finished

    threads = [event["args"]["name"] for event in events if event.get("name") == "thread_name"]
    assert threads[0] == "main" and len(threads) == 2
    assert "".join(event["args"]["text"] for event in events if event["ph"] == "i") == "written \u2028\n"


def test_a_speedscope_profile_nests_and_weighs_calls_by_their_steps(recorded: Recording, tmp_path: Path) -> None:
    outcome = export(recorded.directory, "--speedscope", "-o", str(tmp_path / "profile.json"))
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "", "")
    content = json.loads((tmp_path / "profile.json").read_text(encoding="utf-8"))
    assert content["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    # What speedscope itself publishes (MIT), in its package of version 1.25.0.
    jsonschema.validate(content, json.loads((SCHEMAS / "speedscope-1.25.0.json").read_text(encoding="utf-8")))
    frames = content["shared"]["frames"]
    assert all(set(frame) == {"name", "file", "line"} for frame in frames)
    assert len(content["profiles"]) == 2
    for profile in content["profiles"]:
        assert (profile["type"], profile["unit"], profile["startValue"]) == ("evented", "none", 0)
        stack: list[int] = []
        time = 0
        for event in profile["events"]:
            assert 0 <= event["frame"] < len(frames) and event["at"] >= time
            time = event["at"]
            if event["type"] == "O":
                stack.append(event["frame"])
            else:
                assert (event["type"], event["frame"]) == ("C", stack.pop())
        assert not stack and time <= profile["endValue"]
    main = content["profiles"][0]
    assert main["endValue"] == sum("Step" in event for event in recorded.trace.raw)
    begun = [frames[event["frame"]]["name"] for event in main["events"] if event["type"] == "O"]
    assert begun.count("fib") == 5 and begun.count("numbers") == 3


def test_an_export_that_fails_leaves_no_file_and_says_why(record: Record, write: Write, tmp_path: Path) -> None:
    missing = export(tmp_path / "nothing", "--speedscope", "-o", str(tmp_path / "profile.json"))
    assert missing.status == 1
    assert "no trace in" in missing.stderr
    assert list(tmp_path.iterdir()) == []
    assert export(tmp_path).status == 2
    recorded = record(write("pass"))
    unwritable = export(recorded.directory, "--speedscope", "-o", str(tmp_path / "no" / "profile.json"))
    assert unwritable.status == 1
    assert "No such file or directory" in unwritable.stderr
