"""`ctl`: asking a running recording for something, from another process."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from codetracer_python_recorder.codetracer_python_recorder import verify_trace
from support import running
from support.reading import Trace

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the control socket is for Linux")

Write = Callable[..., Path]

PROGRAM = """
import os, sys, time

def work(n):
    return n

child = len(sys.argv) > 1 and os.fork()
print(os.getpid(), flush=True)
deadline = time.monotonic() + 100
while time.monotonic() < deadline and not os.path.exists("enough"):
    work(1)
    time.sleep(0.005)
if child:
    os.waitpid(child, 0)
"""

NOBODY = 65534


class Running:
    """A recorded program that runs until it is told to end."""

    def __init__(self, script: Path, out: Path, *arguments: str, policy: str = "ring.storage=memory") -> None:
        self.out = out
        command = [sys.executable, "-m", "codetracer_python_recorder", "--out-dir", str(out), str(script), *arguments]
        env = running.environment({"CODETRACER_POLICY": policy})
        self.process = subprocess.Popen(command, env=env, cwd=script.parent, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.pids = [int(self.process.stdout.readline()) for _ in range(1 + len(arguments))]

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start(write: Write, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def run(*arguments: str, out: Path | None = None, policy: str = "ring.storage=memory") -> Running:
        started.append(Running(write(PROGRAM), out or tmp_path / "out", *arguments, policy=policy))
        return started[-1]

    yield run
    (tmp_path / "enough").touch()
    for program in started:
        program.end()


def ctl(target: object, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "codetracer_python_recorder", "ctl", str(target), *arguments]
    return subprocess.run(command, env=running.environment(), capture_output=True, text=True, timeout=120, check=False)


def result(target: object, *arguments: str) -> dict[str, Any]:
    done = ctl(target, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_running_program_says_how_it_stands_and_dumps(start: Callable[..., Running]) -> None:
    program = start()
    (pid,) = program.pids
    # What it holds is looked at every `durability.flush_interval`.
    patience = time.monotonic() + 60
    ring: dict[str, int] = {"bytes": 0}
    while not ring["bytes"]:
        assert time.monotonic() < patience, "nothing in memory"
        before = result(pid, "status")
        assert (before["pid"], before["directory"]) == (pid, str(program.out))
        ring = before["ring"]
    assert ring["bytes"] <= ring["max_bytes"]
    done = ctl(pid, "dump", "--reason", "looks odd")
    assert done.stdout == f"{program.out}/dumps/0001-looks_odd\n", done.stderr
    dump = Path(done.stdout.strip())
    assert Trace(dump).main.calls_of("work")
    assert verify_trace(str(dump)) == []
    # The directory of the recording will do as well.
    assert result(program.out, "status")["pid"] == pid
    assert program.process.poll() is None


def test_pause_resume_and_stop_work_from_outside(start: Callable[..., Running]) -> None:
    program = start(policy="output.control=always")
    (pid,) = program.pids
    assert ctl(pid, "pause").stdout == "paused\n"
    assert ctl(pid, "pause").stdout == "paused already\n"
    assert result(pid, "status")["state"] == "paused"
    assert ctl(pid, "resume").stdout == "recording\n"
    assert result(pid, "status")["state"] == "recording"
    assert ctl(pid, "dump").returncode == 1
    assert ctl(pid, "stop").stdout == "stopped\n"
    assert json.loads((program.out / "recording.json").read_text())["state"] == "complete"
    assert not (program.out / "control.sock").exists()
    assert ctl(pid, "status").returncode == 1
    assert program.process.poll() is None
    assert verify_trace(str(program.out)) == []


def test_a_paused_flight_recorder_keeps_what_it_has_and_goes_on(start: Callable[..., Running]) -> None:
    program = start()
    (pid,) = program.pids
    assert ctl(pid, "pause").returncode == 0
    paused = Path(ctl(pid, "dump").stdout.strip())
    assert ctl(pid, "resume").returncode == 0
    time.sleep(0.2)
    resumed = Path(ctl(pid, "dump").stdout.strip())
    before, after = (len(Trace(dump).main.calls_of("work")) for dump in (paused, resumed))
    assert 0 < before < after
    assert verify_trace(str(paused)) == verify_trace(str(resumed)) == []


def test_a_forked_child_is_asked_by_its_own_id(start: Callable[..., Running]) -> None:
    program = start("fork")
    answers = [result(pid, "status") for pid in program.pids]
    assert [answer["pid"] for answer in answers] == program.pids
    assert len({answer["directory"] for answer in answers}) == 2


def test_long_paths_and_leftovers_are_no_obstacle(start: Callable[..., Running], tmp_path: Path) -> None:
    out = tmp_path / ("d" * 120)
    out.mkdir(mode=0o700)
    stale = socket.socket(socket.AF_UNIX)
    directory = os.open(out, os.O_DIRECTORY)
    stale.bind(f"/proc/self/fd/{directory}/control.sock")
    os.close(directory)
    stale.close()
    program = start(out=out)
    assert result(program.pids[0], "status")["pid"] == program.pids[0]
    assert result(out, "status")["pid"] == program.pids[0]
    assert stat.S_IMODE((out / "control.sock").stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can act as another user")
def test_another_user_is_refused_even_if_the_socket_were_open_to_all(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    program = start()
    path = program.out / "control.sock"
    for directory in [program.out, *program.out.parents]:
        if directory != Path("/"):
            directory.chmod(directory.stat().st_mode | 0o055)
    path.chmod(0o666)
    ask = f"""
import os, socket
os.setgid({NOBODY}); os.setuid({NOBODY})
connection = socket.socket(socket.AF_UNIX)
connection.connect({str(path)!r})
# Refused before a word was said: whoever speaks first may find the connection closed.
print(connection.makefile().readline())
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", ask], capture_output=True, text=True, timeout=60, check=False, cwd="/"
    )
    answer = json.loads(done.stdout)
    assert answer["ok"] is False and "only the user" in answer["error"]["message"]


def test_a_client_that_hangs_and_one_that_talks_nonsense_stop_nobody(start: Callable[..., Running]) -> None:
    program = start()
    with socket.socket(socket.AF_UNIX) as hanging, socket.socket(socket.AF_UNIX) as strange:
        hanging.connect(str(program.out / "control.sock"))
        hanging.sendall(b'{"version": 1, "comm')
        strange.connect(str(program.out / "control.sock"))
        strange.sendall(b"\x00\xffGET / HTTP/1.1\r\n\n")
        with strange.makefile() as answers:
            assert json.loads(answers.readline())["ok"] is False
        assert result(program.pids[0], "status")["pid"] == program.pids[0]
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(timeout=60) == -signal.SIGTERM
    assert json.loads((program.out / "recording.json").read_text())["state"] == "complete"


def test_what_cannot_be_asked_says_why(tmp_path: Path) -> None:
    plain = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=running.environment())
    try:
        for target, reason in (
            (plain.pid, "is not recorded"),
            (2**22 + 1, "there is no process"),
            (tmp_path, "nobody listens"),
        ):
            done = ctl(target, "status")
            assert (done.returncode, done.stdout) == (1, "")
            assert reason in done.stderr
    finally:
        plain.kill()
        plain.wait()
