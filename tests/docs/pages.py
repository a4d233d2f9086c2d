"""The code blocks of a page: what the reader is shown is what the tests run.

```turtle title="towns.ttl"     written as that file before the blocks after it run
```python                       run, in one namespace a page, in an empty folder
```console                      lines that start with "$ kelm": their options are checked; see `test_pages.py`
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Block", "blocks", "pages"]

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^( *)```(\w+)?([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: its language, its file name if it has one, its text and the line of the page it starts at."""

    language: str
    title: str
    text: str
    line: int


def pages() -> list[Path]:
    """Returns README and every page of the documentation."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """Returns the fenced blocks of a page, in order, with their indentation taken off."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        indent, language, more, body = match.groups()
        title = re.search(r'title="([^"]+)"', more)
        plain = "".join(line.removeprefix(indent) for line in body.splitlines(keepends=True))
        found.append(Block(language or "", title[1] if title else "", plain, text.count("\n", 0, match.start()) + 2))
    return found
