"""A second witness: the same story as `sys.monitoring` tells it, to prove the first one right.

Traces are not compared with this one, for the recorder listens to the same events.
"""

from __future__ import annotations

import sys
import threading
from types import CodeType, FrameType
from typing import Any

from . import frames
from .model import Call, Event, Return, Stream
from .scope import Scope, name_of
from .values import render, render_exception

_TOOL = 3
_EVENTS = ("PY_START", "PY_RESUME", "PY_THROW", "PY_RETURN", "PY_YIELD", "PY_UNWIND", "LINE")


class Recorder:
    """Records from the moment the program's own module code is entered until that frame is left."""

    def __init__(self, program: CodeType, *, variables: bool = True) -> None:
        self.streams: list[Stream] = []
        self.scope = Scope()
        self.active = False
        self._program = program
        self._step = frames.step if variables else frames.bare_step
        self._local = threading.local()
        # By frame, not by code: a recursive class factory fills several namespaces of one code object.
        self._namespaces: dict[int, dict[str, Any] | None] = {}

    def start(self) -> None:
        """Watches every thread."""
        monitoring = sys.monitoring
        monitoring.use_tool_id(_TOOL, "oracle")
        events = 0
        for name in _EVENTS:
            events |= getattr(monitoring.events, name)
            callback = getattr(self, f"_{name.lower()}")
            monitoring.register_callback(_TOOL, getattr(monitoring.events, name), callback)
        monitoring.set_events(_TOOL, events)

    def stop(self) -> None:
        """Ends the recording in every thread."""
        if self.active:
            self.active = False
            sys.monitoring.set_events(_TOOL, 0)

    def _path(self, code: CodeType) -> str | None:
        if code is self._program:
            self.active = True
        return self.scope.path(code) if self.active else None

    def _append(self, event: Event) -> None:
        if not hasattr(self._local, "stream"):
            self._local.stream = Stream(threading.current_thread().name)
            self.streams.append(self._local.stream)
        self._local.stream.events.append(event)

    def _py_start(self, code: CodeType, _offset: int) -> None:
        if path := self._path(code):
            frame = sys._getframe(1)
            if (namespace := frames.namespace_of(frame)) is not None:
                self._namespaces[id(frame)] = namespace
            self._append(Call(name_of(frame), path, code.co_firstlineno, frames.arguments(frame)))

    def _py_resume(self, code: CodeType, _offset: int) -> None:
        if path := self._path(code):
            self._append(Call(name_of(sys._getframe(1)), path, code.co_firstlineno))

    def _py_throw(self, code: CodeType, _offset: int, error: BaseException) -> None:
        if path := self._path(code):
            args = [("exception", render_exception(error))]
            self._append(Call(name_of(sys._getframe(1)), path, code.co_firstlineno, args))

    def _line(self, code: CodeType, line: int) -> None:
        if path := self._path(code):
            frame = sys._getframe(1)
            self._append(self._step(frame, path, line, self._namespaces.get(id(frame))))

    def _py_return(self, code: CodeType, _offset: int, value: object) -> None:
        if self._path(code):
            self._append(Return(render(value)))
            self._leave(sys._getframe(1))

    _py_yield = _py_return

    def _py_unwind(self, code: CodeType, _offset: int, error: BaseException) -> None:
        if self._path(code):
            self._append(Return(render_exception(error)))
            self._leave(sys._getframe(1))

    def _leave(self, frame: FrameType) -> None:
        self._namespaces.pop(id(frame), None)
        if frame.f_code is self._program:
            self.stop()
