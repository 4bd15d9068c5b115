"""Puts this directory on the search path, so that tests import `oracle` and `support`, and offers `--frame-access` and
`--requests`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--frame-access",
        choices=("private", "public"),
        default="private",
        help="how recordings read frames: by the layout of the interpreter (default) or its public API",
    )
    parser.addoption(
        "--requests",
        type=int,
        help="how many requests each server gets under each way of sampling; a few hundred if it is not said",
    )


def pytest_configure(config: pytest.Config) -> None:
    # Children inherit it, and so do the workers of pytest-xdist: `support.running` passes it on.
    if config.getoption("--frame-access") == "public":
        os.environ["CODETRACER_FRAME_ACCESS"] = "public"
    else:
        os.environ.pop("CODETRACER_FRAME_ACCESS", None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    from support.running import LAYOUT_KNOWN

    if config.getoption("--frame-access") == "public" or not LAYOUT_KNOWN:
        beyond = [item for item in items if item.get_closest_marker("private_layout")]
        items[:] = [item for item in items if item not in beyond]
        config.hook.pytest_deselected(items=beyond)


@pytest.fixture(scope="session", autouse=True)
def signals_are_as_at_a_terminal() -> None:
    """In the background, or under `nohup`, these are ignored; so they would be in every program that a test starts."""
    for number, action in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, action)
