"""Real servers under the recorder: every request is answered and in a trace, and they end as they should."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.reading import Trace
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

FASTAPI = """\
from codetracer_python_recorder.middleware import CodeTracerASGIMiddleware
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

application = FastAPI()
application.add_middleware(CodeTracerASGIMiddleware)

async def answer(number: int):
    return PlainTextResponse(handle(f"/r{number}"))

def answer_in_a_thread(name: str):
    return PlainTextResponse(handle(f"/{name}"))

application.get("/r{number:int}")(answer)
application.get("/{name}")(answer_in_a_thread)
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
    "uvicorn with fastapi": (FASTAPI, ["-m", "uvicorn", "--port", "0", "app:application"]),
    "flask": (FLASK, ["-m", "flask", "--app", "app:application", "run", "--port", "0", "--without-threads"]),
    "django": (DJANGO, [*GUNICORN, "--worker-class", "gthread", "--threads", "2", "app"]),
}
DIES_OF_SIGTERM = {"flask", "uvicorn with starlette", "uvicorn with fastapi"}
"""After its own ending, or without one, the server lets the signal do what it does by default."""


def serve(directory: Path, name: str, *options: str, policy: str = "full") -> Service:
    application, command = SERVERS[name]
    (directory / "app.py").write_text(HANDLE + application)
    return Service([*command[:2], *options, *command[2:]], directory, policy=policy)


def end_of(name: str) -> int:
    return -signal.SIGTERM if name in DIES_OF_SIGTERM else 0


def handled(service: Service) -> Counter[str]:
    """How often each path was handled, by the recorded arguments."""
    parts = [Trace(part) for directory in service.directories() for part in directory.glob("parts/*")]
    sampled = [call for part in parts for thread in part.threads for call in thread.calls_of("handle")]
    texts = service.arguments("handle", "path") + [str(dict(call.args)["path"]) for call in sampled]
    found = (re.search(r"/[a-z0-9]+", text) for text in texts)
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


SAMPLED = {
    "windows": 'sampling.mode=windows;sampling.on="20ms";sampling.every="100ms"',
    "requests": 'sampling.mode=entries;sampling.entries=middleware;sampling.rate="RATE"',
    "budget": "sampling.mode=budget",
}
ALWAYS_ON = {
    **SAMPLED,
    "flight recorder": "ring.storage=memory;ring.max_bytes=4MiB;ring.keep_at_exit=false;triggers.server_errors=true",
}


def always_on(mode: str, rate: str) -> str:
    """The policy; of requests `rate` are sampled."""
    return ALWAYS_ON[mode].replace("RATE", rate)


def sampled(service: Service) -> list[dict[str, Any]]:
    """What the metadata of each part say of its samples, and in which recording; reading checks each part."""
    found = []
    for directory in service.directories():
        for part in sorted(directory.glob("parts/*")):
            about = Trace(part).metadata["part"]
            samples = about.get("samples") or [about["sample"]]
            found += [sample | {"in": str(directory)} for sample in samples]
    return found


def check_nobody_noticed(service: Service, mode: str, paths: list[str], answers: list[tuple[int, str]]) -> None:
    """All are answered as without the recorder, each has its line, and what was sampled is whole and where it says."""
    log = service.log.read_text()
    assert answers == [(200, f"{path} 10") for path in paths]
    assert answered(service) == Counter(paths), "one line in a manifest for each"
    assert "Traceback" not in log
    assert not [line for line in log.splitlines() if '"level":"ERROR"' in line]
    if mode == "flight recorder":
        assert not list(service.out.glob("**/dumps/*")), "nothing went wrong"
        return
    samples = sampled(service)
    assert samples, "some of it was recorded"
    if mode == "requests":
        spans = [span for span in service.spans() if "sample" in span]
        recorded = {(sample["in"], sample["number"]): sample["entry"] for sample in samples}
        assert len(recorded) == len(samples) == len(spans), "what was to be sampled is there"
        assert recorded == {(span["trace"], span["sample"]): span["label"] for span in spans}, "and found by its line"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mode", ALWAYS_ON)
@pytest.mark.parametrize("name", SERVERS)
def test_many_requests_are_answered_whatever_is_sampled(
    tmp_path: Path, name: str, mode: str, pytestconfig: pytest.Config
) -> None:
    requests = pytestconfig.getoption("--requests") or (2_500 if name == "gunicorn gthread" else 400)
    paths = [f"/r{number}" for number in range(requests)]
    rate = 0.02 if requests >= 1_000 else 0.1
    with serve(tmp_path, name, policy=always_on(mode, f"{rate:.0%}")) as service:
        answers = service.hammer(paths)
        assert service.terminate() == end_of(name), service.log.read_text()
    check_nobody_noticed(service, mode, paths, answers)
    if mode == "requests":
        assert 0.3 < len(sampled(service)) / (requests * rate) < 3


def test_a_slow_request_is_dumped_by_the_worker_that_served_it(tmp_path: Path) -> None:
    policy = "ring.storage=memory;ring.seconds=3600;triggers.slow_request=900ms;triggers.min_interval=0s"
    with serve(tmp_path, "gunicorn gthread", policy=policy) as service:
        service.get_all([f"/r{number}" for number in range(20)])
        assert service.get("/slow") == (200, "/slow 10")
        deadline = time.monotonic() + 60
        slow_ones = "processes/*/dumps/*-slow-GET__slow/recording.json"
        while not any("complete" in path.read_text() for path in service.out.glob(slow_ones)):
            assert time.monotonic() < deadline, service.log.read_text()
            time.sleep(0.05)
        assert service.terminate() == 0
    dumped = [(path, Trace(path)) for path in service.out.glob("processes/*/dumps/*")]
    slow = [(path, trace) for path, trace in dumped if trace.metadata["dump"]["request"] == "GET /slow"]
    assert len(slow) == 1
    path, trace = slow[0]
    assert path.name.endswith("-slow-GET__slow")
    assert trace.metadata["dump"]["duration_ms"] >= 900
    handled = [str(dict(call.args)["path"]) for thread in trace.threads for call in thread.calls_of("handle")]
    assert sum("/slow" in path for path in handled) == 1


@pytest.mark.parametrize("policy", ["full", "ring.storage=memory;ring.seconds=3600;events.lines=false"])
def test_a_graceful_reload_loses_no_request(tmp_path: Path, policy: str) -> None:
    paths = [f"/r{number}" for number in range(120)]
    options = ["--graceful-timeout", "60"]
    with serve(tmp_path, "gunicorn gthread", *options, policy=policy) as service, ThreadPoolExecutor(1) as pool:
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


@pytest.mark.parametrize("mode", ALWAYS_ON)
def test_workers_are_replaced_in_the_middle_of_sampling(tmp_path: Path, mode: str) -> None:
    paths = [f"/r{number}" for number in range(400)]
    options = ["--max-requests", "50", "--graceful-timeout", "60"]
    with serve(tmp_path, "gunicorn gthread", *options, policy=always_on(mode, "20%")) as service:
        answers = service.get_all(paths, 2)
        assert service.terminate() == 0
    assert len(service.directories()) >= 1 + 400 // 100
    check_nobody_noticed(service, mode, paths, answers)


@pytest.mark.parametrize("mode", [None, *ALWAYS_ON])
@pytest.mark.parametrize("name", ["gunicorn gthread", "uvicorn with starlette", "uvicorn with fastapi"])
def test_a_request_in_flight_is_answered_before_the_server_ends(tmp_path: Path, name: str, mode: str | None) -> None:
    policy = "full" if mode is None else always_on(mode, "100%")
    with serve(tmp_path, name, policy=policy) as service, ThreadPoolExecutor(1) as pool:
        request = pool.submit(service.get, "/slow")
        time.sleep(0.4)
        assert service.terminate() == end_of(name)
        answer = request.result()
    if mode is None:
        check_all_are_there(service, ["/slow"], [answer])
    else:
        check_nobody_noticed(service, mode, ["/slow"], [answer])
    # The others handle it in a thread, which is not of the sample.
    if mode is None or (mode == "requests" and name == "gunicorn gthread"):
        assert handled(service)["/slow"] == 1, "in flight when the server was told to end, and recorded whole"


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
