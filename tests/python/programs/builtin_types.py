"""One value of each of many library types, as locals, arguments and results."""

import collections
import datetime
import decimal
import fractions
import pathlib
import re
import types
import uuid


def show(value):
    kind = type(value).__name__
    return kind


VALUES = [
    None, True, 1, 1.5, 2j, "s", b"b", bytearray(b"ba"), memoryview(b"mv"), [1], (1,), {1: 2}, {1}, frozenset([1]),
    range(3), slice(1, 2), Ellipsis, NotImplemented, int, len, show, re,
    collections.OrderedDict(a=1), collections.defaultdict(list, a=[1]), collections.Counter("aab"),
    collections.deque([1, 2], maxlen=3), collections.ChainMap({}), collections.namedtuple("NT", "a b")(1, 2),
    datetime.date(2024, 1, 2), datetime.time(3, 4), datetime.datetime(2024, 1, 2, 3, 4), datetime.timedelta(1),
    decimal.Decimal("1.10"), fractions.Fraction(1, 3), pathlib.PurePosixPath("/a/b"), uuid.UUID(int=5),
    re.compile("a+"), re.match("a", "a"), types.SimpleNamespace(x=1), types.MappingProxyType({"k": 1}),
    (i for i in ()), iter([]), ValueError("e"), object,
]
print([show(value) for value in VALUES])


def locals_of_all():
    plain, boxed, exact = datetime.date(2020, 2, 29), [decimal.Decimal(1)], {"f": fractions.Fraction(1, 2)}
    return plain, boxed, exact


print(locals_of_all())
