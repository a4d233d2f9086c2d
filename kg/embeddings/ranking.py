"""Filtered, tie-aware ranking of every triple against all entities at either side (Bordes et al., 2013, section 4.2).

    rank = 1 + better candidates + ties · {optimistic 0, realistic 1/2, pessimistic 1}

Candidates are all entities except the other known answers to the same question (the filter). Ranks equal PyKEEN's:
its scores are computed for the few candidates where a faster computation leaves a doubt (`kg.embeddings.screening`),
and equal questions, of which a graph has many on its head side, are scored once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import Float32, Float64, Int64

from kelm.errors import InputError
from kg.embeddings.answers import SIDES, Answers, Side, as_triples, question_keys
from kg.embeddings.screening import Scorer

__all__ = ["Rankable", "Ranks", "SideRanks", "Ties", "filtered_mrr", "metrics", "ranks"]

Ties = Literal["realistic", "optimistic", "pessimistic"]
_SHARES: Mapping[str, float] = {"optimistic": 0.0, "realistic": 0.5, "pessimistic": 1.0}
_BLOCK_BYTES = 1 << 25


class Rankable(Protocol):
    """A model whose answers can be ranked: ours, or any of PyKEEN's behind `kg.embeddings.pykeen`."""

    def scorer(self) -> Scorer:
        """Returns what scores the model's entities."""


@dataclass(frozen=True, slots=True, eq=False)
class SideRanks:
    """Where one side's true answers stand.

    Attributes:
        better: candidates that score higher.
        tied: other candidates that score the same.
        candidates: entities in the ranking, the true answer included.
    """

    better: Int64[np.ndarray, "triple"]
    tied: Int64[np.ndarray, "triple"]
    candidates: Int64[np.ndarray, "triple"]

    def ranks(self, ties: Ties = "realistic") -> Float64[np.ndarray, "triple"]:
        """Returns the ranks, from 1."""
        return 1.0 + self.better + _SHARES[ties] * self.tied


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """Ranks of the same triples by side.

    >>> import numpy as np
    >>> one = SideRanks(np.array([0, 3]), np.array([0, 2]), np.array([10, 10]))
    >>> Ranks({"tail": one}, "realistic")["tail"].tolist()
    [1.0, 5.0]
    """

    sides: Mapping[Side, SideRanks]
    ties: Ties

    def __getitem__(self, side: Side) -> Float64[np.ndarray, "triple"]:
        return self.sides[side].ranks(self.ties)

    def having(self, ties: Ties) -> Ranks:
        """Returns the same ranks under another rule for ties."""
        return replace(self, ties=_checked(ties))


def ranks(
    embedding: Rankable,
    triples: Any,
    *,
    filter: Any = None,
    sides: Sequence[Side] = SIDES,
    ties: Ties = "realistic",
    tolerance: float = 0.0,
) -> Ranks:
    """Ranks the true head and the true tail of each of `triples` among all entities.

    Args:
        embedding: the model.
        triples: a `KnowledgeGraph` or an integer array `triple 3`.
        filter: further known triples whose entities are left out as candidates, in the same forms; `triples`
            themselves are then left out too. None: nothing is left out. For the usual protocol pass the union of
            training, validation and test triples.
        ties: how equal scores count; realistic is the expected rank under a random order.
        tolerance: scores this close count as equal.

    Raises:
        InputError: an id, a side or a rule is unknown.

    Cost: one pass over entities × width for each distinct question; two blocks of 32 MB.

    Source: Bordes et al. (2013), section 4.2; Berrendorf et al. (2020) for the realistic rank.
    """
    scorer = embedding.scorer()
    counts = scorer.entity_count, scorer.relation_count
    judged = as_triples(triples, *counts)
    unknown = set(sides) - set(SIDES)
    if unknown or not sides:
        raise InputError(f"no side is {sorted(unknown)}", field="sides", remedy='Choose from "head" and "tail".')
    known = None if filter is None else np.concatenate((as_triples(filter, *counts), judged))
    return Ranks({side: _rank_side(scorer, judged, known, side, tolerance) for side in sides}, _checked(ties))


def _checked(ties: Ties) -> Ties:
    if ties not in _SHARES:
        raise InputError(f'no rule for ties is "{ties}"', field="ties", remedy=f"Choose from {', '.join(_SHARES)}.")
    return ties


@dataclass(slots=True, eq=False)
class _Side:
    """The questions of one side: each distinct one once, with the numbers of the triples that ask it."""

    side: Side
    given: Int64[np.ndarray, "question"]
    relations: Int64[np.ndarray, "question"]
    keys: Int64[np.ndarray, "question"]
    order: Int64[np.ndarray, "triple"]
    starts: Int64[np.ndarray, "start"]

    @classmethod
    def of(cls, triples: Int64[np.ndarray, "triple 3"], side: Side, relation_count: int) -> _Side:
        keys, groups = np.unique(question_keys(triples, side, relation_count), return_inverse=True)
        starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.bincount(groups, minlength=len(keys)))))
        given, relations = np.divmod(keys, relation_count)
        return cls(side, given, relations, keys, np.argsort(groups, kind="stable"), starts)


def _rank_side(
    scorer: Scorer,
    triples: Int64[np.ndarray, "triple 3"],
    known: Int64[np.ndarray, "triple 3"] | None,
    side: Side,
    tolerance: float,
) -> SideRanks:
    asked = _Side.of(triples, side, scorer.relation_count)
    answers = triples[:, 2 if side == "tail" else 0]
    size = max(1, min(scorer.block_size, _BLOCK_BYTES // (4 * scorer.entity_count), len(asked.keys)))
    block = np.empty((size, scorer.entity_count), np.float32)
    better, tied = np.zeros((2, len(triples)), np.int64)
    candidates = np.full(len(triples), scorer.entity_count, np.int64)
    excluded = None if known is None else _answers(known, asked, scorer)
    for start in range(0, len(asked.keys), size):
        questions = slice(start, min(start + size, len(asked.keys)))
        rows = block[: questions.stop - start]
        scorer.score_all(asked.given[questions], asked.relations[questions], side, rows)
        numbers = asked.order[asked.starts[start] : asked.starts[questions.stop]]
        repeats = np.diff(asked.starts[start : questions.stop + 1])
        places = np.repeat(np.arange(len(rows)), repeats)
        count = _Count(scorer, asked, places + start, answers[numbers], tolerance)
        true = rows[places, answers[numbers]] if scorer.exact else count.scores()
        if excluded is not None:
            hidden_rows, hidden = excluded.pairs(asked.keys[questions])
            rows[hidden_rows, hidden] = -np.inf
            candidates[numbers] -= np.repeat(excluded.counts(asked.keys[questions]), repeats) - 1
        better[numbers], tied[numbers] = count.against(rows, places, true)
    if excluded is None:
        tied -= 1  # the true answer is among its own ties
    return SideRanks(better, tied, candidates)


def _answers(known: Int64[np.ndarray, "known 3"], asked: _Side, scorer: Scorer) -> Answers:
    """Returns the known answers to the questions that are asked; sorting those of all others would take longest."""
    counts = scorer.entity_count, scorer.relation_count
    keys = question_keys(known, asked.side, counts[1])
    sentinel = np.append(asked.keys, -1)  # where a key behind the last one looks
    relevant = known[sentinel[np.searchsorted(asked.keys, keys)] == keys]
    return Answers.of(relevant, asked.side, entity_count=counts[0], relation_count=counts[1])


@dataclass(slots=True, eq=False)
class _Count:
    """Counts the better and the tied candidates of a block's triples."""

    scorer: Scorer
    asked: _Side
    questions: Int64[np.ndarray, "triple"]
    answers: Int64[np.ndarray, "triple"]
    tolerance: float

    def scores(self) -> Float32[np.ndarray, "triple"]:
        """Returns the exact scores of the true answers."""
        return self._exact(self.questions, self.answers)

    def _exact(
        self, questions: Int64[np.ndarray, "pair"], candidates: Int64[np.ndarray, "pair"]
    ) -> Float32[np.ndarray, "pair"]:
        given, relations = self.asked.given[questions], self.asked.relations[questions]
        return self.scorer.score(given, relations, self.asked.side, candidates)

    def against(
        self, rows: Float32[np.ndarray, "question entity"], places: Int64[np.ndarray, "triple"], true: np.ndarray
    ) -> tuple[Int64[np.ndarray, "triple"], Int64[np.ndarray, "triple"]]:
        """Returns the counts, given each triple's row of `rows` and its true answer's score."""
        if not np.isfinite(true).all():
            raise InputError(
                "a true answer's score is not a finite number", remedy="Check the vectors, or train again."
            )
        given, relations = self.asked.given[self.questions], self.asked.relations[self.questions]
        low, high = self.scorer.bounds(given, relations, self.asked.side, true, self.tolerance)
        better, tied = np.zeros((2, len(true)), np.int64)
        doubts: list[tuple[int, Int64[np.ndarray, "candidate"]]] = []
        for number, (place, lowest, highest) in enumerate(zip(places.tolist(), low, high, strict=True)):
            row = rows[place]
            better[number] = np.count_nonzero(row > highest)  # per row: the row stays in the cache
            tied[number] = np.count_nonzero(row >= lowest) - better[number]
            if tied[number] and not self.scorer.exact:
                doubts.append((number, np.flatnonzero((row >= lowest) & (row <= highest))))
        if doubts:
            self._settle(doubts, true, better, tied)
        return better, tied

    def _settle(
        self,
        doubts: list[tuple[int, Int64[np.ndarray, "candidate"]]],
        true: np.ndarray,
        better: Int64[np.ndarray, "triple"],
        tied: Int64[np.ndarray, "triple"],
    ) -> None:
        """Scores the doubtful candidates exactly and corrects the counts in place."""
        numbers = np.repeat([number for number, _ in doubts], [len(candidates) for _, candidates in doubts])
        scores = self._exact(self.questions[numbers], np.concatenate([candidates for _, candidates in doubts]))
        distance = scores.astype(np.float64) - true[numbers].astype(np.float64)
        better += np.bincount(numbers[distance > self.tolerance], minlength=len(better))
        tied[:] = np.bincount(numbers[np.abs(distance) <= self.tolerance], minlength=len(tied))


def metrics(ranks: Ranks, *, side: Side | None = None, at: Sequence[int] = (1, 3, 10)) -> dict[str, float]:
    """Returns the usual figures over both sides, or one.

    Returns:
        `mrr` (mean reciprocal rank), `hits@k` for each k of `at` (share of ranks <= k), `mean_rank`, and `amri`,
        the adjusted mean rank index 1 - (mean rank - 1) / (expected mean rank - 1): 1 is perfect, 0 chance.

    Raises:
        InputError: there is nothing to average.

    >>> import numpy as np
    >>> one = SideRanks(np.array([0, 1]), np.array([0, 0]), np.array([3, 3]))
    >>> metrics(Ranks({"tail": one}, "realistic"), at=(1,))
    {'mrr': 0.75, 'hits@1': 0.5, 'mean_rank': 1.5, 'amri': 0.5}

    Source: Berrendorf et al. (2020), "On the ambiguity of rank-based evaluation", section 3 (amri).
    """
    chosen = list(ranks.sides) if side is None else [side]
    found = np.concatenate([ranks[one] for one in chosen])
    if not len(found):
        raise InputError("there are no ranks to average", remedy="Evaluate at least one triple.")
    candidates = np.concatenate([ranks.sides[one].candidates for one in chosen])
    expected = float((candidates - 1).mean()) / 2
    figures = {"mrr": float((1 / found).mean())}
    figures.update({f"hits@{k}": float((found <= k).mean()) for k in at})
    figures["mean_rank"] = float(found.mean())
    figures["amri"] = 1 - (figures["mean_rank"] - 1) / expected if expected else 1.0
    return figures


def filtered_mrr(embedding: Rankable, triples: Any, known: Any) -> float:
    """Returns the filtered, realistic mean reciprocal rank over both sides."""
    return metrics(ranks(embedding, triples, filter=known))["mrr"]
