"""Which entities complete a question `(head, relation, ?)` or `(?, relation, tail)`, as compressed sparse rows.

    side "tail": the question is (head, relation), the answers are tails
    side "head": the question is (tail, relation), the answers are heads
    key = given entity * relation count + relation

Ranking leaves known answers out (`Answers`), training does not count them as negatives (`Questions`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from jaxtyping import Bool, Int, Int64

from kelm.errors import InputError

__all__ = ["SIDES", "Answers", "Questions", "Side", "as_triples", "question_keys"]

Side = Literal["head", "tail"]
SIDES: tuple[Side, Side] = ("head", "tail")


def as_triples(source: Any, entity_count: int, relation_count: int) -> Int64[np.ndarray, "triple 3"]:
    """Returns head, relation and tail ids as one array.

    Args:
        source: a `KnowledgeGraph` (anything with `heads`, `relations` and `tails`) or an integer array `triple 3`.

    Raises:
        InputError: the array has another form, or an id is not below its count.
    """
    if hasattr(source, "heads"):
        source = np.stack((source.heads, source.relations, source.tails), axis=1)
    array = np.asarray(source)
    if array.size == 0:
        return np.empty((0, 3), np.int64)
    if array.ndim != 2 or array.shape[1] != 3 or not np.issubdtype(array.dtype, np.integer):
        raise InputError(
            f"expected an integer array of triples with 3 columns, found {array.dtype} of shape {array.shape}",
            remedy="Pass a KnowledgeGraph or rows of head, relation and tail ids.",
        )
    triples = array.astype(np.int64)
    for column, name, count in ((0, "head", entity_count), (1, "relation", relation_count), (2, "tail", entity_count)):
        ids = triples[:, column]
        if ids.min() < 0 or ids.max() >= count:
            row = int(np.argmax((ids < 0) | (ids >= count)))
            raise InputError(
                f"{name} {ids[row]} of triple {row} is not an id from 0 to {count - 1}",
                field=name,
                remedy="Use the ids of the graph that the vectors were trained on.",
            )
    return triples


def question_keys(
    triples: Int64[np.ndarray, "triple 3"], side: Side, relation_count: int
) -> Int64[np.ndarray, "triple"]:
    """Returns the key of the question that each triple answers at `side`."""
    given = triples[:, 0 if side == "tail" else 2]
    keys: Int64[np.ndarray, "triple"] = given * relation_count + triples[:, 1]
    return keys


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The distinct answers of every question in some triples.

    Attributes:
        keys: keys of the questions, ascending.
        offsets: where each question's answers start in `entities`, and their total.
        entities: answers, by question and then ascending.

    >>> triples = np.array([[0, 0, 1], [0, 0, 2], [3, 0, 2]])
    >>> answers = Answers.of(triples, "tail", entity_count=4, relation_count=1)
    >>> rows, entities = answers.pairs(np.array([3, 0, 1]))
    >>> rows.tolist(), entities.tolist()
    ([0, 1, 1], [2, 1, 2])
    """

    keys: Int64[np.ndarray, "question"]
    offsets: Int64[np.ndarray, "start"]
    entities: Int64[np.ndarray, "answer"]

    @classmethod
    def of(cls, triples: Int64[np.ndarray, "triple 3"], side: Side, *, entity_count: int, relation_count: int) -> Self:
        """Returns the answers at `side` in `triples`. Cost: one sort of the triples."""
        answers = triples[:, 2 if side == "tail" else 0]
        pairs = np.unique(question_keys(triples, side, relation_count) * entity_count + answers)
        keys, starts = np.unique(pairs // max(entity_count, 1), return_index=True)
        return cls(keys, np.append(starts, len(pairs)).astype(np.int64), pairs % max(entity_count, 1))

    def pairs(self, keys: Int64[np.ndarray, "row"]) -> tuple[Int64[np.ndarray, "answer"], Int64[np.ndarray, "answer"]]:
        """Returns every answer to the questions `keys`: the row within `keys` and the entity, by row."""
        starts, counts = self._places(keys)
        rows, places = _runs(starts, counts)
        return rows, self.entities[places]

    def counts(self, keys: Int64[np.ndarray, "row"]) -> Int[np.ndarray, "row"]:
        """Returns how many answers each question has; 0 for an unknown one."""
        return self._places(keys)[1]

    def _places(self, keys: Int64[np.ndarray, "row"]) -> tuple[Int64[np.ndarray, "row"], Int64[np.ndarray, "row"]]:
        if not len(self.keys):
            return np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        found = self.keys[places] == keys
        starts = self.offsets[places]
        return starts, np.where(found, self.offsets[places + 1] - starts, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """The questions that every entity answers: `Answers` the other way round.

    A few candidates drawn at random answer few questions, while a question such as "who is a citizen of the United
    States?" has thousands of answers: to find which candidates are no negatives, this is the short way.

    Attributes:
        offsets: where each entity's questions start in `keys`, and their total.
        keys: keys of questions, by entity.

    >>> questions = Questions.of(np.array([[0, 0, 1], [0, 0, 2], [3, 0, 2]]), "tail", entity_count=4, relation_count=1)
    >>> questions.answered(np.array([0, 3, 0]), np.array([1, 2])).tolist()
    [[True, True], [False, True], [True, True]]
    """

    offsets: Int64[np.ndarray, "start"]
    keys: Int64[np.ndarray, "question"]

    @classmethod
    def of(cls, triples: Int64[np.ndarray, "triple 3"], side: Side, *, entity_count: int, relation_count: int) -> Self:
        """Returns the questions at `side` in `triples`. Cost: one sort of the triples."""
        answers = triples[:, 2 if side == "tail" else 0]
        offsets = np.zeros(entity_count + 1, np.int64)
        np.cumsum(np.bincount(answers, minlength=entity_count), out=offsets[1:])
        return cls(offsets, question_keys(triples, side, relation_count)[np.argsort(answers, kind="stable")])

    def answered(
        self, keys: Int64[np.ndarray, "row"], candidates: Int64[np.ndarray, "candidate"]
    ) -> Bool[np.ndarray, "row candidate"]:
        """Returns whether each candidate is a known answer to each of the questions `keys`."""
        distinct, rows = np.unique(keys, return_inverse=True)
        starts = self.offsets[candidates]
        columns, places = _runs(starts, self.offsets[candidates + 1] - starts)
        found = self.keys[places]
        nearest = np.minimum(np.searchsorted(distinct, found), len(distinct) - 1)
        same = distinct[nearest] == found
        known = np.zeros((len(distinct), len(candidates)), np.bool_)
        known[nearest[same], columns[same]] = True
        return known[rows]


def _runs(
    starts: Int64[np.ndarray, "run"], counts: Int64[np.ndarray, "run"]
) -> tuple[Int64[np.ndarray, "place"], Int64[np.ndarray, "place"]]:
    """Returns the number of the run and the place of every element of runs that start at `starts`."""
    runs = np.repeat(np.arange(len(counts)), counts)
    return runs, np.arange(len(runs)) + np.repeat(starts - np.cumsum(counts) + counts, counts)
