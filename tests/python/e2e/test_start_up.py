"""Importing the package and starting a session cost little, and bring nothing into the program but the package."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from support.running import Outcome

Write = Callable[..., Path]
Run = Callable[..., Outcome]

PACKAGE = "codetracer_python_recorder"


def test_import_and_start_bring_no_modules_but_the_package(write: Write, run: Run, tmp_path: Path) -> None:
    program = write(
        f"""
        import sys
        before = set(sys.modules)
        import {PACKAGE} as recorder
        imported = set(sys.modules) - before
        session = recorder.start(sys.argv[1])
        started = set(sys.modules) - before - imported
        session.stop()
        stopped = set(sys.modules) - before - imported - started
        import json
        print(json.dumps([sorted(imported), sorted(started), sorted(stopped)]))
        """
    )
    outcome = run(program, str(tmp_path / "trace"))
    imported, started, stopped = json.loads(outcome.stdout)
    foreign = [name for name in imported if name.partition(".")[0] != PACKAGE]
    # Those two are built into the interpreter, or next to nothing.
    assert set(foreign) <= {"__future__", "atexit"}
    assert (started, stopped) == ([], [])


def test_modules_of_the_program_with_names_of_the_standard_library_are_not_run(
    write: Write, run: Run, tmp_path: Path
) -> None:
    for name in ["opcode", "sysconfig", "pathlib", "fnmatch", "json", "threading", "warnings", "types"]:
        write(f"print('{name} of the program ran')\n", f"{name}.py")
    program = write(
        f"""
        import sys
        import {PACKAGE} as recorder

        def work():
            return 1

        with recorder.trace(sys.argv[1]):
            work()
        print("done")
        """
    )
    outcome = run(program, str(tmp_path / "trace"))
    assert (outcome.status, outcome.stdout) == (0, "done\n"), outcome.stderr


def test_the_processor_time_of_import_and_start_is_a_few_milliseconds(write: Write, run: Run, tmp_path: Path) -> None:
    program = write(
        f"""
        import sys, time
        start = time.thread_time()
        import {PACKAGE} as recorder
        imported = time.thread_time()
        session = recorder.start(sys.argv[1])
        started = time.thread_time()
        session.stop()
        print(1000 * (imported - start), 1000 * (started - imported))
        """
    )
    runs = [run(program, str(tmp_path / f"trace-{n}")).stdout.split() for n in range(5)]
    best_import, best_start = (min(float(each[i]) for each in runs) for i in range(2))
    assert best_import < 15, runs
    assert best_start < 10, runs
