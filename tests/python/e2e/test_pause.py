"""Pausing a recording and going on with it: native speed meanwhile, and parts that are whole traces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.parts import part_directories
from support.reading import Trace
from support.recording import Recording
from support.running import Outcome

Write = Callable[..., Path]
Run = Callable[..., Outcome]
Record = Callable[..., Recording]


def check_parts(directory: Path, count: int) -> list[Trace]:
    """The parts, each of which is a trace that holds to the rules."""
    from codetracer_python_recorder.codetracer_python_recorder import verify_trace

    assert verify_trace(str(directory)) == []
    directories = part_directories(directory)
    assert len(directories) == count, directories
    return [Trace(part) for part in directories]


def numbers_of(trace: Trace, name: str) -> list[str]:
    return [dict(call.args)["n"][1] for call in trace.main.calls_of(name)]


def test_what_runs_while_paused_is_not_recorded_and_running_calls_are_entered_again(
    write: Write, run: Run, tmp_path: Path
) -> None:
    script = write(
        """
        import sys
        import codetracer_python_recorder as recorder

        def work(n):
            return n

        def outer(n):
            work(1)
            print("paused:", recorder.pause(), recorder.pause(), recorder.stats()["state"])
            tool = next(i for i in range(6) if sys.monitoring.get_tool(i) == "codetracer_python_recorder")
            print("events:", sys.monitoring.get_events(tool), sys.monitoring.get_local_events(tool, work.__code__),
                  sys.monitoring.get_local_events(tool, outer.__code__))
            work(2)
            print("resumed:", recorder.resume(), recorder.resume(), recorder.stats()["state"])
            work(3)
            return n

        session = recorder.start("out")
        outer(5)
        session.pause()
        work(4)
        session.resume()
        work(6)
        session.stop()
        print(session.pause(), session.resume(), session.stats(), recorder.pause())
        """
    )
    outcome = run(script)
    assert outcome.stdout == (
        "paused: True False paused\nevents: 0 0 0\nresumed: True False recording\nFalse False None False\n"
    ), outcome.stderr
    first, second, third = check_parts(tmp_path / "out", 3)
    assert numbers_of(first, "work") == ["0x1"]
    assert numbers_of(second, "work") == ["0x3"]
    assert numbers_of(third, "work") == ["0x6"]
    # In its own frame it was found running, with the argument it had.
    assert numbers_of(second, "outer") == ["0x5"]
    assert second.main.returns_of("outer") == [["Int", "0x5"]]
    assert first.metadata["part"]["ended_by"] == "pause"
    assert second.metadata["part"]["begun_by"] == "resume"
    assert [part["ended_by"] for part in first.metadata["parts"]] == ["pause", "pause", "stop"]
    # Output belongs to the part it was written in, and that of a pause to none.
    assert [output.content for output in second.main.outputs][:1] == ["resumed: True False recording\n"]
    assert not any("events:" in output.content for trace in (first, second, third) for output in trace.main.outputs)


def test_the_script_of_the_command_line_goes_on_being_recorded(record: Record, write: Write) -> None:
    program = write(
        """
        import codetracer_python_recorder as recorder

        def work(n):
            return n

        def generate():
            yield work(10)
            yield work(11)
            yield work(12)

        running = generate()
        next(running)
        recorder.pause()
        next(running)
        recorder.resume()
        next(running)
        work(13)
        """
    )
    outcome = record(program)
    assert (outcome.status, outcome.stderr) == (0, "")
    first, second = check_parts(outcome.directory, 2)
    assert numbers_of(first, "work") == ["0xa"]
    assert numbers_of(second, "work") == ["0xc", "0xd"]
    assert [call.name for call in second.main.calls][:3] == ["<toplevel>", "<__main__>", "generate"] or [
        call.name for call in second.main.calls
    ][:2] == ["<__main__>", "generate"]


def test_a_recording_that_ends_while_it_is_paused_is_complete(record: Record, write: Write) -> None:
    program = write(
        """
        import codetracer_python_recorder as recorder

        def work(n):
            recorder.pause()
            return n

        work(1)
        work(2)
        """
    )
    outcome = record(program)
    assert (outcome.status, outcome.stderr) == (0, "")
    (only,) = check_parts(outcome.directory, 1)
    assert numbers_of(only, "work") == ["0x1"]
    assert json.loads((outcome.directory / "recording.json").read_text())["state"] == "complete"
    assert only.metadata["part"]["ended_by"] == "pause"
    assert only.metadata["process_exit_status"]["code"] == 0


@pytest.mark.parametrize("policy", ["pipeline.queue_bytes=1MiB;pipeline.batch_bytes=64KiB", "pipeline.on_full=drop"])
def test_threads_are_paused_and_resumed_together_however_often(policy: str, record: Record, write: Write) -> None:
    program = write(
        """
        import threading, time
        import codetracer_python_recorder as recorder

        done = False

        def leaf(n):
            total = 0
            for i in range(20):
                total += i * n
            return total

        def deep(n):
            return leaf(n) if n == 0 else deep(n - 1) + 1

        def generate():
            while not done:
                yield deep(3)

        def busy():
            for value in generate():
                assert value == 3
                time.sleep(0.0005)

        threads = [threading.Thread(target=busy, name=f"busy{i}") for i in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(8):
            time.sleep(0.01)
            assert recorder.pause()
            before = recorder.stats()["overhead"]["callbacks"]
            time.sleep(0.01)
            assert recorder.stats()["overhead"]["callbacks"] == before
            assert recorder.resume()
        time.sleep(0.01)
        done = True
        for thread in threads:
            thread.join()
        print("done")
        """
    )
    outcome = record(program, env={"CODETRACER_POLICY": policy})
    assert (outcome.stdout, outcome.status) == ("done\n", 0), outcome.stderr
    traces = check_parts(outcome.directory, 9)
    seen = {thread.directory.name for trace in traces for thread in trace.threads}
    assert len(seen) >= 3, seen
    returned = [value for trace in traces for thread in trace.threads for value in thread.returns_of("leaf")]
    assert returned and all(value in (["Int", "0x0"], ["None"]) for value in returned), returned[:5]


def test_stats_tell_what_was_recorded_and_what_it_cost(write: Write, run: Run) -> None:
    script = write(
        """
        import json
        import codetracer_python_recorder as recorder

        def work(n):
            total = 0
            for i in range(n):
                total += i
            return total

        print(recorder.stats())
        with recorder.trace("out"):
            work(200_000)
            recorder.flush()
            print(json.dumps(recorder.stats()))
        """
    )
    outcome = run(script)
    nothing, text = outcome.stdout.splitlines()
    assert nothing == "None"
    stats = json.loads(text)
    assert stats["state"] == "recording" and stats["part"] == 0 and stats["pauses"] == 0
    assert stats["events"] >= 1_200_000 and stats["bytes_on_disk"] > 1000 and stats["bytes_encoded"] > 1_000_000
    assert stats["lost"] == {"queue_full": 0}
    assert stats["queue_capacity"] > 0 and stats["worker_lag_s"] >= 0
    overhead = stats["overhead"]
    assert 395_000 < overhead["callbacks"] < 410_000
    # No machine records a line in less than 15 ns, or takes ten microseconds on average.
    assert 15e-9 * 4e5 < overhead["callbacks_s"] < 10e-6 * 4e5
    assert overhead["workers_s"] > 0 and overhead["share"] > 0
