"""JSON lines about marked texts, read field by field: what is wrong is told by file, line, field and remedy.

    {"text": "Bonn lies on the Rhine.", "head": [0, 4, "Q586"], "tail": [17, 22], "relation": "located on"}

A mention is [start, end] or [start, end, entity] in characters, the end not included; null is no entity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kelm.data.corpus import Corpus, Cursor, Shard, Text, digest
from kelm.data.sources import TextFiles
from kelm.errors import FormatError, closest
from kg.io.source import json_object
from kg.linking.base import Mention
from kg.linking.linked_text import gold

__all__ = ["Record", "Records"]


@dataclass(frozen=True, slots=True)
class Record:
    """What one line says.

    Attributes:
        fields: everything in it, "text" included.
        origin: "file:line".
    """

    fields: Mapping[str, Any]
    origin: str

    @classmethod
    def read(cls, line: Text) -> Record:
        """Returns the record that a line of a file holds.

        Raises:
            FormatError: it is no JSON object, or has no text.
        """
        path, _, number = line.origin.rpartition(":")
        fields = json_object(line.text, path, int(number))
        record = cls(fields, line.origin)
        if not isinstance(record.value("text"), str) or not record.text.strip():
            raise record.wrong("text", f"expected a text, found {record.text!r}", "Give a string that is not blank.")
        return record

    @property
    def text(self) -> str:
        text: str = self.fields["text"]
        return text

    def value(self, field: str) -> Any:
        """Returns a field's value; FormatError if it is missing."""
        if field not in self.fields:
            raise self.wrong(field, "the object lacks it", closest(field, map(str, self.fields)))
        return self.fields[field]

    def mention(self, field: str) -> Mention:
        """Returns the mention that a field gives; FormatError if it gives none of this text."""
        return self._mention(field, self.value(field))

    def others(self, marked: Sequence[Mention]) -> list[Mention]:
        """Returns the further mentions ("mentions", which may be missing) that do not overlap the marked ones."""
        listed = self.fields.get("mentions") or []
        if not isinstance(listed, list):
            raise self.wrong("mentions", f"{listed!r} is no list", "Write [[start, end, entity], ...].")
        mentions = [self._mention("mentions", value) for value in listed]
        return [mention for mention in mentions if not any(_overlap(mention, other) for other in marked)]

    def apart(self, first: str, second: str) -> tuple[Mention, Mention]:
        """Returns the mentions of two fields; FormatError if they overlap."""
        one, other = self.mention(first), self.mention(second)
        if _overlap(one, other):
            problem = f"[{other.start}, {other.end}] overlaps {first} [{one.start}, {one.end}]"
            raise self.wrong(second, problem, "Mark two mentions that lie apart.")
        return one, other

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

    def _mention(self, field: str, value: Any) -> Mention:
        listed = isinstance(value, list) and len(value) in (2, 3)
        if not listed or not type(value[0]) is type(value[1]) is int or not isinstance((*value, None)[2], str | None):
            raise self.wrong(field, f"{value!r} is no mention", "Write [start, end, entity] or [start, end].")
        start, end, length = value[0], value[1], len(self.text)
        if not 0 <= start < end <= length:
            raise self.wrong(
                field,
                f"[{start}, {end}] does not lie within this text of {length} characters",
                f"Give 0 <= start < end <= {length}, counted in characters.",
            )
        if not self.text[start:end].strip():
            raise self.wrong(field, f"only blanks stand at [{start}, {end}]", "Count characters from 0.")
        return gold(self.text, start, end, (*value, None)[2])


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


def _overlap(one: Mention, other: Mention) -> bool:
    return one.start < other.end and other.start < one.end
