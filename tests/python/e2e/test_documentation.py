"""The guides, tried as a new user would: every command of a `console` block runs and prints what the page shows.

A block of code with a title is a file of that name. `…` stands for anything; on a line of its own for any lines.
Commands of a `sh` block show no output: they run, and work, with the files that the page takes for granted.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.filters import LOGIN_ALONE, MINE
from support.running import environment

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "RELEASE.md", *sorted(DOCS.glob("*.md"))]
CONSOLE = [page for page in GUIDES if "```console\n" in page.read_text(encoding="utf-8")]

TESTS = """\
import unittest

class Login(unittest.TestCase):
    def test_login(self):
        self.assertEqual("user".upper(), "USER")
"""
FILTER = MINE + LOGIN_ALONE
GIVEN = {
    "README.md": {
        "examples/fibonacci.py": (ROOT / "examples" / "fibonacci.py").read_text(encoding="utf-8"),
        "script.py": "import sys; print(sys.argv)",
        "package/__init__.py": "",
        "package/module.py": "import sys; print(sys.argv)",
        "tests/test_login.py": TESTS,
    },
    "environment.md": {"app.py": "print(1)"},
    "filters.md": {
        "mine.toml": FILTER,
        "app/__init__.py": "",
        "app/core.py": "class Service:\n    def login(self):\n        return 1\n",
    },
    "howto.md": {"job.py": "import sys; print(2 * int(sys.argv[1]))", "tests/test_login.py": TESTS},
    "parts.md": {"long_running.py": "print(1)"},
    "sampling.md": {"service.py": "print(1)"},
    "tests.md": {"tests/test_login.py": TESTS},
}
"""The files that a page takes for granted."""
RECORDED = {"export.md": ("trace-out", "old-trace"), "query.md": ("trace-out",), "report.md": ("trace-out",)}
"""The traces that a page takes for granted."""
AROUND = {
    "README.md": ("compute = int; open('jobs.py', 'w').close()", "assert not recorder.is_tracing()"),
    "middleware.md": (
        "import flask\nfrom starlette.applications import Starlette\nflask_app = flask.Flask('shop')\n"
        "starlette_app = Starlette()\n"
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'served']\n",
        "assert application({'REQUEST_METHOD': 'GET'}, lambda *_: None) == [b'served']\n"
        "assert flask_app.test_client().get('/').status_code == 404",
    ),
    "policy.md": (
        "from codetracer_python_recorder import configure_policy, policy_snapshot",
        "assert policy_snapshot()['values']['max_depth'] == 4",
    ),
    "production.md": (
        "import codetracer_python_recorder as recorder\nrecorder.start('ring', policy={'ring': {'storage': 'memory'}})",
        "from pathlib import Path\nassert (Path(directory) / 'trace.bin').is_file()\nrecorder.stop()",
    ),
    "sampling.md": ("", "session.stop()\nassert open('trace-out/parts/0001/trace.bin', 'rb').read()"),
}
"""What stands before and after the code that a page shows as a part of a program."""
TRIED_ELSEWHERE = {
    "pip install ": "scripts/dev/wheels.py",  # of the wheel that was built
    "ct replay ": "src/format/tests.rs",  # needs CodeTracer: the official reader stands for it
    "./scripts/just bench": "tests/python/e2e/test_bench.py",  # measures for minutes
    "./scripts/just ": ".ci/run",
    "codetracer-python-recorder ctl 4711 ": "tests/python/e2e/test_ctl.py",
    "-m gunicorn ": "tests/python/e2e/test_services.py",
    " gunicorn ": "tests/python/e2e/test_services.py",
    "-m uvicorn ": "tests/python/e2e/test_services.py",
}
"""What cannot run here as it stands, or does not end by itself, and where it is tried."""
RUN = """import sys
sys.path.insert(0, sys.argv[1])
import extension, record
extension.ensure, record.ROOT = id, record.Path.cwd()
sys.exit(record.main(sys.argv[2], sys.argv[3:]))"""
STAND_INS = {
    "./scripts/just run ": shlex.join(["python", "-c", RUN, str(ROOT / "scripts" / "dev")]) + " ",
    "./scripts/just inspect ": "python -m codetracer_python_recorder.inspect ",
}
"""Recipes that are shown with their output: what they run, without what builds the extension."""
SHOWN_ONLY = {"", "json", "text"}
"""Languages of blocks that nobody is to type."""
COMMAND = re.compile(
    r"^\s*(\$ |(\w+=\S+ )*(\./scripts/|codetracer-python-recorder\b|pip |pytest\b|python3? |ct |curl ))"
)


def elsewhere(command: str) -> bool:
    """Whether a command is tried at a place that there is."""
    places = [place for words, place in TRIED_ELSEWHERE.items() if words in f"{command} "]
    assert all((ROOT / place).is_file() for place in places)
    return bool(places)


def shell_commands(page: Path) -> list[str]:
    """The commands of a page whose output it does not show."""
    found = []
    for language, _, content in BLOCK.findall(page.read_text(encoding="utf-8")):
        lines = content.splitlines()
        if language == "sh":
            found += [line.split("  #")[0] for line in lines if line and not line.startswith("#")]
        elif language == "yaml":  # of workflows
            found += [line.split("run: ")[1] for line in lines if "run: " in line]
    return found


def give(page: Path, directory: Path) -> None:
    """Puts down what a page takes for granted."""
    for name, content in GIVEN.get(page.name, {}).items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content, encoding="utf-8")
    for name in RECORDED.get(page.name, ()):
        assert run(f"codetracer-python-recorder --out-dir {name} -c 'print(1)'", directory).returncode == 0


SHELL = [page for page in GUIDES if shell_commands(page)]
PYTHON = [page for page in GUIDES if "```python\n" in page.read_text(encoding="utf-8")]
SETTINGS = [page for page in GUIDES if "```toml" in page.read_text(encoding="utf-8")]


def commands(block: str) -> list[tuple[str, list[str]]]:
    """Each command of a block with the lines it is to print."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    for _, shown in found[:-1]:
        if shown[-1:] == [""]:  # parts the commands
            shown.pop()
    return found


def pattern(lines: list[str]) -> str:
    """What the output must match; how large a trace is depends on where it was made."""
    lines = [re.sub(r"\([0-9.]+ KiB\)", "(… KiB)", line) for line in lines]
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
    assert {"README.md", "start.md", "howto.md", "filters.md"} <= {page.name for page in CONSOLE}


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_nothing_that_a_page_shows_is_left_out(page: Path) -> None:
    """Blocks of an unknown kind, and commands in blocks that are only shown, would not be tried."""
    tried = {"console", "sh", "yaml", "python", "toml", "sql"}
    assert page.name == "query.md" or "```sql" not in page.read_text(encoding="utf-8"), "test_parquet.py tries query.md"
    language: str | None = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{page.name}:{number}: {line}"
        if line.lstrip().startswith("```"):
            if language is None:
                (language, *_) = line.strip()[3:].split(" ")
                assert language in tried | SHOWN_ONLY and (language not in tried or line.startswith("```")), where
            else:
                assert line.strip() == "```", where
                language = None
        elif language is None:
            assert not (line.startswith("    ") and COMMAND.match(line)), where
        elif language in SHOWN_ONLY:
            assert not COMMAND.match(line) or line.startswith("ct replay "), where
    assert language is None


@pytest.mark.parametrize("page", CONSOLE, ids=lambda page: page.name)
def test_the_commands_of_a_page_print_what_it_shows(page: Path, tmp_path: Path) -> None:
    give(page, tmp_path)
    for language, title, content in BLOCK.findall(page.read_text(encoding="utf-8")):
        if title:
            (tmp_path / title).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / title).write_text(content, encoding="utf-8")
        elif language == "console":
            for command, shown in commands(content):
                for words, instead in STAND_INS.items():
                    command = command.replace(words, instead)
                if elsewhere(command):
                    assert not shown, f"{command}: who says that this is what it prints?"
                    continue
                done = run(command, tmp_path)
                assert done.returncode == 0, f"{command}\n{done.stdout}"
                wanted = pattern([line.replace("/srv/app", str(tmp_path)) for line in shown])
                assert re.fullmatch(wanted, done.stdout), f"{command}\n{done.stdout}"


@pytest.mark.parametrize("page", SHELL, ids=lambda page: page.name)
def test_the_commands_of_a_page_that_show_no_output_work(page: Path, tmp_path: Path) -> None:
    give(page, tmp_path)
    for command in shell_commands(page):
        if not elsewhere(command):
            done = run(command, tmp_path)
            assert done.returncode == 0, f"{command}\n{done.stdout}"
            assert all((tmp_path / place).is_dir() for place in re.findall(r"CODETRACER_TRACE=(\S+)", command))


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: page.name)
def test_the_code_of_a_page_works_in_a_program(page: Path, tmp_path: Path) -> None:
    before, after = AROUND[page.name]
    for language, title, content in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python" and not title:
            (tmp_path / "program.py").write_text(f"{before}\n{content}\n{after}\n", encoding="utf-8")
            done = run("python program.py", tmp_path)
            assert (done.returncode, done.stdout) == (0, ""), done.stdout


@pytest.mark.parametrize("page", SETTINGS, ids=lambda page: page.name)
def test_the_policies_and_filters_of_a_page_are_valid(page: Path, tmp_path: Path) -> None:
    give(page, tmp_path)
    head = FILTER.partition("[[scope")[0]
    for language, _, content in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language != "toml":
            continue
        is_filter = page.name == "filters.md" or re.search(r"^\[+(meta|scope|io)\b", content, re.MULTILINE)
        text = head + content if is_filter and "[meta]" not in content else content
        (tmp_path / "settings.toml").write_text(text, encoding="utf-8")
        option = "--trace-filter settings.toml --explain-filter json" if is_filter else "policy --check settings.toml"
        done = run(f"codetracer-python-recorder {option}", tmp_path)
        assert done.returncode == 0, f"{content}\n{done.stdout}"
        assert "settings.toml (" in done.stdout or "settings.toml: a valid policy" in done.stdout, done.stdout
