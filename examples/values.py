"""One variable of every kind, to see in CodeTracer how each is shown.

./scripts/just run examples/values.py

The kinds are those of docs/values.md, without those of NumPy and pandas: importing these would be most
of the trace.
"""

import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import re
import types
import uuid
import weakref
import zoneinfo
from dataclasses import dataclass


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Point:
    x: int
    y: float


class Slotted:
    __slots__ = ("__weakref__", "left", "right")

    def __init__(self, left, right):
        self.left = left
        self.right = right


class Metres(float):
    pass


class Price(decimal.Decimal):
    pass


Pair = collections.namedtuple("Pair", "first second")


def scalars():
    nothing = None
    yes = True
    small, negative, big = 7, -7, 2**200
    ratio, infinite, undefined = 0.1, float("inf"), float("nan")
    imaginary = 1 + 2j
    exact, third = decimal.Decimal("9.99"), fractions.Fraction(1, 3)
    length, price = Metres(2.5), Price("9.99")
    return [nothing, yes, small, negative, big, ratio, infinite, undefined, imaginary, exact, third, length, price]


def texts():
    text = "naïve ✓ 🐍"
    lone_surrogate = "broken \udc80"
    data = b"\x00\xff raw"
    mutable = bytearray(b"abc")
    view = memoryview(data)
    long_text = "all work and no play " * 1000
    return len(text) + len(lone_surrogate) + len(data) + len(mutable) + len(view) + len(long_text)


def containers():
    items = [1, "two", [3.0, None]]
    pair = (1, 2)
    table = {"a": 1, ("tuple", "key"): [2]}
    unique, frozen = {1, 2, 3}, frozenset("ab")
    queue = collections.deque([1, 2], maxlen=5)
    counts = collections.Counter("abracadabra")
    proxy = types.MappingProxyType(table)
    named = Pair(1, second=[2])
    many = list(range(10_000))
    endless = [1]
    endless.append(endless)
    deep = []
    for _ in range(1000):
        deep = [deep]
    everything = [items, pair, table, unique, frozen, queue, counts, proxy, named, many, endless, deep]
    return sum(len(one) for one in everything)


def numbers():
    yield 1
    yield 2


async def coroutine():
    return 1


def objects():
    point = Point(1, 2.5)
    slotted = Slotted("l", point)
    colour = Colour.BLUE
    error = ValueError("wrong", 42)
    error.add_note("seen in the gallery")
    error.__cause__ = OSError("disk")
    function, method, kind, module = objects, point.__eq__, Point, pathlib
    not_started, suspended, finished = numbers(), numbers(), numbers()
    next(suspended)
    finished.close()
    awaitable = coroutine()
    awaitable.close()
    reference, proxy, dead = weakref.ref(slotted), weakref.proxy(slotted), weakref.ref(Slotted(1, 2))
    plain = object()
    return len(locals())


def library():
    day, hour = datetime.date(2024, 2, 29), datetime.time(12, 30)
    when = datetime.datetime(2024, 2, 29, 12, 30)
    local = datetime.datetime(2024, 7, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    lasting = datetime.timedelta(days=1, seconds=2)
    offset = datetime.timezone(datetime.timedelta(hours=2))
    try:
        zone = zoneinfo.ZoneInfo("Europe/Berlin")
    except zoneinfo.ZoneInfoNotFoundError:
        zone = None  # the system has no data of time zones
    span, piece = range(1, 9, 2), slice(None, 3)
    pattern = re.compile("a+")
    match = pattern.match("aab")
    key = uuid.UUID(int=1)
    path = pathlib.PurePosixPath("/tmp") / "file.txt"
    return len(locals())


def arguments(positional, /, usual, *rest, keyword, default="d", **others):
    return positional, usual, rest, keyword, default, others


def main():
    print(len(scalars()), "scalars")
    print(texts(), "characters and bytes")
    print(containers(), "items")
    print(objects(), "objects")
    print(library(), "of the standard library")
    print(arguments(1, 2, 3, 4, keyword=5, extra=6))


if __name__ == "__main__":
    main()
