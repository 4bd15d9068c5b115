"""The trace formats a recording can be written in.

`binary` (`trace.bin`, compressed CBOR) is what CodeTracer opens fastest; `json` (`trace.json`) is for reading
by eye and by scripts.
"""

from __future__ import annotations

TRACE_BINARY = "binary"
TRACE_JSON = "json"
DEFAULT_FORMAT = TRACE_BINARY
SUPPORTED_FORMATS = frozenset({TRACE_BINARY, TRACE_JSON})


def normalize_format(value: str | None) -> str:
    """Lower-cases `value`; `None` means the default. Unknown names come back as they are."""
    return DEFAULT_FORMAT if value is None else value.lower()


def is_supported(value: str) -> bool:
    """Tells whether `value` names a format, in any case."""
    return value.lower() in SUPPORTED_FORMATS


def unsupported_format_message(value: object) -> str:
    """What every part of the recorder says about a format it does not know."""
    return f"unsupported trace format {value!r}. Expected one of: {', '.join(sorted(SUPPORTED_FORMATS))}"


__all__ = (
    "DEFAULT_FORMAT",
    "SUPPORTED_FORMATS",
    "TRACE_BINARY",
    "TRACE_JSON",
    "is_supported",
    "normalize_format",
    "unsupported_format_message",
)
