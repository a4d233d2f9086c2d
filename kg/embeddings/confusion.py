"""Which relations a model takes for one another: for each triple all relations are put in the place of the true one.

    (h, r, t)  ->  scores of (h, 1, t), (h, 2, t) ... (h, R, t)  ->  the best relation r'  ->  counts[r, r'] + 1

A relation that is known to join the same two entities is no mistake and is left out. Each score is that of the tail
as the answer, as in `kg.embeddings.classification`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64

from kelm.errors import InputError
from kg.embeddings.answers import Answers, as_triples, question_keys
from kg.embeddings.classification import tail_scores
from kg.embeddings.ranking import Rankable
from kg.embeddings.screening import Scorer

__all__ = ["Confusion", "relation_confusion"]

_NUMBERS = 1 << 20  # most scores at once
_EXACT = 500  # triples of a model whose every score costs those of all entities


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """How often triples of each relation fit each relation best.

    Attributes:
        relations: ids, the most frequent among the judged triples first; the rows, and the columns before the last.
        counts: triples by true and by best relation; the last column is for all other relations. A triple that
            several relations fit equally well is divided among them.

    >>> Confusion(np.array([4]), np.array([[3.0, 1.0]])).shares.tolist()
    [[0.75, 0.25]]
    """

    relations: Int64[np.ndarray, "relation"]
    counts: Float64[np.ndarray, "relation column"]

    @property
    def shares(self) -> Float64[np.ndarray, "relation column"]:
        """The counts as shares of each true relation: rows sum to 1."""
        shares: Float64[np.ndarray, "relation column"] = self.counts / self.counts.sum(1, keepdims=True)
        return shares


def relation_confusion(embedding: Rankable, triples: Any, *, known: Any = None, most: int = 20) -> Confusion:
    """Judges triples by the relation that fits their two entities best.

    Args:
        embedding: the model.
        triples: a `KnowledgeGraph` or an integer array `triple 3`, usually held out.
        known: further known triples, in the same forms; with `triples` themselves, their relations are left out where
            another one is asked for.
        most: relations of their own row, the most frequent ones; triples of others are left out.

    Raises:
        InputError: there are no triples, or an id is unknown.

    Cost: the score of every triple with every relation; models whose relations are matrices take longest. A PyKEEN
    model other than TransE scores all entities for each of these, so only `_EXACT` triples, evenly spread, are judged.
    """
    scorer = embedding.scorer()
    counts = scorer.entity_count, scorer.relation_count
    judged = as_triples(triples, *counts)
    if scorer.exact and len(judged) > _EXACT:
        judged = judged[np.linspace(0, len(judged) - 1, _EXACT).astype(np.int64)]
    if not len(judged):
        raise InputError("there are no triples to judge", remedy="Pass held-out triples of the embedded graph.")
    frequencies = np.bincount(judged[:, 1], minlength=counts[1])
    shown = np.argsort(-frequencies, kind="stable")[: min(most, np.count_nonzero(frequencies))]
    places = np.full(counts[1], len(shown))
    places[shown] = np.arange(len(shown))
    more = judged if known is None else np.concatenate((as_triples(known, *counts), judged))
    # (head, tail) as the question, the relations between them as its answers
    joining = Answers.of(more[:, [0, 2, 1]], "tail", entity_count=counts[1], relation_count=counts[0])
    found = np.zeros((len(shown), len(shown) + 1))
    judged = judged[places[judged[:, 1]] < len(shown)]
    size = max(1, _NUMBERS // counts[1])
    for start in range(0, len(judged), size):
        part = judged[start : start + size]
        scores = _scores(scorer, part)
        rows, relations = joining.pairs(question_keys(part[:, [0, 2, 1]], "tail", counts[0]))
        other = relations != part[rows, 1]
        scores[rows[other], relations[other]] = -np.inf
        best = scores == scores.max(1, keepdims=True)
        rows, relations = best.nonzero()
        np.add.at(found, (places[part[rows, 1]], places[relations]), 1 / best.sum(1)[rows])
    return Confusion(shown, found)


def _scores(scorer: Scorer, triples: Int64[np.ndarray, "row 3"]) -> Float32[np.ndarray, "row relation"]:
    """Returns the score of each row with every relation."""
    every = np.repeat(triples, scorer.relation_count, axis=0)
    every[:, 1] = np.tile(np.arange(scorer.relation_count), len(triples))
    return tail_scores(scorer, every).reshape(len(triples), -1)
