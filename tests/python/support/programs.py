"""The recorded programs and how each is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent / "programs"


@dataclass(frozen=True)
class Program:
    """A program file with what it is given and how it ends."""

    path: Path
    args: tuple[str, ...] = ()
    stdin: str = ""
    status: int = 0

    @property
    def name(self) -> str:
        """Name for test ids."""
        return self.path.stem


_SPECIAL: dict[str, dict[str, object]] = {
    "arguments": {"args": ("-h", "--format", "json", "two words", "ü", "", "--")},
    "standard_streams": {"stdin": "Ada\nline 1\nline 2\n"},
    "uncaught": {"status": 1},
    "uncaught_in_callback": {"status": 1},
    "exit_code": {"status": 3},
    "exit_message": {"status": 1},
    "exit_object": {"status": 1},
    "exit_caught": {"status": 7},
}


def program(name: str) -> Program:
    """The program of this name."""
    return Program(HERE / f"{name}.py", **_SPECIAL.get(name.rpartition("/")[2], {}))  # type: ignore[arg-type]


def _all(directory: str) -> list[Program]:
    files = sorted(path for path in (HERE / directory).glob("*.py") if not path.name.startswith("_"))
    return [program(str(path.relative_to(HERE).with_suffix(""))) for path in files]


COMPARED = _all("")
"""Programs that the oracle can tell the whole story of."""

REAL = _all("real")
"""Programs that render documents with well-known packages; long, so only their structure is compared."""

PLAIN_ONLY = _all("plain")
"""Programs that look at the depth of the stack, which the oracle's own trace function adds to."""
