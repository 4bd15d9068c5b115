"""Runs a program at a pseudo-terminal and types for it."""

from __future__ import annotations

import os
import pty
import select
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

from .running import TIMEOUT, environment

_AS_CONTROLLING_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

Typed = Sequence[tuple[bytes, bytes | tuple[int, int]]]
"""What to wait for on the screen, and what to type then, or the size (lines, columns) that the window then gets."""


@dataclass(frozen=True)
class Screen:
    """What the terminal got, and how the program ended."""

    output: bytes
    status: int


def run(
    args: Sequence[str | Path],
    typed: Typed = (),
    *,
    size: tuple[int, int] = (24, 80),
    insist: bytes = b"",
    controlling: bool = True,
) -> Screen:
    """Runs this interpreter with `args` at a terminal. `typed` says what to type once something was shown;
    `insist` is typed again and again when that is done and nothing happens. Unless it is `controlling` there is
    no `/dev/tty`."""
    terminal, end = pty.openpty()
    _resize(terminal, size)
    env = environment({"TERM": "xterm", "INPUTRC": os.devnull})
    for name in ("COLUMNS", "LINES"):
        env.pop(name, None)
    child = subprocess.Popen(
        [sys.executable, *(["-c", _AS_CONTROLLING_TERMINAL] if controlling else []), *map(str, args)],
        stdin=end,
        stdout=end,
        stderr=end,
        env=env,
        start_new_session=True,
    )
    os.close(end)
    shown, seen, script = b"", 0, list(typed)
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1.0)[0]:
            if insist and not script:
                os.write(terminal, insist)
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # Linux's way of saying that the other end is closed
            break
        if not data:
            break
        shown += data
        while script and (found := shown.find(script[0][0], seen)) >= 0:
            seen = found + len(script[0][0])
            _, action = script.pop(0)
            if isinstance(action, bytes):
                os.write(terminal, action)
            else:
                _resize(terminal, action)
    else:
        child.kill()
    os.close(terminal)
    return Screen(shown, child.wait(TIMEOUT))


def _resize(terminal: int, size: tuple[int, int]) -> None:
    ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
