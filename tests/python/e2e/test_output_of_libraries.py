"""Libraries that do more with the standard streams than print: what they show is in the trace, byte for byte."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.filters import only
from support.outputs import text_of
from support.recording import Recording
from support.running import python

Write = Callable[..., Path]
Record = Callable[..., Recording]

PROGRAMS = {
    "logging": """\
        import logging, sys
        early = logging.StreamHandler(sys.stdout)
        logging.basicConfig(level="DEBUG", format="%(levelname)s:%(message)s")
        log = logging.getLogger("a.b")
        log.addHandler(early)
        for number in range(3):
            log.info("message %d", number)
        try:
            1 / 0
        except ZeroDivisionError:
            log.exception("failed")
        """,
    "rich": """\
        from rich.console import Console
        from rich.progress import track
        from rich.table import Table
        console = Console(force_terminal=True, width=60, color_system="truecolor")
        table = Table(title="[bold]Titel[/] → é")
        table.add_column("name", style="magenta")
        table.add_row("[green]eins[/]")
        console.print(table)
        console.print({"a": [1, 2, "drei"]}, ":rocket:")
        Console(stderr=True).print("[red]error[/]")
        for _ in track(range(3), console=Console(width=40), description="work", disable=False):
            pass
        """,
    "tqdm": """\
        from tqdm import tqdm
        for number in tqdm(range(5), mininterval=0, miniters=1, bar_format="{desc}{n}/{total}|{bar:10}|"):
            tqdm.write(f"step {number}")
        """,
    "click": """\
        import click
        @click.command()
        @click.argument("name")
        def main(name):
            click.echo(f"hello {name}")
            click.echo(b"raw \\xc3\\xa9 bytes")
            click.secho("styled", fg="red", bold=True, color=True)
            click.echo("error", err=True)
            with click.progressbar([1, 2, 3], label="bar") as bar:
                for _ in bar:
                    pass
            click.get_binary_stream("stdout").write(b"binary\\n")
            click.get_text_stream("stdout").write("text\\n")
        main(["welt"])
        """,
    "pprint and warnings": """\
        import pprint, sys, traceback, warnings
        pprint.pprint({"key": list(range(40))})
        warnings.warn("careful")
        try:
            raise ValueError("é")
        except ValueError:
            traceback.print_exc()
            traceback.print_exc(file=sys.stdout)
        help(len)
        """,
    "threads": """\
        import sys, threading
        barrier = threading.Barrier(1)
        def work():
            for number in range(5):
                print("in a thread", number)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        """,
    "unittest": """\
        import sys, unittest
        class Test(unittest.TestCase):
            def test_prints(self):
                print("from a test")
        runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=2)
        unittest.main(argv=["x"], exit=False, testRunner=runner)
        """,
    "doctest": '''\
        import doctest
        def double(x):
            """
            >>> double(2)
            4
            >>> print("printed")
            printed
            """
            return 2 * x
        print(doctest.testmod(verbose=False))
        ''',
}

ONLY_THE_PROGRAM = only("pkg:__main__", values="inherit")


def untimed(text: str) -> str:
    """Without what `unittest` says of how long it took."""
    return re.sub(r"in \d+\.\d+s", "in some time", text)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("io", ["proxies", "proxies+fd"])
def test_what_libraries_show_is_in_the_trace(write: Write, record: Record, name: str, io: str) -> None:
    script = write(PROGRAMS[name])
    plain = python([script])
    write(ONLY_THE_PROGRAM, "only.toml")
    recorded = record(script, options=["--io-capture", io, "--trace-filter", str(script.parent / "only.toml")])
    assert plain.status == recorded.status == 0, recorded.stderr
    assert plain.stdout + plain.stderr
    assert (untimed(recorded.stdout), recorded.stderr) == (untimed(plain.stdout), plain.stderr)
    threads = recorded.trace.threads
    assert text_of(threads, 0) == recorded.stdout
    assert text_of(threads, 2) == recorded.stderr


def test_faulthandler_and_fileno_work_on_the_watched_stream(write: Write, record: Record) -> None:
    script = write(
        """\
        import faulthandler, os, subprocess, sys
        faulthandler.enable(file=sys.stderr)
        faulthandler.dump_traceback(file=sys.stderr, all_threads=False)
        print("before", flush=True)
        subprocess.run([sys.executable, "-c", "print('from a child')"], stdout=sys.stdout, check=True)
        subprocess.run([sys.executable, "-c", "print('inherited')"], check=True)
        os.write(sys.stdout.fileno(), b"by descriptor\\n")
        print("after")
        """
    )
    plain, recorded = python([script]), record(script)
    assert (recorded.stdout, recorded.status) == (plain.stdout, 0)
    assert recorded.stderr == plain.stderr
    assert text_of(recorded.trace.threads, 0) == "before\nafter\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the mirror exists on Linux")
def test_what_faulthandler_and_children_write_is_recorded_with_the_mirror(write: Write, record: Record) -> None:
    script = write(
        """\
        import faulthandler, subprocess, sys
        faulthandler.dump_traceback(file=sys.stderr, all_threads=False)
        print("before", flush=True)
        subprocess.run([sys.executable, "-c", "print('from a child')"], stdout=sys.stdout, check=True)
        subprocess.run([sys.executable, "-c", "import sys; print('inherited', file=sys.stderr)"], check=True)
        print("after")
        """
    )
    plain, recorded = python([script]), record(script, options=["--io-capture", "proxies+fd"])
    assert (recorded.stdout, recorded.stderr, recorded.status) == (plain.stdout, plain.stderr, 0)
    for kind, expected in ((0, plain.stdout), (2, plain.stderr)):
        assert text_of(recorded.trace.threads, kind) == expected


def test_100_000_prints_are_recorded_in_order(write: Write, record: Record) -> None:
    script = write("for number in range(100_000):\n    print(number)\n")
    recorded = record(script)
    assert recorded.stdout == "".join(f"{number}\n" for number in range(100_000))
    stats = recorded.trace.metadata["trace_filter"]["stats"]["io"]["stdout"]
    assert stats["bytes"] == len(recorded.stdout) and stats["chunks"] >= 100_000
    assert text_of([recorded.trace.main], 0) == recorded.stdout
