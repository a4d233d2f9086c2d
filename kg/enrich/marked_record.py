"""JSON lines about marked texts: what their fields say of mentions (the rest: `kelm.data.records`).

    {"text": "Bonn lies on the Rhine.", "head": [0, 4, "Q586"], "tail": [17, 22], "relation": "located on"}

A mention is [start, end] or [start, end, entity] in characters, the end not included; null is no entity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kelm.data.records import Record
from kg.linking.base import Mention
from kg.linking.linked_text import gold

__all__ = ["MarkedRecord"]


@dataclass(frozen=True, slots=True)
class MarkedRecord(Record):
    """What one line says of a text and its mentions."""

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


def _overlap(one: Mention, other: Mention) -> bool:
    return one.start < other.end and other.start < one.end
