"""Source distributions of the package index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .pinned import STORE, PinnedArchive


class Sdist(PinnedArchive):
    """A source distribution of the package index."""

    def _place(self) -> Path:
        return STORE / "sdists" / f"{self._top()}.tar.gz"

    def _top(self) -> str:
        return f"{self.name}-{self.version}"

    def _download(self, scratch: Path) -> None:
        pin = scratch / "requirements.txt"
        pin.write_text(f"{self.name}=={self.version} --hash=sha256:{self.sha256}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        options = ["--no-deps", "--no-binary", ":all:", "--require-hashes", "-r", str(pin), "-d", str(scratch)]
        subprocess.run([*command, *options], check=True, timeout=150)
