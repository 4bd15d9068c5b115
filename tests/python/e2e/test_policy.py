"""What happens when the recorder itself fails: policies, injected failures, the JSON trailer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.reading import raw_events
from support.recording import Recording
from support.running import Outcome

Record = Callable[..., Recording]
Write = Callable[..., Path]
Run = Callable[..., Outcome]

PROGRAM = """
def f(n):
    m = n + 1
    return m

print("first", flush=True)
print(f(1), flush=True)
"""
TRACE_FILES = {"trace.bin", "trace.json", "trace_metadata.json", "trace_paths.json"}


def inject(stage: str) -> dict[str, str]:
    return {"CODETRACER_TEST_INJECT_FAILURE": stage}


@pytest.mark.parametrize("stage", ["py-start", "py_start", "line", "finish", "target-args", "target_args"])
def test_policy_abort_lets_the_error_reach_the_program(stage: str, record: Record, write: Write) -> None:
    recorded = record(write(PROGRAM), options=["--on-recorder-error", "abort"], env=inject(stage))
    assert recorded.status == 1
    assert f"test-injected failure at {stage.replace('_', '-')}" in recorded.stderr
    assert (recorded.stdout == "first\n2\n") == (stage == "finish")


def test_abort_is_the_default(record: Record, write: Write) -> None:
    assert record(write(PROGRAM), env=inject("line")).status == 1


@pytest.mark.parametrize("stage", ["py-start", "line", "finish", "target-args", "panic"])
@pytest.mark.parametrize("format", ["binary", "json"])
def test_policy_disable_lets_the_program_run_to_its_end(stage: str, format: str, record: Record, write: Write) -> None:
    options = ["--on-recorder-error", "disable"]
    recorded = record(write(PROGRAM), format=format, options=options, env=inject(stage))
    assert recorded.stdout == "first\n2\n"
    assert recorded.status == 0, recorded.stderr
    assert not TRACE_FILES & set(recorded.files)


def test_a_partial_trace_is_kept_on_request(record: Record, write: Write) -> None:
    options = ["--on-recorder-error", "disable", "--keep-partial-trace"]
    recorded = record(write(PROGRAM), options=options, env=inject("target-args"))
    assert recorded.status == 0, recorded.stderr
    assert "trace.bin" in recorded.files
    metadata = json.loads((recorded.directory / "trace_metadata.json").read_text())
    assert metadata["process_exit_status"] == {"code": None, "label": "<disabled>"}
    kinds = {next(iter(event)) for event in raw_events(recorded.directory)}
    assert {"Path", "Function", "Call"} <= kinds


def test_a_panic_is_caught_and_named(record: Record, write: Write) -> None:
    recorded = record(write(PROGRAM), env=inject("panic"))
    assert recorded.status == 1
    assert "panic in on_line" in recorded.stderr


@pytest.mark.parametrize(
    ("stage", "kind"), [("line", "internal"), ("panic", "internal"), ("target-args", "target"), ("finish", "internal")]
)
def test_the_json_trailer_says_what_a_script_needs(stage: str, kind: str, record: Record, write: Write) -> None:
    recorded = record(write(PROGRAM), options=["--json-errors"], env=inject(stage))
    trailers = [json.loads(line) for line in recorded.stderr.splitlines() if line.startswith("{")]
    trailers = [trailer for trailer in trailers if "error_kind" in trailer]
    assert len(trailers) == 1, recorded.stderr
    (trailer,) = trailers
    assert set(trailer) >= {"run_id", "trace_id", "error_code", "error_kind", "message", "context"}
    assert kind in trailer["error_kind"].lower()
    assert trailer["error_code"].startswith("ERR_")
    if stage != "panic":
        assert trailer["error_code"] == "ERR_TRACE_INCOMPLETE"
        assert f"test-injected failure at {stage}" in trailer["message"]


def test_a_required_trace_that_is_missing_is_a_failure(record: Record, write: Write) -> None:
    env = inject("suppress-events")
    required = record(write(PROGRAM), options=["--require-trace"], env=env)
    assert required.status == 1
    assert "recorder policy requires a trace but no events were recorded" in required.stderr
    assert required.stdout == "first\n2\n"
    assert record(write(PROGRAM), env=env).status == 0
    assert record(write(PROGRAM), options=["--require-trace"]).status == 0


def test_policy_comes_from_the_environment_and_flags_win(record: Record, write: Write) -> None:
    path, env = write(PROGRAM), {"CODETRACER_ON_RECORDER_ERROR": "disable", **inject("line")}
    assert record(path, env=env).status == 0
    assert record(path, env=env, options=["--on-recorder-error", "abort"]).status == 1
    failing = write("raise SystemExit(9)")
    env = {"CODETRACER_PROPAGATE_SCRIPT_EXIT": "yes"}
    assert record(failing, env=env).status == 9
    assert record(failing, env=env, options=["--no-propagate-script-exit"]).status == 0


def test_a_value_that_is_no_boolean_is_refused(record: Record, write: Write) -> None:
    recorded = record(write(PROGRAM), env={"CODETRACER_REQUIRE_TRACE": "perhaps"})
    assert recorded.status != 0
    assert "invalid boolean value" in recorded.stderr
    assert recorded.stdout == ""


def test_the_error_of_policy_abort_can_be_caught_and_ends_the_recording(write: Write, run: Run, tmp_path: Path) -> None:
    script = write(
        """
        import codetracer_python_recorder as recorder

        def f(n):
            return n + 1

        recorder.start("out", policy={"on_recorder_error": "abort"})
        try:
            f(1)
            print("unreachable")
        except recorder.InternalError as error:
            print(error.code, error.kind, type(error.context).__name__)
        print(f(2))
        try:
            recorder.stop()
        except recorder.RecorderError as error:
            print("stop", error.code)
        print(recorder.is_tracing())
        """
    )
    lines = run(script, env=inject("py-start")).stdout.splitlines()
    assert lines[0] == "ERR_TRACE_INCOMPLETE Internal dict"
    assert lines[1] == "3"
    assert lines[-1] == "False"


def test_the_policy_can_be_read_and_set(write: Write, run: Run) -> None:
    script = write(
        """
        import json

        import codetracer_python_recorder as recorder

        print(json.dumps(recorder.policy_snapshot()))
        recorder.configure_policy(require_trace=True, log_level="debug", log_file="x.log")
        print(json.dumps(recorder.policy_snapshot()))
        recorder.configure_policy(log_level="", log_file="", on_recorder_error="disable")
        print(json.dumps(recorder.policy_snapshot()))
        """
    )
    first, second, third = map(json.loads, run(script).stdout.splitlines())
    keys = {"on_recorder_error", "require_trace", "keep_partial_trace", "log_level", "log_file", "json_errors"}
    keys |= {"module_name_from_globals", "propagate_script_exit", "io_capture"}
    assert keys <= set(first)
    assert first["on_recorder_error"] == "abort" and first["require_trace"] is False
    assert second["require_trace"] is True and second["log_level"] == "debug" and second["log_file"] == "x.log"
    assert third["log_level"] is None and third["log_file"] is None and third["on_recorder_error"] == "disable"
