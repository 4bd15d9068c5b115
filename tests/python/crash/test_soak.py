"""A short run of the soak: the script works, and notices what grows. The long one is `scripts/soak.py --minutes 30`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from support.running import environment

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "soak.py"
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("soak", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "soak", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("program", "minutes"), [("threads", "0.34"), ("greenlets", "0.17")])
def test_a_recorded_service_takes_no_more_and_no_more(program: str, minutes: str) -> None:
    command = [sys.executable, str(SCRIPT), "--minutes", minutes, "--program", program]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=170)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_what_grows_is_told(soak: ModuleType) -> None:
    flat = [soak.Sample(20_000 + 100 * (n % 7), 8 + n % 3, 9) for n in range(30)]
    assert soak.growth(flat, 5_000) == []
    leaking = [soak.Sample(20_000 + 1_000 * n, 8 + n, 9) for n in range(30)]
    assert [line.split(" grew")[0] for line in soak.growth(leaking, 5_000)] == ["rss_kb", "descriptors"]
