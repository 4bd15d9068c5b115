"""Signals that end a program: the recording is complete, and the program ends as it would have."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from codetracer_python_recorder.codetracer_python_recorder import verify_trace
from support.reading import Trace
from support.recording import Recording
from support.running import Outcome, environment

Record = Callable[..., Recording]
Write = Callable[..., Path]
Run = Callable[..., Outcome]

PROGRAM = """
import signal, sys, time
{setup}
def work():
    for i in range(100):
        x = i
    print("ready", flush=True)
    {wait}
work()
"""


def signalled(program: Path, out: Path, number: int, **env: str) -> int:
    """The status of a recorded program that got a signal while it was busy."""
    command = [sys.executable, "-m", "codetracer_python_recorder", "-o", str(out), str(program)]
    # Nothing is written by the clock here.
    settings = {"CODETRACER_POLICY": "durability.flush_interval=1h" + env.pop("policy", "")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(settings)) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        return process.wait(60)


@pytest.mark.parametrize("wait", ["time.sleep(60)", "while True: y = x"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_that_ends_the_program_completes_the_recording(
    name: str, wait: str, write: Write, tmp_path: Path
) -> None:
    number = getattr(signal, name)
    status = signalled(write(PROGRAM.format(setup="", wait=wait)), tmp_path / "out", number)
    assert status == -number
    trace = Trace(tmp_path / "out")
    assert len([step for step in trace.main.steps if "x" in step.locals]) >= 199
    assert trace.metadata["ended_by_signal"] == name
    assert trace.metadata["process_exit_status"] == {"code": None, "label": "<exit>"}
    assert "filters" in trace.metadata["trace_filter"]
    assert json.loads((tmp_path / "out" / "recording.json").read_text())["state"] == "complete"
    assert verify_trace(str(tmp_path / "out")) == []


def test_an_interrupt_is_pythons_own_and_completes_the_recording(write: Write, tmp_path: Path) -> None:
    program = write(PROGRAM.format(setup="", wait="time.sleep(60)"))
    status = signalled(program, tmp_path / "out", signal.SIGINT, policy=";propagate_script_exit=true")
    assert status == -signal.SIGINT
    trace = Trace(tmp_path / "out")
    assert trace.metadata["process_exit_status"] == {"code": 130, "label": None}
    assert trace.main.returns_of("work")[0][:2] == ["Other", "KeyboardInterrupt"]
    assert verify_trace(str(tmp_path / "out")) == []


def test_daemon_threads_that_run_recorded_code_at_the_end_disturb_nothing(write: Write, tmp_path: Path) -> None:
    program = write(
        """
        import threading

        def spin(ready):
            n = 0
            while True:
                n += 1
                ready.set()

        for _ in range(3):
            ready = threading.Event()
            threading.Thread(target=spin, args=(ready,), daemon=True).start()
            ready.wait()
        print("end of the program", flush=True)
        """
    )
    command = [sys.executable, "-m", "codetracer_python_recorder", "-o", str(tmp_path / "out"), str(program)]
    done = subprocess.run(command, capture_output=True, timeout=120, env=environment(), check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"end of the program\n", b"")
    trace = Trace(tmp_path / "out")
    assert [len(thread.calls_of("spin")) for thread in trace.threads] == [0, 1, 1, 1]
    assert verify_trace(str(tmp_path / "out")) == []


def test_the_programs_own_handler_is_the_only_one(write: Write, tmp_path: Path) -> None:
    setup = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))"
    program = write(PROGRAM.format(setup=setup, wait="time.sleep(60)"))
    assert signalled(program, tmp_path / "out", signal.SIGTERM) == 0
    trace = Trace(tmp_path / "out")
    assert trace.metadata["process_exit_status"] == {"code": 3, "label": None}
    assert "ended_by_signal" not in trace.metadata


def test_a_signal_that_the_program_ignores_ends_nothing(write: Write, tmp_path: Path) -> None:
    setup = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    program = write(PROGRAM.format(setup=setup, wait="time.sleep(0.3)"))
    assert signalled(program, tmp_path / "out", signal.SIGTERM) == 0
    assert verify_trace(str(tmp_path / "out")) == []


def test_the_policy_leaves_signals_alone(write: Write, tmp_path: Path) -> None:
    program = write(PROGRAM.format(setup="", wait="time.sleep(60)"))
    began = time.monotonic()
    policy = ";durability.finish_on_signals=false"
    assert signalled(program, tmp_path / "out", signal.SIGTERM, policy=policy) == -signal.SIGTERM
    assert time.monotonic() - began < 30
    assert json.loads((tmp_path / "out" / "recording.json").read_text())["state"] == "recording"


def test_the_program_sees_no_handler_and_finds_none_afterwards(write: Write, run: Run) -> None:
    program = write(
        """
        import os, signal, subprocess, sys
        import codetracer_python_recorder as recorder

        def caught():
            (line,) = [line for line in open("/proc/self/status") if line.startswith("SigCgt")]
            return int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1

        assert not caught()
        with recorder.trace("out"):
            assert caught()
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            child = os.fork()
            if not child:
                os.kill(os.getpid(), signal.SIGTERM)
                os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        assert not caught()
        print("fine")
        """
    )
    outcome = run(program, timeout=60)
    assert outcome.stdout == "fine\n", outcome.stderr
