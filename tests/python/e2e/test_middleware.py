"""The WSGI and ASGI middleware: the application's answer is untouched, every request has its line."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import codetracer_python_recorder as recorder
import pytest
from codetracer_python_recorder.middleware import (
    CodeTracerASGIMiddleware,
    CodeTracerWSGIMiddleware,
    parse_traceparent,
    redacted_query,
)

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CODETRACER_SPAN_MANIFEST", raising=False)
    return tmp_path / "spans.jsonl"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def request(app: Any, path: str = "/items/7", query: str = "", method: str = "GET", **extra: Any) -> tuple[str, bytes]:
    environ: dict[str, Any] = {
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_METHOD": method,
        **extra,
    }
    setup_testing_defaults(environ)
    seen: list[str] = []
    body = app(environ, lambda status, headers, info=None: seen.append(status))
    try:
        content = b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    return seen[0], content


def wsgi_app(status: str = "200 OK", body: Callable[[], Any] = lambda: [b"hello"]) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, [("Content-Type", "text/plain")])
        return body()

    return app


def test_a_wsgi_request_is_a_line_with_all_keys(manifest: Path) -> None:
    app = CodeTracerWSGIMiddleware(validator(wsgi_app()), manifest_path=manifest)
    assert request(app, query="page=2&api_key=hunter2", HTTP_TRACEPARENT=PARENT) == ("200 OK", b"hello")
    (line,) = lines(manifest)
    assert line["id"] == "span_wsgi_1"
    assert line["label"] == "GET /items/7"
    assert line["span_type"] == "web-request"
    assert line["status"] == "ok"
    assert TIME.fullmatch(line["start_time"]) and TIME.fullmatch(line["end_time"])
    metadata = line["metadata"]
    assert float(metadata.pop("http.duration_ms")) >= 0
    assert metadata == {
        "http.method": "GET",
        "http.url": "/items/7?page=2&api_key=<redacted>",
        "http.status_code": "200",
    }
    assert (line["trace_id"], line["parent_span_id"], line["trace_flags"]) == tuple(PARENT.split("-")[1:])
    assert (line["trace"], line["trace_part"], line["pid"]) == (None, None, os.getpid())
    assert stat.S_IMODE(manifest.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("status", "expected"),
    [("302 Found", "ok"), ("399 Odd", "ok"), ("400 Bad Request", "error"), ("503 Busy", "error")],
)
def test_a_status_from_400_on_is_an_error(manifest: Path, status: str, expected: str) -> None:
    request(CodeTracerWSGIMiddleware(wsgi_app(status), manifest))
    (line,) = lines(manifest)
    assert (line["status"], line["metadata"]["http.status_code"]) == (expected, status[:3])


def test_an_exception_is_a_500_and_raised_on_wherever_it_happens(manifest: Path) -> None:
    def raising(environ: Any, start_response: Any) -> Any:
        raise KeyError("the application's own")

    def raising_later() -> Iterator[bytes]:
        yield b"first"
        raise KeyError("the application's own")

    for app in (raising, wsgi_app(body=raising_later)):
        with pytest.raises(KeyError, match="the application's own"):
            request(CodeTracerWSGIMiddleware(app, manifest))
    assert [(line["status"], line["metadata"]["http.status_code"]) for line in lines(manifest)] == [
        ("error", "500")
    ] * 2


def test_a_streamed_answer_ends_when_it_is_read_and_is_closed_once(manifest: Path) -> None:
    closed = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            assert not manifest.exists()
            yield b"a"
            yield b"b"

        def close(self) -> None:
            closed.append(True)

    assert request(CodeTracerWSGIMiddleware(wsgi_app(body=Body), manifest)) == ("200 OK", b"ab")
    assert (closed, len(lines(manifest))) == ([True], 1)


def test_what_the_server_can_send_by_itself_stays_what_it_is(manifest: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    body = FileWrapper(file.open("rb"))
    app = CodeTracerWSGIMiddleware(wsgi_app(body=lambda: body), manifest)
    environ: dict[str, Any] = {"wsgi.file_wrapper": FileWrapper}
    setup_testing_defaults(environ)
    assert app(environ, lambda *_: None) is body
    body.close()
    assert len(lines(manifest)) == 1


def asgi_request(app: Any, scope: dict[str, Any]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


ANSWER = [
    {"type": "http.response.start", "status": 201, "headers": []},
    {"type": "http.response.body", "body": b"hello"},
]


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    for message in ANSWER:
        await send(message)


def test_an_asgi_request_is_a_line_and_its_messages_pass(manifest: Path) -> None:
    app = CodeTracerASGIMiddleware(asgi_app, manifest_path=manifest)
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/ü",
        "query_string": b"session_token=x&q=1",
        "headers": [(b"traceparent", PARENT.encode())],
    }
    assert asgi_request(app, scope) == ANSWER
    (line,) = lines(manifest)
    assert (line["id"], line["label"], line["status"]) == ("span_asgi_1", "POST /%C3%BC", "ok")
    assert line["metadata"]["http.url"] == "/%C3%BC?session_token=<redacted>&q=1"
    assert line["metadata"]["http.status_code"] == "201"
    assert line["trace_id"] == PARENT.split("-")[1]


def test_an_asgi_exception_is_a_500_and_raised_on(manifest: Path) -> None:
    async def raising(scope: Any, receive: Any, send: Any) -> None:
        await send(ANSWER[0])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asgi_request(CodeTracerASGIMiddleware(raising, manifest), {"type": "http", "method": "GET", "path": "/"})
    (line,) = lines(manifest)
    assert (line["status"], line["metadata"]["http.status_code"]) == ("error", "500")


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_lifespan_and_websocket_pass_through_without_a_line(manifest: Path, kind: str) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, send))

    scope = {"type": kind, "path": "/"}
    asgi_request(CodeTracerASGIMiddleware(app, manifest), scope)
    assert seen[0][0] is scope
    assert not manifest.exists()


def test_the_manifest_is_the_argument_else_the_variable_else_in_the_recording(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = CodeTracerWSGIMiddleware(wsgi_app())
    request(app)  # nowhere to note it, and no harm
    with recorder.trace(tmp_path / "out"):
        request(app)
        recorder.pause()
        request(app)
        recorder.resume()
        request(app)
        session_lines = lines(tmp_path / "out" / "spans.jsonl")
    assert {line["trace"] for line in session_lines} == {str(tmp_path / "out")}
    assert [line["trace_part"] for line in session_lines] == [0, None, 1]
    monkeypatch.setenv("CODETRACER_SPAN_MANIFEST", str(tmp_path / "from-env"))
    request(app)
    request(CodeTracerWSGIMiddleware(wsgi_app(), manifest))
    assert [len(lines(path)) for path in (tmp_path / "from-env", manifest)] == [1, 1]


def test_a_manifest_that_cannot_be_written_breaks_no_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from codetracer_python_recorder import middleware

    monkeypatch.setattr(middleware, "_told", False)
    app = CodeTracerWSGIMiddleware(wsgi_app(), tmp_path / "no" / "such" / "directory")
    assert [request(app), request(app)] == [("200 OK", b"hello")] * 2
    assert capsys.readouterr().err.count("cannot write the manifest of requests") == 1


def test_lines_of_many_threads_are_whole_and_numbered(manifest: Path) -> None:
    app = CodeTracerWSGIMiddleware(wsgi_app(), manifest)
    threads = [threading.Thread(target=lambda: [request(app) for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {line["id"] for line in lines(manifest)} == {f"span_wsgi_{n}" for n in range(1, 401)}


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        PARENT.upper(),
        PARENT.replace("00-4", "ff-4"),
        PARENT + "-x",
        "nonsense",
    ],
)
def test_a_traceparent_that_is_none_is_left_out(header: str | None) -> None:
    assert parse_traceparent(header) is None


def test_the_values_of_secret_parameters_are_hidden_and_no_others() -> None:
    assert redacted_query("a=1&pass%77ord=x&flag&userPassword=&author=me") == (
        "a=1&pass%77ord=<redacted>&flag&userPassword=<redacted>&author=me"
    )
