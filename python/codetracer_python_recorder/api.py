"""The public names of the package, collected in one place."""

from __future__ import annotations

from .codetracer_python_recorder import (
    EnvironmentError,
    InternalError,
    RecorderError,
    TargetError,
    UsageError,
    configure_policy,
    configure_policy_from_env,
    policy_snapshot,
)
from .formats import DEFAULT_FORMAT, TRACE_BINARY, TRACE_JSON
from .session import TraceSession, dump, flush, is_tracing, pause, resume, start, stats, stop, trace

__all__ = (
    "DEFAULT_FORMAT",
    "TRACE_BINARY",
    "TRACE_JSON",
    "EnvironmentError",
    "InternalError",
    "RecorderError",
    "TargetError",
    "TraceSession",
    "UsageError",
    "configure_policy",
    "configure_policy_from_env",
    "dump",
    "flush",
    "is_tracing",
    "pause",
    "policy_snapshot",
    "resume",
    "start",
    "stats",
    "stop",
    "trace",
)
