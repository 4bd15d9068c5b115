"""Source distributions, pinned by hash and fetched once: for their test suites, or for what they bring."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

STORE = Path(__file__).resolve().parents[3] / ".dev" / "sdists"


@dataclass(frozen=True)
class Sdist:
    """A source distribution of the package index."""

    name: str
    version: str
    sha256: str

    def unpack(self, into: Path) -> Path:
        """Unpacks it into a directory; returns the directory of the package in there."""
        with tarfile.open(self._fetch()) as archive:
            archive.extractall(into, filter="data")
        return into / f"{self.name}-{self.version}"

    def _fetch(self) -> Path:
        archive = STORE / f"{self.name}-{self.version}.tar.gz"
        if archive.exists():
            return archive
        STORE.mkdir(parents=True, exist_ok=True)
        # In a directory of its own: other tests fetch at the same time.
        with tempfile.TemporaryDirectory(dir=STORE) as scratch:
            pin = Path(scratch) / "requirements.txt"
            pin.write_text(f"{self.name}=={self.version} --hash=sha256:{self.sha256}\n", encoding="utf-8")
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
            options = ["--no-deps", "--no-binary", ":all:", "--require-hashes", "-r", str(pin), "-d", scratch]
            subprocess.run([*command, *options], check=True, timeout=150)
            os.replace(Path(scratch) / archive.name, archive)
        return archive
