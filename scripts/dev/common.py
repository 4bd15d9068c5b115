"""What the developer commands share: the interpreters, the environments of child processes, messages.

Invariants:
- Interpreters come from `.dev/pythons`, which `scripts/just` writes; nothing here looks for any itself.
- Cargo is told one interpreter explicitly in every call, so it never picks up the `python3` of PATH.
- Child processes never see the user's CODETRACER_* settings unless the user's program is what runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn, TextIO

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "codetracer_python_recorder"
EXTENSION = "codetracer_python_recorder"

BETWEEN_SAMPLES = 'sampling.mode=windows;sampling.on="1ms";sampling.every="24h"'
"""A policy under which whatever is measured lies between two samples."""


def say(message: str) -> None:
    """Tells what is being done, in step with what children print."""
    sys.stdout.flush()
    bold, plain = ("\033[1m", "\033[0m") if sys.stderr.isatty() else ("", "")
    print(f"{bold}==> {message}{plain}", file=sys.stderr, flush=True)


def fail(message: str) -> NoReturn:
    """Ends the command with a message for the user."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


@dataclass(frozen=True)
class Interpreter:
    """A supported CPython and the private environment made from it."""

    version: str
    """`X.Y`."""
    path: Path

    @property
    def venv(self) -> Path:
        return ROOT / f".venv-{self.version}"

    @property
    def python(self) -> Path:
        """The Python of the private environment."""
        return self.venv / "bin" / "python"

    @cached_property
    def config(self) -> dict[str, str]:
        """The build settings of the interpreter that matter to us."""
        names = ["LIBDIR", "EXT_SUFFIX", "PYTHON_BUILD_STANDALONE"]
        code = (
            "import json, sys, sysconfig;"
            "v = {n: str(sysconfig.get_config_var(n) or '') for n in sys.argv[1:]};"
            "print(json.dumps(v | {'prefix': sys.base_prefix}))"
        )
        output = subprocess.run([self.path, "-I", "-c", code, *names], check=True, capture_output=True, text=True)
        settings: dict[str, str] = json.loads(output.stdout)
        return settings

    def ensure_venv(self) -> None:
        """Makes the private environment if it is missing or stale."""
        if subprocess.run([ROOT / "scripts/dev/venv.sh", self.version, self.path]).returncode != 0:
            sys.exit(1)

    def cargo_env(self) -> dict[str, str]:
        """For building against this interpreter, and for running test binaries that embed it."""
        env = clean_env()
        env["PYO3_PYTHON"] = str(self.path)
        libraries = dict.fromkeys([self.config["LIBDIR"], f"{self.config['prefix']}/lib"])
        for variable in ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"]:
            env[variable] = os.pathsep.join([*libraries, *filter(None, [env.get(variable)])])
        if self.config["PYTHON_BUILD_STANDALONE"]:
            # A relocated interpreter does not find its standard library when it is embedded.
            env["PYTHONHOME"] = self.config["prefix"]
        return env


def interpreters() -> list[Interpreter]:
    """One interpreter of every supported version found, the lowest first."""
    lines = (ROOT / ".dev" / "pythons").read_text().splitlines()
    return [Interpreter(version, Path(path)) for version, path in (line.split("\t") for line in lines)]


def primary() -> Interpreter:
    """The interpreter used where one is enough: the lowest version."""
    return interpreters()[0]


def clean_env() -> dict[str, str]:
    """The environment without anything that would start or steer a recording, or change how Python starts."""
    unwanted = ("CODETRACER_", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    stdout: int | TextIO | None = None,
) -> None:
    """Runs a command, in the clean environment unless told otherwise; its failure is ours."""
    status = subprocess.run(command, env=clean_env() if env is None else env, cwd=cwd, stdout=stdout).returncode
    if status != 0:
        fail(f"`{' '.join(map(str, command))}` ended with status {status}")


def need_build_tools() -> None:
    """Makes sure that the extension can be compiled."""
    if subprocess.run([ROOT / "scripts/dev/build-tools.sh"]).returncode != 0:
        sys.exit(1)


def human_size(count: float) -> str:
    """A number of bytes as people read it."""
    for unit in ["bytes", "KiB", "MiB", "GiB"]:
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
