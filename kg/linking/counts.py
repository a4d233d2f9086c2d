"""How often a name meant which entity in linked text: what the priors of a linker learn from.

    "[Paris](Q90) lies on the [Seine](Q1471)."  "[Paris](Q167646), Texas"     --count-->
    ("Paris", Q90) 1   ("Paris", Q167646) 1   ("Seine", Q1471) 1

Surfaces are kept as they are written: whoever matches names decides which spellings are one (`kg.linking.folding`) and
what capitals say ("US", "us"). In a text without capitals small letters say nothing, and what was seen there is marked
(`Seen.lowered`); `kg.linking.names.graph_names` gives it capitals.

A mention that is known to mean no entity counts for `NIL`. That nobody linked a stretch of text says nothing of it, as
Wikipedia, say, links the first of many mentions, and nothing is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from kelm.errors import FormatError
from kg.labels import language_code
from kg.linking.base import NIL
from kg.linking.linked_text import LinkedText, RelationText
from kg.linking.linking_sets import LinkingText
from kg.linking.names import MOST_SEEN
from kg.linking.row_file import RowFile

__all__ = ["MentionCounts", "Seen"]

_FILE = RowFile("kelm-mention-counts", 2, "how often names mean entities", "Count the linked texts again.")


class Seen(NamedTuple):
    """What a mention says.

    Attributes:
        entity: what it means, or `NIL`.
        language: of the text; "" if it is not known.
        lowered: whether the text has no capitals.
    """

    surface: str
    entity: str
    language: str = ""
    lowered: bool = False


@dataclass(frozen=True)
class MentionCounts:
    """How often each `Seen` was seen.

    >>> from kg.linking.linked_text import gold
    >>> text = "Paris, Texas, is not Paris."
    >>> counts = MentionCounts.of([LinkedText(text, (gold(text, 0, 5, "Q830149"), gold(text, 21, 26, "Q90")))], "en")
    >>> counts.seen[Seen("Paris", "Q90", "en")], len(counts)
    (1, 2)
    """

    seen: Mapping[Seen, int]

    @classmethod
    def of(cls, texts: Iterable[LinkedText | RelationText | LinkingText], language: str = "") -> Self:
        """Counts the mentions of texts in one language; of a mention's candidates the first is meant."""
        code = language_code(language)
        seen: Counter[Seen] = Counter()
        for text in texts:
            lowered = text.text.islower()
            for mention in text.mentions:
                surface = " ".join(text.text[mention.start : mention.end].split())
                if surface:
                    seen[Seen(surface, mention.entity or NIL, code, lowered)] += 1
        return cls(dict(seen))

    def __len__(self) -> int:
        return len(self.seen)

    def merged(self, other: MentionCounts) -> MentionCounts:
        """Returns the counts of both."""
        return MentionCounts(dict(Counter(self.seen) + Counter(other.seen)))

    def save(self, path: str | Path) -> None:
        """Writes the counts as JSON lines (no pickle), aside first, then renamed.

        Raises:
            CheckpointError: it cannot be written; what was there before is untouched.
        """
        _FILE.write(path, ([*one, count] for one, count in self.seen.items()))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            FormatError: the file is none of ours or is damaged; names the line.
        """
        rows = _FILE.read(path)
        next(rows, None)
        seen: Counter[Seen] = Counter()
        for number, row in rows:
            one, count = _row(path, number, row)
            seen[one] += count
        return cls(dict(seen))


def _row(path: str | Path, line: int, row: Any) -> tuple[Seen, int]:
    if not (isinstance(row, list) and [type(value) for value in row[:4]] == [str, str, str, bool] and len(row) == 5):
        raise _FILE.damaged(path, line, f"{row!r} is not [surface, entity, language, lowered, count]")
    surface, entity, language, lowered, count = row
    if not surface.strip():
        raise FormatError(
            "the surface is empty", path=path, line=line, field="surface", remedy="Give the characters of a mention."
        )
    if type(count) is not int or not 1 <= count <= MOST_SEEN:
        problem = f"expected a whole number from 1 to {MOST_SEEN}, found {count!r}"
        raise FormatError(problem, path=path, line=line, field="count", remedy="Leave out what was never seen.")
    return Seen(surface, entity, language_code(language), lowered), count
