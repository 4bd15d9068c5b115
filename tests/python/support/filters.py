"""Trace filters that several tests use."""

from __future__ import annotations


def only(selector: str, values: str = "allow") -> str:
    """A filter that records what `selector` selects and nothing else; `values` is what becomes of values by default.

    Keys and tables that are appended belong to its one rule.
    """
    return f"""\
[meta]
name = "only {selector}"
version = 1

[scope]
default_exec = "skip"
default_value_action = "{values}"

[[scope.rules]]
selector = "{selector}"
exec = "trace"
"""
