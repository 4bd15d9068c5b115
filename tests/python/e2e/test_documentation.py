"""The guides, tried as a new user would: every command of a `console` block runs and prints what the page shows.

A block of code with a title is a file of that name. `…` stands for anything; on a line of its own for any lines.
Commands of a `sh` block show no output: they run, and work, with the files that the page takes for granted.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.running import environment

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What measures for minutes, and what test_filters.py tries with the projects it needs.
ELSEWHERE = {"performance.md", "filters.md"}
PAGES = sorted(
    page.name
    for page in DOCS.glob("*.md")
    if page.name not in ELSEWHERE and "```console\n" in page.read_text(encoding="utf-8")
)

TESTS = """\
import unittest

class Login(unittest.TestCase):
    def test_login(self):
        self.assertEqual("user".upper(), "USER")
"""
GIVEN = {
    "README.md": {
        "script.py": "import sys; print(sys.argv)",
        "package/__init__.py": "",
        "package/module.py": "import sys; print(sys.argv)",
        "tests/test_login.py": TESTS,
    },
    "environment.md": {"app.py": "print(1)"},
    "howto.md": {"job.py": "import sys; print(2 * int(sys.argv[1]))"},
    "parts.md": {"long_running.py": "print(1)"},
    "sampling.md": {"service.py": "print(1)"},
    "tests.md": {"tests/test_login.py": TESTS},
}
"""The files that a page takes for granted."""
RECORDED = {"export.md": ("trace-out", "old-trace"), "query.md": ("trace-out",), "report.md": ("trace-out",)}
"""The traces that a page takes for granted."""
TRIED_ELSEWHERE = {
    "pip install ": "scripts/dev/wheels.py",  # of the wheel that was built
    "ct replay ": "src/format/tests.rs",  # needs CodeTracer: the official reader stands for it
    "./scripts/just ": ".ci/run",
    "codetracer-python-recorder ctl ": "tests/python/e2e/test_ctl.py",
    "-m gunicorn ": "tests/python/e2e/test_services.py",
    " gunicorn ": "tests/python/e2e/test_services.py",
    "-m uvicorn ": "tests/python/e2e/test_services.py",
}
"""What cannot run here as it stands, or does not end by itself, and where it is tried."""


def shell_commands(page: Path) -> list[str]:
    """The commands of a page whose output it does not show."""
    blocks = [content for language, _, content in BLOCK.findall(page.read_text(encoding="utf-8")) if language == "sh"]
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]


SHELL = [page for page in sorted([ROOT / "README.md", *DOCS.glob("*.md")]) if shell_commands(page)]


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
        # The guides show a terminal, where output and messages come in order.
        env=environment({"PATH": search, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}),
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


@pytest.mark.parametrize("page", SHELL, ids=lambda page: page.name)
def test_the_commands_of_a_page_that_show_no_output_work(page: Path, tmp_path: Path) -> None:
    for name, content in GIVEN.get(page.name, {}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    for name in RECORDED.get(page.name, ()):
        assert run(f"codetracer-python-recorder --out-dir {name} -c 'print(1)'", tmp_path).returncode == 0
    for command in shell_commands(page):
        command, *_ = command.split("  #")
        elsewhere = [place for words, place in TRIED_ELSEWHERE.items() if words in f"{command} "]
        assert all((ROOT / place).is_file() for place in elsewhere)
        if not elsewhere:
            done = run(command, tmp_path)
            assert done.returncode == 0, f"{command}\n{done.stdout}"
            assert all((tmp_path / place).is_dir() for place in re.findall(r"CODETRACER_TRACE=(\S+)", command))
