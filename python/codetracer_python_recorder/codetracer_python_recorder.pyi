"""Types of the Rust extension."""

from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any, Literal

__all__ = [
    "EnvironmentError",
    "FEATURES",
    "InternalError",
    "RecorderError",
    "TargetError",
    "UsageError",
    "VERSION",
    "announce_outside_session",
    "call_detached",
    "begin_request_sample",
    "check_policy",
    "claim_directory",
    "configure_policy",
    "configure_policy_from_env",
    "convert_trace",
    "dump_recording",
    "end_request_sample",
    "explain_filter",
    "find_project_filter",
    "flush_tracing",
    "inspect_trace",
    "is_secret_name",
    "is_tracing",
    "move_request_sample",
    "pause_tracing",
    "policy_origins",
    "policy_snapshot",
    "recording_location",
    "recover_trace",
    "refresh_policy_from_env",
    "render_policy",
    "request_finished",
    "resume_tracing",
    "run_detached",
    "settle_directory",
    "start_tracing",
    "stop_tracing",
    "tracing_stats",
    "verify_trace",
]

VERSION: str
FEATURES: tuple[str, ...]

class RecorderError(Exception):
    """Base of every error the recorder raises."""

    code: str
    kind: str
    context: dict[str, str]

class UsageError(RecorderError): ...
class EnvironmentError(RecorderError): ...
class TargetError(RecorderError): ...
class InternalError(RecorderError): ...

def start_tracing(
    path: str,
    format: str,
    activation_path: str | None = None,
    trace_filter: Sequence[str] | None = None,
    test_framework: str | None = None,
) -> None: ...
def announce_outside_session() -> None: ...
def claim_directory(path: str) -> str: ...
def settle_directory() -> None: ...
def find_project_filter(path: str) -> str | None: ...
def stop_tracing(exit_code: int | None = None) -> None: ...
def flush_tracing() -> None: ...
def is_tracing() -> bool: ...
def pause_tracing() -> bool: ...
def resume_tracing() -> bool: ...
def begin_request_sample(label: str) -> int | None: ...
def move_request_sample(number: int, here: bool) -> None: ...
def end_request_sample(number: int) -> None: ...
def tracing_stats() -> dict[str, Any] | None: ...
def dump_recording(reason: str) -> str: ...
def request_finished(label: str, seconds: float, status: int) -> None: ...
def recording_location() -> tuple[str, int | None] | None: ...
def explain_filter(
    module: str | None,
    path: str,
    qualname: str | None,
    near: str,
    trace_filter: Sequence[str],
    test_framework: str | None = None,
) -> str: ...
def is_secret_name(name: str) -> bool: ...
def configure_policy(
    on_recorder_error: str | None = None,
    require_trace: bool | None = None,
    keep_partial_trace: bool | None = None,
    log_level: str | None = None,
    log_file: str | None = None,
    json_errors: bool | None = None,
    io_capture_line_proxies: bool | None = None,
    io_capture_fd_fallback: bool | None = None,
    module_name_from_globals: bool | None = None,
    propagate_script_exit: bool | None = None,
    *,
    values: Mapping[str, object] | None = None,
    events: Mapping[str, object] | None = None,
    pipeline: Mapping[str, object] | None = None,
    durability: Mapping[str, object] | None = None,
    limits: Mapping[str, object] | None = None,
    processes: Mapping[str, object] | None = None,
    sampling: Mapping[str, object] | None = None,
    ring: Mapping[str, object] | None = None,
    triggers: Mapping[str, object] | None = None,
    output: Mapping[str, object] | None = None,
) -> None: ...
def configure_policy_from_env() -> None: ...
def refresh_policy_from_env() -> None: ...
def policy_origins() -> dict[str, str]: ...
def render_policy() -> str: ...
def check_policy(path: str) -> None: ...
def call_detached(function: Callable[..., object], arguments: tuple[object, ...]) -> object: ...
def run_detached(code: CodeType, namespace: dict[str, Any]) -> object: ...
def policy_snapshot() -> dict[str, object]: ...
def inspect_trace(
    path: str,
    mode: Literal["summary", "tree", "json"],
    max_depth: int,
    max_calls: int,
    write: Callable[[str], object],
) -> None: ...
def verify_trace(path: str) -> list[str]: ...
def recover_trace(path: str, progress: Callable[[int], object] | None = None) -> list[str]: ...
def convert_trace(
    source: str,
    target: str,
    format: str,
    progress: Callable[[int], object] | None = None,
) -> int: ...
