"""What the program writes and reads is in the trace, at the line that caused it, and the program sees no difference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.reading import Output, Thread, Trace
from support.recording import Recording
from support.running import Outcome, python

Write = Callable[..., Path]
Record = Callable[..., Recording]
Run = Callable[..., Outcome]

WRITE, WRITE_OTHER, READ = 0, 2, 3
UNBUFFERED = {"PYTHONUNBUFFERED": "1"}
BUFFERED = {"PYTHONUNBUFFERED": ""}


def chunks(thread: Thread) -> list[Output]:
    """The outputs, those put together again that came in parts only because the machine was busy."""
    whole: list[Output] = []
    split = False
    for output in thread.outputs:
        flags = facts(output)["flags"]
        if split:
            before = whole.pop()
            output = Output(output.kind, output.metadata, before.content + output.content, before.step)
        whole.append(output)
        split = "time_split" in flags  # type: ignore[operator]
    return whole


def text_of(thread: Thread, kind: int = WRITE) -> str:
    return "".join(output.content for output in thread.outputs if output.kind == kind)


def facts(output: Output) -> dict[str, object]:
    return json.loads(output.metadata)


def lines_of(thread: Thread) -> list[tuple[int, str]]:
    return [(facts(output)["line"], output.content) for output in chunks(thread)]  # type: ignore[misc]


def same_as_plain(
    record: Record, script: Path, *args: str, stdin: str = "", env: dict[str, str] | None = None
) -> Trace:
    """Runs a script plainly and recorded: same streams, same status, and the trace holds them."""
    plain = python([script, *args], stdin=stdin, env=env)
    recorded = record(script, *args, stdin=stdin, env=env, options=["--propagate-script-exit"])
    assert (recorded.stdout, recorded.stderr, recorded.status) == (plain.stdout, plain.stderr, plain.status)
    trace = recorded.trace
    assert text_of(trace.main) == plain.stdout
    assert text_of(trace.main, WRITE_OTHER) == plain.stderr
    return trace


def test_output_belongs_to_the_line_that_executes_and_not_to_the_last_line_event(write: Write, record: Record) -> None:
    script = write(
        """\
        def g():
            value = 1
            return value

        print("x", g())
        print(
            "y",
            g(),
        )
        """
    )
    main = same_as_plain(record, script).main
    assert lines_of(main) == [(5, "x 1\n"), (6, "y 1\n")]
    metadata = facts(chunks(main)[0])
    assert list(metadata) == ["stream", "thread", "path_id", "line", "frame_id", "flags"]
    assert (metadata["stream"], metadata["flags"]) == ("stdout", ["newline"])
    assert main.paths[metadata["path_id"]] == str(script)  # type: ignore[index]


def test_output_of_a_step_comes_after_it_and_before_the_next(write: Write, record: Record) -> None:
    script = write(
        """\
        import sys
        print("one")
        sys.stdout.write("two"); sys.stdout.write(" and")
        sys.stdout.write("three")
        sys.stdout.flush()
        print("four", end="", flush=True)
        print("five", file=sys.stderr)
        """
    )
    main = same_as_plain(record, script).main
    found = [(output.step.line, output.content, facts(output)["flags"]) for output in chunks(main) if output.step]
    assert found == [
        (2, "one\n", ["newline"]),
        (3, "two and", ["step_boundary"]),
        (4, "three", ["step_boundary"]),
        (6, "four", ["flush"]),
        (7, "five\n", ["newline"]),
    ]
    assert [facts(output)["stream"] for output in chunks(main)] == ["stdout"] * 4 + ["stderr"]


@pytest.mark.parametrize("env", [BUFFERED, UNBUFFERED], ids=["buffered", "unbuffered"])
def test_bytes_written_below_the_text_layer_are_recorded_once(
    write: Write, record: Record, env: dict[str, str]
) -> None:
    script = write(
        """\
        import sys
        print("text")
        sys.stdout.flush()
        sys.stdout.buffer.write(b"caf\\xc3\\xa9\\n")
        sys.stdout.buffer.write(memoryview(b"in two: \\xe2\\x86"))
        sys.stdout.buffer.write(bytearray(b"\\x92\\n"))
        sys.stdout.buffer.writelines([b"a", b"b\\n"])
        sys.stdout.buffer.flush()
        print("text again")
        """
    )
    main = same_as_plain(record, script, env=env).main
    assert text_of(main) == "text\ncafé\nin two: →\nab\ntext again\n"


def test_bytes_that_are_no_text_are_escaped_and_marked(write: Write, record: Record) -> None:
    script = write(
        """\
        import sys
        sys.stdout.reconfigure(errors="surrogateescape")
        sys.stdout.buffer.write(b"bad \\xff\\n")
        print("smuggled \\udcfe")
        print("plain \\\\xff")
        """
    )
    main = record(script).trace.main
    assert [(output.content, facts(output)["flags"]) for output in chunks(main)] == [
        ("bad \\xff\n", ["newline", "escaped"]),
        ("smuggled \\xfe\n", ["newline", "escaped"]),
        ("plain \\xff\n", ["newline"]),
    ]


@pytest.mark.parametrize("env", [BUFFERED, UNBUFFERED], ids=["buffered", "unbuffered"])
def test_what_the_program_reads_is_recorded_as_read(write: Write, record: Record, env: dict[str, str]) -> None:
    script = write(
        """\
        import sys
        input("prompt> ")
        sys.stdin.readline()
        sys.stdin.read(2)
        for line in sys.stdin:
            break
        sys.stdin.readlines(1)
        sys.stdin.buffer.read(3)
        sys.stdin.read()
        """
    )
    script_input = "one\ntwo\nthree\nfour\nfünf\nsix\nseven\n"
    recorded = record(script, stdin=script_input, env=env)
    assert recorded.status == 0, recorded.stderr
    main = recorded.trace.main
    reads = [(facts(output)["line"], output.content) for output in chunks(main) if output.kind == READ]
    assert "".join(content for _, content in reads) == script_input
    assert reads[:4] == [(2, "one\n"), (3, "two\n"), (4, "th"), (5, "ree\n")]
    assert text_of(main) == "prompt> " == recorded.stdout
    assert all("input" in facts(output)["flags"] for output in chunks(main) if output.kind == READ)  # type: ignore[operator]


def test_the_streams_stay_the_programs_own_objects(write: Write, record: Record) -> None:
    script = write(
        """\
        import copy, io, pickle, sys
        for name in ("stdout", "stderr", "stdin"):
            stream = getattr(sys, name)
            print(name, stream is getattr(sys, "__" + name + "__"), isinstance(stream, io.TextIOWrapper))
            print(isinstance(stream, io.TextIOBase), stream, stream.buffer, type(stream), type(stream.buffer))
            print(stream.encoding, stream.errors, stream.fileno(), stream.isatty(), stream.closed, stream.mode)
            print(stream.line_buffering, stream.newlines, stream.readable(), stream.writable(), stream.seekable())
            for operation in (copy.copy, copy.deepcopy, pickle.dumps):
                try:
                    operation(stream)
                except TypeError as error:
                    print(error)
            for attribute in ("nothing", "write"):
                try:
                    setattr(type(stream), attribute, None)
                except TypeError as error:
                    print(error)
            stream.extra = 1
            print(stream.extra, sorted(vars(stream)), len(dir(stream)), stream.write.__name__)
        for wrong in (lambda: sys.stdout.write(), lambda: sys.stdout.write(b""), lambda: sys.stdin.write("x")):
            try:
                wrong()
            except Exception as error:
                print(type(error), error)
        print(sys.stdout.write("four"), sys.stdout.buffer.write(b"") , sys.stdout.flush())
        """
    )
    same_as_plain(record, script, env=BUFFERED)


def test_a_stream_that_the_program_replaced_is_left_alone(write: Write, record: Record) -> None:
    script = write(
        """\
        import contextlib, io, sys
        with contextlib.redirect_stdout(io.StringIO()) as inside:
            print("hidden")
        print("shown", inside.getvalue(), end="")
        mine = sys.stdout = io.StringIO()
        print("mine")
        sys.stdout = sys.__stdout__
        print("mine was", mine.getvalue(), end="")
        sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding="utf-8", line_buffering=True)
        print("through a new wrapper")
        """
    )
    main = same_as_plain(record, script).main
    assert text_of(main) == "shown hidden\nmine was mine\nthrough a new wrapper\n"


def test_a_class_in_place_of_stdout_is_recorded_and_given_back(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """\
        import sys
        import codetracer_python_recorder as recorder

        class Tee:
            def __init__(self, stream):
                self.stream = stream
                self.seen = []
            def write(self, text):
                self.seen.append(text)
                return self.stream.write(text)
            def flush(self):
                self.stream.flush()

        tee = sys.stdout = Tee(sys.stdout)
        recorder.start("out")
        print("through a tee")
        kept = sys.stdout.write
        recorder.stop()
        kept("after\\n")
        print(type(tee) is Tee, tee is sys.stdout, tee.seen, file=sys.stderr)
        """
    )
    outcome = run(script)
    assert outcome.stdout == "through a tee\nafter\n"
    assert outcome.stderr == "True True ['through a tee', '\\n', 'after\\n']\n"
    main = Trace(tmp_path / "out").main
    assert lines_of(main) == [(16, "through a tee"), (16, "\n")]


def test_streams_are_their_own_type_again_after_stop(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """\
        import io, sys
        import codetracer_python_recorder as recorder

        class Broken(io.StringIO):
            pass

        for round in range(2):
            recorder.start(f"out-{round}")
            print("round", round)
            sys.stdin, saved = None, sys.stdin
            recorder.stop()
            sys.stdin = saved
            print(type(sys.stdout) is io.TextIOWrapper, type(sys.stdin) is io.TextIOWrapper)
        sys.stdout, saved = None, sys.stdout
        recorder.start("out-none")
        print("nowhere")
        recorder.stop()
        sys.stdout = saved
        """
    )
    outcome = run(script)
    assert (outcome.stdout, outcome.stderr) == ("round 0\nTrue True\nround 1\nTrue True\n", "")
    assert [text_of(Trace(tmp_path / f"out-{round}").main) for round in range(2)] == ["round 0\n", "round 1\n"]
    assert chunks(Trace(tmp_path / "out-none").main) == []


def test_off_leaves_the_streams_untouched_and_records_nothing(write: Write, record: Record) -> None:
    script = write("import io, sys\nprint(type(sys.stdout) is io.TextIOWrapper)\n")
    recorded = record(script, options=["--io-capture", "off"])
    assert (recorded.stdout, chunks(recorded.trace.main)) == ("True\n", [])


def test_output_of_unrecorded_code_belongs_to_the_nearest_recorded_caller(write: Write, record: Record) -> None:
    script = write(
        """\
        import logging, sys, traceback, warnings
        logging.basicConfig(format="%(message)s", stream=sys.stdout)
        logging.warning("logged")
        def warn():
            warnings.warn("careful", stacklevel=2)
        warn()
        """
    )
    main = record(script).trace.main
    assert lines_of(main)[0] == (3, "logged\n")
    warning = [output for output in chunks(main) if output.kind == WRITE_OTHER]
    assert "careful" in "".join(output.content for output in warning)
    assert {facts(output)["line"] for output in warning} == {5}


def test_the_traceback_of_an_uncaught_exception_is_recorded_too(write: Write, record: Record) -> None:
    script = write(
        """\
        print("in the script")
        raise ValueError("uncaught")
        """
    )
    trace = same_as_plain(record, script)
    assert text_of(trace.main) == "in the script\n"
    assert "ValueError: uncaught" in text_of(trace.main, WRITE_OTHER)


def test_each_thread_has_its_own_output_in_whole_chunks(write: Write, record: Record) -> None:
    script = write(
        """\
        import threading
        def work(name):
            for number in range(200):
                print(name, number)
        threads = [threading.Thread(target=work, args=(name,), name=name) for name in "abcd"]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print("done")
        """
    )
    recorded = record(script)
    trace = recorded.trace
    assert text_of(trace.main) == "done\n"
    contents = [[output.content for output in chunks(thread)] for thread in trace.threads[1:]]
    expected = {name: [f"{name} {number}\n" for number in range(200)] for name in "abcd"}
    assert sorted(contents) == [expected[name] for name in "abcd"]
    assert all({facts(output)["line"] for output in chunks(thread)} == {4} for thread in trace.threads[1:])


@pytest.mark.parametrize(
    ("io", "expected"),
    [
        ("capture = false", []),
        ('streams = ["stderr"]', ["error\n"]),
        ('capture = true\nstreams = ["stdout", "stdin"]', ["out\n"]),
    ],
    ids=["nothing", "stderr", "stdout"],
)
def test_filters_say_which_streams_are_recorded(write: Write, record: Record, io: str, expected: list[str]) -> None:
    write(
        f"""\
[meta]
name = "io"
version = 1
[io]
{io}
[scope]
default_exec = "inherit"
default_value_action = "inherit"
""",
        "io.toml",
    )
    script = write('import sys\nprint("out")\nprint("error", file=sys.stderr)\n')
    recorded = record(script, options=["--trace-filter", str(script.parent / "io.toml")])
    assert (recorded.stdout, recorded.stderr) == ("out\n", "error\n")
    assert [output.content for output in chunks(recorded.trace.main)] == expected


def test_limits_cut_visibly_and_are_counted(write: Write, record: Record) -> None:
    script = write(
        """\
        import sys
        print("0123456789")
        print("short")
        print("é" * 40_000)
        """
    )
    one = record(script, env={"CODETRACER_POLICY": "values.max_output_chunk=8"})
    assert one.stdout == "0123456789\nshort\n" + "é" * 40_000 + "\n"
    main = one.trace.main
    assert text_of(main) == "01234567… +2 more\nshort\néééé… +39996 more\n"
    assert ["truncated" in facts(output)["flags"] for output in chunks(main)] == [True, False, True]  # type: ignore[operator]
    stats = one.trace.metadata["trace_filter"]["stats"]["io"]
    assert stats["stdout"] == {"chunks": len(main.outputs), "bytes": len(text_of(main).encode()), "cut": 39998}
    assert stats["stderr"] == {"chunks": 0, "bytes": 0, "cut": 0}
    total = record(script, env={"CODETRACER_POLICY": "values.max_output_total=13"})
    assert text_of(total.trace.main) == "0123456789\nsh… +3 more"
    assert total.trace.metadata["trace_filter"]["stats"]["io"]["stdout"]["cut"] > 40_000


def test_long_writes_are_recorded_whole_in_pieces(write: Write, record: Record) -> None:
    script = write(
        """\
        import sys
        sys.stdout.write("x→🦀" * 100_000 + "\\n")
        sys.stdout.flush()
        sys.stdout.buffer.write("→".encode() * 100_000 + b"\\n")
        """
    )
    main = same_as_plain(record, script).main
    assert max(len(output.content.encode()) for output in main.outputs) <= 256 * 1024
