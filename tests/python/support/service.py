"""Starts a web server under the recorder, sends it requests, ends it, and reads what all processes recorded."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from .filters import only
from .reading import Thread, Trace
from .running import TIMEOUT, environment

ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")

ONLY_THE_APPLICATION = only("pkg:app", values="inherit")


class Service:
    """A server as a context; leaving it kills what is still there."""

    def __init__(self, command: Sequence[str], directory: Path, *, policy: str = "full") -> None:
        """`command` is what follows the recorder's own options, e.g. `-m gunicorn app`."""
        self.out = directory / "out"
        self.log = directory / "log"
        (directory / "only.toml").write_text(ONLY_THE_APPLICATION)
        recorder = [sys.executable, "-m", "codetracer_python_recorder", "--out-dir", str(self.out)]
        options = ["--trace-filter", str(directory / "only.toml"), "--propagate-script-exit"]
        extra = {"HOME": str(directory), "CODETRACER_POLICY": policy, "PYTHONUNBUFFERED": "1"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*recorder, *options, *command],
                cwd=directory,
                env=environment(extra),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.port = 0

    def __enter__(self) -> Service:
        deadline = time.monotonic() + TIMEOUT
        while (found := ADDRESS.search(self.log.read_text())) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the server did not start: {self.log.read_text()}")
            time.sleep(0.02)
        self.port = int(found[1])
        while True:
            try:
                self.get("/ready")
                return self
            except OSError:
                if time.monotonic() > deadline:
                    self.kill()
                    raise
                time.sleep(0.05)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """Ends the server and its workers: they are one session."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Status and body of one request, over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request(method, path, headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def get_all(self, paths: Iterable[str], at_once: int = 4) -> list[tuple[int, str]]:
        """Many requests, some at a time; answers in order."""
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(self.get, paths))

    def hammer(self, paths: Sequence[str], at_once: int = 4) -> list[tuple[int, str]]:
        """Many requests over few connections, each used for as long as the server keeps it; answers in order."""
        answers: list[tuple[int, str]] = [(0, "")] * len(paths)

        def client(first: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
            try:
                for number in range(first, len(paths), at_once):
                    connection.request("GET", paths[number])
                    answer = connection.getresponse()
                    answers[number] = (answer.status, answer.read().decode())
                    if answer.will_close:
                        connection.close()
            finally:
                connection.close()

        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(client, range(at_once)))
        return answers

    def terminate(self, signal_number: int = signal.SIGTERM) -> int:
        """Asks the server to end, and waits until it has."""
        self.process.send_signal(signal_number)
        return self.process.wait(TIMEOUT)

    def directories(self) -> list[Path]:
        """The recordings of all processes."""
        return [self.out, *sorted(self.out.glob("**/processes/*"))]

    @cached_property
    def threads(self) -> list[Thread]:
        """What every thread of every process recorded; reading them checks that each is a whole trace."""
        return [thread for directory in self.directories() for thread in Trace(directory).threads]

    def arguments(self, function: str, name: str) -> list[str]:
        """What a parameter was in all calls of a function."""
        calls = [call for thread in self.threads for call in thread.calls_of(function)]
        return [str(dict(call.args)[name]) for call in calls]

    def spans(self) -> list[dict[str, Any]]:
        """The lines of all manifests."""
        manifests = [directory / "spans.jsonl" for directory in self.directories()]
        return [json.loads(line) for path in manifests if path.exists() for line in path.read_text().splitlines()]
