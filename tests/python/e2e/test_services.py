"""Real servers under the recorder: every request is answered and in a trace, and they end as they should."""

from __future__ import annotations

import os
import re
import signal
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.reading import Trace
from support.recording import Recording
from support.service import Service

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="servers that fork")

HANDLE = """\
import time

def handle(path):
    if path.startswith("/slow"):
        time.sleep(1)
    total = sum(range(5))
    return f"{path} {total}"

"""

WSGI = """\
from codetracer_python_recorder.middleware import CodeTracerWSGIMiddleware

def answer(environ, start_response):
    body = handle(environ["PATH_INFO"]).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]

application = CodeTracerWSGIMiddleware(answer)
"""

STARLETTE = """\
from codetracer_python_recorder.middleware import CodeTracerASGIMiddleware
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

async def answer(request):
    return PlainTextResponse(handle(request.url.path))

def answer_in_a_thread(request):
    return PlainTextResponse(handle(request.url.path))

routes = [Route("/r{number:int}", answer), Route("/{name:str}", answer_in_a_thread)]
application = Starlette(routes=routes)
application.add_middleware(CodeTracerASGIMiddleware)
"""

FLASK = """\
from codetracer_python_recorder.middleware import CodeTracerWSGIMiddleware
from flask import Flask, request

application = Flask(__name__)
application.wsgi_app = CodeTracerWSGIMiddleware(application.wsgi_app)

@application.get("/<name>")
def answer(name):
    return handle(request.path)
"""

DJANGO = """\
from codetracer_python_recorder.middleware import CodeTracerWSGIMiddleware
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="a test",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)

def answer(request, name):
    return HttpResponse(handle(request.path), content_type="text/plain")

urlpatterns = [path("<str:name>", answer)]
application = CodeTracerWSGIMiddleware(get_wsgi_application())
"""

GUNICORN = ["-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", "2"]
SERVERS = {
    "gunicorn sync": (WSGI, [*GUNICORN, "app"]),
    "gunicorn gthread": (WSGI, [*GUNICORN, "--worker-class", "gthread", "--threads", "3", "app"]),
    "uvicorn with starlette": (STARLETTE, ["-m", "uvicorn", "--port", "0", "app:application"]),
    "flask": (FLASK, ["-m", "flask", "--app", "app:application", "run", "--port", "0", "--without-threads"]),
    "django": (DJANGO, [*GUNICORN, "--worker-class", "gthread", "--threads", "2", "app"]),
}
DIES_OF_SIGTERM = {"flask", "uvicorn with starlette"}
"""After its own ending, or without one, the server lets the signal do what it does by default."""


def serve(directory: Path, name: str, *options: str, policy: str = "full") -> Service:
    application, command = SERVERS[name]
    (directory / "app.py").write_text(HANDLE + application)
    return Service([*command[:2], *options, *command[2:]], directory, policy=policy)


def end_of(name: str) -> int:
    return -signal.SIGTERM if name in DIES_OF_SIGTERM else 0


def handled(service: Service) -> Counter[str]:
    """How often each path was handled, by the recorded arguments."""
    found = (re.search(r"/[a-z0-9]+", text) for text in service.arguments("handle", "path"))
    return Counter(match[0] for match in found if match and match[0] != "/ready")


def answered(service: Service) -> Counter[str]:
    """How often each URL has a line in a manifest, with the status it must have."""
    spans = [span for span in service.spans() if span["metadata"]["http.url"] != "/ready"]
    assert {span["metadata"]["http.status_code"] for span in spans} <= {"200"}
    return Counter(span["metadata"]["http.url"] for span in spans)


def check_all_are_there(service: Service, paths: list[str], answers: list[tuple[int, str]]) -> None:
    assert answers == [(200, f"{path} 10") for path in paths]
    assert handled(service) == Counter(paths)
    assert answered(service) == Counter(paths)


@pytest.mark.parametrize(
    ("name", "policy"),
    [*((name, "full") for name in SERVERS), ("gunicorn gthread", "calls"), ("uvicorn with starlette", "calls")],
)
def test_every_request_is_answered_and_recorded(tmp_path: Path, name: str, policy: str) -> None:
    paths = [f"/r{number}" for number in range(60)] + [f"/thread{number}" for number in range(10)]
    with serve(tmp_path, name, policy=policy) as service:
        answers = service.get_all(paths)
        status = service.terminate()
    assert status == end_of(name), service.log.read_text()
    check_all_are_there(service, paths, answers)
    steps = sum(len(thread.steps) for thread in service.threads)
    assert (steps > 3 * len(paths)) is (policy == "full")
    assert "Traceback" not in service.log.read_text()


def test_a_graceful_reload_loses_no_request(tmp_path: Path) -> None:
    paths = [f"/r{number}" for number in range(120)]
    with serve(tmp_path, "gunicorn gthread", "--graceful-timeout", "60") as service, ThreadPoolExecutor(1) as pool:
        requests = pool.submit(service.get_all, paths, 2)
        for _ in range(2):
            time.sleep(0.2)
            service.process.send_signal(signal.SIGHUP)
        answers = requests.result()
        assert service.terminate() == 0
    assert service.log.read_text().count("Booting worker") >= 4
    check_all_are_there(service, paths, answers)


def test_workers_that_are_replaced_after_some_requests_complete_their_traces(tmp_path: Path) -> None:
    paths = [f"/r{number}" for number in range(80)]
    with serve(tmp_path, "gunicorn sync", "--max-requests", "20") as service:
        answers = service.get_all(paths, 2)
        assert service.terminate() == 0
    assert len(service.directories()) >= 1 + 80 // 20
    check_all_are_there(service, paths, answers)


@pytest.mark.parametrize("name", ["gunicorn gthread", "uvicorn with starlette"])
def test_a_request_in_flight_is_answered_before_the_server_ends(tmp_path: Path, name: str) -> None:
    with serve(tmp_path, name) as service, ThreadPoolExecutor(1) as pool:
        request = pool.submit(service.get, "/slow")
        time.sleep(0.4)
        assert service.terminate() == end_of(name)
        answer = request.result()
    check_all_are_there(service, ["/slow"], [answer])


def test_a_worker_that_is_killed_leaves_the_others_their_traces(tmp_path: Path) -> None:
    paths = [f"/r{number}" for number in range(40)]
    with serve(tmp_path, "gunicorn sync") as service:
        answers = service.get_all(paths)
        worker = int(service.log.read_text().split("Booting worker with pid: ")[1].split()[0])
        time.sleep(2.5)  # What is older than the interval of marks is promised.
        os.kill(worker, signal.SIGKILL)
        time.sleep(0.5)
        more = [f"/more{number}" for number in range(20)]
        answers += service.get_all(more)
        assert service.terminate() == 0
    check_all_are_there(service, paths + more, answers)


def test_workers_of_concurrent_futures_record_every_task(
    write: Callable[..., Path], record: Callable[..., Recording]
) -> None:
    script = write(
        textwrap.dedent(
            """\
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed

            def task(number):
                return number * number

            def main():
                fork = multiprocessing.get_context("fork")
                with ProcessPoolExecutor(2, mp_context=fork, max_tasks_per_child=None) as pool:
                    done = as_completed([pool.submit(task, number) for number in range(60)])
                    print(sum(future.result() for future in done))
                with ThreadPoolExecutor(3) as pool:
                    print(sum(pool.map(task, range(60, 100))))

            main()
            """
        )
    )
    recorded = record(script, options=["--propagate-script-exit"])
    squares = [number * number for number in range(100)]
    assert (recorded.stdout, recorded.status) == (f"{sum(squares[:60])}\n{sum(squares[60:])}\n", 0)
    directories = [recorded.directory, *recorded.directory.glob("processes/*")]
    calls = [call for directory in directories for thread in Trace(directory).threads for call in thread.calls]
    numbers = [int(dict(call.args)["number"][1], 16) for call in calls if call.name == "task"]
    assert sorted(numbers) == list(range(100))
