"""A project that uses the package is checked by `mypy --strict` without a word, and its mistakes are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support.running import Outcome, python

Write = Callable[..., Path]

PROJECT = """
    from __future__ import annotations

    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any, assert_type

    import codetracer_python_recorder as recorder
    from codetracer_python_recorder import RecorderError, TraceSession, UsageError
    from codetracer_python_recorder.cli import main
    from codetracer_python_recorder.codetracer_python_recorder import inspect_trace, verify_trace
    from codetracer_python_recorder.middleware import CodeTracerWSGIMiddleware
    from codetracer_python_recorder.trace_balance import load_trace_events, summarize_trace_balance

    def record(directory: Path, jobs: Iterable[int]) -> int:
        with recorder.trace(directory, format=recorder.TRACE_JSON, policy={"require_trace": True}) as session:
            assert_type(session, TraceSession)
            total = sum(jobs)
        return total

    def by_hand(directory: str) -> Path:
        session = recorder.start(directory, start_on_enter="jobs.py", trace_filter=["a.toml", Path("b.toml")])
        try:
            session.flush()
            assert_type(session.path, Path)
            assert_type(session.format, str)
        finally:
            recorder.stop(exit_code=0)
        return session.path

    def failures(directory: Path) -> dict[str, str]:
        try:
            by_hand(str(directory))
        except UsageError as error:
            return error.context | {"code": error.code, "kind": error.kind}
        except RecorderError as error:
            return {"code": error.code}
        return {}

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        return [b"answer"]

    application_with_notes = CodeTracerWSGIMiddleware(application)
    recorder.configure_policy(on_recorder_error="disable")
    assert_type(recorder.policy_snapshot(), dict[str, object])
    assert_type(recorder.is_tracing(), bool)
    assert_type(main(["--version"]), int)
    assert_type(verify_trace("trace"), list[str])
    inspect_trace("trace", "json", 0, 0, print)
    assert_type(summarize_trace_balance(load_trace_events(Path("trace.json"))).is_balanced, bool)
"""
MISTAKES = """
    import codetracer_python_recorder as recorder

    recorder.start(3)
    recorder.trace("trace").no_such_thing
    recorder.stop(exit_code="done")
    number: int = recorder.policy_snapshot()
"""


def check(project: Path) -> Outcome:
    options = ["--strict", "--no-error-summary", "--hide-error-context", "--cache-dir", project.parent / "cache"]
    return python(["-m", "mypy", *options, project], cwd=project.parent)


def test_a_project_that_uses_the_package_is_well_typed(write: Write) -> None:
    outcome = check(write(PROJECT, "project.py"))
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "", "")


def test_mistakes_in_using_the_package_are_found(write: Write) -> None:
    outcome = check(write(MISTAKES, "mistakes.py"))
    wrong = {int(line.split(":")[1]) for line in outcome.stdout.splitlines() if ": error: " in line}
    assert (outcome.status, wrong) == (1, {4, 5, 6, 7}), outcome.stdout
