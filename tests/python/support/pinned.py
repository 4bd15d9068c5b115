"""Archives of packages, pinned by hash and fetched once: for their test suites, or for what they bring."""

from __future__ import annotations

import os
import tarfile
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

STORE = Path(__file__).resolve().parents[3] / ".dev"


@dataclass(frozen=True)
class PinnedArchive(ABC):
    """A package as it was published."""

    name: str
    version: str
    sha256: str

    def unpack(self, into: Path) -> Path:
        """Unpacks it into a directory; returns the directory of the package in there."""
        with tarfile.open(self._fetch()) as archive:
            archive.extractall(into, filter="data")
        return into / self._top()

    def _fetch(self) -> Path:
        archive = self._place()
        if archive.exists():
            return archive
        archive.parent.mkdir(parents=True, exist_ok=True)
        # In a directory of its own: other tests fetch at the same time.
        with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
            self._download(Path(scratch))
            os.replace(Path(scratch) / archive.name, archive)
        return archive

    @abstractmethod
    def _place(self) -> Path:
        """Where it is kept."""

    @abstractmethod
    def _top(self) -> str:
        """The directory that is in it."""

    @abstractmethod
    def _download(self, scratch: Path) -> None:
        """Fetches it into a directory, under the name of its place, and refuses what has another hash."""
