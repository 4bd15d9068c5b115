"""Checks the Python side on every interpreter: the stubs against the extension, then pytest."""

from __future__ import annotations

import shutil
import subprocess
import sys

import extension
from common import EXTENSION, ROOT, fail, interpreters, run, say

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
MODULE = f"codetracer_python_recorder.{EXTENSION}"

EITHER_WAY = (
    "tests/python/crash/test_threads.py",
    "tests/python/e2e/test_filters.py",
    "tests/python/e2e/test_frameworks.py",
    "tests/python/e2e/test_generated_programs.py",
    "tests/python/e2e/test_globals.py",
    "tests/python/e2e/test_instances_changed.py",
    "tests/python/e2e/test_libraries_values.py",
    "tests/python/e2e/test_oracle_comparison.py",
    "tests/python/e2e/test_output_streams.py",
    "tests/python/e2e/test_pause.py",
    "tests/python/e2e/test_same_behaviour.py",
    "tests/python/e2e/test_sampling.py",
    "tests/python/e2e/test_secrets.py",
    "tests/python/e2e/test_sessions.py",
    "tests/python/e2e/test_value_trees.py",
    "tests/python/e2e/test_values_cost.py",
    "tests/python/e2e/test_values_unnoticed.py",
)
"""The tests whose outcome depends on how frames are read: they are run a second time, through the public API."""

LAYOUT_KNOWN = ("3.12", "3.13")
"""Versions whose frames are read in place; on others the first run is through the public API."""


def stubs() -> None:
    """The .pyi must say exactly what the extension has."""
    for interpreter in interpreters():
        extension.ensure(interpreter)
        say(f"Stubs against the extension, CPython {interpreter.version}")
        run([interpreter.python, "-m", "mypy.stubtest", MODULE])


MANAGERS = ("apt", "dnf", "apk", "pacman", "zypper")


def need_viewers() -> None:
    """Reports and exports are looked at in a real browser, and npm brings a viewer of exports.

    Without one of them, those tests say what is missing; the others run.
    """
    if not any(map(shutil.which, BROWSERS)):
        packages = [f"{manager}:chromium" for manager in MANAGERS]
        subprocess.run([ROOT / "scripts/dev/system-package.sh", "chromium (a browser)", *packages])
    if not shutil.which("npm"):
        packages = [*(f"{manager}:npm" for manager in MANAGERS), "brew:node"]
        subprocess.run([ROOT / "scripts/dev/system-package.sh", "npm (fetches a viewer of exports)", *packages])


def tests(arguments: list[str]) -> None:
    need_viewers()
    for interpreter in interpreters():
        extension.ensure(interpreter)
        say(f"Python tests on CPython {interpreter.version}")
        run([interpreter.python, "-m", "pytest", "-n", "2", *arguments])
        if not arguments and interpreter.version in LAYOUT_KNOWN:
            say(f"Python tests on CPython {interpreter.version}, frames read through the public API")
            run([interpreter.python, "-m", "pytest", "-n", "2", "--frame-access=public", *EITHER_WAY])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["stubs"]:
            stubs()
        case ["tests", *rest]:
            tests(rest)
        case wrong:
            fail(f"python_tests.py does not know {wrong} ({ROOT})")
