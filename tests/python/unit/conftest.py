"""Fixtures for the pure-Python parts: the package on top of a stand-in for the Rust extension."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parents[2] / "python"
PACKAGE = "codetracer_python_recorder"


def _is_ours(module: str) -> bool:
    return module == PACKAGE or module.startswith(PACKAGE + ".")


def _clear_environment(environment):
    return {name: value for name, value in environment.items() if not name.startswith(("CODETRACER_", "FAKE_"))}


@pytest.fixture
def fake(monkeypatch):
    """A fresh stand-in under the extension's name; a package imported from now on is fresh and uses it."""
    for name in set(os.environ) - set(_clear_environment(os.environ)):
        monkeypatch.delenv(name)
    monkeypatch.syspath_prepend(str(SOURCES))
    kept = {name: module for name, module in sys.modules.items() if _is_ours(name)}
    for name in kept:
        del sys.modules[name]
    specification = importlib.util.spec_from_file_location(f"{PACKAGE}.{PACKAGE}", HERE / "fake_extension.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    sys.modules[module.__name__] = module
    yield module
    for name in [name for name in sys.modules if _is_ours(name)]:
        del sys.modules[name]
    sys.modules.update(kept)


@pytest.fixture
def load(fake):
    """Imports a module of the package: `load("session")`, `load()` for the package itself."""
    return lambda name=None: importlib.import_module(f"{PACKAGE}.{name}" if name else PACKAGE)


@pytest.fixture(scope="session")
def fake_installation(tmp_path_factory):
    """A directory for `PYTHONPATH` that holds the package on top of the stand-in, for subprocesses."""
    root = tmp_path_factory.mktemp("installation")
    shutil.copytree(
        SOURCES / PACKAGE,
        root / PACKAGE,
        ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__", "*.pyi"),
    )
    shutil.copy(HERE / "fake_extension.py", root / PACKAGE / f"{PACKAGE}.py")
    return root


class Interpreter:
    """Runs command lines in subprocesses, with and without the recorder."""

    def __init__(self, installation: Path, directory: Path) -> None:
        self.installation = installation
        self.directory = directory
        self.log = installation.parent / f"{directory.name}-calls.jsonl"

    def plain(self, *arguments, flags=(), **options):
        return self._run([sys.executable, *flags, *arguments], **options)

    def recorder(self, *arguments, flags=(), **options):
        return self._run([sys.executable, *flags, "-m", PACKAGE, *arguments], **options)

    def calls(self):
        """What the stand-in was asked to do, by all subprocesses so far."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def _run(self, command, *, env=None, cwd=None, input=""):
        environment = _clear_environment(os.environ) | {
            "PYTHONPATH": str(self.installation),
            "PYTHONDONTWRITEBYTECODE": "1",
            "FAKE_RECORDER_LOG": str(self.log),
        }
        return subprocess.run(
            command,
            env=environment | (env or {}),
            cwd=cwd or self.directory,
            input=input,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=60,
        )


@pytest.fixture
def interpreter(fake_installation, tmp_path):
    return Interpreter(fake_installation, tmp_path)
