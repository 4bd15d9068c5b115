"""Python values in a form that can be compared with what a trace shows, without running the program's code.

A value is a list that starts with its kind:

| value | form |
|---|---|
| None | `["None"]` |
| bool | `["Bool", true]` |
| int | `["Int", "0x2a"]` (hexadecimal: exact, and not subject to the limit on decimal digits) |
| float | `["Float", "1.5"]` (shortest text) |
| str | `["String", text, length]` (lone surrogates as `\\udc80`) |
| bytes | `["Bytes", repr, length]` |
| list, tuple, set, frozenset | `["List", [items], length]`, `Tuple`, `Set`, `FrozenSet` (sets sorted) |
| dict | `["Dict", [[key, value], …], length]` |
| exception | `["Exception", type name, message or None]` |
| a container inside itself | `["Cycle"]` |
| deeper than is compared | `["Unknown"]`, which agrees with anything |
| anything else | `["Object", type name]` |

Only exact built-in types have their own form: an instance of a subclass is an Object.
"""

from __future__ import annotations

import json
import types
from typing import Any

from .model import Value

MAX_DEPTH = 10
MAX_ITEMS = 300
MAX_TEXT = 4000

UNKNOWN: Value = ["Unknown"]

_MRO = type.__dict__["__mro__"].__get__
_TYPE_NAME = type.__dict__["__qualname__"].__get__
_EXCEPTION_ARGS = BaseException.__dict__["args"].__get__

_DEFINITIONS = (
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
)


def derives(kind: type, *bases: type) -> bool:
    """`issubclass` that compares by identity alone: `==` and `in` could run a metaclass's code."""
    return any(ancestor is base for ancestor in _MRO(kind) for base in bases)


def is_definition(value: object) -> bool:
    """Whether the value is a module, class or function: what a list of global variables leaves out."""
    return derives(type(value), type, *_DEFINITIONS)


def render(value: object) -> Value:
    """The comparable form of a value."""
    return _render(value, [])


def render_exception(error: BaseException) -> Value:
    """The comparable form of an exception: its message is known only if it is its one, plain argument."""
    args = _EXCEPTION_ARGS(error)
    message = args[0] if len(args) == 1 and type(args[0]) is str else None
    return ["Exception", _TYPE_NAME(type(error)), None if message is None else escape(message[:200])]


def escape(text: str) -> str:
    """Text that UTF-8 can carry: lone surrogates become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def sort_key(value: Value) -> str:
    """An order of values that does not depend on hashes."""
    return json.dumps(value)


def _render(value: object, outer: list[int]) -> Value:
    kind = type(value)
    if value is None:
        return ["None"]
    if kind is bool:
        return ["Bool", value]
    if kind is int:
        return ["Int", hex(value)]
    if kind is float:
        return ["Float", repr(value)]
    if kind is str:
        return ["String", escape(value[:MAX_TEXT]), len(value)]
    if kind is bytes:
        return ["Bytes", repr(value[:MAX_TEXT]), len(value)]
    if any(kind is container for container in (list, tuple, set, frozenset, dict)):
        return _container(value, kind, outer)
    if _TYPE_NAME(kind) == "async_generator_wrapped_value":
        return UNKNOWN
    if derives(kind, BaseException):
        return render_exception(value)
    return ["Object", _TYPE_NAME(kind)]


def _container(value: Any, kind: type, outer: list[int]) -> Value:
    if id(value) in outer:
        return ["Cycle"]
    if len(outer) >= MAX_DEPTH:
        return UNKNOWN
    outer.append(id(value))
    try:
        if kind is dict:
            pairs = list(value.items())[:MAX_ITEMS]
            return ["Dict", [[_render(key, outer), _render(item, outer)] for key, item in pairs], len(value)]
        if kind in (set, frozenset):
            name = "Set" if kind is set else "FrozenSet"
            return [name, sorted((_render(item, outer) for item in value), key=sort_key), len(value)]
        items = [_render(item, outer) for item in value[:MAX_ITEMS]]
        return ["List" if kind is list else "Tuple", items, len(value)]
    finally:
        outer.pop()
