"""Fixtures of the end-to-end tests: a recorder with failure injection, and programs run under it."""

from __future__ import annotations

import itertools
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import recording, running
from support.compare import EVERYTHING, assert_same
from support.programs import Program


@pytest.fixture(scope="session", autouse=True)
def injectable_build() -> None:
    """These tests are about the build that can be made to fail; any other would pass some of them by accident."""
    from codetracer_python_recorder import codetracer_python_recorder as extension

    assert "integration-test" in extension.FEATURES, "build the extension with the feature integration-test"


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., recording.Recording]:
    """`record(program, *args, format=…, options=…, env=…, …)`: runs it under the command line, each time into a new
    directory unless `out` names one."""
    numbers = itertools.count(1)

    def run(*args: Any, **options: Any) -> recording.Recording:
        options.setdefault("out", tmp_path / f"trace-{next(numbers)}")
        return recording.record(*args, **options)

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """`write(source, name="program.py")`: a program of its own for this test."""

    def file(source: str, name: str = "program.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path

    return file


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., running.Outcome]]:
    """`run(script, *args, env=…)`: runs a script that uses the recorder's Python API."""

    def script(path: Path, *args: str, **options: Any) -> running.Outcome:
        options.setdefault("cwd", tmp_path)
        return running.python([path, *args], **options)

    yield script


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path | None]]:
    """`small_disk("300k")`: a disk of that size, where one may be mounted."""
    directory = tmp_path / "disk"
    mounted = False

    def mount(size: str) -> Path | None:
        nonlocal mounted
        directory.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
        mounted = subprocess.run(command, capture_output=True, timeout=60).returncode == 0
        return directory if mounted else None

    yield mount
    if mounted:
        subprocess.run(["umount", "-l", str(directory)], check=True, timeout=60)


@pytest.fixture
def record_as_oracle(
    record: Callable[..., recording.Recording], tmp_path: Path
) -> Callable[[Path], recording.Recording]:
    """`record_as_oracle(program)`: records it, nothing cut; all that the trace tells is what the oracle tells."""
    wide = "values.max_depth=12;values.max_items=400;values.max_string=4000;values.max_bytes_per_step=4MiB"
    numbers = itertools.count(1)

    def run(program: Path) -> recording.Recording:
        expected = running.run_oracle(Program(program), tmp_path / f"expected-{next(numbers)}.json")
        recorded = record(program, env={"CODETRACER_POLICY": wide})
        assert (recorded.status, recorded.stderr) == (0, "")
        assert_same(recorded.trace.streams, expected, EVERYTHING)
        return recorded

    return run
