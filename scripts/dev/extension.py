"""Builds the extension into the private environments, only where something has changed.

The build has the feature `integration-test` and the quick profile `ci`; wheels are built by wheels.py.
"""

from __future__ import annotations

import os
import sys
import time

from common import EXTENSION, PACKAGE, ROOT, Interpreter, fail, interpreters, need_build_tools, primary, run, say

PROFILE = "ci"
FEATURES = "integration-test"
SOURCES = ["src", "Cargo.toml", "Cargo.lock", "build.rs", "pyproject.toml", "python/wheel.data"]


def newest_source() -> float:
    """When the extension's sources were last changed; directories count, so that a removed file shows."""
    newest = 0.0
    for name in SOURCES:
        path = ROOT / name
        newest = max(newest, path.stat().st_mtime)
        for directory, _, files in os.walk(path):
            for entry in ["", *files]:
                newest = max(newest, os.stat(os.path.join(directory, entry)).st_mtime)
    return newest


def ensure(interpreter: Interpreter) -> None:
    """Builds and installs the package, editable, unless what is there is current."""
    interpreter.ensure_venv()
    stamp = interpreter.venv / ".extension"
    # The stamp's content is how the build was made, its time when the build began.
    made = f"{PROFILE} {FEATURES} {os.environ.get('RUSTFLAGS', '')}"
    binaries = list(PACKAGE.glob(f"{EXTENSION}.cpython-{interpreter.version.replace('.', '')}-*.so"))
    if binaries and stamp.exists() and stamp.read_text() == made and stamp.stat().st_mtime > newest_source():
        return
    need_build_tools()
    say(f"Building the extension for CPython {interpreter.version} (minutes the first time, seconds later)")
    started = time.time()
    env = interpreter.cargo_env()
    env["VIRTUAL_ENV"] = str(interpreter.venv)
    options = ["--profile", PROFILE, "--features", FEATURES, "--locked"]
    if not sys.stderr.isatty():
        options.append("--quiet")
    # Standard output belongs to the program that `run` is about to record.
    run([interpreter.python, "-m", "maturin", "develop", *options], env=env, stdout=sys.stderr)
    stamp.write_text(made)
    os.utime(stamp, (started, started))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--primary"]:
            ensure(primary())
        case []:
            for each in interpreters():
                ensure(each)
        case wrong:
            fail(f"extension.py does not know {wrong}")
