"""The flight recorder: the latest events in memory, dumped on demand and by triggers."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from codetracer_python_recorder.codetracer_python_recorder import verify_trace
from support import running
from support.reading import Trace
from support.running import Outcome

Write = Callable[..., Path]
Run = Callable[..., Outcome]

FLIGHT = 'policy={"ring": {"storage": "memory"}}'


def dumps(out: Path) -> list[Path]:
    """The dumps that are complete, in order."""
    found = sorted((out / "dumps").glob("*")) if (out / "dumps").exists() else []
    return [dump for dump in found if state(dump) == "complete"]


def state(directory: Path) -> object:
    path = directory / "recording.json"
    return json.loads(path.read_text())["state"] if path.exists() else None


def eventually(what: Callable[[], object]) -> None:
    patience = time.monotonic() + 60
    while not what():
        assert time.monotonic() < patience, "never"
        time.sleep(0.02)


def test_dump_writes_the_latest_events_as_a_trace_and_recording_goes_on(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        f"""
        import codetracer_python_recorder as recorder

        def early(n):
            return n

        def late(n):
            return n + 1

        with recorder.trace("out", {FLIGHT}):
            early(1)
            first = recorder.dump("first look")
            late(2)
            second = recorder.dump()
        print(first)
        print(second)
        """
    )
    outcome = run(script)
    assert outcome.status == 0, outcome.stderr
    out = tmp_path / "out"
    assert outcome.stdout == f"{out}/dumps/0001-first_look\n{out}/dumps/0002-asked\n"
    first, second = (Trace(dump) for dump in dumps(out))
    assert [dict(call.args)["n"] for call in first.main.calls_of("early")] == [["Int", "0x1"]]
    assert not first.main.calls_of("late")
    assert [dict(call.args)["n"] for call in second.main.calls_of("late")] == [["Int", "0x2"]]
    assert first.metadata["dump"]["reason"] == "first look"
    assert second.metadata["program"] == str(script)
    # At the end what is kept becomes the trace of the recording itself.
    assert Trace(out).main.calls_of("early") and Trace(out).main.calls_of("late")
    for directory in (out, *dumps(out)):
        assert verify_trace(str(directory)) == []
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir() if file.is_file()} == {0o600}


def test_dumping_without_a_flight_recorder_says_what_to_do(write: Write, run: Run) -> None:
    script = write(
        """
        import codetracer_python_recorder as recorder

        for start in (False, True):
            if start:
                recorder.start("out")
            try:
                recorder.dump()
            except recorder.UsageError as error:
                print(error.code, error)
        """
    )
    outcome = run(script)
    assert outcome.status == 0, outcome.stderr
    missing, no_ring = outcome.stdout.splitlines()
    assert missing.startswith("ERR_TRACE_MISSING") and "no recording is running" in missing
    assert no_ring.startswith("ERR_INVALID_POLICY_VALUE") and 'ring.storage = "memory"' in no_ring


def test_memory_is_capped_over_a_long_loop_and_what_is_left_are_the_last_steps(
    write: Write, run: Run, tmp_path: Path
) -> None:
    script = write(
        """
        import codetracer_python_recorder as recorder
        import hashlib

        def memory():
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

        def loop(start, count):
            for n in range(start, start + count):
                text = hashlib.sha256(b"%d" % n).hexdigest()
            return text

        ring = {"storage": "memory", "max_bytes": "1MiB", "max_steps": 5000}
        recorder.start("out", policy={"ring": ring, "pipeline": {"queue_bytes": "2MiB"}})
        loop(0, 30_000)
        before = memory()
        loop(30_000, 150_000)
        print(memory() - before)
        recorder.dump("late")
        """
    )
    outcome = run(script)
    assert outcome.status == 0, outcome.stderr
    # 150,000 texts of 64 characters that do not repeat are 5 MB at least, compressed.
    assert int(outcome.stdout) < 4000
    (dump,) = dumps(tmp_path / "out")
    trace = Trace(dump)
    counts = trace.metadata["streams"][0]["counts"]
    assert 1 <= counts["steps"] <= 5100
    last = [step.locals["n"] for step in trace.main.steps if "n" in step.locals][-1]
    assert last == ["Int", hex(179_999)]


UNCAUGHT = """
import threading

def fails(n):
    raise ValueError(n)

def quiet():
    raise SystemExit

def caught():
    try:
        fails(1)
    except ValueError:
        pass

caught()
thread = threading.Thread(target=quiet)
thread.start()
thread.join()
thread = threading.Thread(target=fails, args=(2,))
thread.start()
thread.join()
fails(3)
"""


@pytest.mark.parametrize("access", ["auto", "public"])
def test_an_exception_that_nobody_catches_is_dumped_in_threads_and_the_program(
    access: str, record: Callable[..., object], write: Write, tmp_path: Path
) -> None:
    policy = "ring.storage=memory;triggers.uncaught_exception=true;triggers.min_interval=0s"
    out = tmp_path / "out"
    record(write(UNCAUGHT), out=out, env={"CODETRACER_POLICY": policy, "CODETRACER_FRAME_ACCESS": access})
    of_thread, of_program = dumps(out)
    assert [of_thread.name, of_program.name] == ["0001-uncaught-ValueError", "0002-uncaught-ValueError"]
    (call,) = Trace(of_thread).threads[-1].calls_of("fails")
    assert dict(call.args)["n"] == ["Int", "0x2"]
    calls = Trace(of_program).main.calls_of("fails")
    assert [dict(call.args)["n"] for call in calls] == [["Int", "0x1"], ["Int", "0x3"]]
    assert Trace(of_program).metadata["dump"]["trigger"] == "uncaught"


def test_chosen_exceptions_are_dumped_when_they_leave_a_call_derived_ones_too(
    record: Callable[..., object], write: Write, tmp_path: Path
) -> None:
    program = write(
        """
        class Trouble(Exception):
            pass

        class Deep(Trouble):
            pass

        def raises(error):
            raise error

        def through(error):
            raises(error)

        for error in (KeyError(1), Deep(2), Trouble(3), IsADirectoryError(4)):
            try:
                through(error)
            except Exception:
                pass
        """
    )
    policy = 'ring.storage=memory;triggers.min_interval=0s;triggers.exceptions="__main__.Trouble, OSError"'
    out = tmp_path / "out"
    record(program, out=out, env={"CODETRACER_POLICY": policy})
    names = [dump.name.partition("-")[2] for dump in dumps(out)]
    assert names == ["exception-__main__.Deep", "exception-__main__.Trouble", "exception-IsADirectoryError"]


SIGNALLED = """
import time
import codetracer_python_recorder as recorder

def work(n):
    return n

# The signal may come with the next instruction.
work(0)
print("ready", flush=True)
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    work(1)
    time.sleep(0.01)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the signal is watched on Linux")
def test_a_signal_dumps_a_running_program_without_disturbing_it(write: Write, tmp_path: Path) -> None:
    script = write(SIGNALLED)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "codetracer_python_recorder", "--out-dir", str(out), str(script)]
    policy = "ring.storage=memory;triggers.signal=SIGUSR2;triggers.min_interval=0s"
    with subprocess.Popen(command, env=environment(policy), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            for number in (1, 2):
                process.send_signal(signal.SIGUSR2)
                eventually(lambda number=number: len(dumps(out)) == number)
            assert process.poll() is None
        finally:
            process.terminate()
        process.wait(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert [dump.name for dump in dumps(out)] == ["0001-signal-SIGUSR2", "0002-signal-SIGUSR2"]
    assert Trace(dumps(out)[0]).main.calls_of("work")
    assert verify_trace(str(dumps(out)[1])) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the signal is watched on Linux")
def test_a_program_that_handles_the_signal_keeps_its_handler(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """
        import os, signal
        import codetracer_python_recorder as recorder

        signal.signal(signal.SIGUSR2, lambda *_: print("mine"))
        policy = {"ring": {"storage": "memory"}, "triggers": {"signal": "SIGUSR2"}}
        with recorder.trace("out", policy=policy):
            os.kill(os.getpid(), signal.SIGUSR2)
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
        with recorder.trace("out", policy=policy):
            assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
            signal.signal(signal.SIGUSR2, lambda *_: print("mine, later"))
            os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR2)
        """
    )
    outcome = run(script)
    assert (outcome.status, outcome.stdout) == (0, "mine\nmine, later\nmine, later\n"), outcome.stderr
    assert dumps(tmp_path / "out") == []


def test_slow_requests_and_server_errors_are_dumped_with_what_they_did(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """
        import time
        from wsgiref.util import setup_testing_defaults
        import codetracer_python_recorder as recorder
        from codetracer_python_recorder.middleware import CodeTracerWSGIMiddleware

        def handle(path):
            if path == "/slow":
                time.sleep(0.3)
            if path == "/raises":
                raise RuntimeError
            return "500 Oops" if path == "/broken" else "200 OK"

        def app(environ, start_response):
            start_response(handle(environ["PATH_INFO"]), [])
            return [b""]

        triggers = {"slow_request": "200ms", "server_errors": True, "min_interval": "0s"}
        recorder.start("out", policy={"ring": {"storage": "memory"}, "triggers": triggers})
        served = CodeTracerWSGIMiddleware(app)
        for path in ("/fast", "/slow", "/broken", "/raises", "/fast"):
            environ = {"PATH_INFO": path}
            setup_testing_defaults(environ)
            try:
                served(environ, lambda status, headers: None)
            except RuntimeError:
                pass
        recorder.stop()
        """
    )
    outcome = run(script)
    assert outcome.status == 0, outcome.stderr
    slow, broken, raises = dumps(tmp_path / "out")
    assert [slow.name, broken.name] == ["0001-slow-GET__slow", "0002-status-500"]
    details = Trace(slow).metadata["dump"]
    assert (details["request"], details["status"]) == ("GET /slow", 200)
    assert details["duration_ms"] >= 300
    paths = [dict(call.args)["path"] for call in Trace(slow).main.calls_of("handle")]
    # The thread goes on while the dump is being taken.
    assert [path[1] for path in paths][:2] == ["/fast", "/slow"]
    assert Trace(raises).metadata["dump"]["request"] == "GET /raises"


def test_an_exception_that_ends_a_task_is_dumped_where_it_is_named(
    record: Callable[..., object], write: Write, tmp_path: Path
) -> None:
    program = write(
        """
        import asyncio

        class Oops(Exception):
            pass

        async def fails():
            await asyncio.sleep(0)
            raise Oops

        async def main():
            task = asyncio.create_task(fails())
            await asyncio.wait([task])

        asyncio.run(main())
        """
    )
    for number, trigger in enumerate(["triggers.uncaught_exception=true", "triggers.exceptions=__main__.Oops"]):
        policy = f"ring.storage=memory;{trigger}"
        record(program, out=tmp_path / f"out-{number}", env={"CODETRACER_POLICY": policy})
    assert not dumps(tmp_path / "out-0"), "the task keeps it"
    [named] = dumps(tmp_path / "out-1")
    assert named.name == "0001-exception-__main__.Oops"
    assert "fails" in {call.name for call in Trace(named).main.calls}


def test_what_triggers_too_often_is_dumped_no_more_often_than_it_may(
    record: Callable[..., object], write: Write, tmp_path: Path
) -> None:
    program = write(
        """
        def fails():
            raise ValueError

        for _ in range(100):
            try:
                fails()
            except ValueError:
                pass
        """
    )
    for policy, expected in (("triggers.min_interval=1h", 1), ("triggers.min_interval=0s;triggers.max_dumps=3", 3)):
        out = tmp_path / f"out-{expected}"
        policy = f"ring.storage=memory;triggers.exceptions=ValueError;{policy}"
        record(program, out=out, env={"CODETRACER_POLICY": policy})
        # Dumps that find others under way are given up: what counts is that there are no more.
        assert 1 <= len(dumps(out)) <= expected


def test_triggers_without_a_flight_recorder_and_limits_with_one_are_refused(
    write: Write, run: Run, tmp_path: Path
) -> None:
    script = write("import codetracer_python_recorder as recorder\n")
    for policy, message in (
        ("triggers.server_errors=true", "(true) needs 'memory' or 'files' as ring.storage (off)"),
        ("ring.storage=memory;limits.max_steps=5", "needs 'off' as ring.storage (memory)"),
        ("ring.storage=memory;sampling.mode=windows", "sampling.mode (windows) chooses what is kept, as the flight"),
    ):
        outcome = run(script, env={"CODETRACER_POLICY": policy})
        assert outcome.status != 0
        assert message in outcome.stderr


def test_a_forked_child_has_a_flight_recorder_of_its_own(
    record: Callable[..., object], write: Write, tmp_path: Path
) -> None:
    program = write(
        textwrap.dedent(
            """
            import os
            import codetracer_python_recorder as recorder

            def work(n):
                return n

            work(1)
            pid = os.fork()
            if pid == 0:
                work(2)
                recorder.dump("child")
                os._exit(0)
            os.waitpid(pid, 0)
            recorder.dump("parent")
            """
        )
    )
    out = tmp_path / "out"
    record(program, out=out, env={"CODETRACER_POLICY": "ring.storage=memory"})
    (child,) = (out / "processes").glob("*")
    (dump,) = dumps(child)
    assert [dict(call.args)["n"] for call in Trace(dump).main.calls_of("work")] == [["Int", "0x2"]]
    (dump,) = dumps(out)
    assert [dict(call.args)["n"] for call in Trace(dump).main.calls_of("work")] == [["Int", "0x1"]]


def environment(policy: str) -> dict[str, str]:
    return running.environment({"CODETRACER_POLICY": policy})
