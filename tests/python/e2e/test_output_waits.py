"""Output that waits for the rest of its line reaches the trace by itself, and what exit handlers write is recorded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.reading import Output, Trace
from support.recording import Recording
from support.running import TIMEOUT, Outcome, environment, python

Write = Callable[..., Path]
Record = Callable[..., Recording]
Run = Callable[..., Outcome]

NEVER_BY_ITSELF = {"CODETRACER_POLICY": 'durability.flush_interval="1h"'}


def outputs_on_disk(out: Path) -> list[Output]:
    """What a trace holds that is still being written; nothing as long as it does not open."""
    try:
        return Trace(out).main.outputs
    except (AssertionError, OSError, ValueError, subprocess.SubprocessError):
        return []


@pytest.mark.parametrize(
    "then", ["time.sleep(600)", "sum(range(10**14))", "os.read(0, 1)"], ids=["sleeps", "keeps the lock", "reads"]
)
def test_a_prompt_is_on_disk_although_the_program_does_nothing_that_is_recorded(
    write: Write, tmp_path: Path, then: str
) -> None:
    script = write(f'import os, sys, time\nprint("first")\nsys.stdout.write("name? "); {then}\n')
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-m", "codetracer_python_recorder", "--out-dir", str(out), str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**environment(), **NEVER_BY_ITSELF},
    ) as child:
        try:
            deadline = time.monotonic() + TIMEOUT
            while len(outputs_on_disk(out)) < 2:
                assert child.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            child.send_signal(signal.SIGKILL)
        assert child.wait(TIMEOUT) == -signal.SIGKILL
    found = [(output.content, json.loads(output.metadata)) for output in Trace(out).main.outputs]
    assert [(content, facts["line"], facts["flags"]) for content, facts in found] == [
        ("first\n", 2, ["newline"]),
        ("name? ", 3, ["time_split"]),
    ]


@pytest.mark.parametrize("way", ["recorder.flush()", "sys.stdout.flush(); recorder.flush()"], ids=["ours", "both"])
def test_a_flush_in_another_thread_has_what_waits(write: Write, run: Run, tmp_path: Path, way: str) -> None:
    script = write(
        f"""\
        import shutil, sys, threading
        import codetracer_python_recorder as recorder
        written, seen = threading.Event(), threading.Event()
        def work():
            sys.stdout.write("open"); written.set(); seen.wait(); sys.stdout.write(" and shut\\n")
        recorder.start("out")
        thread = threading.Thread(target=work)
        thread.start()
        written.wait()
        {way}
        shutil.copytree("out", "copy")
        seen.set()
        thread.join()
        recorder.stop()
        """
    )
    outcome = run(script, env=NEVER_BY_ITSELF)
    assert (outcome.stdout, outcome.stderr, outcome.status) == ("open and shut\n", "", 0)
    for name, expected in (("copy", "open"), ("out", "open and shut\n")):
        outputs = [output for thread in Trace(tmp_path / name).threads[1:] for output in thread.outputs]
        assert "".join(output.content for output in outputs) == expected
        assert {json.loads(output.metadata)["line"] for output in outputs} == {5}


def test_what_comes_at_once_stays_one_chunk_however_often_the_recorder_looks(write: Write, record: Record) -> None:
    script = write(
        """\
        import sys, time
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            print("a", 1, "b", 2, sep="-")
        sys.stdout.write("x"); time.sleep(0.1); sys.stdout.write("y"); sys.stdout.flush()
        """
    )
    outputs = record(script).trace.main.outputs
    lines = [output for output in outputs if json.loads(output.metadata)["line"] == 4]
    whole = [output for output in lines if output.content == "a-1-b-2\n"]
    # On a busy machine a print may take longer than that.
    assert len(whole) > 0.9 * len(lines) > 100
    assert "".join(output.content for output in lines) == "a-1-b-2\n" * (sum(o.content.endswith("\n") for o in lines))
    assert [(output.content, json.loads(output.metadata)["flags"]) for output in outputs[-2:]] == [
        ("x", ["time_split"]),
        ("y", ["flush"]),
    ]


@pytest.mark.parametrize("io", ["proxies", "proxies+fd"])
def test_what_exit_handlers_write_is_recorded(write: Write, record: Record, io: str) -> None:
    script = write(
        """\
        import atexit, os, sys, weakref
        def last():
            print("printed at exit")
            print("and to stderr", file=sys.stderr)
        class Thing:
            pass
        thing = Thing()
        weakref.finalize(thing, print, "finalized")
        atexit.register(last)
        atexit.register(print, "first handler")
        print("main")
        sys.exit(3)
        """
    )
    plain = python([script])
    recorded = record(script, options=["--io-capture", io, "--propagate-script-exit"])
    assert (recorded.stdout, recorded.stderr, recorded.status) == (plain.stdout, plain.stderr, 3)
    trace = recorded.trace
    assert "".join(output.content for output in trace.main.outputs if output.kind == 0) == plain.stdout
    assert "".join(output.content for output in trace.main.outputs if output.kind == 2) == plain.stderr
    assert trace.metadata["process_exit_status"]["code"] == 3


def test_handlers_that_the_program_clears_or_that_fail_leave_a_whole_recording(write: Write, record: Record) -> None:
    for body in ("atexit._clear()", "atexit.register(lambda: 1 / 0)", "atexit.register(sys.stdout.close)"):
        script = write(f"import atexit, sys\natexit.register(print, 'handler')\n{body}\nprint('main')\n")
        plain = python([script])
        recorded = record(script)
        assert (recorded.stdout, recorded.status) == (plain.stdout, 0), body
        text = "".join(output.content for output in recorded.trace.main.outputs if output.kind == 0)
        assert text == plain.stdout, body
        assert recorded.trace.metadata["process_exit_status"]["code"] == 0


@pytest.mark.skipif(os.name == "nt", reason="the directory is made unwritable")
def test_a_recording_that_cannot_be_finished_at_exit_says_so(write: Write, run: Run, tmp_path: Path) -> None:
    script = write("import atexit\natexit.register(print, 'handler')\nprint('main')\n")
    env = {"CODETRACER_TEST_INJECT_FAILURE": "suppress-events"}
    command = ["-m", "codetracer_python_recorder", "--require-trace", "--io-capture", "off", "--out-dir", "out"]
    outcome = python([*command, script], cwd=tmp_path, env=env)
    assert outcome.stdout == "main\nhandler\n"
    assert "recorder policy requires a trace but no events were recorded" in outcome.stderr
    assert outcome.status == 1
