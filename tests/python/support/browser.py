"""A real browser without a window: what it makes of a page, and what that looks like."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)

# A page that was made for the web asks for more than what is served here.
LOCAL_ONLY = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


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


@contextmanager
def opened(site: Path, page: str, scratch: Path) -> Iterator[Callable[[str], Any]]:
    """A page of a directory that is served, open in the browser; yields what evaluates JavaScript in it.

    The browser is spoken to in its own protocol, through two pipes.
    """
    with ExitStack() as stack:
        handler = partial(_Silent, directory=str(site))
        server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        # The browser reads from descriptor 3 and writes to 4.
        command = ["sh", "-c", 'exec "$@" 3<&0 4>&1', "sh", *_command(scratch), LOCAL_ONLY, "--remote-debugging-pipe"]
        with (scratch / "browser.log").open("wb") as log:
            browser = stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=dict(os.environ, HOME=str(scratch)),
                )
            )
        stack.callback(browser.kill)
        assert browser.stdin and browser.stdout
        commands, answers = browser.stdin, browser.stdout
        numbers = count(1)

        def call(method: str, session: str | None = None, **parameters: object) -> Any:
            number = next(numbers)
            message = {"id": number, "method": method, "params": parameters} | (
                {"sessionId": session} if session else {}
            )
            commands.write(json.dumps(message).encode() + b"\0")
            commands.flush()
            text = b""
            while byte := answers.read(1):
                if byte != b"\0":
                    text += byte
                    continue
                if (answer := json.loads(text)).get("id") == number:
                    assert "result" in answer, answer
                    return answer["result"]
                text = b""
            raise AssertionError(f"the browser ended: {(scratch / 'browser.log').read_text(errors='replace')}")

        target = call("Target.createTarget", url=f"http://127.0.0.1:{server.server_port}/{page}")["targetId"]
        session = call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

        def evaluate(expression: str) -> Any:
            """The value of an expression, or what its promise becomes."""
            result = call("Runtime.evaluate", session, expression=expression, returnByValue=True, awaitPromise=True)
            assert "exceptionDetails" not in result, result["exceptionDetails"]
            return result["result"].get("value")

        yield evaluate


def wait_until(evaluate: Callable[[str], Any], condition: str, seconds: float = 120) -> None:
    """Waits until an expression is true in a page."""
    end = time.monotonic() + seconds
    while not evaluate(condition):
        assert time.monotonic() < end, f"{condition}: {evaluate('document.body.innerText')}"
        time.sleep(0.2)


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def _command(scratch: Path) -> list[str]:
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    assert browser, "a browser is missing: ./scripts/dev/system-package.sh chromium apt:chromium"
    options = ["--headless", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", "--no-sandbox"]
    return [browser, *options, f"--user-data-dir={scratch / 'profile'}"]


def _run(options: list[str], page: Path, scratch: Path) -> bytes:
    environment = dict(os.environ, HOME=str(scratch))
    done = subprocess.run(
        [*_command(scratch), *options, page.as_uri()],
        capture_output=True,
        env=environment,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout
