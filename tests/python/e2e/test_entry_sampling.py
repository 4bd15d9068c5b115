"""Sampling of entries: some calls of some functions are recorded whole, on their thread or in their task only."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.parts import part_directories
from support.reading import Thread, Trace
from support.recording import Recording
from support.running import Outcome

Write = Callable[..., Path]
Run = Callable[..., Outcome]
Record = Callable[..., Recording]


def policy(entries: str, rate: str, seed: int = 5) -> dict[str, str]:
    settings = {"mode": "entries", "entries": f'"{entries}"', "rate": f'"{rate}"', "seed": seed}
    return {"CODETRACER_POLICY": ";".join(f"sampling.{key}={value}" for key, value in settings.items())}


def samples(directory: Path) -> list[tuple[list[dict[str, Any]], list[Thread]]]:
    """Of each part that is a sample: what its metadata say of it, and the threads that have calls in it."""
    from codetracer_python_recorder.codetracer_python_recorder import verify_trace

    assert verify_trace(str(directory)) == []
    first, *others = part_directories(directory)
    assert Trace(first).main.calls == []
    found = []
    for part in others:
        trace = Trace(part)
        about = trace.metadata["part"]
        assert (about["begun_by"], about["ended_by"] in ("sampling", "pause")) == ("sampling", True)
        found.append((about.get("samples") or [about["sample"]], [t for t in trace.threads if t.calls]))
    return found


def names(thread: Thread) -> list[str]:
    return [call.name for call in thread.calls]


def metadata(directory: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((directory / "trace_metadata.json").read_text())
    return loaded


def test_a_sampled_call_is_recorded_whole_and_nothing_else_is(record: Record, write: Write) -> None:
    program = write(
        """
        import sys

        def helper(n):
            return n * 2

        def view(n):
            if n % 10 == 3:
                raise ValueError(n)
            return [helper(i) for i in range(n % 3)]

        def other(n):
            return helper(n)

        tools = [i for i in range(6) if (sys.monitoring.get_tool(i) or "").startswith("codetracer")]
        quiet = 0
        for n in range(200):
            try:
                view(n)
            except ValueError:
                pass
            other(n)
            quiet += all(sys.monitoring.get_events(i) in (0, sys.monitoring.events.PY_START) for i in tools)
        print(len(tools), quiet, sys.monitoring.get_local_events(tools[0], view.__code__))
        """
    )
    outcome = record(program, env=policy("obj:*.view", "20%"))
    assert outcome.stdout == "2 200 0\n", outcome.stderr
    found = samples(outcome.directory)
    told = metadata(outcome.directory)["sampling"]
    assert told["candidates"] == 200
    assert 20 <= told["samples"] == len(found) <= 60
    for (about,), (thread,) in found:
        assert (about["mode"], about["probability"], about["entry"]) == ("entries", 0.2, "view")
        n = int(dict(thread.calls[0].args)["n"][1], 16)
        assert n == about["candidate"]
        assert names(thread)[0] == "view" and "other" not in names(thread) and names(thread).count("view") == 1
        assert names(thread).count("helper") == (0 if n % 10 == 3 else n % 3)
        assert thread.steps
    again = record(program, env=policy("obj:*.view", "20%"))
    assert [about for (about,), _ in samples(again.directory)] == [about for (about,), _ in found]


def test_a_sampled_coroutine_is_recorded_and_the_tasks_between_are_not(record: Record, write: Write) -> None:
    program = write(
        """
        import asyncio

        async def fetch(n):
            await asyncio.sleep(0.001 * (n % 3))
            return n

        async def handle(n):
            first = await fetch(n)
            second = await fetch(n + 1)
            return first + second

        async def background():
            for n in range(50):
                await fetch(1000 + n)

        async def main():
            task = asyncio.create_task(background())
            print(sum(await asyncio.gather(*(handle(n) for n in range(100)))))
            await task

        asyncio.run(main())
        """
    )
    outcome = record(program, env=policy("obj:*.handle", "10%"))
    assert outcome.stdout == f"{sum(2 * n + 1 for n in range(100))}\n", outcome.stderr
    found = samples(outcome.directory)
    told = metadata(outcome.directory)["sampling"]
    assert 3 <= told["samples"] == sum(len(about) for about, _ in found)
    entered = [call for _, (thread,) in found for call in thread.calls]
    assert {call.name for call in entered} <= {"handle", "fetch"}
    sampled = {int(dict(call.args)["n"][1], 16) for call in entered if call.name == "handle" and call.args}
    assert sampled == {about["candidate"] for abouts, _ in found for about in abouts}
    # Only what these awaited, and all of it.
    fetched = [int(dict(call.args)["n"][1], 16) for call in entered if call.name == "fetch" and call.args]
    assert sorted(fetched) == sorted([n for n in sampled] + [n + 1 for n in sampled])


def test_threads_have_samples_of_their_own(record: Record, write: Write) -> None:
    program = write(
        """
        import threading, time

        def helper(n):
            time.sleep(0.0002)
            return n

        def job(n):
            return helper(n) + 1

        def worker():
            for n in range(50):
                assert job(n) == n + 1
                helper(n)

        threads = [threading.Thread(target=worker, name=f"worker{i}") for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print("done")
        """
    )
    outcome = record(program, env=policy("obj:*.job", "30%"))
    assert outcome.stdout == "done\n", outcome.stderr
    found = samples(outcome.directory)
    told = metadata(outcome.directory)["sampling"]
    calls = [name for _, threads in found for thread in threads for name in names(thread)]
    assert 20 < told["samples"] == calls.count("job") == calls.count("helper") == len(calls) / 2
    assert sum(len(about) for about, _ in found) == told["samples"]


def test_a_recording_is_paused_and_resumed_between_samples(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """
        import codetracer_python_recorder as recorder

        def job(n):
            if n == 2:
                recorder.pause()
            return n

        sampling = {"mode": "entries", "entries": "obj:*.job", "rate": "100%"}
        with recorder.trace("out", policy={"sampling": sampling}):
            job(1)
            job(2)
            job(3)
            recorder.resume()
            job(4)
        """
    )
    outcome = run(script)
    assert outcome.status == 0, outcome.stderr
    called = [dict(call.args)["n"][1] for _, threads in samples(tmp_path / "out") for t in threads for call in t.calls]
    assert called == ["0x1", "0x2", "0x4"]


def test_requests_are_sampled_by_the_middleware_and_their_spans_say_so(record: Record, write: Write) -> None:
    program = write(
        """
        import asyncio
        from codetracer_python_recorder.middleware import CodeTracerASGIMiddleware, CodeTracerWSGIMiddleware

        def body(n):
            yield b"a"
            yield str(n).encode()

        def wsgi(environ, start_response):
            start_response("200 OK", [])
            return body(int(environ["PATH_INFO"][1:])) if environ["PATH_INFO"][-1] == "1" else [b"x"]

        async def asgi(scope, receive, send):
            await asyncio.sleep(0.0001)
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body"})

        async def other():
            await asyncio.sleep(0)

        def serve(n):
            environ = {"REQUEST_METHOD": "GET", "PATH_INFO": f"/{n}"}
            answer = CodeTracerWSGIMiddleware(wsgi)(environ, lambda status, headers: None)
            content = b"".join(answer)
            if hasattr(answer, "close"):
                answer.close()
            return content

        async def main():
            scope = lambda n: {"type": "http", "method": "GET", "path": f"/a{n}"}
            async def send(message): pass
            app = CodeTracerASGIMiddleware(asgi)
            await asyncio.gather(*(app(scope(n), None, send) for n in range(50)), *(other() for _ in range(50)))

        contents = [serve(n) for n in range(100)]
        assert contents[1] == b"a1" and contents[2] == b"x"
        asyncio.run(main())
        print("done")
        """
    )
    outcome = record(program, env=policy("middleware", "30%"))
    assert outcome.stdout == "done\n", outcome.stderr
    found = samples(outcome.directory)
    spans = [json.loads(line) for line in (outcome.directory / "spans.jsonl").read_text().splitlines()]
    assert len(spans) == 150
    labels = {span["sample"]: span["label"] for span in spans if "sample" in span}
    # Which part has a sample is known later; the part itself says it.
    assert {span["trace_part"] for span in spans} == {None}
    told = metadata(outcome.directory)["sampling"]
    assert (told["candidates"], told["samples"]) == (150, len(labels))
    assert {about["number"]: about["entry"] for abouts, _ in found for about in abouts} == labels
    assert 20 < len(labels) < 80
    calls = [call for _, threads in found for thread in threads for call in thread.calls]
    assert {call.name for call in calls} <= {"wsgi", "asgi", "body", "<lambda>", "serve.<locals>.<lambda>",
                                             "main.<locals>.send"}  # fmt: skip
    assert sum(call.name == "wsgi" for call in calls) == sum(
        not label.startswith("GET /a") for label in labels.values()
    )
    streamed = [label for label in labels.values() if label[-1] == "1" and not label.startswith("GET /a")]
    assert sum(call.name == "body" and bool(call.args) for call in calls) == len(streamed) > 0
