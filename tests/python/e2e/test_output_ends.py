"""The end of a program: what is printed then comes out as without the recorder, and the trace says the truth of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.outputs import WRITE, WRITE_OTHER, plain_and_recorded, text_of
from support.recording import Recording
from support.running import Outcome

Write = Callable[..., Path]
Record = Callable[..., Recording]

MODES = pytest.mark.parametrize("io", ["proxies", "proxies+fd"])
BUFFERING = pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])

TOLD_WHOLE = {
    "handlers at exit": """\
        import atexit, sys
        atexit.register(print, "last handler")
        @atexit.register
        def first():
            print("first handler", end="")
            sys.stderr.write("and to stderr\\n")
        print("main")
        """,
    "an exit with a message": 'import sys\nprint("main")\nsys.exit("message é")',
    "an exit in the middle of a line": 'import sys\nsys.stdout.write("no end")\nsys.exit(4)',
    "no stream at the end": """\
        import sys
        print("main", flush=True)
        sys.stdout = sys.stderr = None
        print("nowhere")
        """,
    "no stream at the end, with text still held back": 'import sys\nprint("main")\nsys.stdout = None',
    "another stream at the end": """\
        import io, sys
        print("main")
        sys.stdout = io.StringIO()
        print("nowhere")
        """,
    "the stream is gone": """\
        import sys
        print("main", flush=True)
        sys.stdout.close()
        """,
    "the stream is deleted": 'import sys\nprint("main", flush=True)\ndel sys.stdout',
    "the descriptor is closed, with nothing held back": """\
        import os, sys
        print("main", flush=True)
        os.close(1)
        print("to stderr", file=sys.stderr)
        """,
    "a handler of the threads' end": """\
        import threading
        threading._register_atexit(print, "as threads end")
        print("main")
        """,
    "a thread that is waited for at the end": """\
        import threading, time
        def work():
            time.sleep(0.05)
            print("thread")
        threading.Thread(target=work).start()
        """,
}
"""Programs whose output is in the trace to the last byte."""

NOT_WHOLE = {
    "objects that modules hold": (
        """\
        import sys
        class Thing:
            def __init__(self, name):
                self.name = name
            def __del__(self):
                print("gone:", self.name)
        kept = Thing("kept")
        sys.held = Thing("held by sys")
        def function(): pass
        function.thing = Thing("of a function")
        passing = Thing("let go")
        del passing
        print("main")
        """,
        "gone: let go\nmain\n",
        "",
    ),
    "text that cannot be written any more": (
        """\
        import os
        print("held back")
        os.close(1)
        """,
        "held back\n",
        None,
    ),
    "an exception in a finaliser at the end": (
        """\
        class Thing:
            def __del__(self):
                raise ValueError("at the end")
        thing = Thing()
        print("main")
        """,
        "main\n",
        "",
    ),
}
"""Program, and what of its stdout and stderr is in the trace; `None`: not looked at."""


def without_addresses(text: str) -> str:
    return re.sub("0x[0-9a-f]+", "0x", text)


def compare(script: Path, record: Record, io: str, unbuffered: str) -> tuple[Outcome, Recording]:
    options = "--propagate-script-exit"
    return plain_and_recorded(script, record, io, unbuffered, options, comparable=without_addresses)


@BUFFERING
@MODES
@pytest.mark.parametrize("name", TOLD_WHOLE)
def test_what_is_written_to_the_end_is_recorded(
    write: Write, record: Record, name: str, io: str, unbuffered: str
) -> None:
    plain, recorded = compare(write(TOLD_WHOLE[name]), record, io, unbuffered)
    threads = recorded.trace.threads
    assert plain.stdout
    assert text_of(threads, WRITE) == plain.stdout
    assert text_of(threads, WRITE_OTHER) == plain.stderr


@BUFFERING
@MODES
@pytest.mark.parametrize("name", NOT_WHOLE)
def test_what_comes_after_the_recording_comes_out_all_the_same(
    write: Write, record: Record, name: str, io: str, unbuffered: str
) -> None:
    program, stdout, stderr = NOT_WHOLE[name]
    _, recorded = compare(write(program), record, io, unbuffered)
    threads = recorded.trace.threads
    assert text_of(threads, WRITE) == stdout
    assert stderr is None or text_of(threads, WRITE_OTHER) == stderr


@MODES
def test_a_daemon_thread_that_never_stops_printing_stops_nothing(write: Write, record: Record, io: str) -> None:
    """It sleeps, and locks no buffer: CPython itself dies of a daemon thread that it stops while it does."""
    script = write(
        """\
        import sys, threading, time
        enough = threading.Event()
        def work():
            number = 0
            while True:
                sys.stdout.write(f"daemon {number}\\n")
                number += 1
                if number == 50:
                    enough.set()
                time.sleep(0.002)
        threading.Thread(target=work, daemon=True).start()
        enough.wait()
        """
    )
    options = ["--io-capture", io, "--propagate-script-exit"]
    recorded = record(script, options=options, env={"PYTHONUNBUFFERED": "1"})
    assert (recorded.stderr, recorded.status) == ("", 0)
    lines = recorded.stdout.splitlines(keepends=True)
    assert lines == [f"daemon {number}\n" for number in range(len(lines))]
    (thread,) = recorded.trace.threads[1:]
    told = text_of([thread], WRITE).splitlines(keepends=True)
    assert told == lines[: len(told)], "the recording ends before the thread does"
    assert len(told) >= 50


@MODES
def test_a_script_is_flushed_before_exit_handlers_run_as_in_plain_python(write: Write, record: Record, io: str) -> None:
    script = write(
        """\
        import atexit, os, sys
        class Told:
            def __init__(self, stream, name):
                self.stream, self.name = stream, name
            def write(self, text):
                return self.stream.write(text)
            def flush(self):
                depth = 0
                while True:
                    try:
                        sys._getframe(depth)
                    except ValueError:
                        break
                    depth += 1
                os.write(2, f"{self.name} is flushed at depth {depth}, {sys.exc_info()[0]}\\n".encode())
                self.stream.flush()
        sys.stdout, sys.stderr = Told(sys.stdout, "stdout"), Told(sys.stderr, "stderr")
        atexit.register(os._exit, 3)
        print("shown")
        sys.exit(4)
        """
    )
    _, recorded = compare(script, record, io, "")
    assert (recorded.stdout, recorded.status) == ("shown\n", 3)
    assert recorded.stderr.splitlines() == [
        "stderr is flushed at depth 1, None",
        "stdout is flushed at depth 1, None",
    ]


@MODES
def test_the_program_closes_all_that_it_was_given(write: Write, record: Record, io: str) -> None:
    script = write(
        """\
        import os, sys
        print("main", flush=True)
        print("error", file=sys.stderr, flush=True)
        os.closerange(0, 256)
        print("nowhere")
        os._exit(9)
        """
    )
    _, recorded = compare(script, record, io, "")
    assert (recorded.stdout, recorded.stderr, recorded.status) == ("main\n", "error\n", 9)
