"""Busy threads, nested callbacks, long runs: no deadlock, no loss, bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from oracle.model import Call
from support.reading import Trace, inspected_lines
from support.recording import STRUCTURE_FILTER, Recording
from support.running import Outcome, python

Record = Callable[..., Recording]
Write = Callable[..., Path]
Run = Callable[..., Outcome]


def test_eight_busy_threads_neither_deadlock_nor_lose_an_event(record: Record, write: Write) -> None:
    script = write(
        """
        import sys
        import threading

        sys.setswitchinterval(1e-5)
        barrier = threading.Barrier(8)

        def work(n):
            square = n * n
            return square

        def busy():
            barrier.wait()
            total = 0
            for n in range(400):
                total += work(n)
            return total

        threads = [threading.Thread(target=busy, name=f"busy-{n}") for n in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print("joined")
        """
    )
    recorded = record(script)
    assert recorded.stdout == "joined\n", recorded.stderr
    assert recorded.status == 0
    threads = recorded.trace.threads
    assert len(threads) == 9
    expected = [[["n", ["Int", hex(n)]]] for n in range(400)]
    for thread in threads[1:]:
        assert [[list(arg) for arg in call.args] for call in thread.calls_of("work")] == expected
        assert thread.returns_of("work") == [["Int", hex(n * n)] for n in range(400)]
        assert thread.returns_of("busy") == [["Int", hex(sum(n * n for n in range(400)))]]
        assert thread.counts["Call"] == thread.counts["Return"] == 401


def test_callbacks_inside_callbacks_in_several_threads(record: Record, write: Write) -> None:
    script = write(
        """
        import functools
        import gc
        import re
        import sys
        import threading
        import weakref

        sys.setswitchinterval(1e-5)

        class Node:
            def __init__(self, depth):
                self.depth = depth
                self.self = self

            def __del__(self):
                finalised.append(sorted([2, 1], key=lambda n: -n))

            def __lt__(self, other):
                return re.sub("a", lambda match: match.group().upper(), "aa") == "AA" and self.depth < other.depth

        finalised = []

        def nested(depth):
            node = Node(depth)
            reference = weakref.ref(node, lambda reference: finalised.append(reference))
            ordered = sorted([node, Node(depth - 1)], key=functools.cmp_to_key(lambda a, b: (a < b) - (b < a)))
            gc.collect()
            assert reference() is node
            if depth:
                return list(map(nested, [depth - 1, depth - 2 if depth > 1 else 0])) + [ordered[0].depth]
            return depth

        threads = [threading.Thread(target=nested, args=(4,), name=f"nested-{n}") for n in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(nested(3))
        """
    )
    plain = python([script])
    recorded = record(script)
    assert recorded.stdout == plain.stdout, recorded.stderr
    assert recorded.status == 0
    threads = recorded.trace.threads
    assert len(threads) == 5
    for thread in threads[1:]:
        assert len(thread.calls_of("nested")) == len(threads[1].calls_of("nested")) > 10


def test_stop_while_other_threads_run_recorded_code(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """
        import sys
        import threading
        import time

        import codetracer_python_recorder as recorder

        sys.setswitchinterval(1e-5)
        end = threading.Event()

        def step(n):
            m = n + 1
            return m

        def generator():
            n = 0
            while True:
                n = step(n)
                yield n

        def busy():
            # As fast as can be for a while, then slowly: the trace shall not be too long to be read.
            round, burst = None, 0
            for n in generator():
                if round != current[0]:
                    round, burst = current[0], 0
                burst += 1
                if burst > 2000:
                    time.sleep(0.0005)
                if end.is_set():
                    return n

        current = [None]
        threads = [threading.Thread(target=busy, name=f"busy-{n}") for n in range(4)]
        for thread in threads: thread.start()
        for round in range(3):
            current[0] = round
            recorder.start(f"out-{round}", trace_filter="structure.toml")
            time.sleep(0.05)
            recorder.flush()
            recorder.stop(exit_code=round)
        print(all(thread.is_alive() for thread in threads))
        end.set()
        for thread in threads: thread.join()
        print("joined")
        """
    )
    (tmp_path / "structure.toml").write_text(STRUCTURE_FILTER)
    outcome = run(script)
    assert outcome.stdout == "True\njoined\n", outcome.stderr
    for number in range(3):
        trace = Trace(tmp_path / f"out-{number}")
        assert trace.main.toplevel_return == ["Int", hex(number)]
        # Reading them is the assertion that each is whole and balanced.
        main, *others = [{call.name for call in events if isinstance(call, Call)} for events in trace.structures]
        assert main == {"<__main__>"}, "the thread that started the recording is not the first"
        assert 1 <= len(others) <= 4
        for names in others:
            assert {"step", "generator"} <= names <= {"step", "generator", "busy"}


def test_many_short_threads_are_all_recorded(record: Record, write: Write) -> None:
    script = write(
        """
        import threading

        def work(n):
            return n

        for n in range(25):
            thread = threading.Thread(target=work, args=(n,))
            thread.start(); thread.join()
        print("done")
        """
    )
    recorded = record(script)
    assert recorded.stdout == "done\n", recorded.stderr
    returned = [value for thread in recorded.trace.threads for value in thread.returns_of("work")]
    assert sorted(int(value[1], 16) for value in returned) == list(range(25))


HARNESS = """
import os, sys
child = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(child, 0)
print("peak", usage.ru_maxrss if sys.platform == "linux" else usage.ru_maxrss // 1024, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def peak_kib(script: Path, rounds: int, out: Path) -> int:
    """The most memory the recorded process ever had, measured from a process that is smaller than it."""
    command = ["-m", "codetracer_python_recorder", "-o", out, script, str(rounds)]
    outcome = python(["-c", HARNESS, *command], timeout=900)
    assert outcome.status == 0, outcome.stderr
    assert outcome.stdout == f"{rounds}\n"
    return int(outcome.stderr.split("peak ")[-1])


def test_a_million_steps_are_recorded_in_bounded_memory(write: Write, tmp_path: Path) -> None:
    script = write(
        """
        import sys

        def loop(rounds):
            n = 0
            while n < rounds:
                n += 1
            return n

        print(loop(int(sys.argv[1])))
        """
    )
    small = peak_kib(script, 1_000, tmp_path / "small")
    large = peak_kib(script, 500_000, tmp_path / "large")
    assert large - small < 100 * 1024, f"{small} KiB grew to {large} KiB"
    counted = {"Step": 0, "Call": 0, "Return": 0}
    last = None
    for line in inspected_lines(tmp_path / "large"):
        kind = line[2 : line.index('"', 2)]
        if kind in counted:
            counted[kind] += 1
        last = kind
    # Two steps a round, three more in `loop`, three in the module, and one for the definition line of each call.
    assert counted == {"Call": 3, "Return": 3, "Step": 1_000_000 + 3 + 3 + 2}
    assert last == "Return"
