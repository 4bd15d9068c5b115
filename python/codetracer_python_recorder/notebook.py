"""`%%codetracer`: a cell of a notebook, or of IPython, into a trace.

Invariants:
- The cell's code has a real file, which the trace names: `cell-N.py` beside the trace.
- Only what runs below the cell's own code is recorded, without IPython's machinery.
- The cell's output, its value and its exceptions are as without the magic; what we say goes to stderr.
- A cell with `await` runs in the shell's own loop, which may be running already: it is rewritten into an `await`, as a
  magic is a call and cannot wait.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, MethodType
from typing import Any

from . import session
from .auto_start import filters_from_env
from .formats import DEFAULT_FORMAT

NAME = "codetracer"
DEFAULT_DIRECTORY = "codetracer-traces"
FILTER = Path(__file__).with_name("notebook.toml")


def load(shell: Any) -> None:
    """Adds the magic to IPython: what `%load_ext codetracer_python_recorder` runs."""
    from IPython.core import magic_arguments

    untyped: Any = magic_arguments

    def codetracer(line: str, cell: str) -> Any:
        """Runs the cell and records it."""
        __tracebackhide__ = True
        with _recording(shell, untyped.parse_argstring(magic, line), cell) as pieces:
            value = None
            for code in pieces:
                value = eval(code, shell.user_global_ns, shell.user_ns)
                if code.co_flags & inspect.CO_COROUTINE:
                    value = shell.loop_runner(value)
        return value

    async def awaited(line: str, cell: str) -> Any:
        """The same within a loop that runs."""
        __tracebackhide__ = True
        with _recording(shell, untyped.parse_argstring(magic, line), cell) as pieces:
            value = None
            for code in pieces:
                value = eval(code, shell.user_global_ns, shell.user_ns)
                if code.co_flags & inspect.CO_COROUTINE:
                    value = await value
        return value

    # Options are those of the command line; `%%codetracer?` shows these texts.
    magic: Any = codetracer
    for option in (
        untyped.argument("-q", "--quiet", action="store_true", help="do not say where the trace is"),
        untyped.argument("--trace-filter", action="append", help="a filter file; may be given more than once"),
        untyped.argument("--format", help="binary or json"),
        untyped.argument("-o", "--out-dir", help=f"where the trace goes (default: {DEFAULT_DIRECTORY}/cell-N)"),
        untyped.magic_arguments(NAME),
    ):
        magic = option(magic)
    magic.awaited = awaited
    shell.register_magic_function(magic, "cell", NAME)

    def rewrite(lines: list[str]) -> list[str]:
        return _awaiting(shell, lines)

    # A second `%reload_ext` takes the place of the first.
    others = [each for each in shell.input_transformers_cleanup if each.__module__ != __name__]
    shell.input_transformers_cleanup[:] = [*others, rewrite]


def _awaiting(shell: Any, lines: list[str]) -> list[str]:
    """A cell below our magic that has an `await` of its own, as code that awaits; any other as it is."""
    if not lines or lines[0].split()[:1] != [f"%%{NAME}"]:
        return lines
    cell = "".join(lines[1:])
    try:
        pieces = _compile(shell.transform_cell(cell), "<cell>")
    except (SyntaxError, ValueError):  # the magic says what is wrong
        return lines
    if not any(code.co_flags & inspect.CO_COROUTINE for code in pieces):
        return lines
    options = lines[0].strip().removeprefix(f"%%{NAME}").strip()
    return [f"await get_ipython().find_cell_magic({NAME!r}).awaited({options!r}, {cell!r})\n"]


@contextmanager
def _recording(shell: Any, options: Any, cell: str) -> Iterator[list[CodeType]]:
    """Records what runs within; yields the pieces of the cell to run."""
    __tracebackhide__ = True
    name = options.out_dir or f"{DEFAULT_DIRECTORY}/cell-{shell.displayhook.prompt_count}"
    directory = Path(name).expanduser().absolute()
    source = shell.transform_cell(cell)
    file = directory.with_suffix(".py")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, encoding="utf-8")
    pieces = _compile(source, str(file))
    recording = session.start(
        directory,
        format=options.format or DEFAULT_FORMAT,
        start_on_enter=file,
        trace_filter=[str(FILTER), *filters_from_env(), *(options.trace_filter or [])],
    )
    status = 1
    try:
        with _watched("stdout"), _watched("stderr"):
            yield pieces
        status = 0
    finally:
        recording.stop(exit_code=status)
        # Above all where the cell failed.
        if not options.quiet:
            print(f"Trace: {name}", file=sys.stderr)


@contextmanager
def _watched(name: str) -> Iterator[None]:
    """Has IPython's own `write` of a stream end in the recorder's.

    IPython keeps what a cell prints: for that it puts a function onto the stream, which calls the method it found there
    before the recording began, and so before the stream was watched.
    """
    stream: Any = getattr(sys, name)
    function = getattr(stream, "__dict__", {}).get("write")
    closure = (
        dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        if inspect.isfunction(function)
        else {}
    )
    cell = closure.get("original_write")
    if cell is None:
        yield
        return
    before = cell.cell_contents
    cell.cell_contents = MethodType(type(stream).write, stream)
    try:
        yield
    finally:
        cell.cell_contents = before


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
