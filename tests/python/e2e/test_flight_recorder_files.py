"""The flight recorder in files: bounded, as good as the one in memory, and a trace after SIGKILL."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from codetracer_python_recorder.codetracer_python_recorder import recover_trace, verify_trace
from support.reading import Trace
from support.recording import Recording
from support.running import Outcome

Write = Callable[..., Path]
Run = Callable[..., Outcome]
Record = Callable[..., Recording]
SmallDisk = Callable[[str], Path | None]

FILES = "ring.storage=files"
SEES_ITSELF = """
import json, os, pathlib, signal, sys

def kept():
    return sum(path.stat().st_size for path in pathlib.Path(os.environ["OUT"]).glob("ring/*/*.blocks"))
"""


def killed(directory: Path) -> Path:
    """The dump that `recover` makes of what was left, which is nothing more afterwards."""
    done = recover_trace(str(directory))
    assert any("what it held is now" in line for line in done), done
    assert not (directory / "ring").exists()
    [dump] = (directory / "dumps").glob("*-killed")
    for trace in (directory, dump):
        assert verify_trace(str(trace)) == []
    assert recover_trace(str(directory)) == []
    return dump


def test_what_a_killed_program_did_last_is_recovered_with_the_calls_it_was_in(
    record: Record, write: Write, tmp_path: Path
) -> None:
    program = write(
        SEES_ITSELF
        + """
import hashlib, threading, time
import codetracer_python_recorder as recorder

LIMIT = 20_000

class Point:
    def __init__(self, x):
        self.x = x

def numbers():
    for number in range(3):
        got = yield number

def outer(name, *rest, point):
    secret_password = "hunter2"
    waiting = numbers()
    next(waiting)
    inner(name)

def inner(name):
    for number in range(LIMIT):
        text = hashlib.sha256(b"%d" % number).hexdigest()
    finish(text)

def finish(text):
    for n in range(3):
        recorder.flush()
    os.kill(os.getpid(), signal.SIGKILL)

thread = threading.Thread(target=time.sleep, args=(100,), daemon=True)
thread.start()
outer("né", 1, 2, point=Point(3))
"""
    )
    out = tmp_path / "out"
    policy = f"{FILES};ring.max_bytes=256KiB;ring.max_steps=0"
    recorded = record(program, out=out, env={"CODETRACER_POLICY": policy, "OUT": str(out)})
    assert recorded.status == -9, recorded.stderr
    ring = out / "ring" / "0001"
    assert {stat.S_IMODE(directory.stat().st_mode) for directory in (ring, ring.parent)} == {0o700}
    assert {stat.S_IMODE(file.stat().st_mode) for file in ring.iterdir()} == {0o600}
    assert not [file for file in ring.iterdir() if b"hunter2" in file.read_bytes()]
    dump = killed(out)
    trace = Trace(dump)
    assert trace.metadata["dump"]["reason"] == "killed"
    assert trace.metadata["program"] == str(program)
    names = [call.name for call in trace.main.calls]
    # What began long before the oldest file is there again, down to where the program was.
    assert names[:3] == ["<__main__>", "outer", "inner"]
    assert names[-1] == "finish"
    steps = [step for step in trace.main.steps if "number" in step.locals]
    shown = [int(step.locals["number"][1], 16) for step in steps]
    assert shown[-1] == 19_999 and 0 < shown[0] < 19_000
    assert shown == sorted(shown)
    [outer] = [step for step in trace.main.steps if "rest" in step.locals][:1]
    assert outer.locals["name"][1] == "né" and "hunter2" not in str(outer.locals)
    assert "point" in outer.locals and "waiting" in outer.locals


def test_files_stay_within_their_bound_while_a_program_runs_on(record: Record, write: Write, tmp_path: Path) -> None:
    program = write(
        SEES_ITSELF
        + """
import hashlib
import codetracer_python_recorder as recorder

def loop(start, count):
    for n in range(start, start + count):
        text = hashlib.sha256(b"%d" % n).hexdigest()

sizes = []
for start in range(0, 60_000, 5_000):
    loop(start, 5_000)
    recorder.flush()
    sizes.append(kept())
print(json.dumps([sizes, recorder.stats()["ring"]]))
recorder.dump("late")
"""
    )
    out = tmp_path / "out"
    policy = f"{FILES};ring.max_bytes=512KiB;ring.max_steps=5000"
    recorded = record(program, out=out, env={"CODETRACER_POLICY": policy, "OUT": str(out)})
    assert recorded.status == 0, recorded.stderr
    sizes, ring = json.loads(recorded.stdout)
    assert max(sizes) <= 512 * 1024 and min(sizes[-4:]) > 256 * 1024, sizes
    assert ring["storage"] == "files" and ring["failed_writes"] == 0
    assert ring["bytes"] <= ring["peak_bytes"] <= ring["max_bytes"] == 512 * 1024
    assert ring["evicted_bytes"] > 0 and ring["file_bytes"] > sizes[-1]
    [dump] = (out / "dumps").iterdir()
    for trace in (Trace(dump), recorded.trace):
        last = [step.locals["n"] for step in trace.main.steps if "n" in step.locals][-1]
        assert last == ["Int", hex(59_999)]
    assert not (out / "ring").exists(), "the trace has what was in the files"


def test_a_full_disk_harms_neither_the_program_nor_what_is_kept(
    small_disk: SmallDisk, record: Record, write: Write, tmp_path: Path
) -> None:
    # Where nothing may be mounted, the largest size of a file stands for the disk.
    disk = small_disk("400k")
    limit = "" if disk else "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))"
    program = write(
        f"""
        import hashlib, json, os, signal
        import codetracer_python_recorder as recorder
        {limit}

        def loop(start, count):
            for n in range(start, start + count):
                text = hashlib.sha256(b"%d" % n).hexdigest()

        for start in range(0, 20_000, 1_000):
            loop(start, 1_000)
            recorder.flush()
        print(json.dumps(recorder.stats()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    out = (disk or tmp_path) / "out"
    policy = f"{FILES};ring.max_bytes=2MiB;ring.max_steps=1000"
    recorded = record(program, out=out, env={"CODETRACER_POLICY": policy})
    assert recorded.status == -9, recorded.stderr
    stats = json.loads(recorded.stdout)
    assert stats["state"] == "recording" and stats["ring"]["failed_writes"] > 0
    assert "ERROR" not in recorded.stderr
    # What fitted is there, to be recovered where there is room.
    left = tmp_path / "left"
    shutil.copytree(out, left, ignore=lambda *_: ["control.sock"])
    steps = [step for step in Trace(killed(left)).main.steps if "n" in step.locals]
    assert len(steps) >= 900


def test_a_forked_child_keeps_files_of_its_own_and_leaves_its_parents_alone(
    record: Record, write: Write, tmp_path: Path
) -> None:
    program = write(
        """
        import os, signal
        import codetracer_python_recorder as recorder

        def work(n):
            return n

        work(1)
        recorder.flush()
        pid = os.fork()
        if pid == 0:
            work(2)
            recorder.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
        work(3)
        recorder.flush()
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    out = tmp_path / "out"
    record(program, out=out, env={"CODETRACER_POLICY": FILES})
    [child] = (out / "processes").glob("*")
    for directory, expected in ((child, [2]), (out, [1, 3])):
        calls = Trace(killed(directory)).main.calls_of("work")
        assert [dict(call.args)["n"] for call in calls] == [["Int", hex(n)] for n in expected]


def test_pausing_ends_the_calls_in_the_files_too(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """
        import os, signal
        import codetracer_python_recorder as recorder

        def work(n):
            return n

        def paused():
            recorder.pause()
            work(2)

        recorder.start("out", policy={"ring": {"storage": "files"}})
        work(1)
        paused()
        recorder.resume()
        work(3)
        recorder.flush()
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert run(script).status == -9
    calls = Trace(killed(tmp_path / "out")).main.calls_of("work")
    assert [dict(call.args)["n"] for call in calls] == [["Int", "0x1"], ["Int", "0x3"]]
