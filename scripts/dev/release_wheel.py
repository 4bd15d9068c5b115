"""A wheel as it is released: the compiler is shown what it is to be fast at, and then builds it.

`benches/train.py` is what it is shown. Where the tools for that are not there and cannot be got, the wheel is built
without, and that is said.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from common import Interpreter, clean_env, need_build_tools, run, say

COMPONENT = "llvm-tools"
"""Of the Rust toolchain; it has the program that puts profiles together."""


def build_wheel(interpreter: Interpreter, out: Path, *options: str) -> None:
    """Builds the wheel for an interpreter into `out`."""
    need_build_tools()
    interpreter.ensure_venv()
    profile = ["--pgo"] if can_profile() else []
    if not profile:
        say(f"Without a profile, so slower by a tenth: `rustup component add {COMPONENT}` would have it made")
    command = ["-m", "maturin", "build", "--release", "--locked", *profile, *options]
    run([interpreter.python, *command, "--interpreter", interpreter.path, "--out", out], env=interpreter.cargo_env())


def can_profile() -> bool:
    """Whether the toolchain can put profiles together, after trying to have it do so."""
    if not has_profile_tools() and shutil.which("rustup"):
        say(f"Adding {COMPONENT} to the Rust toolchain (once)")
        subprocess.run(["rustup", "component", "add", COMPONENT], env=clean_env())
    return has_profile_tools()


def has_profile_tools() -> bool:
    printed = subprocess.run(["rustc", "--print", "sysroot"], env=clean_env(), capture_output=True, text=True)
    root = printed.stdout.strip()
    return bool(root) and any(Path(root).glob("lib/rustlib/*/bin/llvm-profdata*"))
