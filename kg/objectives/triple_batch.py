"""Triples as a batch of texts: every distinct text is a row once, and the two questions of each triple point at them.

    rows        [e₀] [e₁] ...  [relations]  [questions]       entities with the same words share a row
    question    0 ... T-1: the tails of the T triples         T ... 2T-1: their heads
    candidate   the entities of the batch, by id

`Excluded` are the candidates that are no negatives of a question: its known answers, and entities that read like the
right one and so cannot be told from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64

from kelm.batch import Batch, Encoded, Part, pack
from kelm.errors import InputError
from kelm.typing import Float, Int, Tensor
from kg.embeddings.answers import Side
from kg.linking.triple_text import DescribedTriple
from kg.objectives.mention_description import EntityRows

__all__ = ["Asked", "Chances", "Corrupted", "Excluded", "Known", "RelationUse", "TripleCollate"]

RelationUse = Literal["table", "text", "condition"]
QUESTIONS: tuple[Side, Side] = ("tail", "head")


@dataclass(frozen=True, slots=True)
class Asked(Part):
    """The questions.

    Attributes:
        given, right: places in `EntityRows` of the known entity and of the answer.
        relation: its id.
        text: number of the text that tells relation or question; -1 if none does.
    """

    given: Int[Tensor, "question"]
    relation: Int[Tensor, "question"]
    right: Int[Tensor, "question"]
    text: Int[Tensor, "question"]


@dataclass(frozen=True, slots=True)
class Corrupted(Part):
    """The corrupted answers of each question, as places in `EntityRows`."""

    question: Int[Tensor, "corrupted"]
    place: Int[Tensor, "corrupted"]


@dataclass(frozen=True, slots=True)
class Excluded(Part):
    """What is no negative of a question, as places in `EntityRows`."""

    question: Int[Tensor, "excluded"]
    place: Int[Tensor, "excluded"]


@dataclass(frozen=True, slots=True)
class Known(Part):
    """All known answers to each question, as ids; for candidates of earlier batches."""

    question: Int[Tensor, "known"]
    entity: Int[Tensor, "known"]


@dataclass(frozen=True, slots=True)
class Chances(Part):
    """How likely a batch of so many triples has each of `EntityRows`, if triples are drawn independently."""

    chance: Float[Tensor, "entity"]


@dataclass(frozen=True)
class TripleCollate:
    """Puts the texts of triples into rows; nothing is drawn.

    Attributes:
        relation: "text" reads the relations' texts, "condition" those of the questions.
        relations: how many relations there are vectors of; None: there are none.
        whole: add `Known`.
        chances: add `Chances`.
    """

    pad: int
    objective: str
    relation: RelationUse
    relations: int | None = None
    whole: bool = False
    chances: bool = False
    room: int | None = None

    def __call__(self, texts: Sequence[DescribedTriple], seed: int) -> Batch:
        """Returns the batch.

        Raises:
            InputError: a triple has a relation without a vector, or lacks a text that is to be read.
        """
        described: dict[int, Encoded] = {}
        for triple in texts:
            self._check(triple)
            described.update(triple.texts)
        entities = np.array(sorted(described), np.int64)
        rows = _Rows()
        read = [rows.add(described[entity]) for entity in entities.tolist()]
        asked = [(triple, side) for side in QUESTIONS for triple in texts]
        told = [self._told(triple, side) for triple, side in asked]
        right = [triple.tail if side == "tail" else triple.head for triple, side in asked]
        given = [triple.head if side == "tail" else triple.tail for triple, side in asked]
        parts: list[Part] = [
            EntityRows(torch.from_numpy(entities), torch.tensor(read)),
            Asked(
                torch.from_numpy(np.searchsorted(entities, given)),
                torch.tensor([triple.relation for triple, _ in asked]),
                torch.from_numpy(np.searchsorted(entities, right)),
                torch.tensor([-1 if text is None else rows.add(text) for text in told]),
            ),
            Corrupted(*_pairs([np.searchsorted(entities, one.corrupted.get(side, ())) for one, side in asked])),
            Excluded(*_pairs(_excluded(asked, right, entities, np.array(read)))),
        ]
        if self.whole:
            parts.append(Known(*_pairs([_answers(triple, side) for triple, side in asked])))
        if self.chances:
            parts.append(_chances(texts, entities))
        units = {self.objective: len(texts)}
        batch = pack(
            rows.texts, pad=self.pad, objective=self.objective, room=self.room, units=units, parts=tuple(parts)
        )
        return batch.having(origins=tuple(triple.origin for triple in texts))

    def _told(self, triple: DescribedTriple, side: Side) -> Encoded | None:
        if self.relation == "condition":
            return triple.questions[side]
        return triple.relation_text if self.relation == "text" else None

    def _check(self, triple: DescribedTriple) -> None:
        lacks = {"table": False, "text": triple.relation_text is None, "condition": not triple.questions}
        if lacks[self.relation]:
            raise InputError(
                f"{triple.origin}: the triple comes without the text that is to be read",
                field="relation",
                remedy=f'Set relation = "{self.relation}" in the options of the corpus, too.',
            )
        if self.relations is not None and triple.relation >= self.relations:
            raise InputError(
                f"{triple.origin}: relation {triple.relation} is none of {self.relations}",
                field="relations",
                remedy="Give the objective the graph that its corpus reads.",
            )


class _Rows:
    """Distinct texts, numbered as they come."""

    def __init__(self) -> None:
        self.texts: list[Encoded] = []
        self._numbers: dict[tuple[bytes, bytes], int] = {}

    def add(self, text: Encoded) -> int:
        """Returns the number of a text."""
        number = self._numbers.setdefault((text.tokens.tobytes(), text.segments.tobytes()), len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        return number


def _answers(triple: DescribedTriple, side: Side) -> Int64[np.ndarray, "answer"]:
    known = triple.known.get(side)
    return np.array([triple.tail if side == "tail" else triple.head]) if known is None else known


def _excluded(
    asked: Sequence[tuple[DescribedTriple, Side]],
    right: Sequence[int],
    entities: Int64[np.ndarray, "entity"],
    rows: Int64[np.ndarray, "entity"],
) -> list[Int64[np.ndarray, "place"]]:
    """Returns for each question the places of its known answers, and of what reads like the right one."""
    true: dict[tuple[Side, int, int], list[int]] = {}  # the batch's own answers, where the triples bring no others
    places = np.searchsorted(entities, right)
    for (triple, side), place in zip(asked, places.tolist(), strict=True):
        true.setdefault(_question(triple, side), []).append(place)
    found = []
    for (triple, side), place in zip(asked, places.tolist(), strict=True):
        known = _answers(triple, side)
        nearest = np.minimum(np.searchsorted(known, entities), len(known) - 1)
        no_negative = (known[nearest] == entities) | (rows == rows[place])
        no_negative[true[_question(triple, side)]] = True
        found.append(np.flatnonzero(no_negative))
    return found


def _chances(texts: Sequence[DescribedTriple], entities: Int64[np.ndarray, "entity"]) -> Chances:
    shares = {entity: share for triple in texts for entity, share in triple.shares.items()}
    lacking = [triple for triple in texts if not triple.texts.keys() <= shares.keys()]
    if lacking:
        raise InputError(
            f"{lacking[0].origin}: the triple does not tell how frequent its entities are",
            field="popularity",
            remedy="Read the corpus described_triples, or leave the option out.",
        )
    share = np.minimum([shares[entity] for entity in entities.tolist()], 1 - 1e-7)
    return Chances(torch.from_numpy(-np.expm1(len(texts) * np.log1p(-share))).float())


def _question(triple: DescribedTriple, side: Side) -> tuple[Side, int, int]:
    return (side, triple.head if side == "tail" else triple.tail, triple.relation)


def _pairs(lists: Sequence[Int64[np.ndarray, "member"]]) -> tuple[Int[Tensor, "pair"], Int[Tensor, "pair"]]:
    """Returns every member of every list: the list's number, and the member."""
    numbers = np.repeat(np.arange(len(lists)), [len(members) for members in lists])
    members = np.concatenate([np.zeros(0, np.int64), *lists]).astype(np.int64)
    return torch.from_numpy(numbers.astype(np.int64)), torch.from_numpy(members)
