"""One variable of every kind, to see in CodeTracer how each is shown.

./scripts/just run examples/values.py
"""

import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import uuid
from dataclasses import dataclass


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Point:
    x: int
    y: float


class Slotted:
    __slots__ = ("left", "right")

    def __init__(self, left, right):
        self.left = left
        self.right = right


Pair = collections.namedtuple("Pair", "first second")


def scalars():
    nothing = None
    yes = True
    small, negative, big = 7, -7, 2**200
    ratio, infinite, undefined = 0.1, float("inf"), float("nan")
    imaginary = 1 + 2j
    return [nothing, yes, small, negative, big, ratio, infinite, undefined, imaginary]


def texts():
    text = "naïve ✓ 🐍"
    lone_surrogate = "broken \udc80"
    data = b"\x00\xff raw"
    mutable = bytearray(b"abc")
    long_text = "all work and no play " * 1000
    return len(text) + len(lone_surrogate) + len(data) + len(mutable) + len(long_text)


def containers():
    items = [1, "two", [3.0, None]]
    pair = (1, 2)
    table = {"a": 1, ("tuple", "key"): [2]}
    unique, frozen = {1, 2, 3}, frozenset("ab")
    queue = collections.deque([1, 2], maxlen=5)
    counts = collections.Counter("abracadabra")
    many = list(range(10_000))
    endless = [1]
    endless.append(endless)
    deep = []
    for _ in range(1000):
        deep = [deep]
    return len(items) + len(pair) + len(table) + len(unique) + len(frozen) + len(queue) + len(counts) + len(many)


def objects():
    point = Point(1, 2.5)
    slotted = Slotted("l", point)
    named = Pair(1, second=[2])
    colour = Colour.BLUE
    when = datetime.datetime(2024, 2, 29, 12, 30)
    lasting = datetime.timedelta(days=1, seconds=2)
    price, third = decimal.Decimal("9.99"), fractions.Fraction(1, 3)
    key = uuid.UUID(int=1)
    path = pathlib.PurePosixPath("/tmp") / "file.txt"
    error = ValueError("wrong", 42)
    function, kind, module = objects, Point, pathlib
    lazy = (n * n for n in range(3))
    first = next(lazy)
    return [point, slotted, named, colour, when, lasting, price, third, key, path, error, function, kind, module, first]


def arguments(positional, /, usual, *rest, keyword, default="d", **others):
    return positional, usual, rest, keyword, default, others


def main():
    print(len(scalars()), "scalars")
    print(texts(), "characters and bytes")
    print(containers(), "items")
    print(len(objects()), "objects")
    print(arguments(1, 2, 3, 4, keyword=5, extra=6))


if __name__ == "__main__":
    main()
