"""What a frame's variables hold, read without leaving traces in the program.

`frame.f_locals` is not used for functions: on CPython 3.12 it caches a dict in the frame that keeps objects alive
and is written back after a trace function, and on 3.13 it hides a class namespace while a comprehension runs.
"""

from __future__ import annotations

import ctypes
import dis
import inspect
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

from .model import Step, Value
from .values import derives, is_definition, render

_get_var = ctypes.pythonapi.PyFrame_GetVar
_get_var.restype = ctypes.py_object
_get_var.argtypes = [ctypes.py_object, ctypes.py_object]

_LOADS_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_referenced: dict[CodeType, tuple[str, ...]] = {}


def namespace_of(frame: FrameType) -> dict[str, Any] | None:
    """The dict that a module or class body fills; to be asked for when the frame starts."""
    if frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        return None
    namespace = frame.f_locals
    # A class body may fill any mapping: asking a foreign one for its content would run the program's code.
    return namespace if derives(type(namespace), dict) else None


def arguments(frame: FrameType) -> list[tuple[str, Value]]:
    """The arguments in the order of the signature, as the function starts."""
    code = frame.f_code
    if not code.co_flags & inspect.CO_OPTIMIZED:
        return []
    count, keyword_only = code.co_argcount, code.co_kwonlyargcount
    names = list(code.co_varnames)
    order, rest = names[:count], names[count + keyword_only :]
    if code.co_flags & inspect.CO_VARARGS:
        order.append(rest.pop(0))
    order += names[count : count + keyword_only]
    if code.co_flags & inspect.CO_VARKEYWORDS:
        order.append(rest.pop(0))
    return [(name, render(value)) for name in order for value in _bound(frame, name)]


def step(frame: FrameType, path: str, line: int, namespace: dict[str, Any] | None) -> Step:
    """The frame's variables just before a line runs."""
    code = frame.f_code
    event = Step(path, line)
    for name in dict.fromkeys(code.co_varnames + code.co_cellvars + code.co_freevars):
        for value in _bound(frame, name):
            event.locals[name] = render(value)
    if namespace is not None:
        for name, value in list(dict.items(namespace)):
            if type(name) is str and name not in event.locals:
                event.locals[name] = render(value)
                if is_definition(value) and namespace is frame.f_globals:
                    event.optional.append(name)
        for name in code.co_freevars:
            for value in _captured(frame, name):
                event.locals.setdefault(name, render(value))
    if namespace is not frame.f_globals:
        for name in referenced_globals(code):
            if name in frame.f_globals and name not in event.locals:
                value = frame.f_globals[name]
                if not is_definition(value):
                    event.globals[name] = render(value)
    return event


def bare_step(_frame: FrameType, path: str, line: int, _namespace: dict[str, Any] | None) -> Step:
    """A step of which nobody will ask the variables."""
    return Step(path, line)


def referenced_globals(code: CodeType) -> tuple[str, ...]:
    """The names that the code, or code inside it, can load as globals."""
    if code not in _referenced:
        names = [i.argval for i in dis.get_instructions(code) if i.opname in _LOADS_GLOBAL]
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                names += referenced_globals(constant)
        _referenced[code] = tuple(dict.fromkeys(names))
    return _referenced[code]


def _bound(frame: FrameType, name: str) -> Iterator[Any]:
    try:
        yield _get_var(frame, name)
    except NameError:
        return


def _captured(frame: FrameType, name: str) -> Iterator[Any]:
    """What a class body captured from the function around it: `PyFrame_GetVar` shows it in that function's frame only.

    The frames between are the bodies of classes around it, which run while the function does.
    """
    outer = frame.f_back
    while outer is not None and name in outer.f_code.co_cellvars + outer.f_code.co_freevars:
        if outer.f_code.co_flags & inspect.CO_OPTIMIZED:
            yield from _bound(outer, name)
            return
        outer = outer.f_back


assert sys.version_info >= (3, 12), "PyFrame_GetVar is new in 3.12"
