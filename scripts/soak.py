"""Records a program that works like a service for long, and watches that it stays as it is: `soak.py --minutes 30`.

The program has a pool of threads, threads that live for one request, exceptions, output and generators; with
`--program greenlets` greenlets that live as long as it and others that live for one request, with `--program gevent`
what gevent makes of the threads. Its recording is cut into parts, of which the oldest are deleted, as who runs a
service would. Memory, file descriptors and threads of the process are looked at from outside. In the end the latest
parts are verified.

Exit status 0 if nothing grew, 1 if something did or a trace is not sound, with the reason.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from codetracer_python_recorder.codetracer_python_recorder import verify_trace

PROGRAM = """
import queue, signal, sys, threading, time

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
requests = queue.Queue(maxsize=20)

class Problem(Exception):
    pass

def numbers(n):
    for i in range(n):
        yield i * i

def handle(request):
    total, rows = 0, []
    for i in numbers(20 + request % 30):
        total += i
        rows.append({"id": i, "text": f"row {i} of {request}"})
    if request % 10 == 0:
        raise Problem(f"request {request}")
    return total, rows[-3:]

def worker():
    while (request := requests.get()) is not None:
        try:
            answer = handle(request)
        except Problem as problem:
            answer = str(problem)

pool = [threading.Thread(target=worker, name=f"worker-{i}") for i in range(4)]
for thread in pool:
    thread.start()
request = 0
while not stop.is_set():
    request += 1
    requests.put(request)
    if request % 5 == 0:
        single = threading.Thread(target=handle, args=(request + 1,), name=f"request-{request}")
        single.start()
        single.join()
    if request % 50 == 0:
        print("requests:", request)
    time.sleep(0.004)
for thread in pool:
    requests.put(None)
for thread in pool:
    thread.join()
print("done")
"""
SWITCHES = """
import signal, sys, time
from greenlet import getcurrent, greenlet

stopped = False

def stop(number, frame):
    global stopped
    stopped = True

signal.signal(signal.SIGTERM, stop)

def step(request, i):
    mark = f"{request} {i}"
    getcurrent().parent.switch(mark)
    return {"id": i, "text": mark}

def handle(request):
    rows = []
    for i in range(3):
        rows.append(step(request, i))
    if request % 10 == 0:
        raise ValueError(f"request {request}")
    return rows

def serve(number):
    request, answered = None, 0
    while True:
        request = getcurrent().parent.switch((number, answered))
        total = 0
        for i in range(20 + request % 30):
            total += i * i
        answered += 1

pool = [greenlet(serve) for number in range(8)]
for number, one in enumerate(pool):
    one.switch(number)
request = 0
while not stopped:
    request += 1
    pool[request % 8].switch(request)
    # Three of these are in progress at a time; every seventh is left where it is.
    begun = [greenlet(handle) for each in range(3)]
    for one in begun:
        one.switch(request)
    for one in begun[1:] if request % 7 == 0 else begun:
        while not one.dead:
            try:
                one.switch()
            except ValueError as problem:
                answer = str(problem)
    if request % 50 == 0:
        print("requests:", request)
    time.sleep(0.004)
print("done")
"""
PROGRAMS = {
    "threads": PROGRAM,
    "greenlets": SWITCHES,
    # The handler may not run in the hub: `set` is the loop's own way to be told.
    "gevent": "from gevent import monkey\nmonkey.patch_all()\nimport gevent\n"
    + PROGRAM.replace(
        "signal.signal(signal.SIGTERM, lambda number, frame: stop.set())",
        "gevent.signal_handler(signal.SIGTERM, stop.set)",
    ),
}
POLICY = "limits.on_reached=rotate;limits.max_steps=20000;pipeline.queue_bytes=1MiB;durability.flush_interval=200ms"
KEPT_PARTS = 5
"""So many of the latest parts stay on disk."""


@dataclass(frozen=True)
class Sample:
    """What the process has, at one moment."""

    rss_kb: int
    descriptors: int
    threads: int


def sample(pid: int) -> Sample:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    return Sample(int(status["VmRSS"].split()[0]), descriptors, int(status["Threads"]))


def delete_old_parts(directory: Path) -> int:
    """Returns how many parts there have been."""
    parts = sorted((directory / "parts").glob("*/"))
    for part in parts[:-KEPT_PARTS]:
        shutil.rmtree(part, ignore_errors=True)
    return int(parts[-1].name) if parts else 0


def growth(samples: list[Sample], memory_kb: int) -> list[str]:
    """What is larger at the end than it was when the program had warmed up."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    grown = []
    for name, room in (("rss_kb", memory_kb), ("descriptors", 8), ("threads", 8)):
        before, after = (max(getattr(each, name) for each in some) for some in (middle, last))
        print(f"{name}: at most {before} in the middle, {after} at the end")
        if after > before + room:
            grown.append(f"{name} grew from {before} to {after}")
    return grown


def soak(source: str, seconds: float, directory: Path, memory_kb: int) -> list[str]:
    """Runs it; returns what is wrong."""
    program, trace = directory / "service.py", directory / "trace"
    program.write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "codetracer_python_recorder", "-o", str(trace), str(program)]
    env = {**os.environ, "CODETRACER_POLICY": POLICY}
    with open(directory / "output.txt", "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=env)
    samples: list[Sample] = []
    parts = 0
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end and process.poll() is None:
            time.sleep(min(1.0, seconds / 30))
            parts = max(parts, delete_old_parts(trace))
            if process.poll() is None:
                samples.append(sample(process.pid))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    status = process.wait(timeout=120)
    wrong = growth(samples, memory_kb) if len(samples) >= 9 else [f"only {len(samples)} samples were taken"]
    said = (directory / "output.txt").read_text(encoding="utf-8", errors="replace")
    if status != 0 or not said.rstrip().endswith("done"):
        wrong.append(f"the program ended with {status}: {said[-2000:]}")
    parts = max(parts, delete_old_parts(trace))
    print(f"{parts} parts")
    if parts == 0:
        wrong.append("the recording has no parts: too little was recorded")
    wrong += verify_trace(str(trace))
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description="Record a service-like program for long and watch what it takes.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--program", choices=PROGRAMS, default="threads")
    parser.add_argument("--memory-kb", type=int, default=16_000, help="how much the memory may grow once it is warm")
    parser.add_argument("--directory", type=Path, help="where to work (default: a temporary directory)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        directory = options.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        wrong = soak(PROGRAMS[options.program], 60 * options.minutes, directory, options.memory_kb)
    for finding in wrong:
        print(f"wrong: {finding}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
