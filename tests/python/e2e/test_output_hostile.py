"""Programs that are rough with their streams: the real output is that of plain Python.

The trace has what was written through the streams, buffered and unbuffered, with and without the mirror.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from codetracer_python_recorder.codetracer_python_recorder import recover_trace
from support.outputs import WRITE, WRITE_OTHER, plain_and_recorded, text_of
from support.reading import Trace
from support.recording import Recording
from support.running import python

Write = Callable[..., Path]
Record = Callable[..., Recording]

PROGRAMS = {
    "a file in place of stdout": """\
        import os, sys
        print("before")
        sys.stdout = open(os.devnull, "w")
        print("nowhere")
        sys.stdout.close()
        sys.stdout = sys.__stdout__
        print("after")
        """,
    "both layers of one stream": """\
        import sys
        print("text", end=" ")
        sys.stdout.flush()
        sys.stdout.buffer.write(b"bytes\\n")
        sys.stdout.buffer.flush()
        sys.__stdout__.write("original\\n")
        print(end="")
        print()
        print("a", "b", sep="\\n", end="")
        print("c", file=sys.stderr)
        """,
    "bytes from threads": """\
        import sys, threading
        for number in range(8):
            thread = threading.Thread(
                target=lambda: [sys.stdout.buffer.write(b"%d:%d\\n" % (number, i)) for i in range(50)])
            thread.start()
            thread.join()
        """,
    "a wrapper around a detached stream": """\
        import io, sys
        print("before")
        class Upper(io.TextIOWrapper):
            def write(self, text):
                return super().write(text.upper())
        sys.stdout = Upper(sys.stdout.detach(), encoding="utf-8", line_buffering=True)
        print("after é")
        """,
    "a writer of codecs": """\
        import codecs, sys
        sys.stdout = codecs.getwriter("utf-8")(sys.stdout.buffer)
        print("coded é")
        sys.stdout.flush()
        """,
    "writes in generators and objects that are finalised": """\
        import gc
        def generator():
            try:
                yield 1
            finally:
                print("generator closed")
        class Node:
            def __del__(self):
                print("node gone")
        running = generator()
        next(running)
        del running
        node = Node()
        node.itself = node
        del node
        gc.collect()
        """,
    "writes in signal handlers": """\
        import os, signal
        signal.signal(signal.SIGUSR1, lambda *_: print("signal"))
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGUSR1)
            print("main")
        """,
    "doctest and pdb": """\
        import doctest, pdb, sys
        def add(a, b):
            \"\"\"
            >>> add(1, 2)
            4
            \"\"\"
            return a + b
        print(doctest.testmod(sys.modules["__main__"]).failed)
        import io
        debugger = pdb.Pdb(stdin=io.StringIO("n\\np 6 * 7\\nc\\n"), readrc=False, nosigint=True)
        debugger.use_rawinput = False
        debugger.run("print('debugged')\\nprint('twice')")
        print("done")
        """,
    "handlers at the exit": """\
        import atexit, sys
        atexit.register(print, "bye")
        atexit.register(sys.stdout.write, "before that\\n")
        print("main")
        """,
    "a write that fails": """\
        import sys
        sys.stdout.reconfigure(encoding="ascii")
        try:
            print("é")
        except UnicodeEncodeError as error:
            print(error.reason)
        try:
            sys.stdout.write(3)
        except TypeError:
            print("no text")
        """,
}

BYPASSING = {
    "a copy of the descriptor": """\
        import os
        print("one", flush=True)
        with open(os.dup(1), "w") as copy:
            print("two", file=copy)
        print("three")
        """,
    "the original file, opened again": """\
        import sys
        print("one", flush=True)
        with open(1, "wb", closefd=False) as again:
            again.write(b"two\\n")
        print("three")
        """,
}


def crashed(directory: Path) -> Trace:
    """The trace of a program that ended without its recorder's leave, mended."""
    recover_trace(str(directory))
    return Trace(directory)


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("io", ["proxies", "proxies+fd"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_rough_programs_show_the_same_and_are_recorded(
    write: Write, record: Record, name: str, io: str, unbuffered: str
) -> None:
    plain, recorded = plain_and_recorded(write(PROGRAMS[name]), record, io, unbuffered)
    threads = recorded.trace.threads
    assert plain.stdout
    assert text_of(threads, WRITE) == plain.stdout
    assert text_of(threads, WRITE_OTHER) == plain.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("io", ["proxies", "proxies+fd"])
@pytest.mark.parametrize("name", BYPASSING)
def test_what_goes_round_the_streams_is_shown_in_order_and_recorded_by_the_mirror(
    write: Write, record: Record, name: str, io: str, unbuffered: str
) -> None:
    plain, recorded = plain_and_recorded(write(BYPASSING[name]), record, io, unbuffered)
    assert plain.stdout == "one\ntwo\nthree\n"
    caught = "two\n" if io == "proxies+fd" else ""
    assert text_of(recorded.trace.threads, WRITE) == f"one\n{caught}three\n"
    assert text_of(recorded.trace.threads, WRITE, mirror=True) == caught


@pytest.mark.parametrize("io", ["proxies", "proxies+fd"])
def test_what_was_flushed_before_a_crash_is_shown(write: Write, record: Record, io: str) -> None:
    script = write(
        """\
        import faulthandler, os, signal
        faulthandler.enable()
        print("flushed", flush=True)
        print("lost", end="")
        os.kill(os.getpid(), signal.SIGSEGV)
        """
    )
    plain = python([script])
    recorded = record(script, options=["--io-capture", io])
    assert (recorded.stdout, recorded.status) == (plain.stdout, plain.status) == ("flushed\n", -11)
    assert "Segmentation fault" in plain.stderr
    assert f'File "{script}", line 5 in <module>' in plain.stderr
    address = re.compile("0x[0-9a-f]+")
    assert address.sub("0x", recorded.stderr) == address.sub("0x", plain.stderr)
    # What the trace has is what was written until it was written down last, in order; the handler of the crash cannot
    # be recorded.
    outputs = crashed(recorded.directory).main.outputs
    assert "flushed\nlost".startswith("".join(output.content for output in outputs))


def test_where_a_debugger_stops_is_where_it_stops_under_any_tool_that_is_told_of_lines(
    write: Write, record: Record
) -> None:
    """`Pdb.set_trace` of CPython 3.13 stops within its line, but not while a tool is told of lines."""
    script = write(
        """\
        import io, pdb
        debugger = pdb.Pdb(stdin=io.StringIO("p 6 * 7\\nc\\n"), readrc=False, nosigint=True)
        debugger.use_rawinput = False
        debugger.set_trace()
        print("done")
        """
    )
    tool = write(
        """\
        import sys
        tools = sys.monitoring
        tools.use_tool_id(3, "nothing")
        tools.register_callback(3, tools.events.LINE, lambda code, line: None)
        tools.set_events(3, tools.events.LINE)
        with open(sys.argv[1]) as file:
            code = compile(file.read(), sys.argv[1], "exec")
        exec(code)
        """,
        "tool.py",
    )
    expected = python([tool, script])
    assert "(Pdb) 42" in expected.stdout
    recorded = record(script)
    assert (recorded.stdout, recorded.status) == (expected.stdout, expected.status)
