"""When a linker should say nothing: a threshold on its best candidate, chosen on development data.

    Paris   Q90 .71   Q167646 .05     > threshold    Q90
    Smith   Q5  .02   Q7      .02     ≤ threshold    no entity

The threshold is the one with the highest F1 on texts whose links are known (strong match, entities of the graph), as in
Kulkarni et al. (2009): what is not worth its risk is left out.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kelm.errors import InputError
from kg.linking.base import NIL, Candidate, Disambiguator, Mention
from kg.linking.linking_sets import LinkingText
from kg.linking.scores import judged

__all__ = ["Cautious", "silenced", "tuned_threshold"]


def silenced(mentions: Sequence[Mention], threshold: float) -> list[Mention]:
    """Returns the mentions; where the best candidate is not above `threshold`, "no entity" comes first.

    It has the probability that is left, so that all together have no more than 1: here the order tells the answer.

    >>> silenced([Mention(0, 5, "Smith", (Candidate("Q5", 0.02),))], 0.1)[0].entity is None
    True
    """
    return [
        replace(mention, candidates=_doubted(mention.candidates))
        if mention.candidates and mention.candidates[0].probability <= threshold
        else mention
        for mention in mentions
    ]


def _doubted(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    named = [one for one in candidates if one.entity != NIL]
    rest = 1.0 - sum(one.probability for one in named)
    return (Candidate(NIL, max(0.0, rest)), *named)


@dataclass(frozen=True, eq=False)
class Cautious:
    """A linker that says "no entity" where its best candidate is not above a threshold; see `silenced`.

    Raises:
        InputError: the threshold is no probability below 1.

    >>> from kg.linking.alias import AliasLinker
    >>> names = AliasLinker([("Smith", "Q5"), ("Smith", "Q7"), ("Paris", "Q90")])
    >>> [mention.entity for mention in Cautious(names, 0.5).link("Smith in Paris")]
    [None, 'Q90']
    """

    linker: Disambiguator
    threshold: float

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise InputError(
                f"expected 0 or more and less than 1, found {self.threshold}", field="threshold", remedy="0 keeps all."
            )

    def link(self, text: str, language: str | None = None) -> list[Mention]:
        """Returns the mentions of one text."""
        return self.link_all([text], language)[0]

    def link_all(self, texts: Sequence[str], language: str | None = None) -> list[list[Mention]]:
        """Returns the mentions of each text."""
        return [silenced(mentions, self.threshold) for mentions in self.linker.link_all(texts, language)]

    def disambiguate(
        self, texts: Sequence[str], places: Sequence[Sequence[tuple[int, int]]], language: str | None = None
    ) -> list[list[Mention]]:
        """Returns a mention for each place of each text."""
        found = self.linker.disambiguate(texts, places, language)
        return [silenced(mentions, self.threshold) for mentions in found]


def tuned_threshold(
    gold: Sequence[LinkingText], found: Sequence[Sequence[Mention]], known: Container[str] | None = None
) -> float:
    """Returns the threshold with the highest F1 over all documents; the lowest of several equally good ones.

    Args:
        found: mentions of each document, with candidates.
        known: the entities of the graph; None: all.

    Returns:
        0 where everything is best kept; else a number between two of the best candidates' probabilities.
    """
    wanted, answers = judged(gold, found, known)
    if not answers:
        return 0.0
    scores, right = np.array(answers, dtype=np.float64).T
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], right[order]
    kept = np.arange(1, len(scores) + 1)
    f1 = 2 * np.cumsum(right) / (kept + wanted)
    ends = np.flatnonzero(np.append(scores[1:] < scores[:-1], True))  # equal scores stay or fall together
    best = int(ends[len(ends) - 1 - np.argmax(f1[ends][::-1])])
    return 0.0 if best == len(scores) - 1 else float((scores[best] + scores[best + 1]) / 2)
