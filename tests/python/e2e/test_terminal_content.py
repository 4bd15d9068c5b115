"""At a terminal: the bytes it shows with and without the recorder, and the content of the trace, all three the same.

A terminal shows a newline as CR LF (its ONLCR mode), and echoes what is typed, at the moment it is typed. Nothing else
differs between what a program writes and what is shown; so the screen is the trace's writes and reads in their order,
with `\\n` as `\\r\\n`. Where GNU readline draws the line itself, that is taken off the screen first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from support import terminal
from support.filters import only
from support.outputs import READ, WRITE, WRITE_OTHER, lines_of, text_of
from support.reading import Trace

Write = Callable[..., Path]

MODES = pytest.mark.parametrize("io", ["proxies", "proxies+fd"])

BRACKETED_PASTE = (b"\x1b[?2004h", b"\x1b[?2004l\r")


def run_both(
    script: Path,
    typed: terminal.Typed = (),
    io: str = "proxies",
    options: Sequence[str | Path] = (),
    controlling: bool = True,
) -> tuple[bytes, Trace]:
    """Runs a script at a terminal plainly and recorded, which must show the same; what was shown, and the trace."""
    out = script.parent / "out"
    recorder = ["-m", "codetracer_python_recorder", "--out-dir", out, "--io-capture", io, "--propagate-script-exit"]
    plain = terminal.run([script], typed, controlling=controlling)
    recorded = terminal.run([*recorder, *options, script], typed, controlling=controlling)
    assert recorded == plain
    return recorded.output, Trace(out)


def as_shown(trace: Trace) -> bytes:
    """What the trace says the terminal showed."""
    content = "".join(output.content for thread in trace.threads for output in thread.outputs)
    return content.encode().replace(b"\n", b"\r\n")


def only_the_program(script: Path) -> list[str | Path]:
    rules = script.parent / "only.toml"
    rules.write_text(only("pkg:__main__", values="inherit"), encoding="utf-8")
    return ["--trace-filter", rules]


LIBRARIES: dict[str, tuple[str, terminal.Typed]] = {
    "print": (
        """\
        import os, sys
        print("\\033[1;31mred\\033[0m", "é", "🦀", sep="\\t", end="!\\n\\n")
        print("error", file=sys.stderr)
        sys.stdout.write("no newline"); sys.stdout.flush()
        print("\\rover it\\x08\\x07")
        print(os.get_terminal_size(), sys.stdout.isatty(), sys.stdout.line_buffering)
        """,
        (),
    ),
    "prompts": (
        """\
        import sys
        name = input("name? ")
        print("hello", name)
        print("age? ", end="", file=sys.stderr, flush=True)
        age = sys.stdin.readline()
        for line in sys.stdin:
            print("line", line, end="")
            break
        print("left", repr(sys.stdin.read(2)))
        """,
        ((b"name? ", b"eve\n"), (b"age? ", b"7\n"), (b"7\r\n", "größe\n".encode()), (b"line ", b"x\n")),
    ),
    "logging": (
        """\
        import logging, sys
        logging.basicConfig(level="INFO", format="%(levelname)s %(message)s")
        logging.getLogger("a").addHandler(logging.StreamHandler(sys.stdout))
        for number in range(3):
            logging.getLogger("a").info("message %d", number)
        """,
        (),
    ),
    "rich": (
        """\
        from rich.console import Console
        from rich.table import Table
        from rich.prompt import Prompt
        console = Console()
        table = Table("name", title="[bold]title[/]")
        table.add_row("[red]one[/] → é")
        console.print(table)
        console.rule("end")
        answer = Prompt.ask("name", default="bob")
        console.print(f"[green]{answer}[/]", console.width, console.color_system)
        """,
        ((b"bob", b"eve\n"),),
    ),
    "tqdm": (
        """\
        from tqdm import tqdm
        for number in tqdm(range(4), mininterval=0, miniters=1, bar_format="{desc}{n}/{total}|{bar}|"):
            tqdm.write(f"step {number}")
        """,
        (),
    ),
    "click": (
        """\
        import click
        @click.command()
        @click.option("--name", prompt="name")
        def main(name):
            click.secho(f"hello {name}", fg="green", bold=True)
            click.echo(b"bytes \\xc3\\xa9")
            click.echo("error", err=True)
            if click.confirm("sure"):
                click.echo("yes")
        main([], standalone_mode=False)
        """,
        ((b"name: ", b"eve\n"), (b"[y/N]: ", b"y\n")),
    ),
}


@MODES
@pytest.mark.parametrize("name", LIBRARIES)
def test_the_screen_is_what_the_trace_holds(write: Write, name: str, io: str) -> None:
    program, typed = LIBRARIES[name]
    script = write(program)
    shown, trace = run_both(script, typed, io, only_the_program(script))
    assert shown
    assert as_shown(trace) == shown


@MODES
def test_readline_draws_the_line_and_the_trace_has_it(write: Write, io: str) -> None:
    script = write(
        """\
        import readline
        readline.add_history("from the history")
        print("got", input("> "))
        print("got", input("again> "))
        """
    )
    typed = ((b"> ", b"abd\x7fc\n"), (b"again> ", b"second\n"))
    shown, trace = run_both(script, typed, io)
    for drawn in BRACKETED_PASTE:
        shown = shown.replace(drawn, b"")
    assert shown.replace(b"abd\x08\x1b[Kc", b"abc") == as_shown(trace)
    assert lines_of(trace.main, READ) == [(3, "abc\n"), (4, "second\n")]


@MODES
def test_threads_at_a_terminal_each_have_what_they_showed(write: Write, io: str) -> None:
    script = write(
        """\
        import sys, threading
        start = threading.Barrier(4)
        def work(name):
            start.wait()
            for number in range(50):
                sys.stdout.write(f"{name} {number} é\\n")
        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """
    )
    recorder = ["-m", "codetracer_python_recorder", "--out-dir", script.parent / "out", "--io-capture", io]
    plain, recorded = terminal.run([script]), terminal.run([*recorder, script])
    assert sorted(plain.output.split(b"\r\n")) == sorted(recorded.output.split(b"\r\n"))
    shown = recorded.output.replace(b"\r\n", b"\n").decode().splitlines(keepends=True)
    for thread in Trace(script.parent / "out").threads[1:]:
        told = text_of([thread], WRITE)
        assert told == "".join(line for line in shown if line[0] == told[0])
        assert told.count("\n") == 50


def test_the_window_changes_its_size_while_the_program_is_recorded(write: Write) -> None:
    script = write(
        """\
        import os, shutil, signal, sys, time
        told = []
        signal.signal(signal.SIGWINCH, lambda *_: told.append(1))
        size = os.get_terminal_size()
        print("at first", size.columns, flush=True)
        for count in (1, 2):
            # The kernel sends the signal a moment before it changes the size.
            while len(told) < count or os.get_terminal_size() == size:
                time.sleep(0.01)
            size = os.get_terminal_size()
            print("now", size.lines, size.columns, shutil.get_terminal_size().columns, flush=True)
        """
    )
    typed = ((b"at first 80", (40, 100)), (b"now 40 100 100", (10, 33)))
    for io in ("proxies", "proxies+fd"):
        shown, trace = run_both(script, typed, io)
        assert b"now 10 33 33\r\n" in shown
        assert as_shown(trace) == shown
        for line in ("now 40 100 100\n", "now 10 33 33\n"):
            assert line in "".join(content for number, content in lines_of(trace.main) if number == 11)


SECRET = "hunter2-é"


@MODES
@pytest.mark.parametrize("controlling", [True, False], ids=["tty", "stdin"])
def test_a_secret_that_is_typed_unseen_is_not_recorded(write: Write, io: str, controlling: bool) -> None:
    """`getpass` reads from `/dev/tty`, or, where there is none, from a stdin that shows nothing."""
    script = write(
        """\
        import getpass, sys
        print(len(getpass.getpass("secret? ")), flush=True)
        print("name?", input("name? "))
        """
    )
    typed = ((b"secret? ", f"{SECRET}\n".encode()), (b"name? ", b"eve\n"))
    shown, trace = run_both(script, typed, io, only_the_program(script), controlling)
    assert SECRET.encode() not in shown
    assert shown.startswith(b"secret? \r\n9\r\nname? ")
    hidden = [] if controlling else ["<redacted>"]
    assert [output.content for output in trace.main.outputs if output.kind == READ] == [*hidden, "eve\n"]
    prompt = "" if controlling else "secret? \n"
    assert text_of([trace.main], WRITE_OTHER) == prompt
    assert text_of([trace.main], WRITE) == "9\nname? name? eve\n"
    for path in trace.directory.rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes()
    assert not [event for event in trace.raw if "hunter2" in str(event)]


def test_lines_typed_unseen_are_hidden_and_single_keys_are_not(write: Write) -> None:
    script = write(
        """\
        import sys, termios, tty
        def mode(echo, lines):
            modes = termios.tcgetattr(0)
            modes[3] &= ~(termios.ECHO | termios.ICANON)
            modes[3] |= termios.ECHO * echo | termios.ICANON * lines
            termios.tcsetattr(0, termios.TCSANOW, modes)
            print("ready", echo, lines, flush=True)
        mode(False, True)
        line = sys.stdin.readline()
        mode(False, False)
        key = sys.stdin.buffer.raw.read(1)
        mode(True, True)
        shown = sys.stdin.readline()
        """
    )
    typed = ((b"ready False True", b"unseen\n"), (b"ready False False", b"k"), (b"ready True True", b"seen\n"))
    _, trace = run_both(script, typed)
    read = [output.content for output in trace.main.outputs if output.kind == READ]
    assert read == ["<redacted>", "seen\n"]


@MODES
def test_curses_shows_what_it_shows_and_gives_the_terminal_back(write: Write, io: str) -> None:
    """What `curses` draws goes past Python's streams; at a terminal that is not recorded, and not disturbed."""
    script = write(
        """\
        import curses, os, sys, termios
        before = termios.tcgetattr(0)
        print("before")
        def main(screen):
            curses.curs_set(0)
            screen.addstr(2, 4, "drawn é", curses.A_BOLD)
            screen.addstr(3, 0, f"{screen.getmaxyx()} {curses.LINES} {curses.has_colors()}")
            screen.refresh()
            return screen.getch(), screen.getch()
        keys = curses.wrapper(main)
        print("keys", keys, termios.tcgetattr(0) == before, os.ttyname(0) == os.ttyname(1))
        """
    )
    shown, trace = run_both(script, ((b"(24, 80) 24", b"xy"),), io)
    assert b"drawn" in shown
    assert text_of([trace.main], WRITE) == "before\nkeys (120, 121) True True\n"


@pytest.mark.parametrize("readline", ["", "import readline"], ids=["plain", "readline"])
@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        (["stdin"], {READ: "a\nb\n"}),
        (["stdout"], {WRITE: "first? second? a b\n"}),
        (["stderr"], {WRITE_OTHER: "error\n"}),
        ([], {}),
    ],
    ids=["stdin", "stdout", "stderr", "none"],
)
def test_filters_choose_streams_at_a_terminal_too(
    write: Write, readline: str, streams: list[str], expected: dict[int, str]
) -> None:
    script = write(
        f"""\
        import sys
        first = input("first? ")
        {readline}
        second = input("second? ")
        print(first, second)
        print("error", file=sys.stderr)
        """
    )
    rules = write(f'[meta]\nname = "x"\nversion = 1\n[io]\nstreams = {streams}\n' + SCOPE, "rules.toml")
    typed = ((b"first? ", b"a\n"), (b"second? ", b"b\n"))
    _, trace = run_both(script, typed, options=["--trace-filter", rules])
    kinds = {output.kind for output in trace.main.outputs}
    assert {kind: text_of([trace.main], kind) for kind in kinds} == expected


SCOPE = '[scope]\ndefault_exec = "inherit"\ndefault_value_action = "inherit"\n'
