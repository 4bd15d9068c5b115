"""`codetracer-python-recorder ctl PID|DIR COMMAND`: asks a running recording for something.

Invariants:
- The recording listens at `control.sock` in its directory. By a process id it is found through `/proc`: which sockets
  the process has open, and where they are bound. No file elsewhere says so, so none goes stale.
- Whoever may not look into the process may not control it either.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

_PROGRAM = "codetracer-python-recorder"
SOCKET = "control.sock"
VERSION = 1
_COMMANDS = ("status", "dump", "pause", "resume", "stop")


class ControlError(Exception):
    """Why it could not be done, for people."""


def run(verb: str, arguments: Sequence[str]) -> int:
    """Sends one command and prints what comes of it; returns 0, or 1 when it could not be done.

    Raises `SystemExit` with 2 for bad arguments, with 0 after `-h`.
    """
    options = _parser().parse_args(arguments)
    request = {"version": VERSION, "command": options.command}
    if options.reason is not None:
        request["reason"] = options.reason
    try:
        directory = find_directory(options.target)
        result = ask(directory, request, options.timeout)
    except ControlError as error:
        print(f"{_PROGRAM}: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(result))
    else:
        _show(options.command, result)
    return 0


def find_directory(target: str) -> str:
    """The directory with the socket of a process, or of a recording. Raises `ControlError`."""
    if not target.isdecimal():
        if not os.path.exists(os.path.join(target, SOCKET)):
            raise ControlError(
                f"nobody listens in {target}: no recording runs there, or its policy has output.control=never"
            )
        return target
    process = f"/proc/{target}"
    if not os.path.isdir(process):
        raise ControlError(f"there is no process {target} (or no /proc: name the recording's directory instead)")
    try:
        open_sockets = set(_sockets(f"{process}/fd"))
    except PermissionError:
        raise ControlError(f"process {target} belongs to another user: only its user may control it") from None
    except OSError as error:
        raise ControlError(f"cannot look into process {target}: {error}") from None
    for inode, path in _bound(f"{process}/net/unix"):
        if inode in open_sockets and os.path.basename(path) == SOCKET:
            directory = os.path.dirname(path)
            if directory.startswith("/proc/self/"):
                # A path that was too long for an address was bound through a descriptor.
                return directory.replace("/proc/self/", f"{process}/", 1)
            # A container has a root of its own.
            return directory if os.path.exists(path) else f"{process}/root{directory}"
    raise ControlError(
        f"process {target} does not listen: it is not recorded, or its policy has output.control=never "
        "(auto listens for a flight recorder only)"
    )


def _sockets(descriptors: str) -> list[str]:
    found = []
    for descriptor in os.listdir(descriptors):
        try:
            link = os.readlink(os.path.join(descriptors, descriptor))
        except FileNotFoundError:
            continue  # closed meanwhile
        if link.startswith("socket:["):
            found.append(link[8:-1])
    return found


def _bound(table: str) -> list[tuple[str, str]]:
    """Inode and path of every bound socket: `Num RefCount Protocol Flags Type St Inode Path`."""
    with open(table, encoding="utf-8", errors="surrogateescape") as lines:
        rows = [line.rstrip("\n").split(maxsplit=7) for line in lines]
    return [(row[6], row[7]) for row in rows if len(row) == 8]


def ask(directory: str, request: dict[str, Any], timeout: float) -> Any:
    """Sends a request to the recording in `directory` and returns its result. Raises `ControlError`."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            _connect(connection, directory)
            connection.sendall(json.dumps(request).encode("ascii") + b"\n")
            with connection.makefile("rb") as answers:
                line = answers.readline()
    except TimeoutError:
        raise ControlError(
            f"no answer within {timeout:g} s: the program holds its interpreter, or is stopped"
        ) from None
    except OSError as error:
        raise ControlError(f"cannot reach the recording: {error}") from None
    try:
        answer = json.loads(line)
        if answer["ok"] is True:
            return answer["result"]
        message, code = answer["error"]["message"], answer["error"]["code"]
    except (ValueError, KeyError, TypeError):
        raise ControlError("the answer is not of this protocol") from None
    raise ControlError(f"[{code}] {message}")


def _connect(connection: socket.socket, directory: str) -> None:
    """An address holds 107 bytes; a descriptor of the directory is short."""
    path = os.path.join(directory, SOCKET)
    if len(os.fsencode(path)) <= 100 or not os.path.isdir("/proc/self/fd"):
        connection.connect(path)
        return
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        connection.connect(f"/proc/self/fd/{opened}/{SOCKET}")
    finally:
        os.close(opened)


def _show(command: str, result: Any) -> None:
    if command == "dump":
        print(result["directory"])
    elif command == "status":
        for key, value in result.items():
            print(f"{key}: {json.dumps(value) if isinstance(value, dict | list) else value}")
    else:
        said = {"pause": "paused", "resume": "recording", "stop": "stopped"}[command]
        print(said if result.get("changed", True) else f"{said} already")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{_PROGRAM} ctl",
        description="Ask a running recording of this user for something.",
    )
    parser.add_argument("target", metavar="PID|DIR", help="the recorded process, or the directory of its recording")
    parser.add_argument("command", choices=_COMMANDS, help="what to do; dump prints the directory of the dump")
    parser.add_argument("--reason", help="with dump: why, for its name and its metadata")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="wait so long (default: 60)")
    return parser


__all__ = ("SOCKET", "VERSION", "ControlError", "ask", "find_directory", "run")
