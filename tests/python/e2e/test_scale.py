"""Large programs, large values, long runs: nothing is lost, and memory stays where it was."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from codetracer_python_recorder import codetracer_python_recorder as extension
from support.recording import Recording
from support.running import Outcome

ROOT = Path(__file__).resolve().parents[3]
Record = Callable[..., Recording]
Write = Callable[..., Path]
Run = Callable[..., Outcome]


def trace(run: Run, program: Path, directory: Path) -> tuple[dict, list[dict]]:
    """Runs a program that records itself into `directory`; its metadata and its events."""
    outcome = run(program, str(directory))
    assert outcome.status == 0, outcome.stderr
    assert extension.verify_trace(str(directory)) == []
    command = [sys.executable, "-m", "codetracer_python_recorder.inspect", "--json", str(directory)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    return json.loads((directory / "trace_metadata.json").read_text()), [
        json.loads(line) for line in listing.splitlines()
    ]


def test_memory_is_flat_and_every_step_is_read_back() -> None:
    # Four million steps are more than a gigabyte of events. What may be on its way at a time is far less.
    options = ["--steps=4000000", "--may-grow=40", "--read-back=count"]
    command = [sys.executable, str(ROOT / "scripts/scale.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "complete" in done.stdout and "10/10" in done.stdout
    [counted] = re.findall(r"^(\d+) Step, (\d+) Value,", done.stdout, re.MULTILINE)
    assert int(counted[0]) >= 4_000_000 and int(counted[1]) >= 2 * 4_000_000


def test_ten_thousand_code_objects_are_ten_thousand_functions(write: Write, run: Run, tmp_path: Path) -> None:
    # Each in a namespace of its own: a module that defines them all shows them all at each of its lines.
    program = write(
        """
        import sys
        import codetracer_python_recorder as recorder

        def make(n):
            namespace = {}
            source = "\\n" * n + f"def f{n}(a):\\n    b = a + {n}\\n    return b\\n"
            exec(compile(source, __file__, "exec"), namespace)
            return namespace[f"f{n}"]

        functions = [make(n) for n in range(10_000)]
        with recorder.trace(sys.argv[1], policy={"values": {"globals": "off"}}):
            total = 0
            for function in functions:
                total += function(1)
        assert total == 10_000 + sum(range(10_000))
        """
    )
    metadata, events = trace(run, program, tmp_path / "trace")
    names = [event["Function"]["name"] for event in events if "Function" in event]
    assert {f"f{n}" for n in range(10_000)} <= set(names)
    assert metadata["streams"][0]["counts"]["calls"] > 10_000
    returned = [event["Return"]["return_value"].get("i") for event in events if "Return" in event]
    assert {n + 1 for n in range(10_000)} <= set(returned)


def test_a_hundred_threads_at_once_have_a_trace_each(write: Write, run: Run, tmp_path: Path) -> None:
    program = write(
        """
        import sys, threading
        import codetracer_python_recorder as recorder

        barrier = threading.Barrier(100)

        def work(number):
            barrier.wait()
            total = 0
            for i in range(50):
                total += i * number
            return total

        with recorder.trace(sys.argv[1]):
            threads = [threading.Thread(target=work, args=(n,), name=f"worker-{n}") for n in range(100)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        """
    )
    metadata, _ = trace(run, program, tmp_path / "trace")
    workers = [stream for stream in metadata["streams"] if stream["name"].startswith("worker-")]
    assert len(workers) == 100
    for stream in workers:
        assert stream["counts"]["steps"] > 100
        assert stream["counts"]["calls"] == stream["counts"]["returns"]


def test_megabytes_in_one_value_are_cut_and_cost_no_more_than_they_show(write: Write, run: Run, tmp_path: Path) -> None:
    program = write(
        """
        import sys
        import codetracer_python_recorder as recorder

        def grow(text):
            for i in range(200):
                text = text + str(i % 10)
            return len(text)

        with recorder.trace(sys.argv[1], policy={"values": {"max_string": 1000}}):
            length = grow("ä" * (1 << 20))
        assert length == (1 << 20) + 200
        """
    )
    metadata, events = trace(run, program, tmp_path / "trace")
    texts = [
        event["Value"]["value"]["text"]
        for event in events
        if "Value" in event and event["Value"]["value"]["kind"] == "String"
    ]
    assert len(texts) > 400
    assert all(text.startswith("ää") and len(text) < 1100 and "…" in text for text in texts)
    # Two kilobytes at each of hundreds of steps, of which next to nothing is new.
    assert metadata["streams"][0]["bytes_on_disk"] < 20_000


def test_values_of_the_largest_size_that_is_allowed_are_whole(write: Write, run: Run, tmp_path: Path) -> None:
    program = write(
        """
        import random, sys
        import codetracer_python_recorder as recorder

        def show(text):
            a = 1
            b = a
            return text[:5]

        random.seed(1)
        noise = "".join(map(chr, random.choices(range(0x4E00, 0x9FFF), k=1_000_000)))
        policy = {"values": {"max_string": 1_000_000, "max_bytes_per_step": "16MiB", "globals": "off"}}
        with recorder.trace(sys.argv[1], policy=policy):
            show(noise)
        """
    )
    _, events = trace(run, program, tmp_path / "trace")
    texts = [
        event["Value"]["value"]["text"]
        for event in events
        if "Value" in event and event["Value"]["value"]["kind"] == "String"
    ]
    long = [text for text in texts if len(text) > 10]
    assert len(long) >= 3
    assert {len(text) for text in long} == {1_000_000}
    assert len(set(long)) == 1


def test_lines_of_a_megabyte_are_recorded_as_they_were_written(write: Write, run: Run, tmp_path: Path) -> None:
    program = write(
        """
        import sys
        import codetracer_python_recorder as recorder

        with recorder.trace(sys.argv[1]):
            for number in range(5):
                print("".join(f"{number}.{i:x}ä" for i in range(160_000)))
            print("short")
        """
    )
    outcome = run(program, str(tmp_path / "trace"))
    assert outcome.status == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    assert len(lines) == 6 and all(len(line) > 1 << 20 for line in lines[:5])
    assert extension.verify_trace(str(tmp_path / "trace")) == []
    pieces: list[str] = []
    extension.inspect_trace(str(tmp_path / "trace"), "json", 0, 0, pieces.append)
    events = [json.loads(line) for line in "".join(pieces).splitlines() if line.startswith('{"Event"')]
    written = "".join(event["Event"]["content"] for event in events if event["Event"]["kind"] == 0)
    # Compared first by length: a difference of megabytes tells nobody anything.
    assert len(written) == len(outcome.stdout) and written == outcome.stdout
