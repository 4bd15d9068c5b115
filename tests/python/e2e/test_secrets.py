"""A program with secrets in every position: no byte of any of them is in any file of its trace."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.reading import inspected_lines
from support.recording import Recording

Record = Callable[..., Recording]
Write = Callable[..., Path]

# Each position has a secret of its own, so that a leak says where it comes from. The program reads them from a file:
# a constant of its source would be in no recording, but the test must not depend on that.
POSITIONS = [
    "local",
    "argument",
    "keyword",
    "kwargs",
    "global",
    "returned",
    "attribute",
    "slot",
    "dict_key",
    "header",
    "nested",
    "closure",
    "exception",
    "dataclass",
    "namedtuple",
    "class_body",
    "yielded",
    "comprehension",
    "thread",
    "coroutine",
    "number",
    "bytes",
    "default",
]

PROGRAM = """
import asyncio
import json
import sys
import threading
from collections import namedtuple
from dataclasses import dataclass

secrets = json.load(open(sys.argv[1]))
take = secrets.pop

def with_arguments(password, *, api_key, **more):
    credentials = password
    return len(credentials) + len(api_key) + len(more)

with_arguments(take("argument"), api_key=take("keyword"), access_token=take("kwargs"))

def with_local():
    user_password = take("local")
    kept = len(user_password)
    return kept

with_local()

session_token = take("global")

def uses_global():
    n = len(session_token)
    return n

uses_global()

def get_password():
    return take("returned")

len(get_password())

class Account:
    def __init__(self):
        self.name = "visible-name"
        self.password = take("attribute")

class Slotted:
    __slots__ = ("api_key", "other")
    def __init__(self):
        self.other = 1
        self.api_key = take("slot")

def shows(thing):
    other = thing
    return other

shows(Account())
shows(Slotted())
shows({"password": take("dict_key"), "shown": "visible-value"})
shows({"Authorization": take("header")})
shows([({"deep": [{"client_secret": take("nested")}]},)])

def outer():
    private_key = take("closure")
    def inner():
        n = len(private_key)
        return n
    return inner

outer()()

class Denied(Exception):
    secret = None

def raising():
    denied = Denied("denied")
    denied.secret = take("exception")
    try:
        raise denied
    except Denied as error:
        caught = error
    return None

raising()

@dataclass
class Login:
    user: str
    password: str

shows(Login("visible-user", take("dataclass")))
Pair = namedtuple("Pair", "user passwd")
shows(Pair("visible-user", take("namedtuple")))

class Settings:
    secret_key = take("class_body")
    size = len(secret_key)

def next_token():
    auth_token = take("yielded")
    yield len(auth_token)

list(next_token())

def comprehends():
    return [len(password) for password in [take("comprehension")]]

comprehends()

def in_thread():
    pin = 1
    passphrase = take("thread")
    return len(passphrase) + pin

worker = threading.Thread(target=in_thread)
worker.start()
worker.join()

async def awaits():
    bearer_token = take("coroutine")
    await asyncio.sleep(0)
    return len(bearer_token)

asyncio.run(awaits())

def numbers():
    card_number = int(take("number"))
    return card_number > 0

numbers()

def raw():
    secret = take("bytes").encode()
    return len(secret)

raw()

def defaulted(password=take("default")):
    return len(password)

defaulted()
print("done")
"""


def secret(position: str) -> str:
    if position == "number":
        return "4929318475610283"
    return f"zq{POSITIONS.index(position):02}x{position.replace('_', '')}Hunter"


def contents(directory: Path) -> bytes:
    """Every file as it is, and every event file as it reads, decompressed."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    raw = b"\n".join(path.read_bytes() for path in files)
    traces = [path.parent for path in files if path.name in ("trace.bin", "trace.json")]
    assert len(traces) == 2, "the main thread's and the worker's"
    return raw + "\n".join(line for each in traces for line in inspected_lines(each)).encode()


@pytest.mark.parametrize("format", ["binary", "json"])
def test_no_secret_is_in_any_file_of_the_trace_nor_in_the_channel_to_the_workers(
    format: str, record: Record, write: Write, tmp_path: Path
) -> None:
    secrets = {position: secret(position) for position in POSITIONS}
    handed_over = tmp_path / "handed-over"
    handed_over.write_text(json.dumps(secrets))
    channel = tmp_path / "channel"
    env = {"CODETRACER_CAPTURE_IO": "off", "CODETRACER_TEST_TAP": str(channel)}
    recorded = record(write(PROGRAM), str(handed_over), format=format, env=env)
    assert (recorded.stdout, recorded.stderr, recorded.status) == ("done\n", "", 0)
    passed = channel.read_bytes()
    assert b"visible-value" in passed, "what is no secret passes the channel as it is"
    found = contents(recorded.directory) + passed
    for shown in (b"visible-name", b"visible-value", b"visible-user"):
        assert shown in found, "what is no secret is shown, or this test proves nothing"
    leaked = [
        position
        for position, text in secrets.items()
        if text.encode() in found or base64.b64encode(text.encode()) in found or text.encode().hex().encode() in found
    ]
    assert leaked == []


def test_what_was_hidden_is_counted_by_kind(record: Record, write: Write, tmp_path: Path) -> None:
    handed_over = tmp_path / "handed-over"
    handed_over.write_text(json.dumps({position: secret(position) for position in POSITIONS}))
    recorded = record(write(PROGRAM), str(handed_over))
    counted = json.loads((recorded.directory / "trace_metadata.json").read_text())["trace_filter"]["stats"]
    redactions = counted["value_redactions"]
    assert all(redactions[kind] > 0 for kind in ("argument", "local", "global", "return", "attribute")), redactions
    assert set(counted["value_drops"].values()) == {0}
