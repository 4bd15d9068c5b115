"""`--explain-filter`: which rule decides, without running or recording anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support.filters import LOGIN_ALONE, MINE
from support.recording import Recording
from support.running import Outcome, python

Record = Callable[..., Recording]
Write = Callable[..., Path]

FILTER = f"""
{MINE}{LOGIN_ALONE}\
[[scope.rules.value_patterns]]
selector = "arg:pin_*"
action = "drop"
"""


def explain(*words: str | Path, cwd: Path, **env: str) -> Outcome:
    return python(["-m", "codetracer_python_recorder", *words], cwd=cwd, env=env)


def project(write: Write) -> Path:
    write("raise SystemExit('imported')\n", "app/__init__.py")
    write("raise SystemExit('imported')\n", "app/core.py")
    return write(FILTER, "mine.toml")


def test_a_function_is_explained_by_rule_file_and_line(write: Write, tmp_path: Path) -> None:
    filter_file = project(write)
    outcome = explain("--trace-filter", filter_file, "--explain-filter", "app.core:Service.login", cwd=tmp_path)
    assert (outcome.status, outcome.stderr) == (0, "")
    lines = outcome.stdout.splitlines()
    assert lines[:3] == [
        "filters, later ones win:",
        "  1. <inline:builtin-default> (builtin-default)",
        f"  2. {filter_file} (mine)",
    ]
    assert f"app.core:Service.login in {tmp_path / 'app' / 'core.py'}" in lines
    assert "  exec: trace" in lines
    assert any(f"{filter_file}:16 scope.rules[1]" in line for line in lines)
    assert any("overrides skip" in line and "not today" in line for line in lines)
    assert any("`arg:pin_*`" in line for line in lines)
    assert not (tmp_path / "trace-out").exists()


def test_a_file_and_the_environments_filter_are_understood(write: Write, tmp_path: Path) -> None:
    filter_file = project(write)
    words = ["--explain-filter", "app/core.py:Service.logout"]
    outcome = explain(*words, cwd=tmp_path, CODETRACER_TRACE_FILTER=str(filter_file), PYTHONPATH=str(tmp_path))
    assert "  exec: skip" in outcome.stdout and "not today" in outcome.stdout
    assert "app.core:Service.logout in" in outcome.stdout


def test_the_projects_own_filter_is_found_from_the_file(write: Write, tmp_path: Path) -> None:
    project(write)
    write(FILTER, ".codetracer/trace-filter.toml")
    outcome = explain("--explain-filter", "app.core:Service.logout", cwd=tmp_path)
    assert ".codetracer/trace-filter.toml:" in outcome.stdout
    assert "  exec: skip" in outcome.stdout


def test_what_is_not_found_and_what_is_built_in_are_explained_too(tmp_path: Path) -> None:
    missing = explain("--explain-filter", "no.such.module", cwd=tmp_path)
    assert missing.status == 0
    assert "the module's file was not found" in missing.stdout
    stdlib = explain("--explain-filter", "json.decoder:JSONDecoder", cwd=tmp_path)
    assert "  exec: skip" in stdlib.stdout and "<inline:builtin-default>" in stdlib.stdout


def test_the_explanation_is_what_a_recording_does(record: Record, write: Write, tmp_path: Path) -> None:
    source = """
    class Service:
        def login(self, pin_code): return pin_code
        def logout(self): return 1
    Service().login(1234)
    Service().logout()
    """
    script = write(source, "app.py")
    filter_file = write(FILTER.replace("app.core.", "__main__."), "mine.toml")
    recorded = record(script, options=["--trace-filter", str(filter_file)])
    assert [call.name for call in recorded.trace.main.calls if call.name.startswith("Service.")] == ["Service.login"]
    for name, expected in [("login", "trace"), ("logout", "skip")]:
        words = ["--trace-filter", filter_file, "--explain-filter", f"__main__:Service.{name}", script]
        assert f"  exec: {expected}" in explain(*words, cwd=tmp_path).stdout


def test_a_wrong_filter_is_an_error(write: Write, tmp_path: Path) -> None:
    bad = write("[meta]\nname = 1\n", "bad.toml")
    outcome = explain("--trace-filter", bad, "--explain-filter", "app", cwd=tmp_path)
    assert outcome.status == 1 and "bad.toml" in outcome.stderr
    missing = explain("--trace-filter", "none.toml", "--explain-filter", "app", cwd=tmp_path)
    assert missing.status == 1 and "trace filter 'none.toml' does not exist" in missing.stderr
