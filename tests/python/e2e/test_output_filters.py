"""Which streams are recorded, and how much of them: what filter files say, what limits cut, and what is counted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.outputs import READ, WRITE, WRITE_OTHER, facts, is_mirrored, text_of
from support.reading import Trace
from support.recording import Recording
from support.running import python

Write = Callable[..., Path]
Record = Callable[..., Recording]

TYPED = "un\ndeux €\ntrois\n"
PROGRAM = """\
    import sys
    for line in sys.stdin:
        print("read", line.strip())
        print("told é", file=sys.stderr)
    sys.stdout.write("no end")
    """
KINDS = {"stdout": WRITE, "stderr": WRITE_OTHER, "stdin": READ}
ALL = frozenset(KINDS)


def filter_file(write: Write, io: str, name: str = "io.toml") -> Path:
    head = f'[meta]\nname = "{name}"\nversion = 1\n'
    scope = '[scope]\ndefault_exec = "inherit"\ndefault_value_action = "inherit"\n'
    return write(f"{head}[io]\n{io}\n{scope}", name)


def counted(trace: Trace) -> dict[str, dict[str, int]]:
    stats: dict[str, dict[str, int]] = trace.metadata["trace_filter"]["stats"]["io"]
    return stats


def compare(write: Write, record: Record, filters: list[Path], recorded_streams: frozenset[str]) -> None:
    """The program sees no difference; the trace has exactly these streams, whole, and counts them exactly."""
    script = write(PROGRAM)
    plain = python([script], stdin=TYPED)
    options = [word for path in filters for word in ("--trace-filter", str(path))]
    recorded = record(script, stdin=TYPED, options=options)
    assert (recorded.stdout, recorded.stderr, recorded.status) == (plain.stdout, plain.stderr, plain.status)
    real = {"stdout": plain.stdout, "stderr": plain.stderr, "stdin": TYPED}
    main = recorded.trace.main
    for name, kind in KINDS.items():
        expected = real[name] if name in recorded_streams else ""
        assert text_of([main], kind) == expected, name
        count = counted(recorded.trace)[name] if recorded_streams else {"bytes": 0, "cut": 0}
        assert (count["bytes"], count["cut"]) == (len(expected.encode()), 0), name


@pytest.mark.parametrize(
    ("io", "expected"),
    [
        ("capture = false", frozenset()),
        ('streams = ["stdin"]', {"stdin"}),
        ('streams = ["stdout"]', {"stdout"}),
        ('streams = ["stderr"]', {"stderr"}),
        ('capture = true\nstreams = ["stdout", "stderr"]', {"stdout", "stderr"}),
        ('streams = ["stdin", "stderr", "files"]', {"stdin", "stderr"}),
        ("streams = []", frozenset()),
        ('capture = false\nstreams = ["stdin", "stderr", "stdout"]', frozenset()),
    ],
)
def test_exactly_the_streams_a_filter_names_are_recorded(
    write: Write, record: Record, io: str, expected: frozenset[str]
) -> None:
    compare(write, record, [filter_file(write, io)], frozenset(expected))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("capture = false", 'capture = true\nstreams = ["stdout"]', {"stdout"}),
        ('capture = true\nstreams = ["stdout"]', "capture = false", frozenset()),
        ('streams = ["stdout", "stdin"]', 'streams = ["stderr"]', {"stderr"}),
        ("capture = false", 'streams = ["stdin"]', frozenset()),
        ('streams = ["stdin"]', "", {"stdin"}),
        ("", 'streams = ["stdin"]', {"stdin"}),
        ("", "", ALL),
    ],
)
def test_of_two_filters_the_later_one_decides_key_by_key(
    write: Write, record: Record, first: str, second: str, expected: frozenset[str]
) -> None:
    filters = [filter_file(write, first, "first.toml"), filter_file(write, second, "second.toml")]
    compare(write, record, filters, frozenset(expected))


@pytest.mark.skipif(sys.platform != "linux", reason="the mirror exists on Linux")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_mirror_records_only_the_streams_a_filter_names(write: Write, record: Record, stream: str) -> None:
    script = write(
        """\
        import os, sys
        print("python out", flush=True)
        print("python error", file=sys.stderr, flush=True)
        os.write(1, b"raw out\\n")
        os.write(2, b"raw error\\n")
        os.system("echo child out; echo child error >&2")
        """
    )
    rules = filter_file(write, f'capture = true\nstreams = ["{stream}"]')
    plain = python([script])
    recorded = record(script, options=["--io-capture", "proxies+fd", "--trace-filter", str(rules)])
    assert (recorded.stdout, recorded.stderr, recorded.status) == (plain.stdout, plain.stderr, plain.status)
    main = recorded.trace.main
    kind, other = (WRITE, WRITE_OTHER) if stream == "stdout" else (WRITE_OTHER, WRITE)
    word = {"stdout": "out", "stderr": "error"}[stream]
    assert text_of([main], kind, mirror=False) == f"python {word}\nraw {word}\n"
    assert text_of([main], kind, mirror=True) == f"child {word}\n"
    assert text_of([main], other) == ""
    expected = plain.stdout if stream == "stdout" else plain.stderr
    assert counted(recorded.trace)[stream]["bytes"] == len(expected)


def cut(text: str, most: int) -> tuple[str, int]:
    """A text of one write after a limit of bytes, and the characters that are missing."""
    kept = text.encode()[:most].decode(errors="ignore")
    missing = len(text) - len(kept)
    return (kept + f"… +{missing} more" if missing else kept), missing


@pytest.mark.parametrize("most", [1, 5, 6, 7, 11, 12])
def test_a_limit_of_one_write_or_read_cuts_exactly_there_whatever_the_stream(
    write: Write, record: Record, most: int
) -> None:
    script = write(
        """\
        import sys
        for text in ("short", "né à la", "0123456789"):
            sys.stdout.write(text); sys.stdout.flush()
            sys.stderr.write(text); sys.stderr.flush()
            sys.stdin.readline()
        """
    )
    texts = ["short", "né à la", "0123456789"]
    typed = [text + "\n" for text in texts]
    env = {"CODETRACER_POLICY": f"values.max_output_chunk={most}"}
    plain = python([script], stdin="".join(typed))
    recorded = record(script, stdin="".join(typed), env=env)
    assert (recorded.stdout, recorded.stderr) == (plain.stdout, plain.stderr) == ("".join(texts),) * 2
    main = recorded.trace.main
    for name, sources in {"stdout": texts, "stderr": texts, "stdin": typed}.items():
        expected = [cut(text, most) for text in sources]
        outputs = [output for output in main.outputs if output.kind == KINDS[name]]
        assert [output.content for output in outputs] == [content for content, _ in expected], name
        assert ["truncated" in facts(output)["flags"] for output in outputs] == [bool(n) for _, n in expected]
        count = counted(recorded.trace)[name]
        assert count["cut"] == sum(missing for _, missing in expected)
        assert count["bytes"] == sum(len(content.encode()) for content, _ in expected)


def test_a_limit_of_all_is_shared_by_the_streams_and_marked_once(write: Write, record: Record) -> None:
    script = write(
        """\
        import sys
        sys.stdout.write("12345"); sys.stdout.flush()
        sys.stderr.write("67"); sys.stderr.flush()
        sys.stdin.readline()
        sys.stdout.write("lost"); sys.stdout.flush()
        sys.stdin.readline()
        """
    )
    env = {"CODETRACER_POLICY": "values.max_output_total=10"}
    recorded = record(script, stdin="typed\nagain\n", env=env)
    assert (recorded.stdout, recorded.stderr, recorded.status) == ("12345lost", "67", 0)
    contents = [(output.kind, output.content) for output in recorded.trace.main.outputs]
    assert contents == [(WRITE, "12345"), (WRITE_OTHER, "67"), (READ, "typ… +3 more")]
    stats = counted(recorded.trace)
    assert {name: stats[name]["cut"] for name in stats} == {"stdout": 4, "stderr": 0, "stdin": 3 + 6}
    assert stats["stdin"]["bytes"] == len("typ… +3 more".encode())


@pytest.mark.skipif(sys.platform != "linux", reason="the mirror exists on Linux")
def test_what_the_mirror_sees_counts_towards_the_limit_of_all(write: Write, record: Record) -> None:
    script = write(
        """\
        import os
        print("12345", flush=True)
        os.system("printf 'é6789 and more'")
        """
    )
    env = {"CODETRACER_POLICY": "values.max_output_total=10"}
    recorded = record(script, env=env, options=["--io-capture", "proxies+fd"])
    assert recorded.stdout == "12345\né6789 and more"
    found = [(is_mirrored(output), output.content) for output in recorded.trace.main.outputs]
    assert found == [(False, "12345\n"), (True, "é67… +11 more")]
    assert counted(recorded.trace)["stdout"]["cut"] == 11


@pytest.mark.parametrize("io", ["proxies", "proxies+fd"])
def test_chunks_and_bytes_of_each_stream_are_counted_exactly(write: Write, record: Record, io: str) -> None:
    script = write(
        """\
        import sys
        for number in range(50):
            print(number, "é", sep="→")
        print("error", file=sys.stderr)
        sys.stdout.buffer.write(b"\\xff\\n")
        sys.stdin.read(3)
        sys.stdin.readline()
        """
    )
    recorded = record(script, stdin="abcdef\n", options=["--io-capture", io])
    assert recorded.status == 0
    stats: dict[str, Any] = counted(recorded.trace)
    out = "".join(f"{number}→é\n" for number in range(50)) + "\\xff\n"
    assert stats == {
        "stdout": {"chunks": 51, "bytes": len(out.encode()), "cut": 0},
        "stderr": {"chunks": 1, "bytes": len("error\n"), "cut": 0},
        "stdin": {"chunks": 2, "bytes": len("abcdef\n"), "cut": 0},
    }
    assert text_of([recorded.trace.main], WRITE) == out
