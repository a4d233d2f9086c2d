"""What a score of linking counts: which matches, which entities, and how documents are averaged.

    match   strong   a found mention has the characters and the entity of a gold one
            weak     it has the entity and at least one character of it
    scope   graph    mentions of entities of the graph: others are asked of nobody, found or gold
            all      all mentions; what is outside of the graph, gold or found, is "no entity", which can be right
    mean    micro    counts are summed over documents, then divided
            macro    scores of documents are averaged, without those where nothing is to be found and nothing was

A found mention answers one gold mention at most, and the other way round, so that nothing is counted twice. Where gold
mentions are given, a linker says something of each; in the scope "all" precision, recall and F1 are then the same
number, the accuracy. The definitions are GERBIL's (Usbeck et al., 2015; Röder et al., 2018), except that GERBIL counts
an empty document as perfect.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from kelm.evaluation.bootstrap import interval, resampled
from kg.linking.base import Mention
from kg.linking.linking_sets import LinkingText

__all__ = ["Figure", "Match", "Rates", "Scope", "count_links", "judged", "known_candidates", "rates"]

Match = Literal["strong", "weak"]
Scope = Literal["graph", "all"]
_Item = tuple[int, int, frozenset[str | None]]  # characters [start, end), and the right answers or the answer


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_short(self.value)} ({_short(self.low)} to {_short(self.high)})"


@dataclass(frozen=True, slots=True)
class Rates:
    """Precision, recall and F1 over the sum of all documents, and averaged over documents.

    Attributes:
        right, found, gold: mentions.
        documents: with anything to find or found.
    """

    right: int
    found: int
    gold: int
    documents: int
    precision: Figure
    recall: Figure
    f1: Figure
    macro_precision: Figure
    macro_recall: Figure
    macro_f1: Figure


def count_links(
    gold: Sequence[LinkingText],
    found: Sequence[Sequence[Mention]],
    *,
    match: Match = "strong",
    scope: Scope = "graph",
    known: Container[str] | None = None,
) -> Int64[np.ndarray, "document 3"]:
    """Returns for each document how many found mentions are right, were found, and were to be found.

    Args:
        found: mentions of each document; they do not overlap.
        known: the entities of the graph; None: all.

    Raises:
        ValueError: different numbers of documents.
    """
    if len(gold) != len(found):
        raise ValueError(f"expected as many found documents as gold ones ({len(gold)}), got {len(found)}.")
    counts = [_document(text, mentions, match, scope, known) for text, mentions in zip(gold, found, strict=True)]
    return np.array(counts, dtype=np.int64).reshape(-1, 3)


def _document(
    text: LinkingText, mentions: Sequence[Mention], match: Match, scope: Scope, known: Container[str] | None
) -> tuple[int, int, int]:
    wanted = [
        _item(mention, {candidate.entity for candidate in mention.candidates}, known) for mention in text.mentions
    ]
    answers = [_item(mention, {mention.entity or ""}, known) for mention in mentions if _is_asked(mention, text)]
    if scope == "graph":
        wanted = [(start, end, entities - {None}) for start, end, entities in wanted if entities != {None}]
        answers = [answer for answer in answers if answer[2] != {None}]
    return _matched(wanted, answers, match), len(answers), len(wanted)


def _item(mention: Mention, entities: set[str], known: Container[str] | None) -> _Item:
    """Returns a mention's place and entities, None for those outside of the graph and for "no entity"."""
    inside = {entity for entity in entities if entity and (known is None or entity in known)}
    return mention.start, mention.end, frozenset[str | None](inside) or frozenset({None})


def _is_asked(mention: Mention, text: LinkingText) -> bool:
    """Whether a found mention counts: within what was judged, and not in what is ignored unless it meets a gold one."""
    first, last = text.judged or (0, len(text.text))
    if mention.start < first or mention.end > last:
        return False
    places = [(gold.start, gold.end) for gold in text.mentions]
    return _meets(mention, places) or not _meets(mention, text.ignored)


def _meets(mention: Mention, places: Sequence[tuple[int, int]]) -> bool:
    return any(start < mention.end and mention.start < end for start, end in places)


def _matched(wanted: Sequence[_Item], answers: Sequence[_Item], match: Match) -> int:
    """Returns how many answers are right, one for one.

    Each answer in the text's order takes the gold mention of its entity that ends first among those still free: the
    most pairs there can be, as answers do not overlap (Glover, 1967).
    """
    free = sorted(wanted, key=lambda item: item[1])
    right = 0
    for start, end, entities in sorted(answers, key=lambda item: item[0]):
        for place, (first, last, accepted) in enumerate(free):
            same = (first, last) == (start, end) if match == "strong" else first < end and start < last
            if same and entities & accepted:
                del free[place]
                right += 1
                break
    return right


def judged(
    gold: Sequence[LinkingText], found: Sequence[Sequence[Mention]], known: Container[str] | None = None
) -> tuple[int, list[tuple[float, bool]]]:
    """Returns how many mentions of the graph's entities there are to find, and of each that was found the
    probability of its best candidate and whether it is right (strong match)."""
    wanted = 0
    answers: list[tuple[float, bool]] = []
    for text, mentions in zip(gold, found, strict=True):
        items = [_item(mention, {one.entity for one in mention.candidates}, known) for mention in text.mentions]
        wanted += sum(entities != {None} for _, _, entities in items)
        right = {(start, end): entities for start, end, entities in items}
        for mention in mentions:
            _, _, entities = _item(mention, {mention.entity or ""}, known)
            if entities != {None} and _is_asked(mention, text):
                hit = bool(entities & right.get((mention.start, mention.end), frozenset()))
                answers.append((mention.candidates[0].probability, hit))
    return wanted, answers


def known_candidates(
    gold: Sequence[LinkingText], ranked: Sequence[Sequence[Mention]], known: Container[str] | None = None
) -> float:
    """Returns the share of gold mentions of the graph's entities that have a right candidate: no ranking does better.

    Args:
        ranked: the gold mentions of each document, in order, with a linker's candidates.
    """
    hits = total = 0
    for text, mentions in zip(gold, ranked, strict=True):
        for mention, answer in zip(text.mentions, mentions, strict=True):
            right = {one.entity for one in mention.candidates if one.entity and (known is None or one.entity in known)}
            total += bool(right)
            hits += any(candidate.entity in right for candidate in answer.candidates)
    return hits / total if total else 0.0


def rates(counts: Int64[np.ndarray, "document 3"], random: np.random.Generator, *, draws: int = 1000) -> Rates:
    """Returns the rates that counts amount to, with percentile bootstrap intervals over documents."""
    kept = counts[counts[:, 1:].any(1)].astype(np.float64)
    if not len(kept):
        nothing = Figure(0.0, 0.0, 0.0)
        return Rates(0, 0, 0, 0, *[nothing] * 6)
    values = np.concatenate((kept, _rates(kept), np.ones((len(kept), 1))), axis=1)
    sums = np.concatenate((values.sum(0, keepdims=True), resampled(values, random, draws)))
    figures = np.concatenate((_rates(sums[:, :3]), sums[:, 3:6] / sums[:, 6:]), axis=1)
    right, found, gold = (int(value) for value in sums[0, :3])
    return Rates(right, found, gold, len(kept), *(Figure(float(one[0]), *interval(one[1:])) for one in figures.T))


def _rates(counts: Float64[np.ndarray, "row 3"]) -> Float64[np.ndarray, "row 3"]:
    """Returns precision, recall and F1 of rows of right, found and gold; 0 where there is nothing to divide by."""
    right, found, gold = counts.T
    wholes = np.stack((found, gold, (found + gold) / 2), axis=1)
    shares: np.ndarray = np.divide(right[:, None], wholes, out=np.zeros_like(wholes), where=wholes > 0)
    return shares


def _short(value: float) -> str:
    return f"{value:.3f}".lstrip("0") if 0 <= value < 1 else f"{value:.3f}"
