"""Trace filters that several tests use."""

from __future__ import annotations

MINE = """\
[meta]
name = "mine"
version = 1

[scope]
default_exec = "inherit"
default_value_action = "inherit"
"""
"""A filter that changes nothing, for rules to be appended."""

LOGIN_ALONE = """
[[scope.rules]]
selector = "obj:app.core.Service.*"
exec = "skip"
reason = "not today"

[[scope.rules]]
selector = "obj:app.core.Service.login"
exec = "trace"
"""
"""Rules that record one method of a class, and no other."""


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
