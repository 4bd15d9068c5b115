"""Web applications: one line per request in a manifest, so that a recording of a service can be searched.

    app = CodeTracerWSGIMiddleware(app)         # Flask: app.wsgi_app = CodeTracerWSGIMiddleware(app.wsgi_app)
    app = CodeTracerASGIMiddleware(app)         # Starlette, FastAPI: app.add_middleware(CodeTracerASGIMiddleware)

Invariants:
- The application's answer is passed on as it is, and its exceptions are raised on; a manifest that cannot be written
  is said once on stderr and breaks no request.
- A line is written with one `write` to a file opened for appending, so lines of several threads and processes do not
  mix. The file is readable by its owner only.
- Where requests are sampled (`sampling.entries` with `middleware`), a sample begins and ends here; its number is in the
  line, and in the metadata of the part that holds it.
- Values of query parameters whose names are secret words are redacted before they are written.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
from datetime import UTC, datetime
from urllib.parse import quote, unquote_plus

from .codetracer_python_recorder import (
    begin_request_sample,
    end_request_sample,
    is_secret_name,
    move_request_sample,
    recording_location,
    request_finished,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
    from typing import Any

    Environ = dict[str, Any]
    StartResponse = Callable[..., Any]
    WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
    StrPath = str | os.PathLike[str]

ENV_SPAN_MANIFEST = "CODETRACER_SPAN_MANIFEST"
MANIFEST_NAME = "spans.jsonl"
REDACTED = "<redacted>"

_numbers: dict[str, Iterator[int]] = {}
_lock = threading.Lock()
_told = False


class CodeTracerWSGIMiddleware:
    """A WSGI application that passes requests to `app` and notes each in the manifest.

    The manifest is `manifest_path`, else `$CODETRACER_SPAN_MANIFEST`, else `spans.jsonl` in the directory of the
    recording that is running; without any, nothing is noted. Errors of `app` are raised on.
    """

    def __init__(self, app: WSGIApp, manifest_path: StrPath | None = None) -> None:
        self.app = app
        self._manifest = _absolute(manifest_path)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = quote(_wsgi_text(environ, "SCRIPT_NAME") + _wsgi_text(environ, "PATH_INFO"), safe="/:@!$&'()*+,;=~%")
        span = _Span(
            "wsgi",
            self._manifest,
            method=str(environ.get("REQUEST_METHOD", "GET")),
            path=path or "/",
            query=str(environ.get("QUERY_STRING") or ""),
            traceparent=environ.get("HTTP_TRACEPARENT"),
        )

        def noting_status(status: str, *arguments: Any) -> Any:
            span.set_status(status[:3])
            return start_response(status, *arguments)

        # What runs below this frame is of the sample.
        span.sample = begin_request_sample(span.label)
        try:
            body = self.app(environ, noting_status)
        except BaseException:
            span.fail()
            raise
        wrapper = environ.get("wsgi.file_wrapper")
        if isinstance(body, list | tuple) or (isinstance(wrapper, type) and isinstance(body, wrapper)):
            # Complete, or for the server to send in its own fast way: handed over as it is.
            span.end()
            return body
        if span.sample is not None:
            move_request_sample(span.sample, False)
        return _Body(body, span)


class CodeTracerASGIMiddleware:
    """An ASGI 3 application that passes everything to `app` and notes each HTTP request in the manifest.

    Lifespan and websocket traffic passes through. The manifest is found as `CodeTracerWSGIMiddleware` finds it.
    Errors of `app` are raised on.
    """

    def __init__(self, app: ASGIApp, manifest_path: StrPath | None = None) -> None:
        self.app = app
        self._manifest = _absolute(manifest_path)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        span = _Span(
            "asgi",
            self._manifest,
            method=str(scope.get("method", "GET")),
            path=_asgi_path(scope),
            query=bytes(scope.get("query_string") or b"").decode("latin-1"),
            traceparent=_asgi_header(scope, b"traceparent"),
        )

        async def noting_status(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_status(message["status"])
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                span.stop_clock()

        # What runs below this frame is of the sample, and not the tasks that run while it waits.
        span.sample = begin_request_sample(span.label)
        try:
            await self.app(scope, receive, noting_status)
        except BaseException:
            span.fail()
            raise
        span.end()


class _Body:
    """A response that is made while it is sent: the request ends with it."""

    __slots__ = ("_body", "_items", "_span")

    def __init__(self, body: Iterable[bytes], span: _Span) -> None:
        self._body = body
        self._items: Iterator[bytes] | None = None
        self._span = span

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        if self._span.sample is not None:
            move_request_sample(self._span.sample, True)
        try:
            if self._items is None:
                self._items = iter(self._body)
            item = next(self._items)
        except StopIteration:
            self._span.end()
            raise
        except BaseException:
            self._span.fail()
            raise
        if self._span.sample is not None:
            move_request_sample(self._span.sample, False)
        return item

    def close(self) -> None:
        try:
            if (close := getattr(self._body, "close", None)) is not None:
                close()
        except BaseException:
            self._span.fail()
            raise
        self._span.end()


class _Span:
    """One request, from its arrival to the line in the manifest."""

    def __init__(
        self, kind: str, manifest: str | None, *, method: str, path: str, query: str, traceparent: object
    ) -> None:
        self._kind = kind
        self._manifest = manifest
        self.label = f"{method} {path}"
        self.sample: int | None = None
        self._method = method
        self._url = path + ("?" + redacted_query(query) if query else "")
        self._traceparent = traceparent if isinstance(traceparent, str) else None
        self._status = 0
        self._started = datetime.now(UTC)
        self._clock = time.perf_counter_ns()
        self._elapsed_ns: int | None = None
        self._over = False

    def set_status(self, status: object) -> None:
        """Notes the status code; what is none counts as 500."""
        try:
            self._status = int(status)  # type: ignore[call-overload]
        except (TypeError, ValueError):
            self._status = 500

    def stop_clock(self) -> None:
        """The answer is complete; what the application does afterwards is not the request's time."""
        if self._elapsed_ns is None:
            self._elapsed_ns = time.perf_counter_ns() - self._clock

    def fail(self) -> None:
        """The application raised."""
        self._status = 500
        self.end()

    def end(self) -> None:
        """Writes the line; a second call does nothing."""
        if self._over:
            return
        self._over = True
        self.stop_clock()
        if self.sample is not None:
            end_request_sample(self.sample)
        try:
            request_finished(self.label, (self._elapsed_ns or 0) / 1e9, self._status or 500)
            self._write()
        except Exception as error:
            _say_once(error)

    def _write(self) -> None:
        location = recording_location()
        path = self._manifest or _absolute(os.environ.get(ENV_SPAN_MANIFEST) or None)
        if path is None:
            if location is None:
                return
            path = os.path.join(location[0], MANIFEST_NAME)
        elapsed = self._elapsed_ns or 0
        end = datetime.fromtimestamp(self._started.timestamp() + elapsed / 1e9, UTC)
        status = self._status or 500
        line: dict[str, object] = {
            "id": f"span_{self._kind}_{_next_number(path)}",
            "label": self.label,
            "span_type": "web-request",
            "status": "error" if status >= 400 else "ok",
            "start_time": self._started.isoformat(timespec="microseconds"),
            "end_time": end.isoformat(timespec="microseconds"),
            "metadata": {
                "http.method": self._method,
                "http.url": self._url,
                "http.status_code": str(status),
                "http.duration_ms": f"{elapsed / 1e6:.3f}",
            },
            "pid": os.getpid(),
            "thread_id": threading.get_native_id(),
            "trace": None if location is None else location[0],
            "trace_part": None if location is None else location[1],
        }
        if self.sample is not None:
            line["sample"] = self.sample
        if parent := parse_traceparent(self._traceparent):
            line["trace_id"], line["parent_span_id"], line["trace_flags"] = parent
        _append(path, json.dumps(line, ensure_ascii=True) + "\n")


def redacted_query(query: str) -> str:
    """A query string with the values of parameters whose names are secret words replaced."""
    return "&".join(_redacted_parameter(parameter) for parameter in query.split("&"))


def _redacted_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    return f"{name}={REDACTED}" if equals and is_secret_name(unquote_plus(name)) else parameter


def parse_traceparent(header: str | None) -> tuple[str, str, str] | None:
    """Trace id, parent span id and flags of a W3C `traceparent` header; `None` for what is none.

    Source: https://www.w3.org/TR/trace-context/#traceparent-header.
    """
    fields = (header or "").strip().split("-")
    if [len(field) for field in fields[:4]] != [2, 32, 16, 2] or fields[0] == "ff":
        return None
    if (fields[0] == "00" and len(fields) != 4) or not set("".join(fields[:4])) <= set("0123456789abcdef"):
        return None
    _, trace_id, parent_id, flags = fields[:4]
    return None if set(trace_id) == {"0"} or set(parent_id) == {"0"} else (trace_id, parent_id, flags)


def _absolute(path: StrPath | None) -> str | None:
    return None if path is None else os.path.abspath(os.path.expanduser(os.fspath(path)))


def _next_number(manifest: str) -> int:
    """Numbers the lines that this process writes to one manifest, from 1."""
    with _lock:
        return next(_numbers.setdefault(manifest, itertools.count(1)))


def _append(path: str, line: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode("ascii"))
    finally:
        os.close(file)


def _say_once(error: Exception) -> None:
    global _told
    if not _told and sys.stderr is not None:
        _told = True
        try:
            sys.stderr.write(f"codetracer-python-recorder: cannot write the manifest of requests: {error}\n")
        except (OSError, ValueError):  # the stream is closed or its reader gone
            return


def _wsgi_text(environ: Environ, key: str) -> str:
    """WSGI hands over bytes as latin-1 text."""
    return str(environ.get(key) or "").encode("latin-1", "replace").decode("utf-8", "replace")


def _asgi_path(scope: MutableMapping[str, Any]) -> str:
    if raw := scope.get("raw_path"):
        return bytes(raw).partition(b"?")[0].decode("latin-1")
    return quote(str(scope.get("path") or "/"), safe="/:@!$&'()*+,;=~%")


def _asgi_header(scope: MutableMapping[str, Any], name: bytes) -> str | None:
    for key, value in scope.get("headers") or ():
        if bytes(key).lower() == name:
            return bytes(value).decode("latin-1")
    return None


__all__ = (
    "ENV_SPAN_MANIFEST",
    "MANIFEST_NAME",
    "CodeTracerASGIMiddleware",
    "CodeTracerWSGIMiddleware",
    "parse_traceparent",
    "redacted_query",
)
