"""Sessions of the Python API, and those that the environment starts."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.reading import BadTrace, Trace, raw_events
from support.running import Outcome

Write = Callable[..., Path]
Run = Callable[..., Outcome]


def test_start_and_stop_record_what_is_between_them(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """
        import codetracer_python_recorder as recorder

        def work(n):
            total = n + 1
            return total

        work(1)
        session = recorder.start("out")
        print(recorder.is_tracing(), session.format, session.path)
        work(2)
        session.stop(exit_code=5)
        print(recorder.is_tracing())
        work(3)
        """
    )
    outcome = run(script)
    assert outcome.status == 0, outcome.stderr
    assert outcome.stdout == f"True binary {tmp_path / 'out'}\nFalse\n"
    trace = Trace(tmp_path / "out")
    assert [dict(call.args)["n"] for call in trace.main.calls_of("work")] == [["Int", "0x2"]]
    assert trace.main.returns_of("work") == [["Int", "0x3"]]
    assert trace.main.paths == [str(script)]
    assert trace.main.toplevel_return == ["Int", "0x5"]
    assert trace.metadata["process_exit_status"] == {"code": 5, "label": None}
    assert trace.metadata["program"] == str(script)
    assert trace.metadata["workdir"] == str(tmp_path)


def test_sessions_started_and_stopped_inside_functions_are_balanced(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """
        import codetracer_python_recorder as recorder

        def inner(depth):
            if depth:
                return inner(depth - 1)
            recorder.stop()
            return "after"

        def outer():
            recorder.start("out", format="JSON")
            value = inner(3)
            return value

        def generator():
            yield 1
            with recorder.trace("second") as session:
                yield 2
            yield 3

        print(outer(), list(generator()))
        """
    )
    outcome = run(script)
    assert outcome.stdout == "after [1, 2, 3]\n", outcome.stderr
    trace = Trace(tmp_path / "out")
    assert len(trace.main.calls_of("inner")) == 4
    assert {call.name for call in trace.main.calls} <= {"<__main__>", "outer", "inner"}
    assert trace.main.toplevel_return == ["String", "<exit>"]
    assert trace.metadata["process_exit_status"] == {"code": None, "label": "<exit>"}
    second = Trace(tmp_path / "second")
    assert {call.name for call in second.main.calls} <= {"<__main__>", "generator"}
    assert second.main.steps


def test_one_session_after_another_and_a_second_one_meanwhile(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """
        import codetracer_python_recorder as recorder

        def f(n):
            return n

        recorder.stop()
        recorder.flush()
        for n in range(3):
            with recorder.trace(f"out-{n}") as session:
                f(n)
                try:
                    recorder.start("other")
                except RuntimeError as error:
                    print(error)
                try:
                    from codetracer_python_recorder import codetracer_python_recorder as extension
                    extension.start_tracing("other", "binary")
                except recorder.UsageError as error:
                    print(error.code, isinstance(error, recorder.RecorderError))
            session.stop()
            session.flush()
        """
    )
    outcome = run(script)
    assert outcome.status == 0, outcome.stderr
    assert outcome.stdout == "tracing already active\nERR_ALREADY_TRACING True\n" * 3
    assert not (tmp_path / "other").exists()
    for n in range(3):
        (call,) = Trace(tmp_path / f"out-{n}").main.calls_of("f")
        assert call.args == [("n", ["Int", hex(n)])]


def test_bad_arguments_of_start_leave_nothing_behind(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """
        import codetracer_python_recorder as recorder

        open("file", "w").close()
        for arguments in (
            {"path": "file"},
            {"path": "file/below"},
            {"path": "out", "format": "xml"},
            {"path": "out", "trace_filter": "missing.toml"},
            {"path": "out", "trace_filter": 5},
        ):
            try:
                recorder.start(**arguments)
            except Exception as error:
                print(type(error).__name__, getattr(error, "code", "-"), str(error).splitlines()[0][:200])
            print(recorder.is_tracing())
        """
    )
    lines = run(script).stdout.splitlines()
    assert lines[1::2] == ["False"] * 5
    errors = lines[0::2]
    assert errors[0].startswith("ValueError")
    assert errors[1].startswith("EnvironmentError ERR_TRACE_DIR_CREATE_FAILED")
    assert "failed to create trace directory" in errors[1]
    assert errors[2].startswith("ValueError") and "unsupported trace format" in errors[2]
    assert errors[3].startswith("FileNotFoundError")
    assert errors[4].startswith("TypeError")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format", ["binary", "json"])
def test_after_a_flush_the_files_hold_everything_before_it(format: str, write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """
        import shutil
        import sys

        import codetracer_python_recorder as recorder

        def work(n):
            return n

        session = recorder.start("out", format=sys.argv[1])
        for n in range(100):
            work(n)
        session.flush()
        shutil.copytree("out", "copy-1")
        for n in range(5000):
            work(n)
        recorder.flush()
        recorder.flush()
        shutil.copytree("out", "copy-2")
        work(0)
        session.stop()
        """
    )
    outcome = run(script, format)
    assert outcome.status == 0, outcome.stderr
    for copy, least in (("copy-1", 100), ("copy-2", 5100)):
        events = list(raw_events(tmp_path / copy))
        functions = [event["Function"]["name"] for event in events if "Function" in event]
        calls = [functions[event["Call"]["function_id"]] for event in events if "Call" in event]
        assert calls.count("work") == least
    assert len(Trace(tmp_path / "out").main.calls_of("work")) == 5101


def test_a_change_of_directory_moves_nothing(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """
        import os

        import codetracer_python_recorder as recorder

        session = recorder.start("relative/out")
        os.chdir("/")

        def f():
            return 1

        f()
        print(session.path)
        recorder.flush()
        session.stop()
        """
    )
    assert run(script).stdout == f"{tmp_path}/relative/out\n"
    assert Trace(tmp_path / "relative" / "out").main.calls_of("f")


def test_a_forgotten_session_is_completed_at_exit(write: Write, run: Run, tmp_path: Path) -> None:
    body = """
        import sys

        import codetracer_python_recorder as recorder

        def f():
            return 1

        recorder.start("out")
        f()
        {end}
    """
    for end, status in (("", 0), ("sys.exit(3)", 3), ("raise ValueError('gone')", 1)):
        outcome = run(write(body.format(end=end)))
        assert outcome.status == status
        trace = Trace(tmp_path / "out")
        assert trace.main.calls_of("f")
        assert trace.metadata["process_exit_status"] == {"code": None, "label": "<exit>"}


def test_the_environment_starts_a_recording_on_import(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """
        import codetracer_python_recorder

        def f(n):
            return n * 2

        print(f(21), codetracer_python_recorder.is_tracing())
        """
    )
    for format, events in (("json", "trace.json"), ("", "trace.bin")):
        env = {"CODETRACER_TRACE": str(tmp_path / "auto")}
        if format:
            env["CODETRACER_FORMAT"] = format
        # A recording that ends when this one begins is of the same run and stays; the clock of processes is coarse.
        time.sleep(0.1)
        outcome = run(script, env=env)
        assert outcome.stdout == "42 True\n", outcome.stderr
        trace = Trace(tmp_path / "auto")
        assert (tmp_path / "auto" / events).exists()
        assert trace.main.returns_of("f") == [["Int", hex(42)]]
        assert trace.main.paths == [str(script)]
    assert run(script).stdout == "42 False\n"


def test_start_on_enter_waits_for_the_file_and_follows_it_through_links(write: Write, run: Run, tmp_path: Path) -> None:
    write("def lib(f):\n    return f()\n\nlib(lambda: 0)\n", "library.py")
    (tmp_path / "link.py").symlink_to(tmp_path / "library.py")
    script = write(
        """
        import sys

        import codetracer_python_recorder as recorder

        def outside():
            return 1

        with recorder.trace("unused"):
            pass
        recorder.start("out", start_on_enter=sys.argv[1])
        outside()
        import library
        outside()
        library.lib(outside)
        outside()
        recorder.stop()
        """
    )
    for given in ("library.py", str(tmp_path / "library.py"), str(tmp_path / "link.py")):
        outcome = run(script, given)
        assert outcome.status == 0, outcome.stderr
        names = [call.name for call in Trace(tmp_path / "out").main.calls]
        assert names == ["<library>", "lib", "<lambda>", "lib", "outside"]


def test_the_api_never_records_the_recorder(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """
        import codetracer_python_recorder as recorder

        with recorder.trace("out") as session:
            recorder.flush()
            recorder.is_tracing()
            recorder.policy_snapshot()
            session.flush()
            repr(session)
        """
    )
    assert run(script).status == 0
    main = Trace(tmp_path / "out").main
    assert main.paths == [str(script)]
    assert {call.name for call in main.calls} <= {"<__main__>"}


def test_other_monitoring_tools_keep_working(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """
        import sys

        import codetracer_python_recorder as recorder

        monitoring = sys.monitoring
        seen = []
        monitoring.use_tool_id(monitoring.DEBUGGER_ID, "other")
        monitoring.register_callback(
            monitoring.DEBUGGER_ID, monitoring.events.PY_START, lambda code, _: seen.append(code.co_name)
        )
        monitoring.set_events(monitoring.DEBUGGER_ID, monitoring.events.PY_START)

        def f():
            return 1

        with recorder.trace("out"):
            f()
        f()
        print(seen.count("f"))
        """
    )
    assert run(script).stdout == "2\n"
    assert len(Trace(tmp_path / "out").main.calls_of("f")) == 1


def test_all_tool_ids_taken_is_a_clear_error(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """
        import sys

        import codetracer_python_recorder as recorder

        for number in range(6):
            if sys.monitoring.get_tool(number) is None:
                sys.monitoring.use_tool_id(number, f"tool {number}")
        try:
            recorder.start("out")
        except recorder.RecorderError as error:
            print(error.code, recorder.is_tracing())
        """
    )
    assert run(script).stdout == "ERR_TRACER_INSTALL_CONFLICT False\n"
    with pytest.raises(BadTrace):
        list(raw_events(tmp_path / "out"))
