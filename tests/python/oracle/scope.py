"""Which code is expected in a trace, and under which name."""

from __future__ import annotations

import os
import sysconfig
from types import CodeType, FrameType

_HERE = os.path.dirname(os.path.abspath(__file__))
_STDLIB = tuple({os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")})
_PACKAGES = ("site-packages", "dist-packages")


class Scope:
    """Decides per source file, once. Source paths are resolved against the directory the run started in."""

    def __init__(self) -> None:
        self._workdir = os.getcwd()
        self._paths: dict[str, str | None] = {}

    def path(self, code: CodeType) -> str | None:
        """The absolute path of the code's file, or None if the code is not recorded."""
        filename = code.co_filename
        if filename not in self._paths:
            self._paths[filename] = self._resolve(filename)
        return self._paths[filename]

    def _resolve(self, filename: str) -> str | None:
        if filename.startswith("<"):
            return None
        path = os.path.normpath(os.path.join(self._workdir, filename))
        real = os.path.realpath(path)
        if real.startswith(_HERE + os.sep):
            return None
        for root in _STDLIB:
            if real.startswith(root + os.sep) and not real[len(root) + 1 :].startswith(_PACKAGES):
                return None
        return path


def name_of(frame: FrameType) -> str:
    """The name that calls of this frame have in a trace."""
    code = frame.f_code
    if code.co_name == "<module>":
        return f"<{frame.f_globals.get('__name__', '?')}>"
    return code.co_qualname
