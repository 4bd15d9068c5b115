"""The fixtures of the end-to-end tests, and the signals as a terminal would leave them."""

import signal

import pytest
from e2e.conftest import injectable_build, record, run, write

__all__ = ["hangups_end_a_program", "injectable_build", "record", "run", "write"]


@pytest.fixture(scope="session", autouse=True)
def hangups_end_a_program() -> None:
    """Under `nohup` every program ignores SIGHUP, those that these tests start as well."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
