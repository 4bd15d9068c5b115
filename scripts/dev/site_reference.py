"""A hook of mkdocs: the reference pages, made from the code, so that they cannot drift from it.

Invariant: nothing of these pages is written by hand but their titles and first sentences.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = "https://github.com/metacraft-labs/codetracer-python-recorder/blob/main/"


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages. What mkdocs calls."""
    from mkdocs.structure.files import File

    for name, content in pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links to files beside the documentation lead to where they are read: the repository."""

    def elsewhere(found: re.Match[str]) -> str:
        target = os.path.normpath(os.path.join("docs", os.path.dirname(page.file.src_uri), found[1]))
        return found[0] if target.startswith("docs/") else f"]({REPOSITORY}{target}{found[2] or ''})"

    return re.sub(r"\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)", elsewhere, markdown)


def pages() -> dict[str, str]:
    """The text of each generated page by its name."""
    return {"cli": _cli(), "api": _api(), "policy": _policy(), "filter": _filter()}


def _cli() -> str:
    from codetracer_python_recorder.verbs import VERBS

    parts = ["# Command line\n", _block(_help())]
    for verb in VERBS:
        parts += [f"\n## {verb}\n", _block(_help(verb))]
    return "\n".join(parts)


def _api() -> str:
    import codetracer_python_recorder as recorder
    from codetracer_python_recorder import codetracer_python_recorder as extension

    parts = ["# Python API\n", f"```python\n{inspect.getdoc(recorder)}\n```\n"]
    for name in recorder.__all__:
        parts += _described(name, getattr(recorder, name))
    parts += ["\n## Middlewares\n"]
    from codetracer_python_recorder import middleware

    for name in ("CodeTracerWSGIMiddleware", "CodeTracerASGIMiddleware"):
        parts += _described(name, getattr(middleware, name))
    parts += [f"\nThis is version `{extension.VERSION}`.\n"]
    return "\n".join(parts)


def _described(name: str, thing: object) -> list[str]:
    if not callable(thing):
        return [f"\n## {name}\n", f"`{thing!r}`\n"] if not name.startswith("__") else []
    text = inspect.getdoc(thing) or ""
    try:
        signature = str(inspect.signature(thing))
    except ValueError:
        signature = ""
    parts = [f"\n## {name}\n"]
    if isinstance(thing, type) and issubclass(thing, Exception):
        bases = ", ".join(base.__name__ for base in thing.__bases__)
        return [*parts, f"An error; a kind of `{bases}`.\n", text]
    parts += [f"```python\n{name}{signature}\n```\n", text]
    if isinstance(thing, type):
        members = [(key, value) for key, value in vars(thing).items() if not key.startswith("_")]
        for key, value in members:
            described = inspect.getdoc(value)
            if described and (callable(value) or isinstance(value, property)):
                parts += [f"\n### {name}.{key}\n", described]
    return parts


def _policy() -> str:
    text = subprocess.run(
        [sys.executable, "-m", "codetracer_python_recorder", "policy"],
        check=True,
        capture_output=True,
        text=True,
        env=_environment(),
    ).stdout
    first = "Every key with its default, as `codetracer-python-recorder policy` prints them where nothing else is said."
    return f"# Policy keys\n\n{first} [Policy](../policy.md) says what each means.\n\n```toml\n{text}```\n"


def _filter() -> str:
    """What the reader of filter files says when it is shown a key that it does not know."""
    from codetracer_python_recorder import RecorderError
    from codetracer_python_recorder.codetracer_python_recorder import explain_filter

    parts = [
        "# Filter keys\n",
        "What the reader of filter files knows, section by section; any other key is an error. "
        "[Filters](../filters.md) says what they do.\n\n| section | keys |\n|---|---|",
    ]
    meta, scope = '[meta]\nname = "a"\nversion = 1\n', '[scope]\ndefault_exec = "trace"\n'
    rule = 'default_value_action = "allow"\n[[scope.rules]]\nselector = "pkg:a"\n'
    pattern = '[[scope.rules.value_patterns]]\nselector = "arg:a"\naction = "redact"\n'
    texts = {
        "(the file)": f"unknown = 1\n{meta}{scope}",
        "[meta]": f"{meta}unknown = 1\n{scope}",
        "[io]": f"{meta}[io]\nunknown = 1\n{scope}",
        "[scope]": f"{meta}{scope}unknown = 1\n",
        "[[scope.rules]]": f"{meta}{scope}{rule}unknown = 1\n",
        "[[scope.rules.value_patterns]]": f"{meta}{scope}{rule}{pattern}unknown = 1\n",
    }
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "filter.toml"
        for section, text in texts.items():
            path.write_text(text, encoding="utf-8")
            try:
                explain_filter("a", "", None, str(path), [str(path)])
            except RecorderError as error:
                known = str(error).partition("known here: ")[2]
            else:
                known = ""
            if not known:
                raise RuntimeError(f"the reader of filters does not say what it knows in {section}")
            parts.append(f"| `{section}` | {known} |")
    return "\n".join(parts) + "\n"


def _help(*verb: str) -> str:
    command = [sys.executable, "-m", "codetracer_python_recorder", *verb, "-h"]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=_environment()).stdout


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CODETRACER_")}
    return kept | {"COLUMNS": "100", "NO_COLOR": "1"}


def _block(text: str) -> str:
    return f"```text\n{text}```\n"
