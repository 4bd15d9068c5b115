"""`--io-capture proxies+fd` into a file: nothing changes for the program, and what the file gets is recorded."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.outputs import text_of
from support.reading import Trace
from support.running import TIMEOUT, environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the mirror exists on Linux")

Write = Callable[..., Path]

PRESENT = b"what was there before\n"


@dataclass(frozen=True)
class Run:
    """A run whose output went to a file."""

    content: bytes
    stderr: str
    status: int


def run(command: Sequence[str | Path], stdout: Path, append: bool, both: bool = False) -> Run:
    stdout.write_bytes(PRESENT if append else b"")
    with stdout.open("ab" if append else "wb") as file:
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            stdout=file,
            stderr=subprocess.STDOUT if both else subprocess.PIPE,
            env=environment(),
            timeout=TIMEOUT,
            check=False,
        )
    return Run(stdout.read_bytes(), (done.stderr or b"").decode(), done.returncode)


def same_as_plain(script: Path, tmp_path: Path, append: bool, both: bool = False) -> tuple[Trace, str]:
    """Runs a script plainly and recorded into a file: same bytes. Its trace, and the new text in the file."""
    recorder = ["-m", "codetracer_python_recorder", "--out-dir", tmp_path / "out", "--io-capture", "proxies+fd"]
    plain = run([script], tmp_path / "plain", append, both)
    recorded = run([*recorder, "--propagate-script-exit", script], tmp_path / "recorded", append, both)
    assert recorded == plain
    return Trace(tmp_path / "out"), recorded.content.removeprefix(PRESENT if append else b"").decode("utf-8", "replace")


def shown(trace: Trace, kind: int = 0, mirror: bool | None = None) -> str:
    return text_of([trace.main], kind, mirror)


@pytest.mark.parametrize("append", [False, True], ids=["new", "append"])
def test_what_bypasses_the_streams_is_read_from_the_file(write: Write, tmp_path: Path, append: bool) -> None:
    script = write(
        """\
        import ctypes, os, subprocess, sys
        print("python 1", flush=True)
        os.write(1, b"descriptor\\n")
        print("python 2", sys.stdout.seekable(), os.isatty(1), os.fstat(1).st_nlink)
        sys.stdout.flush()
        subprocess.run([sys.executable, "-c", "print('child', end='\\u00e9\\\\n')"], check=True)
        print("python 3", flush=True)
        libc = ctypes.CDLL(None)
        libc.puts(b"c code")
        libc.fflush(None)
        sys.stdout.buffer.write(b"bytes of python\\n")
        sys.stdout.flush()
        os.system("echo shell; exit 0")
        print("at last", os.lseek(1, 0, os.SEEK_CUR))
        """
    )
    trace, text = same_as_plain(script, tmp_path, append)
    assert shown(trace, mirror=True) == "childé\nc code\nshell\n"
    assert shown(trace) == text
    assert "python 1\ndescriptor\npython 2 True False 1\npython 3\nbytes of python\nat last" in shown(
        trace, mirror=False
    )


@pytest.mark.parametrize("append", [False, True], ids=["new", "append"])
def test_both_streams_in_one_file_under_load_from_several_sides(write: Write, tmp_path: Path, append: bool) -> None:
    script = write(
        """\
        import subprocess, sys, threading
        code = "import os\\nfor number in range(20_000): os.write(1, b'%d\\\\n' % number)"
        child = subprocess.Popen([sys.executable, "-c", code])
        def work(name, stream):
            for number in range(400):
                stream.write(f"{name} {number}\\n")
                stream.flush()
        threads = [threading.Thread(target=work, args=pair) for pair in (("a", sys.stdout), ("b", sys.stderr))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        child.wait()
        """
    )
    recorder = ["-m", "codetracer_python_recorder", "--out-dir", tmp_path / "out", "--io-capture", "proxies+fd"]
    recorded = run([*recorder, script], tmp_path / "recorded", append, both=True)
    lines = recorded.content.removeprefix(PRESENT if append else b"").decode().split("\n")
    trace = Trace(tmp_path / "out")
    mirrored = shown(trace, 0, mirror=True)
    assert mirrored == "".join(f"{number}\n" for number in range(20_000))
    assert len(lines) == 20_801
    for thread in trace.threads[1:]:
        recorded_lines = [line for output in thread.outputs for line in output.content.splitlines()]
        name = recorded_lines[0][:2]
        assert recorded_lines == [f"{name}{number}" for number in range(400)]
        assert recorded_lines == [line for line in lines if line.startswith(name)]
    assert [line for line in lines if line.isdigit()] == mirrored.splitlines()


def test_100_megabytes_in_a_file_are_recorded_and_each_gap_is_marked_in_place(write: Write, tmp_path: Path) -> None:
    script = write(
        """\
        import subprocess, sys
        for number in range(4):
            subprocess.run(["seq", "-f", "%010.0f", "2500000"], check=True)
            print("part", number, flush=True)
        """
    )
    recorder = ["-m", "codetracer_python_recorder", "--out-dir", tmp_path / "out", "--io-capture", "proxies+fd"]
    plain = run([script], tmp_path / "plain", append=False)
    recorded = run([*recorder, script], tmp_path / "recorded", append=False)
    assert len(plain.content) > 100_000_000
    assert recorded.content == plain.content
    trace = Trace(tmp_path / "out")
    assert shown(trace, mirror=False) == "".join(f"part {number}\n" for number in range(4))
    expected = re.sub(rb"part \d\n", b"", plain.content).decode()
    at = missing = 0
    for output in trace.main.outputs:
        facts = json.loads(output.metadata)
        if facts.get("cause") == "mirror_full":
            at += facts["bytes"]
            missing += facts["bytes"]
        elif "mirror" in facts["flags"]:
            assert expected.startswith(output.content, at), at
            at += len(output.content)
    assert at == len(expected)
    stats = trace.metadata["trace_filter"]["stats"]["io"]["stdout"]
    assert (stats["cut"], stats["bytes"]) == (missing, len(plain.content) - missing)


def test_a_program_that_seeks_shortens_and_writes_over(write: Write, tmp_path: Path) -> None:
    script = write(
        """\
        import os, sys
        print("a long line that is written over", flush=True)
        os.write(1, b"by descriptor\\n")
        sys.stdout.seek(0)
        print("short", flush=True)
        sys.stdout.truncate()
        os.write(1, b"after it\\n")
        sys.stdout.seek(100)
        os.write(1, b"far away\\n")
        """
    )
    trace, text = same_as_plain(script, tmp_path, append=False)
    assert text == "short\nafter it\n" + "\0" * 85 + "far away\n"
    assert "\0" not in shown(trace)
    assert shown(trace).endswith("after it\nfar away\n")


@pytest.mark.parametrize("kind", ["file", "pipe", "null"])
def test_a_program_that_closes_every_descriptor_it_does_not_know(write: Write, tmp_path: Path, kind: str) -> None:
    script = write(
        f"""\
        import os, sys
        os.closerange(3, 65536)
        print("closed", flush=True)
        os.write(1, b"by descriptor\\n")
        file = os.open({str(tmp_path / "mine")!r}, os.O_CREAT | os.O_RDWR)
        copies = [os.dup(file) for _ in range(300)]
        print("still here", flush=True)
        os.write(1, b"and here\\n")
        for copy in copies:
            os.fstat(copy)
        sys.exit(os.fstat(file).st_size)
        """
    )
    recorder = ["-m", "codetracer_python_recorder", "--out-dir", tmp_path / "out", "--io-capture", "proxies+fd"]
    command = [sys.executable, *map(str, [*recorder, "--propagate-script-exit", script])]
    target = tmp_path / "stdout"
    stdout: int | Path = {"file": target, "pipe": subprocess.PIPE, "null": subprocess.DEVNULL}[kind]
    file = os.open(target, os.O_CREAT | os.O_WRONLY) if kind == "file" else int(str(stdout))
    done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, env=environment(), timeout=TIMEOUT, check=False)
    if kind == "file":
        os.close(file)
    shown = {"file": target.read_bytes() if kind == "file" else b"", "pipe": done.stdout or b"", "null": None}[kind]
    if shown is not None:
        assert shown == b"closed\nby descriptor\nstill here\nand here\n"
    assert (tmp_path / "mine").read_bytes() == b""
    assert done.returncode == 0, done.stderr.decode()


def test_output_to_the_null_device_is_recorded(write: Write, tmp_path: Path) -> None:
    script = write("import os\nprint('printed', flush=True)\nos.write(1, b'raw\\n')\nos.system('echo child')\n")
    recorder = ["-m", "codetracer_python_recorder", "--out-dir", tmp_path / "out", "--io-capture", "proxies+fd"]
    subprocess.run(
        [sys.executable, *map(str, [*recorder, script])],
        stdout=subprocess.DEVNULL,
        env=environment(),
        timeout=TIMEOUT,
        check=True,
    )
    trace = Trace(tmp_path / "out")
    assert (shown(trace, mirror=False), shown(trace, mirror=True)) == ("printed\nraw\n", "child\n")


def test_a_file_without_a_name_is_read_through_its_descriptor(write: Write, tmp_path: Path) -> None:
    script = write(
        f"""\
        import os
        os.unlink({str(tmp_path / "recorded")!r})
        print("printed", flush=True)
        os.write(1, b"raw\\n")
        """
    )
    recorder = ["-m", "codetracer_python_recorder", "--out-dir", tmp_path / "out", "--io-capture", "proxies+fd"]
    with (tmp_path / "recorded").open("wb+") as file:
        command = [sys.executable, *map(str, [*recorder, script])]
        subprocess.run(command, stdout=file, env=environment(), timeout=TIMEOUT, check=True)
        file.seek(0)
        assert file.read() == b"printed\nraw\n"
    trace = Trace(tmp_path / "out")
    assert shown(trace) == "printed\nraw\n"
