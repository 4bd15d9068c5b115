"""A program that looks for the recorder in reference counts, deaths, memory and time finds nothing.

Each program prints what it can see of its values while they are held as locals, arguments, items, attributes, cells,
yielded and raised; recorded and plain runs print the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.recording import Recording
from support.running import Outcome, python

Record = Callable[..., Recording]
Write = Callable[..., Path]

KINDS = """\
import array
import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import gc
import pathlib
import re
import sys
import types
import uuid
import weakref
import zoneinfo


class Plain:
    def __init__(self):
        self.number, self.text = 10**20, "".join(["te", "xt"])

    def method(self):
        pass


class Slotted:
    __slots__ = ("left", "right", "__weakref__")

    def __init__(self):
        self.left, self.right = [], {}


class Colour(enum.Enum):
    RED = [1]


class Sub(list):
    pass


class Table(dict):
    pass


class Text(str):
    pass


class Number(int):
    pass


class Ratio(float):
    pass


class Moment(datetime.datetime):
    pass


class Zone(datetime.tzinfo):
    pass


@dataclasses.dataclass
class Data:
    items: list
    name: str


Pair = collections.namedtuple("Pair", "first second")
kept = Plain()


def generator():
    yield kept


async def coroutine():
    return kept


async def async_generator():
    yield kept


def chained():
    try:
        try:
            raise OSError("disk", [1])
        except OSError:
            raise ValueError("read") from None
    except ValueError as error:
        error.add_note("a note")
        return error.with_traceback(None)


def cycle():
    items = []
    items.append(items)
    return items


KINDS = {
    "int": lambda: 10 ** (29 + len(sys.argv)),
    "float": lambda: 1.5 + len(sys.argv),
    "complex": lambda: 1j + len(sys.argv),
    "str": lambda: "".join(["long ", "text é ✓"]),
    "bytes": lambda: bytes(range(7)),
    "bytearray": lambda: bytearray(b"abc"),
    "memoryview": lambda: memoryview(bytearray(b"abc")),
    "list": lambda: [Plain(), [2]],
    "tuple": lambda: (Plain(), [2]),
    "dict": lambda: {"k": Plain(), (1, 2): [3]},
    "set": lambda: {1000, "x"},
    "frozenset": lambda: frozenset([Plain()]),
    "range": lambda: range(len(sys.argv), len(sys.argv) << 70),
    "slice": lambda: slice(Plain(), 10**20),
    "named tuple": lambda: Pair([1], Plain()),
    "enum": lambda: Colour.RED,
    "dataclass": lambda: Data([1], "n"),
    "plain": Plain,
    "slotted": Slotted,
    "sub": lambda: Sub([1]),
    "table": lambda: Table(a=Plain()),
    "text": lambda: Text("t"),
    "number": lambda: Number(5),
    "ratio": lambda: Ratio(5),
    "exception": chained,
    "exception in itself": lambda: cycle() and ValueError(cycle()),
    "function": lambda: lambda: kept,
    "method": lambda: Plain().method,
    "builtin": lambda: [].append,
    "class": lambda: type("Made", (), {"attribute": []}),
    "module": lambda: types.ModuleType("made"),
    "date": lambda: datetime.date(2024, 1, len(sys.argv)),
    "time": lambda: datetime.time(1, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
    "datetime": lambda: datetime.datetime(2024, 1, 2, tzinfo=zoneinfo.ZoneInfo("UTC")),
    "moment": lambda: Moment(2024, 1, 2, tzinfo=Zone()),
    "timedelta": lambda: datetime.timedelta(days=len(sys.argv)),
    "timezone": lambda: datetime.timezone(datetime.timedelta(hours=3), "name"),
    "Decimal": lambda: decimal.Decimal("1.5"),
    "Fraction": lambda: fractions.Fraction(1, 3),
    "UUID": lambda: uuid.UUID(int=5),
    "path": lambda: pathlib.PurePosixPath("/a") / "b",
    "pattern": lambda: re.compile("a+" + "b" * len(sys.argv)),
    "match": lambda: re.match("a", "abc"),
    "deque": lambda: collections.deque([Plain(), 2]),
    "OrderedDict": lambda: collections.OrderedDict(a=Plain()),
    "defaultdict": lambda: collections.defaultdict(list, a=[1]),
    "Counter": lambda: collections.Counter("aab"),
    "mappingproxy": lambda: types.MappingProxyType({"a": Plain()}),
    "weak reference": lambda: weakref.ref(kept, lambda reference: None),
    "weak proxy": lambda: weakref.proxy(kept, lambda reference: None),
    "dead reference": lambda: weakref.ref(Plain()),
    "weak method": lambda: weakref.WeakMethod(kept.method),
    "generator": generator,
    "async generator": async_generator,
    "iterator": lambda: iter([1, 2]),
    "namespace": lambda: types.SimpleNamespace(a=[1]),
    "array": lambda: array.array("i", [1, 2]),
    "cycle": cycle,
    "object": object,
}


def count(value):
    return sys.getrefcount(value)

"""


def both(script: Path, record: Record) -> tuple[Outcome, Recording]:
    plain = python([script])
    assert plain.status == 0, plain.stderr
    recorded = record(script)
    assert (recorded.status, recorded.stderr) == (plain.status, plain.stderr)
    return plain, recorded


def test_reference_counts_are_the_same_whatever_holds_a_value(record: Record, write: Write) -> None:
    script = write(
        KINDS
        + """\
class Error(Exception):
    pass


def passes(argument, *rest, key, **others):
    return [count(argument), count(rest[0]), count(key), count(others["other"])]


def yields(value):
    seen = count(value)
    yield value
    seen += count(value)
    yield seen


def raises(value):
    raise Error(value)


def everywhere(make):
    value = make()
    seen = [count(value)]
    boxed, keyed, held = [value], {"key": value}, Plain()
    seen.append(count(value))
    held.value = value
    seen.append(count(value))
    seen += passes(value, value, key=value, other=value)
    pair = (value, value)
    seen.append(count(value))
    seen += [count(value) for again in boxed]
    del boxed, keyed, pair
    seen.append(count(value))
    producer = yields(value)
    seen += [count(next(producer)), next(producer)]
    del producer, held
    seen.append(count(value))
    try:
        raises(value)
    except Error as error:
        seen.append(count(error.args[0]))
    seen.append(count(value))
    seen.append(count(kept))

    def inner():
        nonlocal value
        before = count(value)
        value = None
        return before

    seen.append(inner())
    seen.append(count(kept))
    return seen


for name, make in KINDS.items():
    print(name, everywhere(make))
"""
    )
    plain, recorded = both(script, record)
    assert plain.stdout.count("\n") > 50
    assert recorded.stdout.splitlines() == plain.stdout.splitlines()


def test_values_die_when_they_would_and_callbacks_come_in_order(record: Record, write: Write) -> None:
    script = write(
        KINDS
        + """\
class Mortal:
    def __init__(self, name):
        self.name = name

    def __del__(self):
        print("del", self.name)


class Items(list):
    def __del__(self):
        print("del items", len(self))


def leave(value):
    print("leaving")
    value = None
    print("left")


def lives(number):
    first, second = Mortal(f"first {number}"), Mortal(f"second {number}")
    references = [weakref.ref(first, lambda _, n=n: print("callback", n)) for n in range(3)]
    holder, items = Plain(), Items([first])
    holder.second = second
    print("made")
    first = None
    print("unnamed")
    items.clear()
    print("cleared", [reference() for reference in references])
    items = None
    second = None
    print("held")
    holder = None
    print("dropped")
    leave(Mortal("argument"))
    loop = Mortal("loop")
    loop.me = loop
    del loop
    print("collect", gc.collect() > 0)
    for each in (Mortal(n) for n in range(3)):
        print("each", each.name)
    print("over")
    del each
    return number


def watched(make):
    value = make()
    try:
        reference = weakref.ref(value, lambda _: print("dies"))
    except TypeError:
        return "no weak references"
    boxed = [value]
    value = None
    print("boxed")
    boxed.pop()
    print("popped", reference() is None)
    return "done"


gc.disable()
for number in range(3):
    print(lives(number))
for name, make in KINDS.items():
    print(name, watched(make))
"""
    )
    plain, recorded = both(script, record)
    assert plain.stdout.count("dies") > 15
    assert recorded.stdout.splitlines() == plain.stdout.splitlines()


@pytest.mark.private_layout
def test_no_instance_dict_is_made_and_texts_grow_in_place(record: Record, write: Write) -> None:
    script = write(
        KINDS
        + """\
def dicts():
    instance, nested = Plain(), [Plain()]
    pairs = {"k": Plain()}
    looked_at = instance
    made = [dict in map(type, gc.get_referents(each)) for each in (instance, nested[0], pairs["k"])]
    return made, sys.getsizeof(instance)


def grows():
    text, data, moved = "x" * 1000, b"x" * 1000, 0
    for _ in range(3000):
        before = id(text)
        text += "y"
        moved += id(text) != before
    return moved < 1500, len(text)


def encoded():
    text = "".join(["é", "✓"] * 10)
    before = sys.getsizeof(text)
    again = text
    return sys.getsizeof(text) - before


print(dicts(), grows(), encoded())
"""
    )
    plain, recorded = both(script, record)
    assert plain.stdout.startswith("([False, False, False], "), plain.stdout
    assert "(True, 4000)" in plain.stdout
    assert recorded.stdout == plain.stdout


@pytest.mark.private_layout
def test_a_caught_recursion_error_leaves_the_program_as_it_was(record: Record, write: Write) -> None:
    script = write(
        """
        import sys

        class Node:
            def __init__(self, below):
                self.below = below

        def deeper(depth, below):
            node = Node(below)
            try:
                return deeper(depth + 1, node)
            except RecursionError as error:
                return depth, str(error), type(error.__cause__)

        def plain(n):
            return plain(n + 1)

        for limit in (60, 100, 500):
            sys.setrecursionlimit(limit)
            results = [deeper(0, None) for _ in range(3)]
            try:
                plain(0)
            except RecursionError as error:
                results.append(len(str(error)))
                depth, traceback = 0, error.__traceback__
                while traceback:
                    depth, traceback = depth + 1, traceback.tb_next
                results.append(depth)
            print(limit, results)
        """
    )
    plain = python([script])
    recorded = record(script)
    assert recorded.status == plain.status == 0, recorded.stderr
    assert recorded.stdout == plain.stdout
    assert recorded.stderr == plain.stderr == ""
    calls = recorded.trace.main.counts
    assert calls["Call"] == calls["Return"]
