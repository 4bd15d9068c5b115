"""Limits and parts: whatever a program does where a part ends, the parts together are the whole recording."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from oracle.model import Event
from support.parts import joined, part_directories
from support.reading import Trace
from support.recording import Recording

Record = Callable[..., Recording]
Write = Callable[..., Path]

PROGRAMS = Path(__file__).resolve().parent.parent / "programs"


def rotate(**limits: object) -> dict[str, str]:
    settings = {"on_reached": '"rotate"', **limits}
    return {"CODETRACER_POLICY": ";".join(f"limits.{key}={value}" for key, value in settings.items())}


def verified(record: Recording) -> list[str]:
    from codetracer_python_recorder.codetracer_python_recorder import verify_trace

    return verify_trace(str(record.directory))


def comparable(events: list[Event]) -> list[str]:
    """Objects are numbered within each part; which is which does not matter here."""
    return [re.sub(r"#\d+>", ">", repr(event)) for event in events]


@pytest.mark.parametrize(
    "program",
    [
        "arguments", "async_cancel", "async_generators", "class_bodies", "closures", "comprehensions",
        "exception_groups", "exec_eval", "generators", "recursion", "same_names", "uncaught", "unicode_text",
    ],
)  # fmt: skip
def test_the_parts_together_are_the_recording_in_one_part(program: str, record: Record, tmp_path: Path) -> None:
    # A copy without relatives: the program's path must be the same in both runs.
    path = tmp_path / f"{program}.py"
    shutil.copy(PROGRAMS / path.name, path)
    whole = record(path, format="json")
    for steps in (20, 150):
        rotated = record(path, format="json", env=rotate(max_steps=steps))
        assert (rotated.stdout, rotated.status) == (whole.stdout, whole.status)
        total = json.loads((whole.directory / "trace_metadata.json").read_text())["streams"][0]["counts"]["steps"]
        assert len(part_directories(rotated.directory)) >= total // (steps + 1)
        assert [event.shape for event in joined(rotated.directory)] == [
            event.shape for event in whole.trace.main.events
        ]
        # An event loop's attributes differ from run to run.
        if not program.startswith("async"):
            assert comparable(joined(rotated.directory)) == comparable(whole.trace.main.events)
        assert verified(rotated) == []


def test_a_thread_has_a_trace_in_each_part_that_it_ran_in(record: Record, write: Write) -> None:
    program = write(
        """
        import threading

        def work(n):
            for i in range(n):
                x = i

        def run(name, n):
            thread = threading.Thread(target=work, args=(n,), name=name)
            thread.start()
            thread.join()

        run("long", 1000)
        run("short", 10)
        """
    )
    recorded = record(program, env=rotate(max_steps=300))
    parts = part_directories(recorded.directory)
    assert [sorted(path.name for path in (part / "threads").glob("*/")) for part in parts][1:-1] == [["01-long"]] * (
        len(parts) - 2
    )
    assert (parts[-1] / "threads" / "02-short").is_dir()
    assert len([event for event in joined(recorded.directory, "threads/01-long") if event.shape[0] == "step"]) > 2000
    assert verified(recorded) == []


def test_a_limit_ends_the_recording_and_not_the_program(record: Record, write: Write) -> None:
    program = write(
        """
        def work(n):
            total = 0
            for i in range(n):
                total += i
            return total

        print(work(50_000))
        raise SystemExit(7)
        """
    )
    policy = {"CODETRACER_POLICY": "limits.max_steps=1000"}
    recorded = record(program, env=policy, options=["--propagate-script-exit"])
    assert (recorded.stdout, recorded.status) == ("1249975000\n", 7)
    metadata = recorded.trace.metadata
    assert metadata["ended_by_limit"] == "max_steps"
    assert metadata["process_exit_status"] == {"code": 7, "label": None}
    assert metadata["streams"][0]["counts"]["steps"] == 1000
    assert len(recorded.trace.main.steps) in range(900, 1001)
    assert verified(recorded) == []


@pytest.mark.parametrize(("key", "value"), [("max_bytes", '"3KB"'), ("max_duration", '"100ms"')])
def test_parts_can_be_cut_by_size_and_by_time(key: str, value: str, record: Record, write: Write) -> None:
    program = write(
        """
        import random, time

        def work():
            end = time.monotonic() + 1
            while time.monotonic() < end:
                noise = random.random()
                time.sleep(0.002)

        work()
        """
    )
    env = rotate(**{key: value})
    env["CODETRACER_POLICY"] += ";durability.flush_interval=50ms;pipeline.segment_bytes=64KiB"
    recorded = record(program, env=env)
    parts = json.loads((recorded.directory / "trace_metadata.json").read_text())["parts"]
    assert len(parts) >= 3
    assert {part["ended_by"] for part in parts[:-1]} == {key}
    assert parts[-1]["ended_by"] == "stop"
    assert all(before["ended"] <= after["ended"] for before, after in zip(parts, parts[1:], strict=False))
    for directory in part_directories(recorded.directory):
        assert Trace(directory).main.toplevel_return is not None
    assert verified(recorded) == []
