"""Kills at any moment: what was written is a true prefix of the undisturbed recording, and `recover` makes it whole.

Every kill has a seed, which a failure prints; `CODETRACER_CRASH_SEED=N` repeats the run with another one.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from codetracer_python_recorder.codetracer_python_recorder import inspect_trace, recover_trace, verify_trace
from support.recording import Recording
from support.running import environment

Record = Callable[..., Recording]
Write = Callable[..., Path]

resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))

SEED = int(os.environ.get("CODETRACER_CRASH_SEED", "1"))
KILLS = 35
"""Per program, with SIGKILL; six programs make more than two hundred."""

PROGRAMS = {
    "loop": """
        def work(n):
            total, names = 0, []
            for i in range(n):
                total += i * i
                if i % 100 == 0:
                    names.append(str(i))
            return total

        work(3000)
        """,
    "recursion": """
        def deep(n, text):
            if n == 0:
                return text
            return deep(n - 1, text + "x")

        for i in range(20):
            deep(40, str(i))
        """,
    "generators": """
        def numbers(n):
            for i in range(n):
                got = yield i
                if got is not None:
                    i = got

        def pairs():
            first, second = numbers(600), numbers(600)
            for a in first:
                b = next(second)
                point = {"a": a, "b": [a, b]}

        pairs()
        """,
    "exceptions": """
        class Problem(Exception):
            pass

        def risky(n):
            try:
                if n % 3:
                    raise Problem(f"number {n}")
                return n
            finally:
                last = n

        def run():
            for n in range(400):
                try:
                    risky(n)
                except Problem as problem:
                    text = str(problem)

        run()
        """,
    "threads": """
        import threading

        def work(n):
            for i in range(n):
                square = i * i

        def one_after_the_other():
            for index in range(6):
                thread = threading.Thread(target=work, args=(300,), name=f"worker-{index}")
                thread.start()
                thread.join()

        one_after_the_other()
        """,
    "parts": """
        def work(n):
            for i in range(n):
                text = f"item {i}"

        work(3_000)
        """,
}
POLICY = "durability.flush_interval=10ms;pipeline.segment_bytes=64KiB;pipeline.batch_bytes=8KiB"
POLICIES = {"parts": POLICY + ";limits.on_reached=rotate;limits.max_steps=1000"}


def lines(directory: Path) -> list[str]:
    """The events of one trace directory, one line of JSON each."""
    pieces: list[str] = []
    inspect_trace(str(directory), "json", 0, 0, pieces.append)
    return "".join(pieces).splitlines()


def comparable(name: str, events: list[str]) -> list[str]:
    """What a thread object shows of itself depends on which of two threads is faster."""
    left_out = ('{"Value"', '{"Type"', '{"VariableName"')
    return [event for event in events if name != "threads" or not event.startswith(left_out)]


def traces(directory: Path) -> dict[str, Path]:
    """The trace directories of a recording by their names; thread names are the same in every run."""
    roots = [directory, *sorted((directory / "parts").glob("*/"))]
    found = [root for root in roots if (root / "trace.bin").exists() or (root / "trace.json").exists()]
    found += [
        thread for root in roots for thread in sorted((root / "threads").glob("*/")) if list(thread.glob("trace.*"))
    ]
    return {str(path.relative_to(directory)): path for path in found}


def assert_prefix(part: list[str], whole: list[str]) -> int:
    """`part` is a prefix of `whole` and what balances it. Returns the length of the prefix."""
    same = 0
    while same < min(len(part), len(whole)) and part[same] == whole[same]:
        same += 1
    rest = part[same:]
    kinds = " ".join(next(iter(json.loads(line))) for line in rest)
    # Some of the closing returns may equal those of the whole.
    assert re.fullmatch(r"(Path )?(Function )?(Call )?(Type )?(Step ?)?(Return ?)*(Type )?(Return ?)*", kinds), (
        f"{kinds[:200]} after {same} of {len(part)} events, instead of {whole[same : same + 2]}"
    )
    depth = 0
    for line in part:
        depth += line.startswith('{"Call"') - line.startswith('{"Return"')
        assert depth >= 0
    assert depth == 0
    return same


def start(program: Path, out: Path, policy: str, format: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "codetracer_python_recorder", "--format", format, "-o", str(out), str(program)]
    env = environment({"CODETRACER_POLICY": policy})
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)


def wait_until_begun(process: subprocess.Popen[bytes], out: Path) -> None:
    """Waits until the recording has files, or the process has ended."""
    deadline = time.monotonic() + 60
    while not (out / "recording.json").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)


@pytest.mark.parametrize("format", ["binary", "json"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_killed_recording_is_a_prefix_of_the_undisturbed_one(
    name: str, format: str, record: Record, write: Write, tmp_path: Path
) -> None:
    program = write(PROGRAMS[name])
    policy = POLICIES.get(name, POLICY)
    began = time.monotonic()
    whole = record(program, format=format, env={"CODETRACER_POLICY": policy})
    length = time.monotonic() - began
    assert whole.status == 0, whole.stderr
    undisturbed = {key: lines(path) for key, path in traces(whole.directory).items()}
    kept = 0
    for kill in range(KILLS if format == "binary" else 5):
        seed = f"{SEED}/{name}/{format}/{kill}"
        chance = random.Random(seed)
        out = tmp_path / "killed"
        shutil.rmtree(out, ignore_errors=True)
        process = start(program, out, policy, format)
        if chance.random() < 0.1:
            time.sleep(chance.uniform(0.0, 0.5) * length)
        else:
            # However slow the machine is at this moment: most kills are to hit a recording.
            wait_until_begun(process, out)
            time.sleep(chance.uniform(0.0, 0.6) * length)
        process.kill()
        process.communicate(timeout=60)
        try:
            kept += check(name, out, undisturbed)
        except BaseException:
            print(f"seed {seed}, files in {out}")
            raise
    assert kept > 0 or format == "json", "no kill hit a recording"


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV, signal.SIGTERM])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_recording_whose_process_ends_by_any_signal_is_a_prefix_of_the_undisturbed_one(
    name: str, number: signal.Signals, record: Record, write: Write, tmp_path: Path
) -> None:
    program = write(PROGRAMS[name])
    policy = POLICIES.get(name, POLICY)
    began = time.monotonic()
    whole = record(program, env={"CODETRACER_POLICY": policy})
    length = time.monotonic() - began
    undisturbed = {key: lines(path) for key, path in traces(whole.directory).items()}
    for end in range(3):
        seed = f"{SEED}/{name}/{number.name}/{end}"
        out = tmp_path / f"ended-{end}"
        process = start(program, out, policy, "binary")
        wait_until_begun(process, out)
        time.sleep(random.Random(seed).uniform(0.0, 0.5) * length)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        try:
            assert process.returncode in (0, -number), said
            check(name, out, undisturbed)
        except BaseException:
            print(f"seed {seed}, files in {out}")
            raise


def check(name: str, out: Path, undisturbed: dict[str, list[str]]) -> int:
    """Recovers a killed recording; how many events of the program it holds."""
    if not (out / "recording.json").exists():
        return 0
    finished = json.loads((out / "recording.json").read_text())["state"] == "complete"
    # Reading recovers without changing anything.
    before = {key: path.read_bytes() for key, path in _files(out).items()}
    read = {key: lines(path) for key, path in traces(out).items()}
    assert {key: path.read_bytes() for key, path in _files(out).items()} == before
    if not read:
        return 0
    assert bool(verify_trace(str(out))) != finished
    recover_trace(str(out))
    assert verify_trace(str(out)) == []
    assert recover_trace(str(out)) == []
    kept = 0
    for key, path in traces(out).items():
        recovered = lines(path)
        # Everything that could be read before is still there.
        assert recovered[: len(read[key])] == read[key]
        kept += assert_prefix(comparable(name, recovered), comparable(name, undisturbed[key]))
    return kept


def _files(out: Path) -> dict[str, Path]:
    return {str(path): path for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.abort()", -signal.SIGABRT),
        ("ctypes.string_at(0)", -signal.SIGSEGV),
        ("os.execv('/bin/true', ['true'])", 0),
    ],
)
def test_an_end_that_runs_no_handlers_keeps_what_is_older_than_the_interval(
    end: str, status: int, record: Record, write: Write
) -> None:
    program = write(
        f"""
        import ctypes, os, resource, signal, time
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        def before(n):
            for i in range(n):
                x = i

        before(100)
        time.sleep(0.5)
        {end}
        """
    )
    recorded = record(program, env={"CODETRACER_POLICY": "durability.flush_interval=20ms"})
    assert recorded.status == status
    assert json.loads((recorded.directory / "recording.json").read_text())["state"] in ("recording", "complete")
    # Openable without any recovery, and balanced.
    assert len([step for step in recorded.trace.main.steps if "x" in step.locals]) == 199
    recover_trace(str(recorded.directory))
    assert verify_trace(str(recorded.directory)) == []


def test_a_kill_loses_no_more_than_the_interval_and_what_was_on_its_way(write: Write, tmp_path: Path) -> None:
    program = write(
        """
        import time

        def work():
            while True:
                now = int(time.monotonic() * 1000)
                time.sleep(0.001)

        work()
        """
    )
    for kill in range(3):
        out = tmp_path / f"killed-{kill}"
        process = start(program, out, "durability.flush_interval=100ms", "binary")
        time.sleep(1.5 + 0.3 * kill)
        process.kill()
        killed = time.monotonic()
        process.communicate(timeout=60)
        values = [json.loads(line)["Value"]["value"] for line in lines(out) if line.startswith('{"Value"')]
        latest = max(value["i"] for value in values if value["kind"] == "Int")
        # Twice the interval: one for the clock, one for encoding and writing on a busy machine; then room to spare.
        assert killed * 1000 - latest < 1000


@pytest.mark.parametrize("format", ["binary", "json"])
def test_a_file_cut_anywhere_is_recovered_to_a_prefix(
    format: str, record: Record, write: Write, tmp_path: Path
) -> None:
    program = write(PROGRAMS["exceptions"].replace("400", "300"))
    policy = {"CODETRACER_POLICY": POLICY}
    whole = record(program, format=format, env=policy)
    undisturbed = {".": lines(whole.directory)}
    file = "trace.bin" if format == "binary" else "trace.json"
    contents = (whole.directory / file).read_bytes()
    chance = random.Random(f"{SEED}/cut/{format}")
    kept = []
    for cut in sorted(chance.sample(range(8, len(contents)), 25)):
        for noise in (b"", b"\0" * 300, chance.randbytes(300)):
            out = tmp_path / "cut"
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(whole.directory, out)
            (out / file).write_bytes(contents[:cut] + noise)
            recover_trace(str(out))
            assert verify_trace(str(out)) == [], cut
            kept.append(assert_prefix(lines(out), undisturbed["."]))
    assert kept[-1] > kept[0]
