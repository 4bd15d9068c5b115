"""Packages of the npm registry, pinned by hash and fetched once, for what they bring; none is installed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

STORE = Path(__file__).resolve().parents[3] / ".dev" / "npm"


@dataclass(frozen=True)
class NpmPackage:
    """A package as it was published."""

    name: str
    version: str
    sha256: str

    def unpack(self, into: Path) -> Path:
        """Unpacks it into a directory; returns the directory of the package in there."""
        with tarfile.open(self._fetch()) as archive:
            archive.extractall(into, filter="data")
        return into / "package"

    def _fetch(self) -> Path:
        archive = STORE / f"{self.name}-{self.version}.tgz"
        if archive.exists():
            return archive
        npm = shutil.which("npm")
        assert npm, "npm is missing: ./scripts/dev/system-package.sh npm apt:npm"
        STORE.mkdir(parents=True, exist_ok=True)
        # In a directory of its own: other tests fetch at the same time.
        with tempfile.TemporaryDirectory(dir=STORE) as scratch:
            command = [npm, "pack", "--silent", f"{self.name}@{self.version}"]
            subprocess.run(command, check=True, cwd=scratch, stdout=subprocess.DEVNULL, timeout=150)
            fetched = Path(scratch) / archive.name
            found = hashlib.sha256(fetched.read_bytes()).hexdigest()
            assert found == self.sha256, f"{archive.name} is another file than it was: {found}"
            os.replace(fetched, archive)
        return archive
