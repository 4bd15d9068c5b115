"""Every row of the table in docs/values.md, held to what a trace shows, however frames are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from oracle.model import Value
from support.recording import Recording

Record = Callable[..., Recording]
Write = Callable[..., Path]

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "values.md"

HEAD = """\
import collections, dataclasses, datetime, decimal, enum, fractions, pathlib, re, types, uuid, weakref, zoneinfo

class Colour(enum.Enum):
    RED = 1

class Level(enum.IntEnum):
    HIGH = 3

@dataclasses.dataclass
class Data:
    n: int
    items: list

class Base:
    __slots__ = ("z", "a")

class Slotted(Base):
    __slots__ = ("m",)

    def __init__(self):
        self.m, self.a, self.z = 1, 2, 3

class MyInt(int): pass
class MyFloat(float): pass
class MyStr(str): pass
class MyList(list): pass
class MyDict(dict): pass
class MyBytes(bytes): pass
class MyByteArray(bytearray): pass
class MyComplex(complex): pass
class Key(uuid.UUID): pass
class Place(pathlib.PurePosixPath): pass

class Price(decimal.Decimal):
    def __init__(self, text):
        self.text = text

    def __repr__(self):
        raise AssertionError("asked")

class Queue(collections.deque):
    def __iter__(self):
        raise AssertionError("asked")

    __len__ = __repr__ = __iter__

class Moment(datetime.datetime): pass
class Empty: pass

Point = collections.namedtuple("Point", "x y")
target = Data(1, [])

def generator():
    yield 1

async def coroutine():
    pass

async def async_generator():
    yield 1

def begun():
    made = generator()
    next(made)
    return made

def ended():
    made = generator()
    made.close()
    return made

def released():
    view = memoryview(b"x")
    view.release()
    return view

def noted():
    error = KeyError("k")
    error.add_note("see")
    error.__cause__ = OSError("disk")
    return error

def handled():
    try:
        try:
            raise OSError("disk")
        except OSError:
            raise ValueError("read")
    except ValueError as error:
        return error

def show(value):
    return value

"""


def other(name: str, shown: object) -> Value:
    """A value of a type without a form of its own: text, items or fields."""
    return ["Other", name, shown] if isinstance(shown, str) else ["Other", name, "", shown]


def numbers(*values: int) -> list[Value]:
    return [["Int", hex(value)] for value in values]


ROWS: dict[str, list[tuple[str, Value]]] = {
    "`None`, `True`, `False`": [("None", ["None"]), ("True", ["Bool", True]), ("False", ["Bool", False])],
    "`int`": [
        ("-5", ["Int", "-0x5"]),
        ("2**64", ["Int", hex(2**64)]),
        ("1 << 20000", ["Truncated", "<int of 20010 bits>"]),
    ],
    "`float`": [("0.1", ["Float", "0.1"]), ("float('-inf')", ["Float", "-inf"]), ("float('nan')", ["Float", "nan"])],
    "`str`": [("'é'", ["String", "é"]), ("'a\\udc80'", ["String", "a\\udc80"])],
    "`bytes`, `bytearray`": [
        ("b'a\\0'", ["Bytes", "b'a\\x00'"]),
        ("bytearray(b'a')", other("bytearray", "bytearray(b'a')")),
    ],
    "`memoryview`": [
        ("memoryview(b'ab')", other("memoryview", "<memoryview shape=[2] format=\"B\" b'ab'>")),
        ("released()", other("memoryview", "<released memoryview>")),
    ],
    "`list`, `tuple`, `set`, `frozenset`": [
        ("[1]", ["List", numbers(1)]),
        ("(1, 2)", ["Tuple", numbers(1, 2)]),
        ("{1}", ["Set", numbers(1)]),
        ("frozenset([1])", ["FrozenSet", numbers(1)]),
    ],
    "`dict`": [("{'a': 1}", ["Dict", [[["String", "a"], ["Int", "0x1"]]]])],
    "`deque`, `mappingproxy`, subclasses of containers": [
        ("collections.deque([1])", other("collections.deque", numbers(1))),
        ("types.MappingProxyType({1: 2})", other("mappingproxy", [["Tuple", numbers(1, 2)]])),
        ("collections.Counter([1])", other("collections.Counter", [["Tuple", numbers(1, 1)]])),
        ("collections.OrderedDict({1: 2})", other("collections.OrderedDict", [["Tuple", numbers(1, 2)]])),
        ("collections.defaultdict(list, {1: 2})", other("collections.defaultdict", [["Tuple", numbers(1, 2)]])),
        ("MyList([1])", other("__main__.MyList", numbers(1))),
        ("MyDict({1: 2})", other("__main__.MyDict", [["Tuple", numbers(1, 2)]])),
    ],
    "subclass of `int`, `float`, `str`, `bytes`, `bytearray`, `complex`, `Decimal`, `deque`, `UUID`, `Path`": [
        ("MyInt(4)", other("__main__.MyInt", "4")),
        ("MyStr('s')", other("__main__.MyStr", "s")),
        ("MyFloat(0.5)", other("__main__.MyFloat", "0.5")),
        ("MyBytes(b'b')", other("__main__.MyBytes", "b'b'")),
        ("MyByteArray(b'b')", other("__main__.MyByteArray", "MyByteArray(b'b')")),
        ("MyComplex(1j)", other("__main__.MyComplex", "1j")),
        ("Price('1.10')", other("__main__.Price", "Decimal('1.10')")),
        ("Queue([1, 2])", other("__main__.Queue", numbers(1, 2))),
        ("Key(int=5)", other("__main__.Key", "00000000-0000-0000-0000-000000000005")),
        ("Place('/a/b')", other("__main__.Place", "/a/b")),
    ],
    "named tuple": [("Point(1, 2)", other("__main__.Point", {"x": ["Int", "0x1"], "y": ["Int", "0x2"]}))],
    "enum member": [
        ("Colour.RED", other("__main__.Colour", "<__main__.Colour.RED>")),
        ("Level.HIGH", other("__main__.Level", "<__main__.Level.HIGH>")),
    ],
    "dataclass, any instance with `__dict__` or `__slots__`": [
        ("Data(1, [2])", other("__main__.Data", {"n": ["Int", "0x1"], "items": ["List", numbers(2)]})),
        ("Slotted()", other("__main__.Slotted", dict(zip("zam", numbers(3, 2, 1), strict=True)))),
        ("types.SimpleNamespace(a=1)", other("types.SimpleNamespace", {"a": ["Int", "0x1"]})),
    ],
    "exception": [
        ("ValueError('bad')", other("ValueError", "ValueError: bad")),
        ("ValueError('bad', 3)", other("ValueError", "ValueError: ('bad', 3)")),
        ("noted()", other("KeyError", "KeyError: k (caused by OSError: disk) [note: 'see']")),
        ("handled()", other("ValueError", "ValueError: read (while handling OSError: disk)")),
    ],
    "function, method, class, module": [
        ("generator", other("function", "<function generator>")),
        ("len", other("builtin_function_or_method", "<function len>")),
        ("noted.__call__", other("method-wrapper", "<method-wrapper #1>")),
        ("Slotted().__init__", other("method", "<bound method Slotted.__init__ of __main__.Slotted>")),
        ("Data", other("type", "<class '__main__.Data'>")),
        ("re", other("module", "<module 're'>")),
    ],
    "generator, coroutine, async generator": [
        ("generator()", other("generator", "<generator generator (not started)>")),
        ("begun()", other("generator", "<generator generator (suspended)>")),
        ("ended()", other("generator", "<generator generator (finished)>")),
        ("coroutine()", other("coroutine", "<coroutine coroutine (not started)>")),
        ("async_generator()", other("async_generator", "<async_generator async_generator (not started)>")),
    ],
    "weak reference, weak proxy": [
        ("weakref.ref(target)", other("weakref.ReferenceType", "<weak reference to __main__.Data #N>")),
        ("weakref.proxy(target)", other("weakref.ProxyType", "<weak proxy to __main__.Data #N>")),
        ("weakref.ref(Data(1, 2))", other("weakref.ReferenceType", "<weak reference (dead)>")),
    ],
    "`date`, `time`, `datetime`, also derived from": [
        ("datetime.date(2024, 2, 29)", other("datetime.date", "2024-02-29")),
        ("datetime.time(1, 2, 3, 4)", other("datetime.time", "01:02:03.000004")),
        ("datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC)", other("datetime.datetime", "2024-01-02T00:00:00+00:00")),
        (
            "datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'))",
            other("datetime.datetime", "2024-07-01T00:00:00+02:00[Europe/Berlin]"),
        ),
        ("Moment(2024, 1, 2)", other("__main__.Moment", "2024-01-02T00:00:00")),
    ],
    "`timedelta`, `timezone`, `ZoneInfo`": [
        ("datetime.timedelta(1, 2)", other("datetime.timedelta", "datetime.timedelta(days=1, seconds=2)")),
        ("datetime.timezone(datetime.timedelta(hours=2))", other("datetime.timezone", "datetime.timezone(+02:00)")),
        ("zoneinfo.ZoneInfo('UTC')", other("zoneinfo.ZoneInfo", "zoneinfo.ZoneInfo('UTC')")),
    ],
    "`Decimal`, `complex`": [
        ("decimal.Decimal('1.10')", other("decimal.Decimal", "Decimal('1.10')")),
        ("1j", other("complex", "1j")),
    ],
    "`Fraction`": [
        (
            "fractions.Fraction(1, 3)",
            other("fractions.Fraction", {"_numerator": ["Int", "0x1"], "_denominator": ["Int", "0x3"]}),
        )
    ],
    "`range`, `slice`, `re.Pattern`, `re.Match`, `UUID`, `Path`": [
        ("range(1, 9, 2)", other("range", "range(1, 9, 2)")),
        ("slice(None, 3)", other("slice", "slice(None, 3, None)")),
        ("re.compile('a+')", other("re.Pattern", "re.compile('a+')")),
        ("re.match('a', 'ab')", other("re.Match", "<re.Match span=(0, 1)>")),
        ("uuid.UUID(int=5)", other("uuid.UUID", "00000000-0000-0000-0000-000000000005")),
        ("pathlib.PurePosixPath('/a/b')", other("pathlib.PurePosixPath", "/a/b")),
    ],
    "anything else": [
        ("object()", other("object", "<object #1>")),
        ("Empty()", other("__main__.Empty", "<__main__.Empty #1>")),
    ],
}

ELSEWHERE = {"NumPy array", "NumPy scalar", "pandas `DataFrame`", "pandas `Series`, `Index`"}
"""Rows that test_libraries_values.py holds."""


def without_numbers(value: object) -> object:
    """Identities count up as objects are met: here any number will do. So will the place where 3.13 has paths."""
    return re.sub(r"#\d+", "#N", repr(value)).replace("pathlib._local.", "pathlib.")


def test_every_row_of_the_documentation_is_tested() -> None:
    table = DOCUMENT.read_text(encoding="utf-8").split("|---|---|\n")[1].split("\n\n")[0]
    rows = {line.split("|")[1].strip() for line in table.splitlines()}
    assert rows == set(ROWS) | ELSEWHERE


@pytest.mark.parametrize("access", ["private", "public"])
def test_the_trace_shows_what_the_documentation_says(access: str, record: Record, write: Write) -> None:
    samples = [sample for row in ROWS.values() for sample in row]
    script = write(HEAD + "".join(f"show({expression})\n" for expression, _ in samples))
    recorded = record(script, env={"CODETRACER_FRAME_ACCESS": access})
    assert recorded.status == 0, recorded.stderr
    shown = [dict(call.args)["value"] for call in recorded.trace.main.calls_of("show")]
    returned = recorded.trace.main.returns_of("show")
    for found in (shown, returned):
        differences = {
            expression: (without_numbers(value), without_numbers(expected))
            for (expression, expected), value in zip(samples, found, strict=True)
            if without_numbers(value) != without_numbers(expected)
        }
        assert differences == {}


GALLERY: dict[str, dict[str, str]] = {
    "`None`, `True`, `False`": {"nothing": "None", "yes": "Bool"},
    "`int`": {"small": "Int", "negative": "Int", "big": "Int"},
    "`float`": {"ratio": "Float", "infinite": "Float", "undefined": "Float"},
    "`str`": {"text": "String", "lone_surrogate": "String", "long_text": "String"},
    "`bytes`, `bytearray`": {"data": "Bytes", "mutable": "bytearray"},
    "`memoryview`": {"view": "memoryview"},
    "`list`, `tuple`, `set`, `frozenset`": {"items": "List", "pair": "Tuple", "unique": "Set", "frozen": "FrozenSet"},
    "`dict`": {"table": "Dict"},
    "`deque`, `mappingproxy`, subclasses of containers": {
        "queue": "collections.deque",
        "proxy": "mappingproxy",
        "counts": "collections.Counter",
    },
    "subclass of `int`, `float`, `str`, `bytes`, `bytearray`, `complex`, `Decimal`, `deque`, `UUID`, `Path`": {
        "length": "__main__.Metres",
        "price": "__main__.Price",
    },
    "named tuple": {"named": "__main__.Pair"},
    "enum member": {"colour": "__main__.Colour"},
    "dataclass, any instance with `__dict__` or `__slots__`": {
        "point": "__main__.Point",
        "slotted": "__main__.Slotted",
    },
    "exception": {"error": "ValueError"},
    "function, method, class, module": {
        "function": "function",
        "method": "method",
        "kind": "type",
        "module": "module",
    },
    "generator, coroutine, async generator": {
        "not_started": "generator",
        "suspended": "generator",
        "finished": "generator",
        "awaitable": "coroutine",
    },
    "weak reference, weak proxy": {
        "reference": "weakref.ReferenceType",
        "proxy": "weakref.ProxyType",
        "dead": "weakref.ReferenceType",
    },
    "`date`, `time`, `datetime`, also derived from": {
        "day": "datetime.date",
        "hour": "datetime.time",
        "when": "datetime.datetime",
        "local": "datetime.datetime",
    },
    "`timedelta`, `timezone`, `ZoneInfo`": {
        "lasting": "datetime.timedelta",
        "offset": "datetime.timezone",
        "zone": "zoneinfo.ZoneInfo",
    },
    "`Decimal`, `complex`": {"exact": "decimal.Decimal", "imaginary": "complex"},
    "`Fraction`": {"third": "fractions.Fraction"},
    "`range`, `slice`, `re.Pattern`, `re.Match`, `UUID`, `Path`": {
        "span": "range",
        "piece": "slice",
        "pattern": "re.Pattern",
        "match": "re.Match",
        "key": "uuid.UUID",
        "path": "pathlib.PurePosixPath",
    },
    "anything else": {"plain": "object"},
}
"""The variables of examples/values.py by the row they are examples of, and the type that the trace names."""


def test_the_gallery_has_an_example_of_every_row(record: Record) -> None:
    assert set(GALLERY) == set(ROWS)
    recorded = record(DOCUMENT.parents[1] / "examples" / "values.py")
    assert recorded.status == 0, recorded.stderr
    shown: dict[str, set[str]] = {}
    for step in recorded.trace.main.steps:
        for name, value in step.locals.items():
            kind = str(value[1] if value[0] == "Other" else value[0]).replace("pathlib._local.", "pathlib.")
            shown.setdefault(name, set()).add(kind)
    for variables in GALLERY.values():
        for variable, kind in variables.items():
            assert kind in shown[variable], (variable, shown[variable])
