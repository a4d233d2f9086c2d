"""Links between the words of sentences and their translations: how files write them, and how right they are.

    0-0 1-2 2p1        Pharaoh: word 0 is word 0, word 1 is word 2 for sure, word 2 may be word 1 ("p" or "?")

    precision = |A ∩ P| / |A|        recall = |A ∩ S| / |S|        F1: their harmonic mean
    AER = 1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|)

A: what was found; S: sure, P: possible ones, the sure ones among them. Counts are of all sentences together.
Source: Och and Ney, 2003 (A systematic comparison of various statistical alignment models), section 6.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from kelm.data.files import read
from kelm.errors import FormatError, InputError

__all__ = ["Gold", "Links", "Right", "as_pharaoh", "gold_links", "judged"]

Links = frozenset[tuple[int, int]]
_LINK = re.compile(r"(\d+)([-p?])(\d+)")


class Gold(NamedTuple):
    """What people linked; `possible` holds the sure ones, too."""

    sure: Links
    possible: Links


class Right(NamedTuple):
    """Counts over sentences: links found, sure links, and found ones among the sure and the possible."""

    found: int = 0
    sure: int = 0
    found_sure: int = 0
    found_possible: int = 0

    @property
    def precision(self) -> float:
        return self.found_possible / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        return self.found_sure / self.sure if self.sure else 0.0

    @property
    def f1(self) -> float:
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0

    @property
    def error(self) -> float:
        """The alignment error rate; 1 where nothing was found and nothing is sure."""
        all_ = self.found + self.sure
        return 1 - (self.found_sure + self.found_possible) / all_ if all_ else 1.0

    def plus(self, found: Links, gold: Gold) -> Right:
        """Returns the counts with one more sentence."""
        right = len(found & gold.sure), len(found & gold.possible)
        return Right(
            self.found + len(found),
            self.sure + len(gold.sure),
            self.found_sure + right[0],
            self.found_possible + right[1],
        )


def judged(found: Iterable[Links], gold: Iterable[Gold]) -> Right:
    """Returns the counts over sentences, in the same order.

    Raises:
        InputError: there are more of one than of the other.
    """
    right = Right()
    try:
        for links, wanted in zip(found, gold, strict=True):
            right = right.plus(links, wanted)
    except ValueError as error:
        raise InputError(
            "there are other numbers of sentences and of gold lines", field="gold", remedy="Give a line to each pair."
        ) from error
    return right


def as_pharaoh(links: Links) -> str:
    """Returns how a line is written.

    >>> as_pharaoh(frozenset({(1, 2), (0, 0)}))
    '0-0 1-2'
    """
    return " ".join(f"{one}-{other}" for one, other in sorted(links))


def gold_links(path: str | Path, *, first: int = 0) -> Iterator[Gold]:
    """Yields the links of each line of a file.

    Args:
        first: the number of a sentence's first word: 0 or 1.

    Raises:
        FormatError: a link is not as above, or a number is below `first`.
    """
    for line in read(path):
        sure, possible = set(), set()
        for told in line.text.split():
            link = _LINK.fullmatch(told)
            if link is None or min(int(link[1]), int(link[3])) < first:
                raise FormatError(
                    f'"{told}" is no link of words counted from {first}',
                    path=path,
                    line=line.number,
                    remedy="Write 0-1 for a sure link, 0p1 for a possible one.",
                )
            words = (int(link[1]) - first, int(link[3]) - first)
            possible.add(words)
            if link[2] == "-":
                sure.add(words)
        yield Gold(frozenset(sure), frozenset(possible))
