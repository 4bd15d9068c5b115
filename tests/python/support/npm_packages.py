"""Packages of the npm registry; none is installed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from .pinned import STORE, PinnedArchive


class NpmPackage(PinnedArchive):
    """A package of the npm registry."""

    def _place(self) -> Path:
        return STORE / "npm" / f"{self.name}-{self.version}.tgz"

    def _top(self) -> str:
        return "package"

    def _download(self, scratch: Path) -> None:
        npm = shutil.which("npm")
        assert npm, "npm is missing: ./scripts/dev/system-package.sh npm apt:npm"
        command = [npm, "pack", "--silent", f"{self.name}@{self.version}"]
        subprocess.run(command, check=True, cwd=scratch, stdout=subprocess.DEVNULL, timeout=150)
        fetched = scratch / self._place().name
        found = hashlib.sha256(fetched.read_bytes()).hexdigest()
        assert found == self.sha256, f"{fetched.name} is another file than it was: {found}"
