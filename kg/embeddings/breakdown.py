"""Where a model is good: ranking figures by relation and by the relation's cardinality, and how sure they are.

    tails per head < 1.5, heads per tail < 1.5    1-1        tails per head ≥ 1.5 only    1-N  (one head, many tails)
    both ≥ 1.5                                    N-N        heads per tail ≥ 1.5 only    N-1

Sources: Bordes et al. (2013), section 4.3 (cardinality, threshold 1.5); Efron and Tibshirani (1993), chapter 13
(percentile bootstrap).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int64

from kelm.errors import InputError
from kelm.evaluation.bootstrap import interval, resampled
from kg.embeddings.answers import Side
from kg.embeddings.ranking import Ranks, SideRanks, metrics

__all__ = ["Cardinality", "cardinalities", "intervals", "metrics_by_cardinality", "metrics_by_relation", "subset"]

Cardinality = Literal["1-1", "1-N", "N-1", "N-N"]
_CLASSES: tuple[Cardinality, ...] = ("1-1", "1-N", "N-1", "N-N")


def cardinalities(
    triples: Int64[np.ndarray, "triple 3"], relation_count: int, *, threshold: float = 1.5
) -> tuple[Cardinality | None, ...]:
    """Returns each relation's class; None for a relation without triples.

    >>> cardinalities(np.array([[0, 0, 1], [0, 0, 2], [3, 0, 4], [3, 0, 5]]), 2)
    ('1-N', None)
    """
    distinct = np.unique(triples, axis=0)
    counts = np.bincount(distinct[:, 1], minlength=relation_count)
    heads, tails = (
        np.bincount(np.unique(distinct[:, [column, 1]], axis=0)[:, 1], minlength=relation_count) for column in (0, 2)
    )
    many_tails = counts >= threshold * heads
    many_heads = counts >= threshold * tails
    kinds = (
        _CLASSES[2 * int(heads_many) + int(tails_many)]
        for heads_many, tails_many in zip(many_heads, many_tails, strict=True)
    )
    return tuple(kind if count else None for kind, count in zip(kinds, counts, strict=True))


def subset(ranks: Ranks, rows: Int64[np.ndarray, "chosen"] | Bool[np.ndarray, "triple"]) -> Ranks:
    """Returns the ranks of some of the triples."""
    return Ranks(
        {side: SideRanks(one.better[rows], one.tied[rows], one.candidates[rows]) for side, one in ranks.sides.items()},
        ranks.ties,
    )


def metrics_by_relation(
    ranks: Ranks,
    triples: Int64[np.ndarray, "triple 3"],
    *,
    side: Side | None = None,
    at: Sequence[int] = (1, 3, 10),
) -> dict[int, dict[str, float]]:
    """Returns the figures of `metrics` and the number of `triples`, by the relations that were judged.

    Args:
        triples: those that `ranks` is about, in the same order.
    """
    found: dict[int, dict[str, float]] = {}
    for relation in np.unique(triples[:, 1]).tolist():
        rows = triples[:, 1] == relation
        found[relation] = {"triples": int(rows.sum()), **metrics(subset(ranks, rows), side=side, at=at)}
    return found


def metrics_by_cardinality(
    ranks: Ranks,
    triples: Int64[np.ndarray, "triple 3"],
    classes: Sequence[Cardinality | None],
    *,
    at: Sequence[int] = (1, 3, 10),
) -> dict[Cardinality, dict[str, dict[str, float]]]:
    """Returns, by class, the number of triples and the figures of each side: predicting the "1" is the easy one.

    Args:
        triples: those that `ranks` is about, in the same order.
        classes: of each relation, see `cardinalities`; judged relations without one are left out.
    """
    kinds = np.array([classes[relation] or "" for relation in triples[:, 1].tolist()], dtype="U3")
    found: dict[Cardinality, dict[str, dict[str, float]]] = {}
    for kind in _CLASSES:
        rows = kinds == kind
        if rows.any():
            chosen = subset(ranks, rows)
            sides = {str(side): metrics(chosen, side=side, at=at) for side in chosen.sides}
            found[kind] = {"all": {"triples": int(rows.sum()), **metrics(chosen, at=at)}, **sides}
    return found


def intervals(
    ranks: Ranks,
    random: np.random.Generator,
    *,
    at: Sequence[int] = (1, 3, 10),
    confidence: float = 0.95,
    draws: int = 1000,
) -> dict[str, tuple[float, float]]:
    """Returns percentile bootstrap intervals of MRR and Hits@k over all sides.

    Triples are drawn with their sides together, as these are not independent.

    Args:
        random: the stream that samples are drawn from.
        confidence: share of the bootstrap distribution within the interval.
        draws: number of samples.

    Raises:
        InputError: there are no ranks.

    Cost: draws × triples numbers.
    """
    found = np.stack([ranks[side] for side in ranks.sides])
    count = found.shape[1]
    if not count:
        raise InputError("there are no ranks to draw from", remedy="Evaluate at least one triple.")
    values = np.stack([(1 / found).mean(0), *((found <= k).mean(0) for k in at)], axis=1)
    means = resampled(values, random, draws) / count
    names = ["mrr", *(f"hits@{k}" for k in at)]
    return {name: interval(figures, confidence) for name, figures in zip(names, means.T, strict=True)}
