"""JSON lines read field by field: what is wrong is told by file, line, field and remedy.

{"text": "Bonn lies on the Rhine.", "label": "geography"}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kelm.data.corpus import Corpus, Cursor, Shard, Text, digest
from kelm.data.json_text import json_object
from kelm.data.sources import TextFiles
from kelm.errors import FormatError, closest

__all__ = ["Record", "Records"]


@dataclass(frozen=True, slots=True)
class Record:
    """What one line says.

    Attributes:
        fields: everything in it.
        origin: "file:line".
    """

    fields: Mapping[str, Any]
    origin: str

    @classmethod
    def read(cls, line: Text) -> Record:
        """Returns the record that a line of a file holds; FormatError if it is no JSON object."""
        path, _, number = line.origin.rpartition(":")
        return cls(json_object(line.text, path, int(number)), line.origin)

    @property
    def text(self) -> str:
        """The field "text"; FormatError if there is none, or a blank one."""
        text = self.value("text")
        if not isinstance(text, str) or not text.strip():
            raise self.wrong("text", f"expected a text, found {text!r}", "Give a string that is not blank.")
        return text

    def value(self, field: str) -> Any:
        """Returns a field's value; FormatError if it is missing."""
        if field not in self.fields:
            raise self.wrong(field, "the object lacks it", closest(field, map(str, self.fields)))
        return self.fields[field]

    def labels(self, field: str) -> list[str]:
        """Returns the names that a field gives, one or a list; FormatError if it holds something else."""
        value = self.value(field)
        names: list[str] = value if isinstance(value, list) else [value]
        if not all(isinstance(name, str) and name.strip() for name in names):
            raise self.wrong(field, f"{value!r} is no name", "Give names as strings.")
        return names

    def number(self, field: str, known: Sequence[str]) -> int:
        """Returns the place of a field's only name among the known ones; FormatError if it has none."""
        numbers = self.numbers(field, known)
        if len(numbers) != 1:
            raise self.wrong(field, f"expected one name, found {len(numbers)}", "Give one, as a string.")
        return numbers[0]

    def numbers(self, field: str, known: Sequence[str]) -> list[int]:
        """Returns the places of a field's names among the known ones; FormatError if one is none of them."""
        names = self.labels(field)
        for name in names:
            if name not in known:
                raise self.wrong(field, f'"{name}" is none of the {len(known)} labels', closest(name, known))
        return [known.index(name) for name in names]

    def wrong(self, field: str | None, problem: str, remedy: str) -> FormatError:
        """Returns an error about a field of this line."""
        path, _, line = self.origin.rpartition(":")
        return FormatError(problem, path=path, line=int(line), field=field, remedy=remedy)


class Records(Corpus[Text]):
    """JSON lines with a text; `Text.fields` holds the whole object.

    Args:
        path: a file, plain or compressed, or a pattern such as ``"part-*.jsonl"``.
    """

    def __init__(self, path: str) -> None:
        self.lines = TextFiles(path)

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Text, Cursor]]:  # noqa: B008
        for line, cursor in self.lines.stream(shard, start):
            record = Record.read(line)
            yield replace(line, text=record.text, fields=record.fields), cursor

    def fingerprint(self) -> str:
        return digest("Records", self.lines.fingerprint())
