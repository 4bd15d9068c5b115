"""`codetracer-python-recorder policy`: the result, its origins, and checking a file."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest


def policy(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CODETRACER_")}
    command = [sys.executable, "-m", "codetracer_python_recorder", "policy", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment | variables, capture_output=True, text=True, timeout=60)


def line_of(text: str, key: str) -> str:
    (found,) = [line for line in text.splitlines() if line.startswith((f"{key} =", f"# {key} "))]
    return found


def test_every_value_is_printed_with_where_it_was_said(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('[values]\nmax_depth = 4\n[pipeline]\non_full = "drop"\n')
    done = policy(cwd=tmp_path, CODETRACER_POLICY="./p.toml", CODETRACER_REQUIRE_TRACE="yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert line_of(done.stdout, "max_depth").split("#")[1].strip() == "policy file ./p.toml, line 2"
    assert line_of(done.stdout, "require_trace").split("#")[1].strip() == "CODETRACER_REQUIRE_TRACE"
    assert line_of(done.stdout, "max_items").split("#")[1].strip() == "built-in default"
    parsed = tomllib.loads(done.stdout)
    assert (parsed["values"]["max_depth"], parsed["pipeline"]["on_full"]) == (4, "drop")
    assert parsed["recorder"]["require_trace"] is True and "log_file" not in parsed["recorder"]


def test_what_is_printed_is_a_policy_that_prints_itself(tmp_path: Path) -> None:
    variables = {"CODETRACER_POLICY": "calls", "CODETRACER_LOG_FILE": 'a "quoted" \\ name.log'}
    first = policy(cwd=tmp_path, **variables).stdout
    (tmp_path / "printed.toml").write_text(first)
    checked = policy("--check", "printed.toml", cwd=tmp_path)
    assert (checked.returncode, checked.stdout) == (0, "printed.toml: a valid policy\n")
    second = policy(cwd=tmp_path, CODETRACER_POLICY="./printed.toml").stdout
    assert tomllib.loads(first) == tomllib.loads(second)
    assert tomllib.loads(first)["events"]["lines"] is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n[values]\nmax_dept = 3\n", ["p.toml, line 3", "unknown key 'values.max_dept'", "'values.max_depth'"]),
        ("[values]\nmax_depth = 99\n", ["p.toml, line 2", "values.max_depth", "an integer from 1 to 20"]),
        ("[valeus]\n", ["p.toml, line 1", "unknown section [valeus]", "'values'"]),
        ("a = [", ["p.toml, line 1", "not valid TOML"]),
    ],
)
def test_a_mistake_is_named_with_its_place_and_its_remedy(tmp_path: Path, text: str, expected: list[str]) -> None:
    (tmp_path / "p.toml").write_text(text)
    for done in (policy("--check", "p.toml", cwd=tmp_path), policy(cwd=tmp_path, CODETRACER_POLICY="./p.toml")):
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("codetracer-python-recorder: ") and done.stderr.count("\n") == 1
        for part in expected:
            assert part in done.stderr, done.stderr


def test_a_file_that_is_not_there_is_1_and_bad_arguments_are_2(tmp_path: Path) -> None:
    missing = policy("--check", "none.toml", cwd=tmp_path)
    assert missing.returncode == 1 and "cannot read policy file none.toml" in missing.stderr
    assert policy("--chekc", "x", cwd=tmp_path).returncode == 2
