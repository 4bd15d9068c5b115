"""A disk that fails in a real file system: the kernel hands the system's calls the errors that a bad one gives."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from codetracer_python_recorder.codetracer_python_recorder import verify_trace
from support import failing_disk
from support.reading import Trace
from support.recording import Recording

Record = Callable[..., Recording]
Write = Callable[..., Path]
Disk = Callable[..., Path]

pytestmark = pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="the kernel has no FUSE")

PROGRAM = """
import random, time

def work(n, text):
    for i in range(n):
        noise = text + str({noise})

work(500, "")
time.sleep(0.3)
work({rest}, {text})
print("done", flush=True)
"""
POLICY = "durability.flush_interval=20ms;pipeline.queue_bytes=1MiB;pipeline.segment_bytes=64KiB"
NOISE = {"noise": "random.random()", "text": "''"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """`disk("--delay", "1")`: a disk that fails as `support/failing_disk.py` is told."""
    directory = tmp_path / "disk"
    directory.mkdir()
    servers: list[subprocess.Popen[str]] = []

    def mount(*options: str) -> Path:
        command = [sys.executable, failing_disk.__file__, str(directory), *options]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        servers.append(server)
        assert server.stdout is not None
        if server.stdout.readline() != "ready\n":
            assert server.wait(timeout=60) == failing_disk.MISSING
            pytest.skip("this user may not mount anything")
        return directory

    yield mount
    for server in servers:
        if server.poll() is None:
            failing_disk.unmount(str(directory))
        assert server.wait(timeout=60) in (0, failing_disk.MISSING)


def steps_of(out: Path) -> int:
    return len([step for step in Trace(out).main.steps if "noise" in step.locals])


@pytest.mark.parametrize("policy", ["abort", "disable"])
def test_a_place_that_cannot_be_written_ends_the_recording_and_not_the_program(
    policy: str, disk: Disk, record: Record, write: Write
) -> None:
    out = disk("--bad-name", "trace.bin", "--bad-from", "100_000") / "trace"
    options = ["--on-recorder-error", policy]
    program = write(PROGRAM.format(rest=30_000, **NOISE))
    recorded = record(program, out=out, options=options, env={"CODETRACER_POLICY": POLICY}, timeout=100)
    assert (recorded.stdout, recorded.status) == ("done\n", 1 if policy == "abort" else 0), recorded.stderr
    assert "ERR_IO" in recorded.stderr and "os error 5" in recorded.stderr
    # What came before the fault is there, balanced; the file ends before the bad place.
    assert steps_of(out) >= 999
    assert (out / "trace.bin").stat().st_size <= 100_000
    state = json.loads((out / "recording.json").read_text())
    assert (state["state"], state["failure"]["error_code"]) == ("failed", "ERR_IO")
    metadata = json.loads((out / "trace_metadata.json").read_text())
    assert metadata["recorder_failure"]["error_code"] == "ERR_IO"
    lost = metadata["losses"]["recording_failed"]
    assert lost > 0
    assert f"{lost} events were lost because the recording had failed" in recorded.stderr


def test_a_disk_that_cannot_say_that_it_has_written_ends_the_recording_with_all_that_it_took(
    disk: Disk, record: Record, write: Write
) -> None:
    out = disk("--bad-name", "trace.bin", "--bad-sync") / "trace"
    recorded = record(write(PROGRAM.format(rest=3_000, **NOISE)), out=out, env={"CODETRACER_POLICY": POLICY})
    assert (recorded.stdout, recorded.status) == ("done\n", 1), recorded.stderr
    assert "ERR_IO" in recorded.stderr and "os error 5" in recorded.stderr
    assert steps_of(out) == 2 * 3_500 - 2
    assert json.loads((out / "recording.json").read_text())["state"] == "failed"


@pytest.mark.parametrize(("on_full", "delay", "rest"), [("block", "1", 2_000), ("drop", "0.3", 15_000)])
def test_a_disk_on_which_every_write_takes_long_loses_nothing_or_says_what(
    on_full: str, delay: str, rest: int, disk: Disk, record: Record, write: Write
) -> None:
    out = disk("--delay", delay) / "trace"
    policy = {"CODETRACER_POLICY": f"{POLICY};pipeline.on_full={on_full}"}
    # Much to hand over, and little on the disk.
    program = write(PROGRAM.format(rest=rest, noise="i % 7", text="'x' * 100"))
    recorded = record(program, out=out, env=policy, timeout=150)
    assert (recorded.stdout, recorded.status) == ("done\n", 0), recorded.stderr
    assert verify_trace(str(out)) == []
    assert json.loads((out / "recording.json").read_text())["state"] == "complete"
    metadata = json.loads((out / "trace_metadata.json").read_text())
    lost = metadata.get("lost_events", 0)
    if on_full == "block":
        assert lost == 0
        assert steps_of(out) == 2 * (500 + rest) - 2
    else:
        assert lost > 0
        assert metadata["losses"] == {"queue_full": lost}
        assert f"{lost} events were lost because the queue was full" in recorded.stderr
