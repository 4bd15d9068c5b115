"""`--explain-filter MODULE[:QUALNAME]` or `FILE[:QUALNAME]`: which rule of which filter decides, and why.

Invariant: nothing of the program is imported; a module is looked for as a file along `sys.path`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .codetracer_python_recorder import explain_filter


def explain(subject: str, filters: Sequence[str], test_framework: str | None, near: str | None = None) -> str:
    """Explains what a recording would do with `subject`.

    `filters` are files, later ones win; `near` is the script whose project filter counts (default: that of the
    subject's file, or of the current directory). Raises `RecorderError` for a filter that is wrong.
    """
    name, _, qualname = _split(subject)
    if _is_file(name):
        module, path = None, os.path.abspath(os.path.expanduser(name))
    else:
        module, path = name, _file_of(name)
    start = near or (path if os.path.isabs(path) else os.path.join(os.getcwd(), "script.py"))
    return explain_filter(module, path, qualname or None, start, list(filters), test_framework)


def _split(subject: str) -> tuple[str, str, str]:
    """`name:qualname`; the colon of a Windows drive is part of the name."""
    drive, rest = os.path.splitdrive(subject)
    name, colon, qualname = rest.partition(":")
    return drive + name, colon, qualname


def _is_file(name: str) -> bool:
    return os.sep in name or name.endswith((".py", ".pyw")) or os.path.isfile(name)


def _file_of(module: str) -> str:
    """The source of a module as code objects would name it; empty if it is not found."""
    if module in sys.builtin_module_names:
        return f"<{module}>"
    parts = module.split(".")
    for entry in [os.getcwd(), *sys.path]:
        base = os.path.join(entry or os.getcwd(), *parts)
        for candidate in (os.path.join(base, "__init__.py"), base + ".py"):
            if os.path.isfile(candidate):
                return os.path.abspath(candidate)
    return ""


__all__ = ("explain",)
