"""What is in texts, before anything is done about it: counts, lengths, scripts, duplicates, ratios, languages.

Reads once. Held are the counts of different lengths and ratios, and 8 bytes a text for the duplicates.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

from kelm.data.corpus import Text
from kelm.errors import InputError
from multilingual.corpora.duplicates import Duplicates
from multilingual.corpora.language_rules import InLanguage
from multilingual.corpora.rules import cleaned, sides_of

__all__ = ["Survey", "survey", "table"]

_BATCH = 1024


@dataclass
class Survey:
    """What was counted in texts or pairs.

    Attributes:
        texts, duplicates: of pairs, both sides count together.
        sides: of each side what is counted in it.
        unclean: texts with marks that cannot be seen, controls or letters that are not composed.
        ratios: of pairs the characters of the first side to those of the second, as rounded logarithms.
        languages: what an identifier says, "" where it agrees (`InLanguage`).
    """

    texts: int = 0
    duplicates: int = 0
    unclean: int = 0
    sides: list[_Side] = field(default_factory=list)
    ratios: Counter[int] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)

    def ratio(self, share: float) -> float:
        """Returns the ratio of lengths below which a share of the pairs lies, to a hundredth."""
        return float(math.exp(_quantile(self.ratios, share) / 100))


@dataclass
class _Side:
    """Characters, words between blanks, bytes of UTF-8, lengths and letters by script."""

    characters: int = 0
    words: int = 0
    bytes: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    scripts: Counter[str] = field(default_factory=Counter)

    def length(self, share: float) -> int:
        """Returns the length below which a share of the texts lies, in characters."""
        return _quantile(self.lengths, share)

    def add(self, text: str) -> None:
        self.characters += len(text)
        self.words += len(text.split())
        self.bytes += len(text.encode("utf-8", "surrogatepass"))
        self.lengths[len(text)] += 1
        for character, times in Counter(text).items():
            if script := _script(character):
                self.scripts[script] += times


_WORDS_OF_NAMES = {"cjk": "han", "ideographic": "han", "hiragana": "kana", "katakana": "kana"}


@lru_cache(2**16)
def _script(character: str) -> str:
    """Returns the script of a letter by the first word of its Unicode name, "" for what is no letter."""
    if unicodedata.category(character)[0] != "L":
        return ""
    first = unicodedata.name(character, "unknown").replace("-", " ").partition(" ")[0].lower()
    return "" if first == "modifier" else _WORDS_OF_NAMES.get(first, first)


def _quantile(counts: Counter[int], share: float) -> int:
    """Returns the least value that is not below a share of what was counted, 0 of nothing."""
    left = share * counts.total()
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return value
    return 0


def survey(texts: Iterable[Text], identified: InLanguage | None = None) -> Survey:
    """Returns what is in texts; `identified` is asked in which language each is.

    Raises:
        InputError: there is no text. Also, as CheckpointError, MissingDependency: see `InLanguage`.
    """
    found, repeated = Survey(), Duplicates().begin()
    for batch in _batches(texts):
        found.texts += len(batch)
        found.duplicates += sum(map(bool, repeated(batch)))
        if identified is not None:
            found.languages.update(identified.reasons(batch))
        for text in batch:
            sides = sides_of(text)
            while len(found.sides) < len(sides):
                found.sides.append(_Side())
            for side, counts in zip(sides, found.sides, strict=False):
                counts.add(side)
            found.unclean += any(side.strip() != cleaned(side) for side in sides)
            if len(sides) == 2 and all(sides):
                found.ratios[round(100 * math.log(len(sides[0]) / len(sides[1])))] += 1
    if not found.texts:
        raise InputError("there is no text, only blank lines", remedy="Give other files, or leave them out.")
    return found


def _batches(texts: Iterable[Text]) -> Iterator[list[Text]]:
    rest = iter(texts)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def table(surveys: Mapping[str, Survey]) -> list[list[str]]:
    """Returns a column for each side of each survey, headed by its name, and a row for what was counted."""
    columns = [_ROWS]
    for name, found in surveys.items():
        for place, side in enumerate(found.sides):
            of = f"{name}, {('first', 'second')[place]} side" if len(found.sides) == 2 else name
            column = [of, f"{found.texts:,}", f"{side.words:,}", f"{side.characters:,}", f"{side.bytes:,}"]
            column += [f"{side.length(share):,}" for share in (0.5, 0.95, 1.0)]
            column.append(_parts(side.scripts))
            if place:
                column += [""] * (len(_ROWS) - len(column))
            else:
                column += [_part(count, found.texts) for count in (found.duplicates, found.unclean)]
                column += [f"{found.ratio(share):.2f}" if found.ratios else "" for share in (0.05, 0.5, 0.95)]
                column.append(_parts(found.languages, "as said"))
            columns.append(column)
    return [list(row) for row in zip(*columns, strict=True) if any(row[1:])]


_ROWS = ["", "texts", "words", "characters", "bytes", "characters a text, median", "95 %", "longest", "scripts"]
_ROWS += ["duplicates", "unclean", "first side : second, 5 %", "median", "95 % of pairs", "identified"]


def _part(count: int, of: int) -> str:
    return f"{count / of:.1%}" if of else ""


def _parts(counts: Counter[str], empty: str = "") -> str:
    """Returns the most frequent of what was counted with their shares."""
    return ", ".join(f"{name or empty} {count / counts.total():.1%}" for name, count in counts.most_common(3))
