"""Sampling: some of what a program does is recorded, each sample as a trace of its own; the program does not notice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.parts import part_directories
from support.reading import Trace
from support.recording import Recording
from support.running import Outcome

Write = Callable[..., Path]
Run = Callable[..., Outcome]
Record = Callable[..., Recording]

BUSY = """
    import sys, time
    import codetracer_python_recorder as recorder

    def leaf(n):
        total = 0
        for i in range(10):
            total += i * n
        return total

    def request(n):
        return sum(leaf(i) for i in range(n))

    def serve(seconds):
        tool = next(i for i in range(6) if sys.monitoring.get_tool(i) == "codetracer_python_recorder")
        quiet = rounds = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert request(5) == 450
            rounds += 1
            quiet += sys.monitoring.get_events(tool) == 0
            time.sleep(0.0003)
        return quiet / rounds

    quiet = serve(float(sys.argv[1]))
    print(quiet > 0.5, round(quiet, 3))
"""


def samples(directory: Path) -> list[Trace]:
    """The parts that are samples, each of which must open by itself."""
    from codetracer_python_recorder.codetracer_python_recorder import verify_trace

    assert verify_trace(str(directory)) == []
    first, *others = part_directories(directory)
    # Nothing is recorded before the first sample.
    assert Trace(first).main.calls == []
    traces = [Trace(part) for part in others]
    for trace in traces:
        assert trace.metadata["part"]["begun_by"] == "sampling"
        assert json.loads((trace.directory / "recording.json").read_text())["state"] == "complete"
    return traces


def policy(**settings: object) -> dict[str, str]:
    return {"CODETRACER_POLICY": ";".join(f"sampling.{key}={value}" for key, value in settings.items())}


def test_windows_of_time_are_recorded_and_nothing_is_on_between_them(record: Record, write: Write) -> None:
    outcome = record(write(BUSY), "1.5", env=policy(mode="windows", on="40ms", every="300ms", seed=7))
    assert outcome.stdout.startswith("True"), (outcome.stdout, outcome.stderr)
    traces = samples(outcome.directory)
    metadata: dict[str, Any] = json.loads((outcome.directory / "trace_metadata.json").read_text())
    assert 3 <= len(traces) <= 6
    assert metadata["sampling"]["samples"] == len(traces)
    assert (metadata["sampling"]["mode"], metadata["sampling"]["seed"]) == ("windows", 7)
    for number, trace in enumerate(traces, 1):
        sample = trace.metadata["part"]["sample"]
        assert (sample["number"], sample["mode"], sample["why"]) == (number, "windows", "a window of time")
        assert sample["probability"] == pytest.approx(40 / 300)
    called = [trace for trace in traces if trace.main.calls_of("leaf")]
    assert called
    # The whole stack is there, outermost first.
    assert [call.name for call in called[0].main.calls][:2] == ["<__main__>", "serve"]


def test_a_session_that_ends_within_a_window_is_complete(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """
        import time
        import codetracer_python_recorder as recorder

        def work():
            return 1

        for _ in range(3):
            session = recorder.start("out", policy={"sampling": {"mode": "windows", "on": "10s", "every": "10s"}})
            deadline = time.monotonic() + 20
            while session.stats()["state"] != "recording" and time.monotonic() < deadline:
                time.sleep(0.001)
            work()
            session.pause()
            assert session.stats()["state"] == "paused"
            session.resume()
            work()
            session.stop()
        print("done")
        """
    )
    outcome = run(script)
    assert outcome.stdout == "done\n", outcome.stderr
    first, second = samples(tmp_path / "out")
    assert len(first.main.calls_of("work")) == len(second.main.calls_of("work")) == 1
    assert first.metadata["part"]["ended_by"] == "pause"


def test_a_budget_is_kept_and_its_decisions_are_told(record: Record, write: Write) -> None:
    program = write(
        BUSY.replace("time.sleep(0.0003)", "pass")
        + """
    stats = recorder.stats()
    print(stats["overhead"]["share"], stats["sampling"]["samples"])
    """
    )
    outcome = record(program, "4", env=policy(mode="budget", budget='"5%"', seed=3))
    assert outcome.status == 0, outcome.stderr
    share, count = outcome.stdout.splitlines()[1].split()
    traces = samples(outcome.directory)
    assert len(traces) >= 2
    # The tolerance, and one burst that is not paid for yet: a window is ten seconds, this ran for four.
    assert float(share) <= 0.05 * 1.25 + 0.05 * 10 / 12 / 4 + 0.01, share
    metadata: dict[str, Any] = json.loads((outcome.directory / "trace_metadata.json").read_text())
    assert metadata["sampling"]["settings"] == {"budget": 0.05}
    assert int(count) == metadata["sampling"]["samples"] == len(metadata["sampling"]["decisions"])
    assert {trace.metadata["part"]["sample"]["depth"] for trace in traces} <= {"lines", "calls"}
    assert any(trace.main.calls_of("leaf") for trace in traces)


def test_what_is_wrong_with_a_sampling_policy_is_said(record: Record, write: Write) -> None:
    program = write("print(1)")
    for settings, message in [
        ({"mode": "windwos"}, "expected 'off', 'windows', 'entries' or 'budget'"),
        ({"evry": "1s"}, "did you mean 'sampling.every'?"),
        ({"mode": "windows", "on": "20s"}, "sampling.on"),
        ({"mode": "entries"}, "sampling.entries"),
        ({"rate": '"101%"'}, "expected a share from 0% to 100%"),
    ]:
        outcome = record(program, env=policy(**settings))
        assert outcome.status == 1 and message in outcome.stderr, (settings, outcome.stderr)


@pytest.mark.private_layout
def test_between_samples_functions_are_as_the_interpreter_had_made_them(record: Record, write: Write) -> None:
    program = write(
        """
        import time

        def move(n):
            a = n
            b = a
            c = b
            return a, b, c

        def instructions():
            return bytes(move.__code__._co_code_adaptive[2::2])

        fresh = instructions()
        end = time.monotonic() + 3
        changed = again = 0
        while time.monotonic() < end:
            assert move(3) == (3, 3, 3)
            if instructions() != fresh:
                changed += again == changed
            else:
                again += again < changed
            time.sleep(0.0003)
        print(changed > 1, changed - again <= 1)
        """
    )
    outcome = record(program, env=policy(mode="windows", on="20ms", every="500ms", jitter='"0%"'))
    assert outcome.stdout == "True True\n", (outcome.stdout, outcome.stderr)
    traces = samples(outcome.directory)
    calls = [trace for trace in traces if len(trace.main.calls_of("move")) > 2]
    assert len(calls) > 1
    for trace in calls:
        lines = [step.line for step in trace.main.steps]
        counts = [lines.count(line) for line in (5, 6, 7, 8)]
        # All but the first and the last call are whole: no line is lost with an instruction that two lines share.
        assert min(counts) > 2
        assert max(counts) - min(counts) <= 1
