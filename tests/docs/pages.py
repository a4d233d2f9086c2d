"""The code blocks of a page: what the reader is shown is what the tests run.

```turtle title="towns.ttl"     written as that file before the blocks after it run
```python                       run, in one namespace a page, in an empty folder
```console                      lines that start with "$ kelm": their options are checked; see `test_pages.py`
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Block", "blocks", "pages"]

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(<!-- run -->\n)?( *)```(\w+)?([^\n]*)\n(.*?)^\2```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        title: the file's name, or empty.
        line: the line of the page at which the text starts.
        run: whether its commands are to be run.
    """

    language: str
    title: str
    text: str
    line: int
    run: bool

    def commands(self) -> list[list[str]]:
        """Returns the words after `kelm` of each line that calls it."""
        lines = (line.removeprefix("$ ") for line in self.text.replace("\\\n", " ").splitlines())
        calls = (re.split(r" [|<>] ", line)[0] for line in lines if line.startswith("kelm "))  # what kelm sees of it
        return [shlex.split(call, comments=True)[1:] for call in calls]


def pages() -> list[Path]:
    """Returns README and every page of the documentation."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """Returns the fenced blocks of a page, in order, with their indentation taken off."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        marked, indent, language, more, body = match.groups()
        title = re.search(r'title="([^"]+)"', more)
        plain = "".join(line.removeprefix(indent) for line in body.splitlines(keepends=True))
        line = text.count("\n", 0, match.start(5)) + 1
        found.append(Block(language or "", title[1] if title else "", plain, line, run=bool(marked)))
    return found
