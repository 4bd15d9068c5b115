"""`--io-capture proxies+fd`: what bypasses Python's streams is recorded too, and every byte still arrives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from support.outputs import facts, is_mirrored, text_of
from support.reading import Trace
from support.recording import Recording
from support.running import TIMEOUT, environment, python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the mirror exists on Linux")

Write = Callable[..., Path]
Record = Callable[..., Recording]

LOG_EVENT = 12

OPTIONS = ["--io-capture", "proxies+fd", "--propagate-script-exit"]


def command(out: Path) -> list[str]:
    return [sys.executable, "-m", "codetracer_python_recorder", "--out-dir", str(out), *OPTIONS]


def same_as_plain(record: Record, script: Path) -> Trace:
    """Runs a script plainly and recorded with the mirror: same bytes, same status, and the trace holds them."""
    plain = python([script])
    recorded = record(script, options=OPTIONS)
    assert (recorded.stdout, recorded.stderr, recorded.status) == (plain.stdout, plain.stderr, plain.status)
    for kind, expected in ((0, plain.stdout), (2, plain.stderr)):
        assert text_of([recorded.trace.main], kind) == expected
    return recorded.trace


def mirrored(trace: Trace, kind: int = 0) -> str:
    return text_of([trace.main], kind, mirror=True)


def direct(trace: Trace, kind: int = 0) -> str:
    return text_of([trace.main], kind, mirror=False)


def test_descriptors_c_code_and_children_are_recorded_once_and_in_order(write: Write, record: Record) -> None:
    script = write(
        """\
        import ctypes, os, subprocess, sys
        print("python 1", flush=True)
        os.write(1, b"descriptor 1\\n")
        print("python 2")
        sys.stdout.flush()
        subprocess.run([sys.executable, "-c", "print('child 1')"], check=True)
        print("python 3", flush=True)
        libc = ctypes.CDLL(None)
        libc.puts(b"c code")
        libc.fflush(None)
        os.system("echo shell; echo error >&2")
        print("python 4")
        print("python error", file=sys.stderr)
        os.write(2, b"caf\\xc3\\xa9\\n")
        """
    )
    trace = same_as_plain(record, script)
    assert mirrored(trace) == "child 1\nc code\nshell\n"
    assert direct(trace) == "python 1\ndescriptor 1\npython 2\npython 3\npython 4\n"
    assert (mirrored(trace, 2), direct(trace, 2)) == ("error\n", "python error\ncafé\n")


def test_os_write_belongs_to_its_line_and_the_rest_to_the_latest_step(write: Write, record: Record) -> None:
    script = write(
        """\
        import os
        def work(data):
            return os.write(
                1, data)
        work(b"bytes\\n"); work(bytearray(b"array\\n")); work(memoryview(b"view\\n"))
        os.write(2, b"one"); os.write(2, b" two\\n")
        os.system("echo shell")
        last = 8
        last = 9
        """
    )
    trace = same_as_plain(record, script)
    found = [(known["line"], o.content) for o in trace.main.outputs if not is_mirrored(o) and (known := facts(o))]
    assert found == [(3, "bytes\n"), (3, "array\n"), (3, "view\n"), (6, "one two\n")]
    assert all("approximate" not in facts(o) for o in trace.main.outputs if not is_mirrored(o))
    (child,) = [facts(output) for output in trace.main.outputs if is_mirrored(output)]
    # Where the thread was when it was told: not before the line, and perhaps when all was over.
    assert child["line"] in (7, 8, 9, 0)
    assert child.get("approximate", False) is (child["line"] != 0)
    assert child["path_id"] is None if child["line"] == 0 else trace.main.paths[child["path_id"]] == str(script)


def test_os_write_stays_what_it_is(write: Write, record: Record) -> None:
    script = write(
        """\
        import os, sys
        class Bytes(bytes):
            pass
        class Buffer:
            def __buffer__(self, flags):
                print("asked", file=sys.stderr)
                return memoryview(b"buffer\\n")
        print(os.write, os.write.__name__, os.write.__text_signature__, type(os.write), flush=True)
        for arguments in ((), (1,), (1, "text"), ("1", b""), (1, b"", 3), (99, b"x"), (1, b""), (True, b"bool\\n"),
                          (1, Bytes(b"sub\\n")), (1, Buffer()), (-1, b"x"), (2**70, b"x")):
            try:
                print(os.write(*arguments), file=sys.stderr)
            except Exception as error:
                print(type(error).__name__, error, file=sys.stderr)
        os.set_blocking(1, False)
        try:
            while True:
                os.write(1, bytes(1 << 16))
        except BlockingIOError as error:
            print(error, file=sys.stderr)
        """
    )
    plain, recorded = python([script]), record(script, options=OPTIONS)
    assert plain.stdout.partition("\0")[0] == recorded.stdout.partition("\0")[0]
    assert (recorded.stderr, recorded.status) == (plain.stderr, plain.status)


def test_one_file_for_both_descriptors_keeps_the_order(write: Write, tmp_path: Path) -> None:
    script = write(
        """\
        import ctypes, os, sys
        libc = ctypes.CDLL(None)
        for number in range(200):
            print("out", number, flush=True)
            os.write(1, b"raw out\\n")
            libc.write(1, b"c out\\n", 6)
            print("error", number, file=sys.stderr)
            libc.write(2, b"c error\\n", 8)
            os.write(2, b"raw error\\n")
        """
    )
    runs = [
        subprocess.run(
            [*start, str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            timeout=TIMEOUT,
            check=True,
        )
        for start in ([sys.executable], command(tmp_path / "out"))
    ]
    assert runs[0].stdout == runs[1].stdout


def test_100_megabytes_arrive_byte_for_byte(write: Write, tmp_path: Path) -> None:
    script = write(
        """\
        import os, subprocess, sys
        block = bytes(range(256)) * 4096
        for number in range(25):
            sys.stdout.buffer.write(block)
            sys.stdout.flush()
            left = memoryview(block)
            while left:
                left = left[os.write(1, left):]
            sys.stdout.buffer.write(b"%d" % number)
        sys.stdout.flush()
        subprocess.run(["head", "-c", "50000000", "/dev/zero"], check=True)
        """
    )
    digests = []
    for start in ([sys.executable], command(tmp_path / "out")):
        with subprocess.Popen([*start, str(script)], stdout=subprocess.PIPE, env=environment()) as child:
            assert child.stdout is not None
            digest, size = sha256(), 0
            while data := child.stdout.read(1 << 20):
                digest.update(data)
                size += len(data)
            assert child.wait(TIMEOUT) == 0
        digests.append((size, digest.hexdigest()))
    assert digests[0] == digests[1]
    assert digests[0][0] > 100_000_000


def test_what_is_too_much_is_marked_where_it_is_missing_and_counted(write: Write, tmp_path: Path) -> None:
    script = write(
        """\
        import subprocess
        print("before", flush=True)
        subprocess.run(["head", "-c", "30000000", "/dev/zero"], check=True)
        print("after", flush=True)
        """
    )
    out = tmp_path / "out"
    done = subprocess.run(
        [*command(out), str(script)], stdout=subprocess.PIPE, env=environment(), timeout=TIMEOUT, check=True
    )
    assert done.stdout == b"before\n" + bytes(30_000_000) + b"after\n"
    trace = Trace(out)
    marks = [json.loads(output.metadata) for output in trace.main.outputs if output.kind == LOG_EVENT]
    assert {(mark["kind"], mark["cause"], mark["stream"]) for mark in marks} == {("lost", "mirror_full", "stdout")}
    missing = sum(mark["bytes"] for mark in marks)
    assert missing >= 10_000_000
    assert len(mirrored(trace)) + missing == 30_000_000
    assert trace.metadata["trace_filter"]["stats"]["io"]["stdout"]["cut"] == missing


def test_a_reader_that_holds_back_holds_the_program_back_and_loses_nothing(write: Write, tmp_path: Path) -> None:
    script = write(
        """\
        import ctypes, os, sys
        libc = ctypes.CDLL(None)
        for number in range(2000):
            os.write(1, b"%d " % number * 25)
            libc.write(1, b"%4d " % number * 25, 125)
            print(number, "x" * 300, flush=True)
        """
    )
    plain = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, env=environment(), check=True)
    with subprocess.Popen(
        [*command(tmp_path / "out"), script], stdout=subprocess.PIPE, env=environment(), bufsize=0
    ) as child:
        assert child.stdout is not None
        content = child.stdout.read(1000)
        # Pipes and the relay hold less than the program writes.
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(1)
        while data := child.stdout.read(1 << 16):
            content += data
        assert child.wait(TIMEOUT) == 0
    assert content == plain.stdout


@pytest.mark.parametrize(
    "writing",
    ["print('x' * 1000, flush=True)", "os.write(1, b'x' * 1000)", "ctypes.CDLL(None).write(1, b'x' * 1000, 1000)"],
    ids=["print", "descriptor", "c code"],
)
def test_a_closed_reader_is_noticed_as_ever(write: Write, tmp_path: Path, writing: str) -> None:
    script = write(
        f"""\
        import ctypes, os, signal, sys
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        while True:
            {writing}
        """
    )
    with subprocess.Popen(
        [*command(tmp_path / "out"), str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as child:
        assert child.stdout is not None
        assert child.stdout.read(10) == b"x" * 10
        child.stdout.close()
        assert child.wait(TIMEOUT) == -signal.SIGPIPE


@pytest.mark.parametrize("end", ["os._exit(3)", "os.abort()", "os.kill(os.getpid(), 9)"])
def test_nothing_is_lost_when_the_program_ends_at_once(write: Write, tmp_path: Path, end: str) -> None:
    script = write(
        f"""\
        import ctypes, os, sys
        print("printed", flush=True)
        ctypes.CDLL(None).write(1, b"x" * 50_000, 50_000)
        os.system("echo from a child; (sleep 0.3; echo later) &")
        {end}
        """
    )
    plain = subprocess.run([sys.executable, script], capture_output=True, env=environment(), check=False)
    recorded = subprocess.run(
        [*command(tmp_path / "out"), script], capture_output=True, env=environment(), timeout=TIMEOUT, check=False
    )
    assert (recorded.stdout, recorded.returncode) == (plain.stdout, plain.returncode)
    assert recorded.stdout.endswith(b"later\n")


def test_a_program_that_moves_the_descriptors_itself(write: Write, record: Record, tmp_path: Path) -> None:
    script = write(
        f"""\
        import os, sys
        print("before", flush=True)
        saved = os.dup(1)
        file = os.open({str(tmp_path / "elsewhere")!r}, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        print("elsewhere", flush=True)
        os.write(1, b"elsewhere by descriptor\\n")
        os.dup2(saved, 1)
        print("back", flush=True)
        os.write(1, b"back by descriptor\\n")
        os.close(1)
        os.write(saved, b"closed\\n")
        try:
            print("nowhere", flush=True)
        except OSError as error:
            print(error, file=sys.stderr)
        os.dup2(saved, 1)
        """
    )
    plain, recorded = python([script]), record(script, options=OPTIONS)
    assert (recorded.stdout, recorded.stderr, recorded.status) == (plain.stdout, plain.stderr, plain.status)
    expected = "elsewhere\nelsewhere by descriptor\n"
    assert (tmp_path / "elsewhere").read_text() == expected
    assert "back by descriptor\n" in direct(recorded.trace)
    assert mirrored(recorded.trace) == "closed\n"


def test_forked_children_and_those_who_wait_for_them_see_nothing_new(write: Write, record: Record) -> None:
    script = write(
        """\
        import os, signal, sys, warnings
        warnings.simplefilter("ignore")
        signal.signal(signal.SIGCHLD, lambda *_: print("a child ended", file=sys.stderr))
        try:
            os.wait()
        except ChildProcessError as error:
            print(error, flush=True)
        child = os.fork()
        if child == 0:
            print("in the child")
            sys.stdout.flush()
            os._exit(7)
        print(os.waitpid(child, 0)[1] >> 8, os.isatty(1), sys.stdout.fileno(), sys.stdout.seekable())
        """
    )
    plain, recorded = python([script]), record(script, options=OPTIONS)
    assert (recorded.stdout, recorded.stderr, recorded.status) == (plain.stdout, plain.stderr, plain.status)
    assert mirrored(recorded.trace) == "in the child\n"


def test_files_and_terminals_keep_their_descriptors(write: Write, tmp_path: Path) -> None:
    script = write(
        """\
        import os, sys
        print("text", sys.stdout.seekable())
        sys.stdout.flush()
        print(sys.stdout.tell(), os.fstat(1).st_size)
        """
    )
    results = []
    for start in ([sys.executable], command(tmp_path / "out")):
        path = tmp_path / "stdout"
        with path.open("wb") as stdout:
            subprocess.run([*start, str(script)], stdout=stdout, env=environment(), timeout=TIMEOUT, check=True)
        results.append(path.read_text())
    assert results[0] == results[1] == "text True\n10 10\n"


def test_sessions_give_the_descriptors_back(write: Write, tmp_path: Path) -> None:
    script = write(
        """\
        import os, sys
        import codetracer_python_recorder as recorder
        before = os.fstat(1), sorted(os.listdir("/proc/self/fd"))
        for number in range(3):
            recorder.start(f"out-{number}", policy={"io_capture_fd_fallback": True})
            inside = os.fstat(1)
            os.system("echo inside %d" % number)
            recorder.stop()
            assert inside.st_ino != before[0].st_ino
        os.write(1, b"after\\n")
        import time
        for _ in range(100):
            after = os.fstat(1), sorted(os.listdir("/proc/self/fd"))
            if after[1] == before[1]:
                break
            time.sleep(0.05)
        print(before[0].st_ino == after[0].st_ino, before[1] == after[1])
        """
    )
    outcome = python([script], cwd=tmp_path)
    assert outcome.stdout == "inside 0\ninside 1\ninside 2\nafter\nTrue True\n", outcome.stderr
    assert [mirrored(Trace(tmp_path / f"out-{number}")) for number in range(3)] == [
        f"inside {number}\n" for number in range(3)
    ]
    assert not [name for name in os.listdir(tmp_path) if name.startswith("core")]
