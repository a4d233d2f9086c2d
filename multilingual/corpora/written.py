"""Texts into files that the corpora of this package read: lines or JSON lines; pairs into two files of lines."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from kelm.data.corpus import Text
from kelm.data.folders import file_aside
from kelm.errors import InputError

__all__ = ["write"]


def write(texts: Iterable[Text], *paths: str | Path) -> int:
    """Writes texts into a file, or pairs into two of equally many lines, and returns how many there were.

    Args:
        paths: compressed if they end in ".gz". ".jsonl" gets each text under "text" with its fields; into others a text
            goes as one line, its own lines joined by blanks.

    Raises:
        InputError: pairs and one file, or single texts and two.
        CheckpointError: writing failed; nothing half-written remains.
    """
    count = 0
    with ExitStack() as stack:
        asides = [stack.enter_context(file_aside(Path(path))) for path in paths]
        files = [
            stack.enter_context(_opened(new, Path(path).suffixes)) for new, path in zip(asides, paths, strict=True)
        ]
        for text in texts:
            sides = (text.text,) if text.pair is None else (text.text, text.pair)
            if len(sides) != len(files):
                problem = f"{text.origin or text.text[:40]!r} has {len(sides)} sides, and there are {len(files)} files"
                raise InputError(problem, field="paths", remedy="Give a file for each side.")
            for side, file, path in zip(sides, files, paths, strict=True):
                if ".jsonl" in Path(path).suffixes:
                    file.write(json.dumps({**text.fields, "text": side}, ensure_ascii=False) + "\n")
                else:
                    file.write(" ".join(side.splitlines()) + "\n")
            count += 1
    return count


@contextmanager
def _opened(path: Path, endings: list[str]) -> Iterator[IO[str]]:
    opened = gzip.open if endings[-1:] == [".gz"] else open
    with opened(path, "wt", encoding="utf-8", newline="\n") as file:
        yield file
