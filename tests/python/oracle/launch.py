"""Runs a program file as `python FILE ARGS…` would, and hands its module code to a recorder first."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import CodeType, ModuleType
from typing import Protocol

from .model import Stream


class Witness(Protocol):
    """What records a program."""

    streams: list[Stream]

    def start(self) -> None:
        """Begins to listen."""

    def stop(self) -> None:
        """Listens no more."""


def run(program: str, args: list[str], witness: Callable[[CodeType], Witness]) -> Witness:
    """Runs the program to its end; a SystemExit passes, any other exception is printed and becomes one."""
    with open(program, "rb") as file:
        code = compile(file.read(), program, "exec", dont_inherit=True)
    module = ModuleType("__main__")
    module.__dict__.update(__file__=program, __builtins__=sys.modules["builtins"], __annotations__={})
    sys.modules["__main__"] = module
    sys.argv = [program, *args]
    sys.path[0] = os.path.dirname(os.path.abspath(program))
    recorder = witness(code)
    try:
        recorder.start()
        exec(code, module.__dict__)
    except SystemExit as stop:
        recorder.stop()
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException as error:
        recorder.stop()
        trace = error.__traceback__
        sys.excepthook(type(error), error, trace and trace.tb_next)
    finally:
        recorder.stop()
    return recorder
