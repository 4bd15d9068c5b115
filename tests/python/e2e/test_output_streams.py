"""What can be done with the standard streams is the same while they are recorded, and what passes is in the trace."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from support.reading import Thread, Trace
from support.recording import Recording
from support.running import python

Write = Callable[..., Path]
Record = Callable[..., Recording]

STDOUT, STDERR, STDIN = 0, 2, 3
UNBUFFERED = {"PYTHONUNBUFFERED": "1"}
BUFFERED = {"PYTHONUNBUFFERED": ""}
TYPED = "one\ntwo\nthree é\n" + "four\n" * 3 + "last without end"

WRITING = {
    "write and writelines": 'print(sys.stdout.write("a\\n"), sys.stdout.writelines(["b", "c\\n"]), file=sys.stderr)',
    "every option of print": """\
        print("a", 1, None, sep="-", end=".\\n", flush=True)
        print("é", file=sys.stdout)
        print(file=None)
        """,
    "properties": """\
        out = sys.stdout
        print(out.encoding, out.errors, out.newlines, out.line_buffering, out.write_through, out.closed, out.name)
        print(out.fileno(), out.isatty(), out.readable(), out.writable(), out.seekable(), out.buffer.raw.fileno())
        """,
    "reconfigure": """\
        sys.stdout.reconfigure(line_buffering=True, write_through=True, errors="backslashreplace")
        print("\\udcff", sys.stdout.line_buffering, sys.stdout.errors)
        sys.stdout.reconfigure(encoding="ascii", newline="\\n")
        print("\\u00e9", sys.stdout.encoding)
        """,
    "detach": """\
        buffer = sys.stdout.detach()
        buffer.write(b"to the buffer\\n")
        try:
            sys.stdout.write("detached")
        except ValueError as error:
            sys.stderr.write(f"{error}\\n")
        sys.stdout = io.TextIOWrapper(buffer, encoding="utf-8")
        print("through a wrapper of the program's own", flush=True)
        """,
    "a duplicate": """\
        with open(sys.stdout.fileno(), "w", closefd=False) as again:
            sys.stdout.flush()
        print("through the first", flush=True)
        """,
    "copies": """\
        for operation in (copy.copy, copy.deepcopy, pickle.dumps):
            for stream in (sys.stdout, sys.stdout.buffer, sys.stdin):
                try:
                    print(operation(stream))
                except TypeError as error:
                    print(error)
        """,
    "as a context": """\
        with sys.stdout as stream:
            print("inside")
        print(stream.closed, sys.stdout.closed, file=sys.stderr)
        try:
            print("after")
        except ValueError as error:
            print(error, file=sys.stderr)
        """,
    "errors": """\
        for wrong in (lambda: sys.stdout.read(), lambda: sys.stdin.write("x"), lambda: sys.stdout.write(7),
                      lambda: sys.stdout.writelines(5), lambda: sys.stdout.buffer.write("x"), lambda: next(sys.stdout)):
            try:
                print(wrong())
            except Exception as error:
                print(type(error).__name__, error)
        """,
    "a file that is closed below": """\
        print("a", flush=True)
        getattr(sys.stdout.buffer, "raw", sys.stdout.buffer).close()
        try:
            print("b")
        except ValueError as error:
            print(error, sys.stdout.closed, file=sys.stderr)
        sys.stdout = None
        """,
    "a buffer that is taken away unseen": """\
        out = sys.stdout
        print("a", flush=True)
        buffer = io.TextIOWrapper.detach(out)
        for ask in (lambda: out.closed, lambda: out.write("b")):
            try:
                print(ask(), file=sys.stderr)
            except ValueError as error:
                print(error, file=sys.stderr)
        buffer.write(b"c\\n")
        buffer.flush()
        sys.stdout = None
        """,
    "the raw file": 'sys.stdout.flush(); print(sys.stdout.buffer.raw.write(b"raw\\n"), file=sys.stderr)',
}

READING = {
    "iteration": "for line in sys.stdin: print(repr(line))",
    "readline": "print([sys.stdin.readline(), sys.stdin.readline(2), sys.stdin.readline()]); print(sys.stdin.read())",
    "readlines": "print(sys.stdin.readlines(6), sys.stdin.readlines())",
    "read": "print([sys.stdin.read(3), sys.stdin.read(0), sys.stdin.read(), sys.stdin.read()])",
    "input": 'print([input(), input("prompt "), *sys.stdin])',
    "the buffer": "print([sys.stdin.buffer.readline(), sys.stdin.buffer.read1(4), sys.stdin.buffer.read()])",
    "readinto": """\
        space = bytearray(8)
        print(sys.stdin.buffer.readinto(space), space, sys.stdin.buffer.readinto1(memoryview(space)[:3]), space)
        print(sys.stdin.buffer.read())
        """,
    "fileinput": "print(*fileinput.input())",
}


def source(body: str) -> str:
    return "import copy, fileinput, io, pickle, sys\n" + textwrap.dedent(body)


def text_of(thread: Thread, kind: int) -> str:
    return "".join(output.content for output in thread.outputs if output.kind == kind)


@pytest.mark.parametrize("name", WRITING)
@pytest.mark.parametrize("io", ["proxies", "proxies+fd"])
@pytest.mark.parametrize("env", [BUFFERED, UNBUFFERED], ids=["buffered", "unbuffered"])
def test_writing_is_the_same_and_recorded(
    write: Write, record: Record, name: str, io: str, env: dict[str, str]
) -> None:
    script = write(source(WRITING[name]))
    plain = python([script], stdin=TYPED, env=env)
    recorded = record(script, stdin=TYPED, env=env, options=["--io-capture", io, "--propagate-script-exit"])
    assert (recorded.stdout, recorded.stderr, recorded.status) == (plain.stdout, plain.stderr, plain.status)
    if name != "the raw file" or io == "proxies+fd":
        assert text_of(recorded.trace.main, STDOUT).replace(r"\xff", "") == plain.stdout.replace(r"\udcff", "")
    assert text_of(recorded.trace.main, STDERR) == plain.stderr


@pytest.mark.parametrize("name", READING)
def test_reading_is_the_same_and_recorded(write: Write, record: Record, name: str) -> None:
    script = write(source(READING[name]))
    plain = python([script], stdin=TYPED)
    recorded = record(script, stdin=TYPED)
    assert plain.status == 0, plain.stderr
    assert (recorded.stdout, recorded.stderr, recorded.status) == (plain.stdout, plain.stderr, plain.status)
    assert text_of(recorded.trace.main, STDIN) == TYPED


def test_a_handler_that_logs_to_stderr_while_the_recorder_logs_too(write: Write, record: Record) -> None:
    """Neither recursion nor logs of the recorder among what the program put out."""
    script = write(
        """\
        import gc, logging, sys
        class Handler(logging.StreamHandler):
            def emit(self, entry):
                sys.stderr.write("emit ")
                super().emit(entry)
                print("emitted", file=sys.stderr)
        class Talks:
            def __repr__(self):
                logging.warning("repr was called")
                return "?"
            def __del__(self):
                logging.warning("deleted")
        logging.basicConfig(handlers=[Handler()], format="%(message)s", level="DEBUG")
        def work(number):
            value = Talks()
            logging.debug("number %d", number)
            return number
        sys.setswitchinterval(1e-5)
        for number in range(20):
            work(number)
        gc.callbacks.append(lambda phase, info: logging.info("collected %s", phase))
        gc.collect()
        gc.callbacks.clear()
        """
    )
    # A rule that matches nothing is worth a line in the log.
    rules = '[meta]\nname = "x"\nversion = 1\n[scope]\ndefault_exec = "inherit"\ndefault_value_action = "inherit"\n'
    write(rules + '[[scope.rules]]\nselector = "pkg:no.such"\nexec = "skip"\n', "rules.toml")
    plain = python([script])
    options = ["--log-level", "trace", "--trace-filter", str(script.parent / "rules.toml"), "--propagate-script-exit"]
    recorded = record(script, options=options)
    program = [line for line in recorded.stderr.splitlines() if not line.startswith('{"')]
    assert (recorded.stdout, program, recorded.status) == (plain.stdout, plain.stderr.splitlines(), plain.status)
    assert "repr was called" not in plain.stderr
    assert recorded.stderr.count('{"') > 0, "the recorder logged nothing: the test shows nothing"
    assert text_of(recorded.trace.main, STDERR) == plain.stderr


def test_output_at_exit_is_recorded_while_the_recording_runs(write: Write, run: Callable[..., Recording]) -> None:
    """Handlers run in reverse order: those registered after the recording began come before its end."""
    script = write(
        """\
        import atexit
        atexit.register(print, "registered before")
        import codetracer_python_recorder as recorder
        recorder.start("out")
        @atexit.register
        def late():
            print("registered after")
        print("in the script")
        """
    )
    outcome = run(script)
    assert outcome.stdout == "in the script\nregistered after\nregistered before\n"
    trace = Trace(script.parent / "out")
    assert text_of(trace.main, STDOUT) == "in the script\nregistered after\n"
    lines = [json.loads(output.metadata)["line"] for output in trace.main.outputs]
    assert lines == [8, 7]
