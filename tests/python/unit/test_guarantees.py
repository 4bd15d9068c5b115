"""Every test that docs/guarantees.md names exists, and every promise there names one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "guarantees.md"
PROMISES = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("|") and not re.match(r"\| (promise \||-)|\|-", line)
]
NAMED = sorted({name for _, tests in PROMISES for name in re.findall(r"`([^`]+)`", tests)})


def python_tests(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def rust_tests(name: str) -> set[str] | None:
    """The tests of a module of the crate, or of one of its integration tests; `None` if there is no such module."""
    path = name.replace("::", "/")
    found = None
    for file in (f"src/{path}.rs", f"src/{path}/mod.rs", f"tests/{path}.rs", f"src/{path.removesuffix('/tests')}.rs"):
        if (ROOT / file).is_file():
            text = (ROOT / file).read_text(encoding="utf-8")
            found = (found or set()) | set(re.findall(r"#\[test\]\n(?:\s*#\[.*\]\n)*\s*fn (\w+)", text))
    return found


@pytest.mark.parametrize("name", NAMED)
def test_a_named_test_exists(name: str) -> None:
    if ".py" in name:
        path, _, function = name.partition("::")
        file = ROOT / "tests" / "python" / path
        assert file.is_file(), name
        tests = python_tests(file)
        assert function in tests if function else tests, name
        return
    module, _, function = name.rpartition("::")
    whole = rust_tests(name)
    assert whole or function in (rust_tests(module) or ()), name


@pytest.mark.parametrize(("promise", "tests"), PROMISES, ids=[promise[:40] for promise, _ in PROMISES])
def test_every_promise_names_a_test(promise: str, tests: str) -> None:
    assert re.search(r"`[\w/.:]+`", tests), promise


def test_a_test_that_does_not_exist_would_be_missed() -> None:
    assert len(NAMED) > 20 and len(PROMISES) > 20
    assert rust_tests("pipeline::nothing") is None
    assert "no_such_test" not in (rust_tests("pipeline::tests::faults") or ())
    assert "test_no_such_test" not in python_tests(ROOT / "tests" / "python" / "crash" / "test_kills.py")
