"""Records what a Python program did, step by step, into a CodeTracer trace.

>>> import codetracer_python_recorder as recorder
>>> with recorder.trace("trace-out"):
...     main()

Or without touching the program: `python -m codetracer_python_recorder script.py`, or with
`CODETRACER_TRACE=DIR` in the environment of a program that imports this package.

PYTEST_DONT_REWRITE: pytest would warn, in a run under `--pytest`, that the plugin's package is imported already.
"""

from __future__ import annotations

try:
    from .codetracer_python_recorder import VERSION as __version__
except ImportError as error:
    from .unsupported import explained

    raise explained(error) from None

from .api import (
    DEFAULT_FORMAT,
    TRACE_BINARY,
    TRACE_JSON,
    EnvironmentError,
    InternalError,
    RecorderError,
    TargetError,
    TraceSession,
    UsageError,
    configure_policy,
    configure_policy_from_env,
    dump,
    flush,
    is_tracing,
    pause,
    policy_snapshot,
    resume,
    start,
    stats,
    stop,
    trace,
)
from .auto_start import obey_environment

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
    "__version__",
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


def load_ipython_extension(ipython: object) -> None:
    """`%load_ext codetracer_python_recorder`: adds the cell magic `%%codetracer`."""
    from .notebook import load

    load(ipython)


obey_environment()
