"""Held-out triples that training gives away: the same pair of entities in train, turned round or by another relation.

    train  (Berlin, capital of, Germany)        test  (Germany, capital, Berlin)        given away by the reverse
    train  (Ann, sibling, Bob)                  test  (Bob, sibling, Ann)               by symmetry
    train  (Ann, lives in, Bonn)                test  (Ann, residence, Bonn)            by a duplicate

Two relations are suspicious if most pairs of each are pairs of the other (turned round or not). A rule of one line then
beats any model, as on FB15k and WN18. Sources: Toutanova and Chen, 2015, section 4 (pairs); Akrami et al., 2020,
section 4 (reverse, duplicate and symmetric relations, both shares above 0.8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Int64

from kg.graph import KnowledgeGraph

__all__ = ["Leakage", "RelationPair", "leakage"]

_THRESHOLD = 0.8  # Akrami et al., 2020, section 4.2


@dataclass(frozen=True, slots=True)
class RelationPair:
    """Two relations of train that join mostly the same entities.

    Attributes:
        kind: "reverse", "duplicate", or "symmetric" (one relation, its own reverse).
        shared: pairs of entities that both join.
        share, other_share: of the pairs of either relation.
        given_away: held-out triples of either relation whose counterpart by the other is in train.
    """

    kind: str
    relation: str
    other: str
    shared: int
    share: float
    other_share: float
    given_away: int


@dataclass(frozen=True, slots=True)
class Leakage:
    """What train tells of held-out triples.

    Attributes:
        triples: held-out triples.
        unknown: those with an entity or relation that train does not have.
        repeated: those that are in train as they are.
        reversed: those whose two entities train joins in the other direction, by whatever relation.
        joined: those whose two entities train joins in the same direction by another relation.
        given_away: those that a suspicious pair of relations gives away.
        pairs: the suspicious pairs, those first that give away most.
    """

    triples: int
    unknown: int
    repeated: int
    reversed: int
    joined: int
    given_away: int
    pairs: tuple[RelationPair, ...]

    def as_json(self) -> Mapping[str, Any]:
        """Returns the counts as a value that `json.dumps` takes."""
        return asdict(self)


def leakage(train: KnowledgeGraph, held_out: KnowledgeGraph, *, threshold: float = _THRESHOLD) -> Leakage:
    """Returns what `train` tells of the triples of `held_out`; names count, not ids.

    Args:
        threshold: two relations are suspicious if they share at least this part of the pairs of each.

    Cost: a sort of all triples, and a sparse product of relations and pairs.
    """
    heads, relations, tails = _ids(train, held_out)
    known = (heads >= 0) & (relations >= 0) & (tails >= 0)
    heads, relations, tails = heads[known], relations[known], tails[known]
    side = train.entity_count
    ours = np.stack((_keys(train.heads, train.tails, side), train.relations.astype(np.int64)))
    forward, backward = _keys(heads, tails, side), _keys(tails, heads, side)
    repeated = _among(np.stack((forward, relations)), ours, train.relation_count)
    given, pairs = np.zeros(len(heads), bool), []
    for keys, turned in ((forward, False), (backward, True)):
        for one, other, shared, share, other_share in _suspicious(train, threshold, turned=turned):
            told = np.zeros(len(heads), bool)
            for left, right in {(one, other), (other, one)}:
                rows = np.flatnonzero(relations == left)
                told[rows] = _among(np.stack((keys[rows], np.full(len(rows), right))), ours, train.relation_count)
            given |= told
            kind = "symmetric" if one == other else "reverse" if turned else "duplicate"
            names = train.relation_names[one], train.relation_names[other]
            pairs.append(RelationPair(kind, *names, shared, share, other_share, int(told.sum())))
    pairs_of_train, times = np.unique(ours[0], return_counts=True)
    place = np.minimum(np.searchsorted(pairs_of_train, forward), max(len(pairs_of_train) - 1, 0))
    joined = np.isin(forward, pairs_of_train)
    joined[joined] = times[place[joined]] > repeated[joined]  # more than the triple itself
    return Leakage(
        triples=len(held_out),
        unknown=int((~known).sum()),
        repeated=int(repeated.sum()),
        reversed=int(np.isin(backward[heads != tails], ours[0]).sum()),
        joined=int(joined.sum()),
        given_away=int(given.sum()),
        pairs=tuple(sorted(pairs, key=lambda pair: (-pair.given_away, -pair.shared, pair.relation, pair.other))),
    )


def _ids(train: KnowledgeGraph, held_out: KnowledgeGraph) -> Int64[np.ndarray, "3 triple"]:
    """Returns heads, relations and tails of held-out triples as ids of `train`, -1 for unknown ones."""
    entity = train.entities.ids(list(held_out.entities)).astype(np.int64)
    relation = train.relation_names.ids(list(held_out.relation_names)).astype(np.int64)
    return np.stack((entity[held_out.heads], relation[held_out.relations], entity[held_out.tails]))


def _keys(left: Int[np.ndarray, "triple"], right: Int[np.ndarray, "triple"], side: int) -> Int64[np.ndarray, "triple"]:
    return np.asarray(left.astype(np.int64) * side + right)


def _among(
    asked: Int64[np.ndarray, "2 triple"], known: Int64[np.ndarray, "2 other"], relation_count: int
) -> Bool[np.ndarray, "triple"]:
    """Returns for each pair and relation whether it is among the known ones."""
    found: Bool[np.ndarray, "triple"] = np.isin(
        asked[0] * relation_count + asked[1], known[0] * relation_count + known[1]
    )
    return found


def _suspicious(train: KnowledgeGraph, threshold: float, *, turned: bool) -> list[tuple[int, int, int, float, float]]:
    """Returns pairs of relations (ids, the smaller first) with the number of pairs of entities they share, and shares.

    Triples from an entity to itself do not count: they are their own reverse.
    """
    from scipy.sparse import csr_array

    rows = train.heads != train.tails
    heads, relations, tails = train.heads[rows], train.relations[rows], train.tails[rows]
    straight = _keys(heads, tails, train.entity_count)
    other = _keys(tails, heads, train.entity_count) if turned else straight
    _, columns = np.unique(np.concatenate((straight, other)), return_inverse=True)
    ones, shape = np.ones(len(straight), np.int64), (train.relation_count, int(columns.max(initial=-1)) + 1)
    left = csr_array((ones, (relations, columns[: len(straight)])), shape=shape)
    right = csr_array((ones, (relations, columns[len(straight) :])), shape=shape)
    shared = (left @ right.T).tocoo()
    sizes = np.bincount(relations, minlength=train.relation_count)
    found = []
    for one, two, count in zip(*(column.tolist() for column in (*shared.coords, shared.data)), strict=True):
        if one < two or (one == two and turned):
            share, other_share = count / int(sizes[one]), count / int(sizes[two])
            if min(share, other_share) >= threshold:
                found.append((one, two, count, share, other_share))
    return found
