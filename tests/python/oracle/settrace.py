"""The oracle proper: the story of a program as `sys.settrace` tells it."""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from . import frames
from .model import Call, Return, Step, Stream, Value
from .scope import Scope, name_of
from .values import render, render_exception

_RETURNS = frozenset({"RETURN_VALUE", "RETURN_CONST"})
# Where a frame stands when it has yielded: at the yield itself (3.12), or at the instruction after it (3.13).
_YIELDS = frozenset({"YIELD_VALUE", "RESUME"})


class Recorder:
    """Records from the moment the program's own module code is entered until that frame is left."""

    def __init__(self, program: CodeType, *, variables: bool = True) -> None:
        self.streams: list[Stream] = []
        self.scope = Scope()
        self.active = False
        self._program = program
        self._step = frames.step if variables else frames.bare_step
        self._local = threading.local()

    def start(self) -> None:
        """Watches this thread and those started from now on."""
        threading.settrace(self._enter)
        sys.settrace(self._enter)

    def stop(self) -> None:
        """Ends the recording in every thread."""
        self.active = False
        threading.settrace(None)  # type: ignore[arg-type]
        sys.settrace(None)

    def _stream(self) -> Stream:
        if not hasattr(self._local, "stream"):
            self._local.stream = Stream(threading.current_thread().name)
            self.streams.append(self._local.stream)
        return self._local.stream

    def _enter(self, frame: FrameType, event: str, _arg: object) -> Callable[..., Any] | None:
        code = frame.f_code
        if code is self._program:
            self.active = True
        if event != "call" or not self.active:
            return None
        path = self.scope.path(code)
        if path is None:
            return None
        activation = Activation(self._stream(), frame, path, self._step)
        return self._watch(activation) if code is self._program else activation.on_event

    def _watch(self, activation: Activation) -> Callable[..., Any]:
        def on_event(frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
            activation.on_event(frame, event, arg)
            if event == "return":
                self.stop()
            return on_event

        return on_event


class Activation:
    """One stay in a frame: from a call, resume or throw to the next return, yield or unwinding.

    The exception that unwinds a frame has to be pieced together, for settrace says `return` with None:

    - The frame is unwound unless it stands at a return instruction, or at a yield that it has just reached.
    - It then stands at the instruction that raised first (re-raising restores that position), and the `exception`
      event sent from there had the exception, unless a bare `raise` or the end of a `finally`, `with` or `except`
      raised the exception that was being handled at the last line.
    """

    __slots__ = ("_errors", "_failing", "_handled", "_last", "_namespace", "_path", "_line", "_step", "_stream")

    def __init__(self, stream: Stream, frame: FrameType, path: str, step: Callable[..., Step]) -> None:
        self._step = step
        self._stream = stream
        self._path = path
        # What was raised in earlier stays may leave the frame in this one: a `finally` can yield or await.
        earlier = getattr(frame.f_trace, "__self__", None)
        self._errors: dict[int, Value] = earlier._errors if isinstance(earlier, Activation) else {}
        self._handled: Value | None = earlier._handled if isinstance(earlier, Activation) else None
        self._failing = False
        self._last: tuple[str, int] = ("call", frame.f_lasti)
        # Where the frame is: a generator is resumed on a line, a function is not yet on any.
        self._line: int | None
        self._namespace = frames.namespace_of(frame)
        code = frame.f_code
        call = Call(name_of(frame), path, code.co_firstlineno)
        if _instruction(code, frame.f_lasti) == ("RESUME", 0):
            call.args = frames.arguments(frame)
            self._line = None
        else:
            self._line = frame.f_lineno
        stream.events.append(call)

    def on_event(self, frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
        """The frame's trace function."""
        position = frame.f_lasti
        match event:
            case "line":
                # A jump within a line is no step; see difference 1 of the package docs.
                if frame.f_lineno != self._line:
                    self._line = frame.f_lineno
                    self._stream.events.append(self._step(frame, self._path, frame.f_lineno, self._namespace))
                handled = sys.exception()
                self._handled = None if handled is None else render_exception(handled)
                self._last = ("line", frame.f_lineno)
            case "exception":
                self._failing = True
                self._errors[position] = error = render_exception(arg[1])
                if self._last == ("call", position):
                    call = self._stream.events[-1]
                    assert isinstance(call, Call)
                    call.args = [("exception", error)]
                    self._line = None
                self._last = ("exception", position)
            case "return":
                unwound = arg is None and self._is_unwound(frame)
                self._stream.events.append(Return(self._error(frame) if unwound else render(arg)))
        return self.on_event

    def _is_unwound(self, frame: FrameType) -> bool:
        position = frame.f_lasti
        name, _ = _instruction(frame.f_code, position)
        if name in _RETURNS:
            return False
        if name not in _YIELDS:
            return True
        if not self._failing:
            return False
        kind, where = self._last
        return where == position if kind == "exception" else where != frame.f_lineno

    def _error(self, frame: FrameType) -> Value:
        error = self._errors.get(frame.f_lasti)
        if error is None or _instruction(frame.f_code, frame.f_lasti) == ("RAISE_VARARGS", 0):
            error = self._handled or next(reversed(self._errors.values()))
        return converted(frame.f_code, error)


def converted(code: CodeType, error: Value) -> Value:
    """What leaves a generator or coroutine in which this exception was not caught (PEP 479)."""
    generator = code.co_flags & (dis_flag("GENERATOR") | dis_flag("COROUTINE"))
    asynchronous = code.co_flags & dis_flag("ASYNC_GENERATOR")
    if generator and error[1] == "StopIteration":
        kind = "coroutine" if code.co_flags & dis_flag("COROUTINE") else "generator"
        return ["Exception", "RuntimeError", f"{kind} raised StopIteration"]
    if asynchronous and error[1] in ("StopIteration", "StopAsyncIteration"):
        return ["Exception", "RuntimeError", f"async generator raised {error[1]}"]
    return error


def dis_flag(name: str) -> int:
    """The bit of a code flag."""
    return next(bit for bit, flag in dis.COMPILER_FLAG_NAMES.items() if flag == name)


def _instruction(code: CodeType, position: int) -> tuple[str, int]:
    opcode, argument = code.co_code[position : position + 2]
    name = dis.opname[opcode]
    return name, argument & 3 if name == "RESUME" else argument
