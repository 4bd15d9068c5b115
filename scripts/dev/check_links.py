"""Finds links of the Markdown files that lead nowhere inside the repository."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from common import ROOT

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
GENERATED = ROOT / "docs" / "reference"
HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors that the headings of a page make."""
    titles = HEADING.findall(FENCED.sub("", path.read_text()))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(path: Path) -> Iterator[str]:
    for target in LINK.findall(FENCED.sub("", path.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        page = (path.parent / name).resolve() if name else path
        if page.parent == GENERATED:
            continue  # `just site` makes these pages, and checks the links to them
        if not page.exists():
            yield f"{path.relative_to(ROOT)}: {target} does not exist"
        elif anchor and anchor not in anchors(page):
            yield f"{path.relative_to(ROOT)}: {target} names no heading"


def main() -> int:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = [problem for page in sorted(pages) for problem in broken_links(page)]
    print("\n".join(broken) or f"{len(pages)} pages, all links lead somewhere")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
