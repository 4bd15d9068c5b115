"""Disks that are full, limited or gone: the program runs on, and the trace is readable up to the fault."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.reading import Trace
from support.recording import Recording

Record = Callable[..., Recording]
Write = Callable[..., Path]
SmallDisk = Callable[[str], Path | None]

PROGRAM = """
import os, random, resource, shutil, sys, time

def work(n):
    for i in range(n):
        noise = str(random.random())

def fault(out):
    {fault}

work(500)
time.sleep(0.3)
fault(os.environ["OUT"])
work(60_000)
print("done", flush=True)
"""
POLICY = {"CODETRACER_POLICY": "durability.flush_interval=20ms;pipeline.queue_bytes=1MiB"}


@pytest.mark.parametrize("policy", ["abort", "disable"])
@pytest.mark.parametrize("kind", ["full", "limited"])
def test_a_full_disk_ends_the_recording_and_not_the_program(
    kind: str, policy: str, small_disk: SmallDisk, record: Record, write: Write, tmp_path: Path
) -> None:
    # Where nothing may be mounted, the largest size of a file stands for the disk.
    disk = small_disk("300k") if kind == "full" else None
    full = disk is not None
    out = (disk or tmp_path) / "trace"
    fault = "pass" if full else "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    program = write(PROGRAM.format(fault=fault))
    options = ["--on-recorder-error", policy]
    recorded = record(program, out=out, options=options, env={**POLICY, "OUT": str(out)}, timeout=100)
    assert recorded.stdout == "done\n", recorded.stderr
    assert recorded.status == (1 if policy == "abort" else 0), recorded.stderr
    assert "ERR_IO" in recorded.stderr
    assert len([step for step in Trace(out).main.steps if "noise" in step.locals]) >= 999
    state = json.loads((out / "recording.json").read_text())
    if state["state"] == "failed":
        assert state["failure"]["error_code"] == "ERR_IO"
        assert state["failure"]["stage"] == "writer"
    else:
        # Not even this little file had room: it still says that the recording is not complete.
        assert (full, state["state"]) == (True, "recording")


def test_a_directory_that_vanishes_ends_nothing_but_the_recording(record: Record, write: Write, tmp_path: Path) -> None:
    out = tmp_path / "trace"
    program = write(PROGRAM.format(fault="shutil.rmtree(out)").replace("60_000", "5_000"))
    recorded = record(program, out=out, options=["--on-recorder-error", "disable"], env={**POLICY, "OUT": str(out)})
    assert (recorded.stdout, recorded.status) == ("done\n", 0), recorded.stderr
    assert "ERR_IO" in recorded.stderr


def test_lost_events_are_marked_counted_and_told(record: Record, write: Write) -> None:
    program = write(
        """
        def work():
            text = "x" * 900
            for i in range(120_000):
                text = str(i) + text[:900]

        work()
        print("done")
        """
    )
    policy = "pipeline.on_full=drop;pipeline.queue_bytes=1MiB;pipeline.batch_bytes=512KiB"
    recorded = record(program, format="json", env={"CODETRACER_POLICY": policy})
    assert (recorded.stdout, recorded.status) == ("done\n", 0)
    lost = recorded.trace.metadata["lost_events"]
    assert f"{lost} events were lost because the queue was full" in recorded.stderr
    marks = [json.loads(output.metadata) for output in recorded.trace.main.outputs if output.kind == 12]
    assert {mark["cause"] for mark in marks} == {"queue_full"}
    assert sum(mark["count"] for mark in marks) <= lost
    counts = recorded.trace.metadata["streams"][0]["counts"]
    assert (counts["gaps"], counts["lost"]) == (len(marks), sum(mark["count"] for mark in marks))


METADATA = """
import os, resource, sys

def work(n):
    for i in range(n):
        number = i * 7

work(20)
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
print("done", flush=True)
"""


@pytest.mark.parametrize("policy", ["abort", "disable"])
def test_a_recording_whose_metadata_find_no_room_says_so_in_its_state(
    policy: str, record: Record, write: Write, tmp_path: Path
) -> None:
    out, log = tmp_path / "trace", tmp_path / "log"
    options = ["--on-recorder-error", policy, "--log-file", str(log)]
    # The program's arguments are in the metadata, and make them larger than a file may be in the end.
    recorded = record(write(METADATA), "x" * 6_000, out=out, options=options)
    assert (recorded.stdout, recorded.status) == ("done\n", 1 if policy == "abort" else 0), recorded.stderr
    assert "ERR_IO" in recorded.stderr + log.read_text()
    state = json.loads((out / "recording.json").read_text())
    assert (state["state"], state["failure"]["error_code"]) == ("failed", "ERR_IO")
    assert "trace_metadata.json" in state["failure"]["message"]
    # The trace itself is complete.
    assert len([step for step in Trace(out).main.steps if "number" in step.locals]) >= 39
    assert (out / "trace.bin").stat().st_size < 5_000 < (out / "trace_metadata.json").stat().st_size


SILENCE = """
import os, resource, sys, time

def work(n):
    for i in range(n):
        noise = str(i) * 7

def is_silent():
    tools = [i for i in range(6) if sys.monitoring.get_tool(i)]
    return not any(sys.monitoring.get_events(i) or sys.monitoring.get_local_events(i, work.__code__) for i in tools)

work(10)
print("silent" if is_silent() else "recording")
{end}
deadline = time.monotonic() + 60
while not is_silent() and time.monotonic() < deadline:
    work(1000)
print("silent" if is_silent() else "recording")
"""


@pytest.mark.parametrize(
    ("policy", "end"),
    [
        ("limits.max_steps=500", ""),
        ("limits.max_duration=100ms", ""),
        ("durability.flush_interval=20ms", "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"),
    ],
)
def test_a_program_runs_at_its_own_speed_once_its_recording_has_ended(
    policy: str, end: str, record: Record, write: Write
) -> None:
    options = ["--on-recorder-error", "disable"]
    recorded = record(write(SILENCE.format(end=end)), options=options, env={"CODETRACER_POLICY": policy})
    assert recorded.stdout == "recording\nsilent\n", recorded.stderr


@pytest.fixture
def failing_disk(tmp_path: Path) -> Iterator[tuple[Path, Path] | None]:
    """A disk that can be made to fail, and the file that does it, where one may be mounted."""
    image, directory = tmp_path / "image", tmp_path / "failing"
    directory.mkdir()
    image.write_bytes(bytes(16 << 20))
    commands = [["mkfs.ext4", "-q", str(image)], ["mount", "-o", "loop,errors=remount-ro", str(image), str(directory)]]
    try:
        mounted = all(subprocess.run(each, capture_output=True, timeout=60).returncode == 0 for each in commands)
    except FileNotFoundError:
        mounted = False
    trigger = None
    for line in Path("/proc/mounts").read_text().splitlines() if mounted else []:
        device, place, *_ = line.split()
        if place == str(directory):
            trigger = Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error"
    yield (directory, trigger) if trigger and trigger.exists() else None
    if mounted:
        subprocess.run(["umount", "-l", str(directory)], check=True, timeout=60)


def test_a_disk_that_becomes_read_only_ends_nothing_but_the_recording(
    failing_disk: tuple[Path, Path] | None, record: Record, write: Write, tmp_path: Path
) -> None:
    # Where nothing may be mounted, a directory in which nothing can be made stands for it, for the threads' traces.
    disk, fault = tmp_path, "os.chmod(out, 0o500)"
    if failing_disk is not None:
        disk, trigger = failing_disk
        fault = f"open({str(trigger)!r}, 'w').write('1')"
    out = disk / "trace"
    source = PROGRAM.replace("work(60_000)", "import threading; thread = threading.Thread(target=work, args=(60_000,))")
    source = source.replace('print("done"', 'thread.start()\nthread.join()\nprint("done"')
    program = write(source.format(fault=fault))
    recorded = record(program, out=out, options=["--on-recorder-error", "disable"], env={**POLICY, "OUT": str(out)})
    assert (recorded.stdout, recorded.status) == ("done\n", 0), recorded.stderr
    assert "ERR_IO" in recorded.stderr
    # What was recorded before is there.
    assert len([step for step in Trace(out).main.steps if "noise" in step.locals]) >= 999
    if failing_disk is None:
        out.chmod(0o700)
