"""A real browser without a window: what it makes of a page, and what that looks like."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

MACOS = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def dom(page: Path, scratch: Path) -> str:
    """The document after the browser has read it."""
    return _run(["--dump-dom"], page, scratch).decode("utf-8")


def screenshot(page: Path, scratch: Path, size: tuple[int, int] = (1200, 1600)) -> Path:
    """A picture of the page."""
    picture = scratch / "screenshot.png"
    _run([f"--screenshot={picture}", f"--window-size={size[0]},{size[1]}", "--hide-scrollbars"], page, scratch)
    return picture


def distinct_rows(picture: Path) -> int:
    """How many rows of pixels are stored differently: a handful for a picture of one colour."""
    content = picture.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    position, data, header = 8, b"", b""
    while position < len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        chunk = content[position + 8 : position + 8 + length]
        data += chunk if kind == b"IDAT" else b""
        header = chunk if kind == b"IHDR" else header
        position += length + 12
    width, _, depth, colours = struct.unpack_from(">IIBB", header)
    row = 1 + width * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours] * depth // 8
    pixels = zlib.decompress(data)
    return len({pixels[start : start + row] for start in range(0, len(pixels), row)})


def _run(options: list[str], page: Path, scratch: Path) -> bytes:
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    assert browser, "a browser is missing: ./scripts/dev/system-package.sh chromium apt:chromium"
    command = [browser, "--headless", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", "--no-sandbox"]
    profile = scratch / "profile"
    environment = dict(os.environ, HOME=str(scratch))
    done = subprocess.run(
        [*command, f"--user-data-dir={profile}", *options, page.as_uri()],
        capture_output=True,
        env=environment,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout
