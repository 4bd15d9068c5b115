"""Threads: the order of what they recorded, and what very many of them leave behind."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from codetracer_python_recorder.codetracer_python_recorder import inspect_trace, recover_trace, verify_trace
from support.parts import part_directories
from support.recording import STRUCTURE_FILTER, Recording

Record = Callable[..., Recording]
Write = Callable[..., Path]

DEFINITIONS = {"Path", "VariableName", "Function", "Type"}

BATON = """
    import random, sys, threading, time

    sys.setswitchinterval(1e-5)
    chance = random.Random(5)
    order = [chance.randrange(4) for _ in range(400)]
    batons = [threading.Semaphore(0) for _ in range(4)]
    over = threading.Event()

    def moment(n, now):
        return n

    def runner(own):
        for n, whose in enumerate(order):
            if whose == own:
                if n and order[n - 1] != own:
                    batons[own].acquire()
                moment(n, time.monotonic_ns())
                if n + 1 < len(order) and order[n + 1] != own:
                    batons[order[n + 1]].release()

    def noise():
        count = 0
        while not over.is_set():
            count += 1
            time.sleep(0.0005)

    others = [threading.Thread(target=noise, name=f"noise-{i}") for i in range(2)]
    runners = [threading.Thread(target=runner, args=(i,), name=f"runner-{i}") for i in range(4)]
    for thread in [*others, *runners]:
        thread.start()
    for thread in runners:
        thread.join()
    over.set()
    for thread in others:
        thread.join()
    """


def events(directory: Path) -> list[tuple[str, dict[str, object]]]:
    pieces: list[str] = []
    inspect_trace(str(directory), "json", 0, 0, pieces.append)
    return [next(iter(json.loads(line).items())) for line in "".join(pieces).splitlines()]


def moments(directory: Path) -> list[tuple[int, int, int]]:
    """Calls of `moment` in one trace: how many events are before each, and its two arguments."""
    functions, found, at = [], [], 0
    for kind, event in events(directory):
        if kind == "Function":
            functions.append(event["name"])
        # A call that a part repeats shows no arguments.
        if kind == "Call" and event["args"] and functions[int(str(event["function_id"]))] == "moment":
            n, now = (argument["value"]["i"] for argument in event["args"])  # type: ignore[attr-defined]
            found.append((at, n, now))
        at += kind not in DEFINITIONS
    return found


def in_order(parts: list[Path]) -> list[tuple[int, int, int, int]]:
    """The calls of `moment` of all threads and parts, as the indexes order them: arguments, times of their turn."""
    turns, calls = [], {}
    for number, part in enumerate(parts):
        index = part / "threads" / "index.jsonl"
        lines = [json.loads(line) for line in index.read_text().splitlines()] if index.exists() else []
        calls |= {(number, line["thread"]): moments(part / line["directory"]) for line in lines if "directory" in line}
        turns += [{**line, "part": number} for line in lines if "turn" in line]
    # A turn that goes on in the next part is told there again.
    turns.sort(key=lambda line: (line["turn"], line["part"]))
    begins: dict[object, list[int]] = defaultdict(list)
    for turn in turns:
        begins[turn["part"], turn["thread"]].append(turn["event"])
    found: list[tuple[int, int, int, int]] = []
    for position, turn in enumerate(turns):
        own = begins[turn["part"], turn["thread"]]
        own.pop(0)
        end = own[0] if own else float("inf")
        until = next((line["monotonic_ns"] for line in turns[position:] if line["turn"] > turn["turn"]), 2**63)
        for at, n, now in calls[turn["part"], turn["thread"]]:
            if turn["event"] <= at < end:
                found.append((n, turn["monotonic_ns"], now, until))
    return found


@pytest.mark.parametrize("policy", ["", "limits.on_reached=rotate;limits.max_steps=700"])
def test_the_index_has_the_order_in_which_the_program_handed_over(policy: str, record: Record, write: Write) -> None:
    recording = record(write(BATON), env={"CODETRACER_POLICY": policy})
    assert recording.status == 0, recording.stderr
    assert verify_trace(str(recording.directory)) == []
    parts = part_directories(recording.directory)
    assert len(parts) > 1 or not policy
    found = in_order(parts)
    assert [n for n, *_ in found] == list(range(400))
    assert [began for _, began, _, _ in found] == sorted(began for _, began, _, _ in found)
    # The program read the clock before its call: mostly in the same turn, never after it.
    assert all(now < until for _, _, now, until in found)
    assert sum(began <= now for _, began, now, _ in found) > 100


def test_an_index_that_was_cut_is_mended(record: Record, write: Write) -> None:
    recording = record(write(BATON))
    index = recording.directory / "threads" / "index.jsonl"
    whole = index.read_bytes()
    index.write_bytes(whole[:-5])
    done = recover_trace(str(recording.directory))
    assert [line for line in done if "index.jsonl" in line], done
    assert index.read_bytes() == whole[: whole[:-1].rindex(b"\n") + 1]
    assert recover_trace(str(recording.directory)) == []


def test_inspect_tells_of_turns(record: Record, write: Write) -> None:
    recording = record(write(BATON))
    pieces: list[str] = []
    inspect_trace(str(recording.directory), "summary", 0, 0, pieces.append)
    *_, file, threads, turns = "".join(pieces).splitlines()
    assert file.endswith("threads/index.jsonl")
    assert threads.split() == ["threads", "7"]
    name, count = turns.split()
    assert name == "turns" and int(count) > 300


MANY = """
    import os, sys, threading

    def work(n):
        total = 0
        for i in range(n):
            total += i
        return total

    def state():
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        return len(os.listdir("/proc/self/fd")), int(status["VmRSS"].split()[0])

    states = []
    for burst in range(625):
        threads = [threading.Thread(target=work, args=(1 + n,), name=f"t{burst}-{n}") for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if burst % 25 == 24:
            states.append(state())
    print(states)
    """


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.timeout(600)
def test_five_thousand_threads_leave_few_files_and_take_few_descriptors_and_little_memory(
    record: Record, write: Write, tmp_path: Path
) -> None:
    structure = tmp_path / "structure.toml"
    structure.write_text(STRUCTURE_FILTER)
    recording = record(write(MANY), options=["--trace-filter", str(structure)], timeout=400)
    assert recording.status == 0, recording.stderr
    assert verify_trace(str(recording.directory)) == []
    files = [path for path in recording.directory.rglob("*") if path.is_file()]
    # A hundred of their own, and shared ones: as many as were recorded between two looks at who has ended.
    assert len(files) < 3 * 600, len(files)
    lines = [json.loads(line) for line in (recording.directory / "threads" / "index.jsonl").read_text().splitlines()]
    threads = [line for line in lines if "name" in line]
    assert len(threads) == 5001
    streams = json.loads((recording.directory / "trace_metadata.json").read_text())["streams"]
    # Every thread has made one call, in a trace that has one of its own.
    assert sum(stream["counts"]["calls"] - 1 for stream in streams if stream["id"] > 0) == 5000
    assert sum(stream.get("threads", 1) for stream in streams) == 5001
    states = json.loads(recording.stdout.replace("(", "[").replace(")", "]"))
    assert max(fds for fds, _ in states) < 70, states
    # The first shows the trace's buffers; from then on memory does not grow with the number of threads.
    assert states[-1][1] - states[5][1] < 20_000, states
