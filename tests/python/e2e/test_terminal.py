"""Interactive programs: the terminal shows what it shows without the recorder, and the trace has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support import terminal
from support.reading import Trace

Write = Callable[..., Path]

WRITE, READ = 0, 3


def at_terminal(script: Path, out: Path, typed: terminal.Typed, io: str) -> Trace:
    """Runs a script at a terminal plainly and recorded, and compares."""
    plain = terminal.run([script], typed)
    command = ["-m", "codetracer_python_recorder", "--out-dir", out, "--io-capture", io, "--propagate-script-exit"]
    recorded = terminal.run([*command, script], typed)
    assert recorded == plain
    return Trace(out)


def contents(trace: Trace, kind: int) -> list[tuple[int, str]]:
    return [(json.loads(o.metadata)["line"], o.content) for o in trace.main.outputs if o.kind == kind]


@pytest.mark.parametrize("io", ["proxies", "proxies+fd"])
@pytest.mark.parametrize("readline", [False, True], ids=["plain", "readline"])
def test_prompts_and_answers(write: Write, tmp_path: Path, readline: bool, io: str) -> None:
    script = write(
        f"""\
        import os, sys
        {"import readline" if readline else ""}
        name = input("name? ")
        sys.stdout.write("age? ")
        sys.stdout.flush()
        age = sys.stdin.readline()
        print("\\033[32mhello", name, age.strip(), "\\033[0m")
        print(sys.stdout.isatty(), os.get_terminal_size())
        try:
            input("more? ")
        except EOFError:
            print("no more")
        """
    )
    trace = at_terminal(script, tmp_path / "out", [(b"name? ", b"eve\n"), (b"age? ", b"7\n"), (b"more? ", b"\x04")], io)
    assert contents(trace, READ) == [(3, "eve\n"), (6, "7\n")]
    shown = "".join(content for _, content in contents(trace, WRITE))
    assert shown == (
        "name? age? \033[32mhello eve 7 \033[0m\nTrue os.terminal_size(columns=80, lines=24)\nmore? no more\n"
    )
    assert (3, "name? ") in contents(trace, WRITE) and (10, "more? ") in contents(trace, WRITE)


def test_readline_that_is_imported_after_the_first_prompt(write: Write, tmp_path: Path) -> None:
    script = write(
        """\
        first = input("first? ")
        import readline
        second = input("second? ")
        print(first, second)
        """
    )
    trace = at_terminal(script, tmp_path / "out", [(b"first? ", b"a\n"), (b"second? ", b"b\n")], "proxies")
    assert contents(trace, READ) == [(1, "a\n"), (3, "b\n")]
    assert "".join(content for _, content in contents(trace, WRITE)) == "first? second? a b\n"


def test_a_prompt_that_is_interrupted(write: Write, tmp_path: Path) -> None:
    script = write(
        """\
        try:
            input("waiting? ")
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    # Between the prompt and the reading there is a moment at which CPython overhears an interrupt.
    command = ["-m", "codetracer_python_recorder", "--out-dir", tmp_path / "out"]
    screen = terminal.run([*command, script], [(b"waiting? ", b"\x03")], insist=b"\x03")
    assert screen.status == 0 and b"interrupted\r\n" in screen.output
    trace = Trace(tmp_path / "out")
    assert contents(trace, WRITE) == [(2, "waiting? "), (4, "interrupted\n")]
    assert contents(trace, READ) == []


def test_descriptors_at_a_terminal_are_told_by_os_write_and_the_log_says_what_is_not(
    write: Write, tmp_path: Path
) -> None:
    script = write(
        """\
        import os
        os.write(1, b"by descriptor\\n")
        os.system("echo child")
        print(os.isatty(1), os.isatty(2), os.get_terminal_size())
        """
    )
    log = tmp_path / "log"
    options = ["--io-capture", "proxies+fd", "--log-level", "info", "--log-file", log]
    plain = terminal.run([script], [])
    recorded = terminal.run(["-m", "codetracer_python_recorder", "--out-dir", tmp_path / "out", *options, script], [])
    assert recorded == plain
    assert contents(Trace(tmp_path / "out"), WRITE) == [
        (2, "by descriptor\n"),
        (4, "True True os.terminal_size(columns=80, lines=24)\n"),
    ]
    told = [line for line in log.read_text().splitlines() if "is a terminal or closed" in line]
    assert [f"descriptor {number}" in line for number, line in zip((1, 2), told, strict=True)] == [True, True]
