"""Files and directories that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO


def write_file(path: Path, write: Callable[[TextIO], None]) -> None:
    """Makes or replaces a text file by what `write` writes."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8") as out:
            write(out)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def write_text(path: Path, text: str) -> None:
    """Makes or replaces a text file."""

    def write(out: TextIO) -> None:
        out.write(text)

    write_file(path, write)


def write_directory(path: Path, fill: Callable[[Path], None]) -> None:
    """Makes a new directory, of this user alone, with what `fill` puts into it.

    Raises `FileExistsError` if there is something already.
    """
    if os.path.lexists(path):
        raise FileExistsError(f"'{path}' exists, and is not overwritten: name another or remove it")
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        fill(scratch)
        os.rename(scratch, path)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
