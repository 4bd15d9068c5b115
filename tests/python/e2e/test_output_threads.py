"""Threads that write at the same time: each has in its trace what it wrote, in whole chunks, and together it is all.

Who was before whom is known to nobody; so the real output is taken apart by writer, and each part compared.

All threads together write less than a text stream's 8 KiB: where that is full, `write` of CPython 3.12.1 loses what
others write at that moment, and puts bytes of other memory there, whoever records.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from support.outputs import WRITE, WRITE_OTHER, facts, text_of
from support.recording import Recording
from support.running import python

Write = Callable[..., Path]
Record = Callable[..., Recording]

MODES = pytest.mark.parametrize("io", ["proxies", "proxies+fd"])
BUFFERING = pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
LINES = 100

WRITERS = {
    "text": 'sys.stdout.write(f"{name} {number} é→🦀\\n")',
    "bytes": 'sys.stdout.buffer.write(f"{name} {number} é→🦀\\n".encode())',
    "both": """\
if number % 2:
            sys.stdout.write(f"{name} {number} text é\\n")
            sys.stdout.flush()
        else:
            sys.stdout.buffer.write(f"{name} {number} bytes é\\n".encode())
            sys.stdout.buffer.flush()""",
    "errors": 'sys.stderr.write(f"{name} {number} é\\n")',
    "descriptor": 'os.write(1, f"{name} {number} é\\n".encode())',
    "logging": "log.info('%s %d é', name, number)",
}


@BUFFERING
@MODES
@pytest.mark.parametrize("name", WRITERS)
def test_each_thread_has_its_own_output(write: Write, record: Record, name: str, io: str, unbuffered: str) -> None:
    script = write(
        f"""\
import logging, os, sys, threading
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
log = logging.getLogger()
sys.setswitchinterval(1e-5)
start = threading.Barrier(4)
def work(name):
    start.wait()
    for number in range({LINES}):
        {WRITERS[name]}
threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    )
    env = {"PYTHONUNBUFFERED": unbuffered}
    plain = python([script], env=env)
    recorded = record(script, env=env, options=["--io-capture", io, "--propagate-script-exit"])
    assert (recorded.status, plain.status) == (0, 0), recorded.stderr
    kind = WRITE_OTHER if name == "errors" else WRITE
    real, expected = ((r.stderr, r.stdout)[kind == WRITE] for r in (recorded, plain))
    parts = by_writer(real)
    assert parts == by_writer(expected)
    threads = recorded.trace.threads
    assert text_of(threads[:1], kind) == ""
    if name == "descriptor" and io == "proxies":
        assert text_of(threads, kind) == ""
        return
    assert {text[0]: text for thread in threads[1:] if (text := text_of([thread], kind))} == parts
    for thread in threads[1:]:
        lines = [facts(output)["line"] for output in thread.outputs]
        assert min(lines) >= 9
        assert len({facts(output)["thread"] for output in thread.outputs}) == 1


def by_writer(text: str) -> dict[str, str]:
    """What each writer wrote; its lines are whole, because it writes each by one call."""
    parts: dict[str, str] = defaultdict(str)
    for line in text.splitlines(keepends=True):
        parts[line[0]] += line
    assert len(parts) == 4
    assert all(part.count("\n") == LINES for part in parts.values())
    return dict(parts)


def test_lines_that_threads_tear_apart_are_whole_in_their_traces(write: Write, record: Record) -> None:
    """`print` writes piece by piece: on the terminal threads may tear a line apart, in the trace they do not."""
    script = write(
        """\
        import sys, threading
        sys.setswitchinterval(1e-6)
        start = threading.Barrier(4)
        def work(name):
            start.wait()
            for number in range(100):
                print(name, number, "end")
        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """
    )
    recorded = record(script)
    assert recorded.status == 0, recorded.stderr
    expected = {name: "".join(f"{name} {number} end\n" for number in range(100)) for name in "abcd"}
    threads = recorded.trace.threads[1:]
    assert {text_of([thread], WRITE)[0]: text_of([thread], WRITE) for thread in threads} == expected
    assert sorted(recorded.stdout) == sorted("".join(expected.values()))
    ends = [json.loads(o.metadata)["flags"] for thread in threads for o in thread.outputs if o.content[-1] != "\n"]
    assert all(flags == ["time_split"] for flags in ends)
