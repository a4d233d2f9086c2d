"""The labels of a task are listed once: in the recipe, in a file with a name a line, or nowhere but in the data.

    relations = ["capital of", "located on"]     in this order
    relations = "relations.txt"                  a name a line, in this order
    relations = "train.jsonl"                    every name in the field "relation" of its lines, sorted
    labels = "train.tsv"                         every name in the column "label" of a table with a header, sorted

Corpus and task number the labels by the same list. Each text carries a key of that list, `Numbering`, so that
two different lists end in an error and never in wrong answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from kelm.batch import Part
from kelm.data.columns import is_json
from kelm.data.corpus import digest
from kelm.data.records import Record
from kelm.data.sources import Table, TextFiles
from kelm.errors import FormatError
from kelm.typing import Int, Tensor

__all__ = ["Numbering", "key_of", "label_names"]


@dataclass(frozen=True, slots=True)
class Numbering(Part):
    """By which list of names the labels of a text are numbered: a key that tells the list from others."""

    key: Int[Tensor, "text"]

    @classmethod
    def of(cls, names: tuple[str, ...]) -> Numbering:
        return cls(torch.tensor([key_of(names)]))


@cache
def key_of(names: tuple[str, ...]) -> int:
    """Returns a number that tells this list of names from others."""
    return int(digest(*names)[:15], 16)


def label_names(given: Sequence[str] | str, field: str) -> tuple[str, ...]:
    """Returns the names of the labels.

    Args:
        given: the names, or the path of a file that holds them; a pattern such as ``"part-*.jsonl"`` means several.
        field: of JSON lines, where a name or a list of names stands; the column of a table (".tsv").

    Raises:
        FormatError: there is none, one comes twice or is blank, or the file cannot be read.

    Cost: a file is read once, JSON lines and tables are parsed.
    """
    if not isinstance(given, str):
        return _checked([(name, None) for name in given], None, field)
    if is_json(given):
        found = {name for line, _ in TextFiles(given).stream() for name in Record.read(line).labels(field)}
        return _checked([(name, None) for name in sorted(found)], given, field)
    if ".tsv" in Path(given).suffixes:
        found = {row.text for row, _ in Table(given, text=field).stream()}
        return _checked([(name, None) for name in sorted(found)], given, field)
    lines = (line for line, _ in TextFiles(given).stream())
    return _checked([(line.text.strip(), int(line.origin.rpartition(":")[2])) for line in lines], given, field)


def _checked(named: Sequence[tuple[str, int | None]], path: str | None, field: str) -> tuple[str, ...]:
    seen: set[str] = set()
    for name, line in named:
        if not isinstance(name, str) or not name.strip() or name in seen:
            problem = f"{name!r} comes twice" if name in seen else f"{name!r} is no name"
            raise FormatError(problem, path=path, line=line, field=field, remedy="Give every label once, as a string.")
        seen.add(name)
    if not named:
        raise FormatError("no label is named", path=path, field=field, remedy="Give at least one.")
    return tuple(name for name, _ in named)
