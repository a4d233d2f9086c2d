"""Corrupted answers of a step, shared by its questions: of all entities, and of those that fit the step's relations.

    candidates        uniform draws  ∪  draws from range(relation of a question of the step, itself drawn)
    allowed[q, c]     c is no known answer to q,  and  (c was drawn uniformly  or  range(relation of q) has c)

The range of a relation at a side holds the entities that stand there in a training triple. Among negatives from ranges,
a capital is told from other capitals and from few people. What fits another relation of the step alone is masked.

All candidates are still scored for all questions by one matrix product, which a set of negatives for each relation
would not allow. The price is that a question has no use for some of them, most so for one whose relation is rare and
has a range of its own; losses that divide by the number of negatives divide by all.

Source: Krompass et al. (2015), the local closed world: a relation's domain and range as seen in the data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from kg.embeddings.answers import Answers, Questions, Side, question_keys
from kg.embeddings.recipe import EmbeddingRecipe

__all__ = ["Drawn", "Negatives", "Ranges"]


@dataclass(frozen=True, slots=True, eq=False)
class Ranges:
    """The entities that stand at one side of each relation: the answers to "anything, this relation".

    >>> ranges = Ranges.of(np.array([[0, 0, 1], [2, 0, 1], [0, 0, 3], [0, 1, 2]]), "tail", 4, 2)
    >>> ranges.have(np.array([0, 1]), np.array([1, 2, 3])).tolist()
    [[True, False, True], [False, True, False]]
    """

    side: Side
    entities: Answers
    relations: Questions

    @classmethod
    def of(cls, triples: Int64[np.ndarray, "triple 3"], side: Side, entity_count: int, relation_count: int) -> Self:
        """Returns the ranges in `triples`. Cost: a sort of them."""
        fitting = triples.copy()
        fitting[:, 0 if side == "tail" else 2] = 0  # the key of a question is now its relation
        fitting = np.unique(fitting, axis=0)
        counts = {"entity_count": entity_count, "relation_count": relation_count}
        return cls(side, Answers.of(fitting, side, **counts), Questions.of(fitting, side, **counts))

    def draw(
        self, relations: Int64[np.ndarray, "question"], count: int, random: torch.Generator
    ) -> Int64[Tensor, "draw"]:
        """Returns entities from the ranges of questions that are drawn first, both evenly; some may come twice."""
        chosen = relations[torch.randint(len(relations), (count,), generator=random).numpy()]
        places = np.searchsorted(self.entities.keys, chosen)
        starts, ends = self.entities.offsets[places], self.entities.offsets[places + 1]
        within = torch.rand(count, dtype=torch.float64, generator=random).numpy()
        return torch.from_numpy(self.entities.entities[starts + (within * (ends - starts)).astype(np.int64)])

    def have(
        self, relations: Int64[np.ndarray, "question"], candidates: Int64[np.ndarray, "candidate"]
    ) -> Bool[np.ndarray, "question candidate"]:
        """Returns whether each relation's range has each candidate. Cost: the relations of the candidates."""
        return self.relations.answered(relations, candidates)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """The negatives of a step.

    Attributes:
        entities: distinct ids, ascending.
        typed: which of them are for the questions only whose range has them; None if there are none.
    """

    entities: Int64[Tensor, "candidate"]
    typed: Bool[Tensor, "candidate"] | None = None


class Negatives:
    """What draws the negatives of a training run, and says which question may use which.

    Args:
        asked: the training triples as they are asked at each side.
        recipe: with its `negatives`, `typed_negatives` and `filtered`.
    """

    def __init__(
        self,
        asked: Iterable[tuple[Side, Int64[np.ndarray, "triple 3"]]],
        entity_count: int,
        relation_count: int,
        recipe: EmbeddingRecipe,
    ) -> None:
        self.entity_count, self.relation_count, self.filtered = entity_count, relation_count, recipe.filtered
        self.typed = math.ceil(recipe.typed_negatives * recipe.negatives)
        self.uniform = recipe.negatives - self.typed
        counts = {"entity_count": entity_count, "relation_count": relation_count}
        listed = list(asked)
        self.questions = {side: Questions.of(triples, side, **counts) for side, triples in listed if recipe.filtered}
        self.ranges = {side: Ranges.of(triples, side, **counts) for side, triples in listed if self.typed}

    def draw(self, rows: Int64[np.ndarray, "question 3"], side: Side, random: torch.Generator) -> Drawn:
        """Returns the negatives of a step that asks `rows` at `side`."""
        uniform = self._uniform(random)
        if not self.typed:
            return Drawn(uniform)
        fitting = self.ranges[side].draw(rows[:, 1], self.typed, random)
        entities = torch.unique(torch.cat((uniform, fitting)))
        return Drawn(entities, ~torch.isin(entities, uniform))

    def _uniform(self, random: torch.Generator) -> Int64[Tensor, "candidate"]:
        if self.uniform >= self.entity_count:
            return torch.arange(self.entity_count)
        distinct: Tensor = torch.unique(torch.randint(self.entity_count, (self.uniform,), generator=random))
        return distinct

    def allowed(
        self, drawn: Drawn, rows: Int64[np.ndarray, "question 3"], side: Side
    ) -> Bool[Tensor, "question candidate"]:
        """Returns which of the negatives each of `rows`, asked at `side`, may be compared with."""
        candidates = drawn.entities.numpy()
        if self.filtered:
            keys = question_keys(rows, side, self.relation_count)
            allowed = torch.from_numpy(~self.questions[side].answered(keys, candidates))
        else:
            allowed = torch.from_numpy(rows[:, 2 if side == "tail" else 0][:, None] != candidates[None])
        if drawn.typed is not None:
            fits = torch.from_numpy(self.ranges[side].have(rows[:, 1], candidates))
            allowed &= fits | ~drawn.typed
        return allowed
