"""What is read of a triple: the texts of its entities, of its relation, and of the questions that it answers.

    entity      [CLS] Bonn: city on the Rhine [SEP]
    relation    [CLS] country [SEP]
    (h, r, ?)   [CLS] Bonn: city on the Rhine [SEP] country [SEP]
    (?, r, t)   [CLS] country [SEP] Germany: state in Europe [SEP]

An entity's text says nothing of its neighbors, which would be the answer.

Source: Wang et al., 2021 (KEPLER), section 3.2, for all but the last, which has the words of SimKGC's inverse relation
(Wang et al., 2022, section 3.1) in an order of their own in place of the word "inverse".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64

from kelm.batch import Encoded
from kelm.data.corpus import digest
from kelm.text.tokenizer import Tokenizer
from kg.embeddings.answers import Side
from kg.linking.entity_text import EntityText

__all__ = ["DescribedTriple", "TripleText"]


@dataclass(frozen=True, slots=True)
class DescribedTriple:
    """A triple to learn from, with all texts that it may be read by.

    Attributes:
        head, relation, tail: ids of the graph.
        texts: of the head, the tail and the corrupted entities, by id.
        relation_text: of the relation; None where it is not asked for.
        questions: the text of the question after each side; empty where they are not asked for.
        corrupted: entities in place of the head, and of the tail.
        known: all known answers at each side, this triple's own among them; ascending.
        shares: of the entities in `texts`: the share of the corpus's triples that bring each one; empty if not told.
        number, origin: see `kelm.batch.Encoded`.
    """

    head: int
    relation: int
    tail: int
    texts: Mapping[int, Encoded]
    relation_text: Encoded | None = None
    questions: Mapping[Side, Encoded] = field(default_factory=dict)
    corrupted: Mapping[Side, tuple[int, ...]] = field(default_factory=dict)
    known: Mapping[Side, Int64[np.ndarray, "answer"]] = field(default_factory=dict)
    shares: Mapping[int, float] = field(default_factory=dict)
    number: int = 0
    origin: str = ""

    def __len__(self) -> int:
        """All tokens; a batch has fewer, as texts that several triples have are read once."""
        more = [] if self.relation_text is None else [self.relation_text]
        return sum(map(len, [*self.texts.values(), *self.questions.values(), *more]))


@dataclass(frozen=True, eq=False)
class TripleText:
    """Tokenizes what a graph says of entities, relations and questions.

    Attributes:
        says: the words.
        length: tokens of a text; longer ones are cut, of a question the entity's text first.
    """

    says: EntityText
    tokenizer: Tokenizer
    length: int = 64

    def entities(self, entities: Iterable[int]) -> dict[int, Encoded]:
        """Returns the text of each of these entities (ids)."""
        distinct = sorted(set(entities))
        said = [self.says(entity) for entity in distinct]
        return dict(zip(distinct, self.tokenizer.encode(said, length=self.length), strict=True))

    def relations(self, relations: Iterable[int]) -> list[Encoded]:
        """Returns the texts of relations (ids)."""
        return self.tokenizer.encode([self.says.relation(one) for one in relations], length=self.length)

    def questions(self, side: Side, asked: Iterable[tuple[int, int]]) -> list[Encoded]:
        """Returns the texts of questions after a side, each given as the known entity and the relation (ids)."""
        said = [(self.says(entity), self.says.relation(relation)) for entity, relation in asked]
        first, second = [entity for entity, _ in said], [relation for _, relation in said]
        if side == "head":
            first, second = second, first
        return self.tokenizer.encode(first, second, length=self.length)

    def fingerprint(self) -> str:
        """Returns a digest: equal digests, equal texts."""
        return digest("triple text 1", self.says.fingerprint(), self.tokenizer.fingerprint(), self.length)
