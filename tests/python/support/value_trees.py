"""Hypothesis strategies for programs that hold trees of values and change them in place.

Invariants:
- A value is its source text, so that a failing example is a program that can be read and run by itself.
- Names bound before may stand inside a later tree: values are shared, and a change may close a cycle.
- Whatever a changing statement raises is caught inside the program.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

VALUES = 6
"""Trees per program."""

HEAD = """\
import collections
import datetime
import decimal
import fractions


class Plain:
    def __init__(self, *items):
        self.items = list(items)


class Slotted:
    __slots__ = ("left", "right")

    def __init__(self, *items):
        self.left = items


Pair = collections.namedtuple("Pair", "first second")


"""

_HASHABLE = st.one_of(
    st.none().map(repr),
    st.booleans().map(repr),
    st.integers().map(repr),
    st.integers(-(2**70), 2**70).map(repr),
    st.floats().map(lambda number: f"float({repr(number)!r})"),
    st.complex_numbers(allow_nan=False, allow_infinity=False).map(lambda number: f"complex({str(number)!r})"),
    st.text(st.characters(exclude_categories=()), max_size=30).map(ascii),
    st.binary(max_size=30).map(repr),
)
_LEAVES = st.one_of(
    _HASHABLE,
    st.binary(max_size=10).map(lambda data: f"bytearray({data!r})"),
    st.sampled_from(
        (
            "range(3, 9, 2)",
            "slice(1, None)",
            "...",
            "len",
            "Plain",
            "datetime.date(2024, 2, 29)",
            "decimal.Decimal('1.10')",
            "fractions.Fraction(1, 3)",
            "collections.Counter('abca')",
            "ValueError('a message')",
            "(n for n in ())",
        )
    ),
)


def _items(items: list[str]) -> str:
    return ", ".join(items)


def _pairs(pairs: list[tuple[str, str]]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in pairs)


def _holders(inner: SearchStrategy[str]) -> SearchStrategy[str]:
    items = st.lists(inner, max_size=5)
    keyed = st.lists(st.tuples(_HASHABLE, inner), max_size=5)
    hashable = st.lists(_HASHABLE, max_size=5)
    return st.one_of(
        items.map(lambda texts: f"[{_items(texts)}]"),
        items.map(lambda texts: f"({_items(texts)},)" if texts else "()"),
        keyed.map(lambda pairs: f"{{{_pairs(pairs)}}}"),
        hashable.map(lambda texts: f"set([{_items(texts)}])"),
        hashable.map(lambda texts: f"frozenset([{_items(texts)}])"),
        items.map(lambda texts: f"collections.deque([{_items(texts)}])"),
        keyed.map(lambda pairs: f"collections.OrderedDict({{{_pairs(pairs)}}})"),
        keyed.map(lambda pairs: f"collections.defaultdict(list, {{{_pairs(pairs)}}})"),
        items.map(lambda texts: f"Plain({_items(texts)})"),
        items.map(lambda texts: f"Slotted({_items(texts)})"),
        st.tuples(inner, inner).map(lambda texts: f"Pair({_items(list(texts))})"),
    )


def trees(names: tuple[str, ...] = ()) -> SearchStrategy[str]:
    """The source text of a value, which may hold what `names` are bound to."""
    leaves = st.one_of(_LEAVES, st.sampled_from(names)) if names else _LEAVES
    return st.recursive(leaves, _holders, max_leaves=12)


@st.composite
def _changes(draw: st.DrawFn, names: tuple[str, ...]) -> str:
    name, value = draw(st.sampled_from(names)), draw(trees(names))
    return draw(
        st.sampled_from(
            (
                f"{name}.append({value})",
                f"{name}.pop()",
                f"{name}.clear()",
                f"{name}[0] = {value}",
                f"{name}['key'] = {value}",
                f"{name}[0].append({value})",
                f"{name}.add(17)",
                f"{name}.items.insert(0, {value})",
                f"{name}.extra = {value}",
                f"{name}.right = {value}",
                f"del {name}.items",
                f"{name} += [1]",
                f"{name} = {value}",
                f"del {name}",
            )
        )
    )


@st.composite
def programs(draw: st.DrawFn) -> str:
    """The source text of a program: values are bound, changed, passed on and returned."""
    names = tuple(f"v{number}" for number in range(VALUES))
    lines = ["def hold(argument):"]
    lines += [f"    {name} = {draw(trees(('argument', *names[:number])))}" for number, name in enumerate(names)]
    for change in draw(st.lists(_changes(names), min_size=3, max_size=10)):
        lines += ["    try:", f"        {change}", "    except Exception as error:", "        kind = type(error)"]
    lines += ["    try:", f"        return {draw(st.sampled_from(names))}", "    except NameError:", "        pass"]
    return HEAD + "\n".join(lines) + f"\n\n\nhold({draw(trees())})\n"
