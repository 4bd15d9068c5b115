"""The fixtures of the end-to-end tests."""

from e2e.conftest import injectable_build, record, run, write

__all__ = ["injectable_build", "record", "run", "write"]
