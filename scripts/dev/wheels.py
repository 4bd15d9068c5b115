"""Builds the wheels and tries them as a user would: fresh environment, install, record, read back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from common import ROOT, Interpreter, clean_env, fail, human_size, interpreters, run, say
from release_wheel import build_wheel

DIST = ROOT / "dist"
PROGRAM = "examples/fibonacci.py"
MAGIC = bytes.fromhex("c0de72ace2010000")


def version() -> str:
    with (ROOT / "Cargo.toml").open("rb") as file:
        text: str = tomllib.load(file)["package"]["version"]
    return text


def wheels_of(interpreter: Interpreter) -> list[Path]:
    tag = "cp" + interpreter.version.replace(".", "")
    return sorted(DIST.glob(f"codetracer_python_recorder-{version()}-{tag}-{tag}-*.whl"))


def build() -> None:
    """A wheel for every interpreter, and the source distribution."""
    for interpreter in interpreters():
        say(f"Building the wheel for CPython {interpreter.version}")
        for old in wheels_of(interpreter):
            old.unlink()
        build_wheel(interpreter, DIST)
    run([interpreters()[0].python, "-m", "maturin", "sdist", "--out", DIST])
    for path in sorted(DIST.iterdir()):
        print(f"{path.relative_to(ROOT)}  {human_size(path.stat().st_size)}")


def smoke() -> None:
    """Installs each wheel where nothing else is and records a program with it."""
    for interpreter in interpreters():
        found = wheels_of(interpreter)
        if not found:
            fail(f"there is no wheel for CPython {interpreter.version} in dist/: run `./scripts/just build` first")
        say(f"Trying {found[-1].name}")
        with tempfile.TemporaryDirectory(prefix="codetracer smoke ") as scratch:
            try_wheel(interpreter, found[-1], Path(scratch))
    print(f"Wheels work on CPython {', '.join(each.version for each in interpreters())}.")


def try_wheel(interpreter: Interpreter, wheel: Path, scratch: Path) -> None:
    run([interpreter.path, "-m", "venv", scratch / "venv"])
    python = scratch / "venv" / "bin" / "python"
    run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", wheel])

    command = scratch / "venv" / "bin" / "codetracer-python-recorder"
    expect(output([command, "--version"], scratch).strip(), f"codetracer-python-recorder {version()}")

    program = scratch / "program.py"
    shutil.copy(ROOT / PROGRAM, program)
    plain = output([python, program, "5"], scratch)
    recorded = output([command, "--out-dir", "trace", program, "5"], scratch)
    expect(recorded, plain)

    trace = scratch / "trace"
    with (trace / "trace.bin").open("rb") as file:
        expect(file.read(len(MAGIC)), MAGIC)
    metadata = json.loads((trace / "trace_metadata.json").read_text())
    expect(metadata["args"], ["5"])
    expect(metadata["process_exit_status"], {"code": 0, "label": None})
    expect(metadata["recorder"]["version"], version())
    if str(program.resolve()) not in json.loads((trace / "trace_paths.json").read_text()):
        fail(f"{program} is not among the recorded paths")

    events = [json.loads(line) for line in output([command, "inspect", "--json", trace], scratch).splitlines()]
    kinds = [next(iter(event)) for event in events]
    calls, returns, steps = (kinds.count(kind) for kind in ["Call", "Return", "Step"])
    if not (calls == returns > 5 and steps > calls):
        fail(f"the trace reads back with {steps} steps, {calls} calls and {returns} returns")
    by_environment = clean_env() | {"CODETRACER_TRACE": "hooked"}
    run([python, program, "5"], env=by_environment, cwd=scratch, stdout=subprocess.DEVNULL)
    if not (scratch / "hooked" / "trace.bin").exists():
        fail("the wheel's start-up hook does not record")
    output([command, "report", trace, "-o", "page.html"], scratch)  # its template is in the wheel
    if not list(
        (scratch / "venv").glob("lib/python*/site-packages/codetracer_python_recorder-*.dist-info/sboms/*.json")
    ):
        fail("the wheel has no bill of materials")
    # Failure injection belongs to test builds; a wheel that obeys it was built with the wrong features.
    injected = clean_env() | {"CODETRACER_TEST_INJECT_FAILURE": "line"}
    run([command, "--out-dir", "again", "--on-recorder-error", "abort", program, "5"], env=injected, cwd=scratch)


def output(command: list[str | Path], cwd: Path) -> str:
    result = subprocess.run(command, cwd=cwd, env=clean_env(), stdout=subprocess.PIPE, text=True)
    if result.returncode != 0:
        fail(f"`{' '.join(map(str, command))}` ended with status {result.returncode}")
    return result.stdout


def expect(found: object, wanted: object) -> None:
    if found != wanted:
        fail(f"expected {wanted!r}, found {found!r}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["build"]:
            build()
        case ["smoke"]:
            smoke()
        case wrong:
            fail(f"wheels.py does not know {wrong}")
