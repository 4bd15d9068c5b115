"""Pools of worker processes under the recorder: every task is done and in a trace, whatever ends the workers."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.reading import Trace
from support.recording import Recording
from support.running import TIMEOUT, environment
from support.service import Service

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers that are forked")

TASKS = """\
import time
from celery import Celery

app = Celery("app", broker="filesystem://", backend="file://results")
app.conf.update(
    broker_transport_options={
        "data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control", "polling_interval": 0.05,
    },
    worker_prefetch_multiplier=1,
    task_acks_late=True,
)

def work(number):
    if number < 0:
        raise ValueError(f"negative: {number}")
    if number >= 1000:
        time.sleep(1.5)
    return number * number

@app.task(name="square")
def square(number):
    return work(number)
"""

CLIENT = """\
import json, sys
from app import square

results = [square.delay(number) for number in json.loads(sys.argv[1])]
if sys.argv[2] == "wait":
    print(json.dumps([repr(result.get(timeout=120, propagate=False)) for result in results]))
"""


class CeleryWorker(Service):
    """`celery worker` with two processes, that takes its tasks from files."""

    def __init__(self, directory: Path, *options: str, policy: str) -> None:
        for name in ("queue", "control", "results"):
            (directory / name).mkdir()
        (directory / "app.py").write_text(TASKS)
        (directory / "client.py").write_text(CLIENT)
        worker = ["-m", "celery", "-A", "app", "worker", "--concurrency", "2", "--loglevel", "INFO"]
        super().__init__([*worker, "--without-gossip", "--without-mingle", *options], directory, policy=policy)

    def __enter__(self) -> CeleryWorker:
        self.until(" ready.")
        return self

    def until(self, said: str, times: int = 1) -> None:
        """Waits until the log has it."""
        deadline = time.monotonic() + TIMEOUT
        while self.log.read_text().count(said) < times:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the worker does not say {said!r}: {self.log.read_text()}")
            time.sleep(0.02)

    def send(self, numbers: list[int], *, wait: bool = True) -> list[str]:
        """Sends tasks by a plain process, and returns what came of them."""
        command = [sys.executable, "client.py", json.dumps(numbers), "wait" if wait else "go"]
        done = subprocess.run(
            command,
            cwd=self.log.parent,
            env=environment({}),
            timeout=TIMEOUT,
            check=True,
            capture_output=True,
            text=True,
        )
        return list(json.loads(done.stdout)) if wait else []

    def worked_on(self) -> Counter[int]:
        """The numbers, by the recorded arguments."""
        found = (re.search(r"-?0x[0-9a-f]+", text) for text in self.arguments("work", "number"))
        return Counter(int(match[0], 16) for match in found if match)


def expected(numbers: list[int]) -> list[str]:
    return [repr(number * number) if number >= 0 else f"ValueError('negative: {number}')" for number in numbers]


def worked(directory: Path, numbers: list[int], *options: str, policy: str) -> CeleryWorker:
    """A worker that has done these tasks and has ended.

    Celery that replaces its processes does not always end, under plain Python neither (one run of some thirty hung):
    then another one is started.
    """
    for attempt in range(3):
        place = directory / str(attempt)
        place.mkdir()
        with CeleryWorker(place, *options, policy=policy) as worker:
            assert worker.send(numbers) == expected(numbers)
            worker.process.send_signal(signal.SIGTERM)
            try:
                assert worker.process.wait(40) == 0, worker.log.read_text()
            except subprocess.TimeoutExpired:
                continue
            return worker
    raise AssertionError("Celery did not end in any of three runs")


@pytest.mark.parametrize("policy", ["full", "calls"])
def test_celery_records_every_task_while_its_workers_are_replaced(tmp_path: Path, policy: str) -> None:
    numbers = [*range(60), -3]
    worker = worked(tmp_path, numbers, "--max-tasks-per-child", "15", policy=policy)
    assert len(worker.directories()) >= 1 + len(numbers) // 15, "a recording for each process that worked"
    assert worker.worked_on() == Counter(numbers)
    assert (sum(len(thread.steps) for thread in worker.threads) > 2 * len(numbers)) is (policy == "full")


SAMPLED = {
    "windows": 'sampling.mode=windows;sampling.on="50ms";sampling.every="200ms"',
    "tasks": 'sampling.mode=entries;sampling.entries="obj:app.work";sampling.rate="50%";sampling.seed=3',
    "budget": "sampling.mode=budget",
    "flight recorder": "ring.storage=memory;ring.seconds=3600",
}


@pytest.mark.parametrize("mode", SAMPLED)
def test_celery_does_every_task_whatever_is_sampled(tmp_path: Path, mode: str) -> None:
    numbers = list(range(80))
    # When it ends, Celery kills those that have replaced others: what a flight recorder in their memory has is gone.
    replaced = [] if mode == "flight recorder" else ["--max-tasks-per-child", "30"]
    worker = worked(tmp_path, numbers, *replaced, policy=SAMPLED[mode])
    parts = [part for directory in worker.directories() for part in sorted(directory.glob("parts/*"))]
    samples: list[Any] = [Trace(part).metadata["part"] for part in parts]
    match mode:
        case "flight recorder":
            assert worker.worked_on() == Counter(numbers)
        case "tasks":
            works = [call for part in parts for thread in Trace(part).threads for call in thread.calls_of("work")]
            taken = [sample for about in samples for sample in about.get("samples") or [about["sample"]]]
            assert len(works) == len(taken)
            assert 15 < len(works) < 65
        case _:
            assert samples, "some of it was recorded"


@pytest.mark.parametrize("policy", ["full", "ring.storage=memory;ring.seconds=3600"])
def test_a_task_in_flight_is_done_before_celery_ends(tmp_path: Path, policy: str) -> None:
    with CeleryWorker(tmp_path, policy=policy) as worker:
        worker.send([1000], wait=False)
        worker.until("Task square[")
        time.sleep(0.3)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(TIMEOUT) == 0, worker.log.read_text()
    assert re.search(r"Task square\[.*\] succeeded", worker.log.read_text())
    assert worker.worked_on() == Counter([1000])
    assert [value for thread in worker.threads for value in thread.returns_of("work")] == [["Int", hex(1_000_000)]]


def test_workers_of_concurrent_futures_record_every_task(
    write: Callable[..., Path], record: Callable[..., Recording]
) -> None:
    script = write(
        textwrap.dedent(
            """\
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed

            def task(number):
                return number * number

            def main():
                fork = multiprocessing.get_context("fork")
                with ProcessPoolExecutor(2, mp_context=fork, max_tasks_per_child=None) as pool:
                    done = as_completed([pool.submit(task, number) for number in range(60)])
                    print(sum(future.result() for future in done))
                with ThreadPoolExecutor(3) as pool:
                    print(sum(pool.map(task, range(60, 100))))

            main()
            """
        )
    )
    recorded = record(script, options=["--propagate-script-exit"])
    squares = [number * number for number in range(100)]
    assert (recorded.stdout, recorded.status) == (f"{sum(squares[:60])}\n{sum(squares[60:])}\n", 0)
    directories = [recorded.directory, *recorded.directory.glob("processes/*")]
    calls = [call for directory in directories for thread in Trace(directory).threads for call in thread.calls]
    numbers = [int(dict(call.args)["number"][1], 16) for call in calls if call.name == "task"]
    assert sorted(numbers) == list(range(100))
