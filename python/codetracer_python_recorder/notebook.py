"""`%%codetracer`: a cell of a notebook, or of IPython, into a trace.

Invariants:
- The cell's code has a real file, which the trace names: `cell-N.py` beside the trace.
- Only what runs below the cell's own code is recorded, without IPython's machinery.
- The cell's output, its value and its exceptions are as without the magic; what we say goes to stderr.
"""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from types import CodeType
from typing import Any

from . import session
from .formats import DEFAULT_FORMAT

DEFAULT_DIRECTORY = "codetracer-traces"
FILTER = Path(__file__).with_name("notebook.toml")


def load(shell: Any) -> None:
    """Adds the magic to IPython: what `%load_ext codetracer_python_recorder` runs."""
    from IPython.core import magic_arguments

    untyped: Any = magic_arguments

    def codetracer(line: str, cell: str) -> Any:
        """Runs the cell and records it."""
        __tracebackhide__ = True
        options = untyped.parse_argstring(magic, line)
        name = options.out_dir or f"{DEFAULT_DIRECTORY}/cell-{shell.displayhook.prompt_count}"
        directory = Path(name).expanduser().absolute()
        value = _record(shell, cell, directory, options.format, options.trace_filter or [])
        if not options.quiet:
            print(f"Trace: {name}", file=sys.stderr)
        return value

    # Options are those of the command line; `%%codetracer?` shows these texts.
    magic: Any = codetracer
    for option in (
        untyped.argument("-q", "--quiet", action="store_true", help="do not say where the trace is"),
        untyped.argument("--trace-filter", action="append", help="a filter file; may be given more than once"),
        untyped.argument("--format", help="binary or json"),
        untyped.argument("-o", "--out-dir", help=f"where the trace goes (default: {DEFAULT_DIRECTORY}/cell-N)"),
        untyped.magic_arguments("codetracer"),
    ):
        magic = option(magic)
    shell.register_magic_function(magic, "cell", "codetracer")


def _record(shell: Any, cell: str, directory: Path, format: str | None, filters: list[str]) -> Any:
    """Runs the cell below a recording; returns the value of its last expression."""
    __tracebackhide__ = True
    source = shell.transform_cell(cell)
    file = directory.with_suffix(".py")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, encoding="utf-8")
    pieces = _compile(source, str(file))
    recording = session.start(
        directory,
        format=format or DEFAULT_FORMAT,
        start_on_enter=file,
        trace_filter=[str(FILTER), *filters],
    )
    status = 1
    try:
        value = None
        for code in pieces:
            value = eval(code, shell.user_global_ns, shell.user_ns)
            if code.co_flags & inspect.CO_COROUTINE:
                value = shell.loop_runner(value)
        status = 0
    finally:
        recording.stop(exit_code=status)
    return value


def _compile(source: str, file: str) -> list[CodeType]:
    """The cell's statements, and its last expression, if it ends with one, whose value is the cell's."""
    tree = ast.parse(source, file)
    trees: list[ast.Module | ast.Expression] = [tree]
    if tree.body and isinstance(last := tree.body[-1], ast.Expr):
        del tree.body[-1]
        trees = [*(trees if tree.body else []), ast.Expression(last.value)]
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return [
        compile(each, file, "eval" if isinstance(each, ast.Expression) else "exec", flags, dont_inherit=True)
        for each in trees
    ]
