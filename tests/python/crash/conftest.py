"""The fixtures of the end-to-end tests."""

from e2e.conftest import injectable_build, record, run, small_disk, write

__all__ = ["injectable_build", "record", "run", "small_disk", "write"]
