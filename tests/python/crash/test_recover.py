"""`recover` also makes the small files again, whichever of them a power cut took, and may itself be killed at any time.

Choices have a seed, which a failure prints; `CODETRACER_CRASH_SEED=N` repeats the run with another one.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from codetracer_python_recorder.codetracer_python_recorder import inspect_trace, recover_trace, verify_trace
from support.parts import part_directories
from support.recording import Recording
from support.running import environment

Record = Callable[..., Recording]
Write = Callable[..., Path]

SEED = int(os.environ.get("CODETRACER_CRASH_SEED", "1"))
SMALL = ("trace_metadata.json", "trace_paths.json", "recording.json")

PROGRAM = """
    import os, signal, threading, time

    def work(n):
        for i in range(n):
            text = f"item {i}"

    for index in range(3):
        thread = threading.Thread(target=work, args=(400,), name=f"worker-{index}")
        thread.start()
        work(200)
        thread.join()
    time.sleep(0.5)
    if os.environ.get("END") == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    """
POLICY = {"CODETRACER_POLICY": "durability.flush_interval=20ms;limits.on_reached=rotate;limits.max_steps=900"}


def events(directory: Path) -> dict[str, str]:
    """The events of every trace below a directory."""
    found = {}
    for file in sorted(directory.rglob("trace.*")):
        pieces: list[str] = []
        inspect_trace(str(file.parent), "json", 0, 0, pieces.append)
        found[str(file.relative_to(directory))] = "".join(pieces)
    return found


def damage(file: Path, how: str) -> None:
    if how == "missing":
        file.unlink()
    else:
        contents = file.read_bytes()
        file.write_bytes({"empty": b"", "half": contents[: len(contents) // 2], "zeros": bytes(len(contents))}[how])


@pytest.fixture(params=["kill", "stop"])
def recorded(request: pytest.FixtureRequest, record: Record, write: Write) -> Path:
    recording = record(write(PROGRAM), env={**POLICY, "END": request.param})
    assert len(part_directories(recording.directory)) > 1
    return recording.directory


def test_small_files_that_a_power_cut_took_are_made_again(recorded: Path, tmp_path: Path) -> None:
    recover_trace(str(recorded))
    sound = events(recorded)
    shared = json.loads((recorded / "trace_metadata.json").read_text())
    for attempt in range(30):
        seed = f"{SEED}/small/{attempt}"
        chance = random.Random(seed)
        out = tmp_path / "damaged"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(recorded, out)
        present = sorted(file for file in out.rglob("*.json") if file.name in SMALL)
        taken = {
            file: chance.choice(["missing", "empty", "half", "zeros"]) for file in present if chance.random() < 0.3
        }
        for file, how in taken.items():
            damage(file, how)
        try:
            done = recover_trace(str(out))
            assert {line.split(": ")[0] for line in done} == {str(file) for file in taken}
            assert verify_trace(str(out)) == []
            assert recover_trace(str(out)) == []
            assert events(out) == sound
            for file in taken:
                if file.name == "trace_metadata.json":
                    metadata = json.loads(file.read_text())
                    assert metadata["program"] == shared["program"]
                    assert metadata["rebuilt"] is True
                if file.name == "recording.json":
                    assert json.loads(file.read_text())["state"] == "recovered"
        except BaseException:
            print(f"seed {seed}, files in {out}: {taken}")
            raise


def test_verify_tells_of_each_small_file_that_is_torn(recorded: Path, tmp_path: Path) -> None:
    recover_trace(str(recorded))
    for name in SMALL:
        out = tmp_path / f"torn-{name}"
        shutil.copytree(recorded, out)
        damage(out / name, "half")
        findings = verify_trace(str(out))
        assert len(findings) == 1 and findings[0].startswith(f"{name}: "), findings


def test_recovering_that_was_killed_and_is_done_again_ends_as_if_it_had_been_done_once(
    recorded: Path, tmp_path: Path
) -> None:
    for file in sorted(recorded.rglob("*")):
        if file.name in SMALL:
            damage(file, "half")
        elif file.name.startswith("trace."):
            file.write_bytes(file.read_bytes()[:-20])
    once = tmp_path / "once"
    shutil.copytree(recorded, once)
    began = time.monotonic()
    code = "import sys; from codetracer_python_recorder.codetracer_python_recorder import *; recover_trace(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(once)], check=True, env=environment(), timeout=60)
    length = time.monotonic() - began
    expected = {str(file.relative_to(once)): file.read_bytes() for file in once.rglob("*") if file.is_file()}
    for kill in range(20):
        seed = f"{SEED}/recover/{kill}"
        out = tmp_path / "killed"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(recorded, out)
        process = subprocess.Popen([sys.executable, "-c", code, str(out)], env=environment())
        time.sleep(random.Random(seed).uniform(0.3, 1.0) * length)
        process.kill()
        process.wait(timeout=60)
        try:
            recover_trace(str(out))
            assert verify_trace(str(out)) == []
            # What a kill left of a file that was being replaced is not part of the trace.
            found = {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}
            assert {name: found[name] for name in expected} == expected
        except BaseException:
            print(f"seed {seed}, files in {out}")
            raise


def test_recovering_tells_how_many_events_it_has_read_and_can_be_interrupted(
    record: Record, write: Write, tmp_path: Path
) -> None:
    directory = record(write("for n in range(30_000):\n    m = n\n")).directory
    whole = events(directory)
    file = directory / "trace.bin"
    file.write_bytes(file.read_bytes()[:-20])
    damaged = file.read_bytes()

    def stop(count: int) -> None:
        raise KeyError(count)

    with pytest.raises(KeyError, match="50000"):
        recover_trace(str(directory), stop)
    assert file.read_bytes() == damaged
    counts: list[int] = []
    assert recover_trace(str(directory), counts.append)
    assert counts[:2] == [50_000, 100_000] and counts == sorted(counts)
    assert events(directory) == whole
