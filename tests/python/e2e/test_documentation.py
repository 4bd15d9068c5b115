"""The guides, tried as a new user would: every command of a `console` block runs and prints what the page shows.

A block of code with a title is a file of that name. `…` stands for anything; on a line of its own for any lines.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.running import environment

DOCS = Path(__file__).resolve().parents[3] / "docs"
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What measures for minutes, and what test_filters.py tries with the projects it needs.
ELSEWHERE = {"performance.md", "filters.md"}
PAGES = sorted(
    page.name
    for page in DOCS.glob("*.md")
    if page.name not in ELSEWHERE and "```console\n" in page.read_text(encoding="utf-8")
)


def commands(block: str) -> list[tuple[str, list[str]]]:
    """Each command of a block with the lines it is to print."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def pattern(lines: list[str]) -> str:
    """What the output must match."""
    return "".join(r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in lines)


def run(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["sh", "-c", command],
        cwd=directory,
        env=environment({"PATH": search, "NO_COLOR": "1"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_there_are_guides_with_commands() -> None:
    assert {"start.md", "howto.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_print_what_it_shows(page: str, tmp_path: Path) -> None:
    for language, title, content in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        if title:
            (tmp_path / title).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / title).write_text(content, encoding="utf-8")
        elif language == "console":
            for command, shown in commands(content):
                done = run(command, tmp_path)
                assert done.returncode == 0, f"{command}\n{done.stdout}"
                assert re.fullmatch(pattern(shown), done.stdout), f"{command}\n{done.stdout}"
