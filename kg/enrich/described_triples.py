"""The triples of a graph as a corpus: each with the texts of its entities, corrupted ones, and what else is true.

    (Bonn, country, Germany)    --what the graph says of both-->            texts
    --entities that answer neither (?, country, Germany) nor (Bonn, country, ?)-->   corrupted heads and tails

A triple is left out where the graph has no words for one of its entities. Corrupted entities are drawn by the triple's
number, evenly among the entities with words that are no known answer. Known is what the graph has, and further graphs
that are named; the original's filter has the validation triples as well, which tells them by what is never a negative.

Source: Wang et al., 2021 (KEPLER), section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64

from kelm.data.corpus import Corpus, Cursor, Shard, digest
from kelm.errors import FormatError, InputError
from kelm.model.config import EncoderConfig
from kelm.text.tokenizer import Tokenizer
from kg.embeddings.answers import SIDES, Answers, Side, question_keys
from kg.graph import KnowledgeGraph
from kg.linking.entity_text import EntityText, EntityTextOptions
from kg.linking.triple_text import DescribedTriple, TripleText

__all__ = ["DescribedTriples", "described_triples"]

Relation = Literal["table", "text", "condition"]
_TOGETHER = 64  # triples whose texts are tokenized at once


class DescribedTriples(Corpus[DescribedTriple]):
    """Gives every triple whose entities have words, in the graph's order.

    Crosses a queue as a path where the graph is given as one; it is then opened where it is used.

    Args:
        graph: or the folder that it lies in.
        texts: what is said of an entity.
        length: tokens of a text.
        relation: "text" adds the relation's text, "condition" the questions' texts.
        negatives: corrupted heads of a triple, and as many corrupted tails; distinct.
        known: further graphs, or their folders, whose triples are true; matched by name.

    Cost: when first read, a sort of the triples for each side; then the texts of two entities and twice `negatives`.
    """

    def __init__(
        self,
        graph: KnowledgeGraph | str,
        tokenizer: Tokenizer,
        *,
        texts: EntityTextOptions,
        length: int = 64,
        relation: Relation = "table",
        negatives: int = 1,
        known: Sequence[KnowledgeGraph | str] = (),
        seed: int = 0,
    ) -> None:
        self.graph, self.known = graph, tuple(known)
        self.tokenizer, self.texts, self.length = tokenizer, texts, length
        self.relation, self.negatives, self.seed = relation, negatives, seed

    def stream(
        self,
        shard: Shard = Shard(),  # noqa: B008  # frozen
        start: Cursor | None = None,
    ) -> Iterator[tuple[DescribedTriple, Cursor]]:
        graph, told = self.opened, self._told
        usable = told[graph.heads] & told[graph.tails]
        if len(graph) and not usable.any():
            raise FormatError(
                f"none of {len(graph):,} triples has words for both of its entities: {int((~told).sum()):,} of "
                f"{len(told):,} entities have neither a name nor a description",
                path=self.graph if isinstance(self.graph, str) else None,
                field="graph",
                remedy="Build the graph with labels or descriptions in the language that is asked for.",
            )
        numbers = range(start or shard.index, len(graph), shard.count)
        for first in range(0, len(numbers), _TOGETHER):
            some = [number for number in numbers[first : first + _TOGETHER] if usable[number]]
            for triple in self._described(some):
                yield triple, triple.number + shard.count

    def fingerprint(self) -> str:
        known = [graph.fingerprint() for graph in self._known_graphs]
        return digest(
            "DescribedTriples", self._texts.fingerprint(), self.relation, self.negatives, self.seed, *sorted(known)
        )

    def _described(self, numbers: Sequence[int]) -> Iterator[DescribedTriple]:
        """Yields the triples of these numbers; their texts are tokenized together."""
        graph = self.opened
        columns = (graph.heads[numbers].tolist(), graph.relations[numbers].tolist(), graph.tails[numbers].tolist())
        triples: list[DescribedTriple] = []
        for number, head, relation, tail in zip(numbers, *columns, strict=True):
            known = {side: self._answers_to(head, relation, tail, side) for side in SIDES}
            corrupted = {side: self._corrupted(number, side, known[side]) for side in SIDES}
            origin = f"{self.graph if isinstance(self.graph, str) else 'graph'}:{number + 1}"
            triples.append(
                DescribedTriple(head, relation, tail, {}, None, {}, corrupted, known, number=number, origin=origin)
            )
        used = [(one.head, one.tail, *one.corrupted["head"], *one.corrupted["tail"]) for one in triples]
        texts = self._texts.entities(chain.from_iterable(used))
        relations = self._texts.relations(columns[1] if self.relation == "text" else ())
        asked: Mapping[Side, Sequence[int]] = {"head": columns[2], "tail": columns[0]}
        questions = {
            side: self._texts.questions(side, list(zip(asked[side], columns[1], strict=True)))
            for side in (SIDES if self.relation == "condition" else ())
        }
        for place, triple in enumerate(triples):
            yield replace(
                triple,
                texts={entity: texts[entity] for entity in used[place]},
                relation_text=relations[place] if relations else None,
                questions={side: read[place] for side, read in questions.items()},
                shares={entity: float(self._shares[entity]) for entity in used[place]},
            )

    def _answers_to(self, head: int, relation: int, tail: int, side: Side) -> Int64[np.ndarray, "answer"]:
        asked = question_keys(np.array([[head, relation, tail]], np.int64), side, self.opened.relation_count)
        return self._answers[side].pairs(asked)[1]

    def _corrupted(self, number: int, side: Side, known: Int64[np.ndarray, "answer"]) -> tuple[int, ...]:
        """Returns distinct entities that have words and are no known answer: all, if there are not enough."""
        taken = np.searchsorted(self._pool, known[self._told[known]])
        free = len(self._pool) - len(taken)
        random = np.random.default_rng((self.seed, number, SIDES.index(side)))
        drawn = random.choice(free, min(self.negatives, free), replace=False)
        # the drawn one among the free places: each taken place that lies before moves it by one
        places = drawn + np.searchsorted(taken - np.arange(len(taken)), drawn, side="right")
        return tuple(self._pool[places].tolist())

    @cached_property
    def opened(self) -> KnowledgeGraph:
        """The graph."""
        return _opened(self.graph)

    @cached_property
    def _known_graphs(self) -> list[KnowledgeGraph]:
        return [_opened(graph) for graph in self.known]

    @cached_property
    def _texts(self) -> TripleText:
        return TripleText(EntityText(self.opened, self.texts), self.tokenizer, self.length)

    @cached_property
    def _told(self) -> Bool[np.ndarray, "entity"]:
        return self._texts.says.told()

    @cached_property
    def _pool(self) -> Int64[np.ndarray, "entity"]:
        return np.flatnonzero(self._told)

    @cached_property
    def _shares(self) -> Float64[np.ndarray, "entity"]:
        """How likely a triple that is given brings each entity, as its own or as a corrupted one."""
        graph = self.opened
        usable = self._told[graph.heads] & self._told[graph.tails]
        heads, tails = graph.heads[usable], graph.tails[usable]
        counts = np.bincount(np.concatenate((heads, tails[heads != tails])), minlength=graph.entity_count)
        drawn = 2 * self.negatives / max(len(self._pool), 1)  # a little less for known answers, which are few
        shares: Float64[np.ndarray, "entity"] = 1 - (1 - counts / max(len(heads), 1)) * (
            1 - np.minimum(drawn * self._told, 1.0)
        )
        return shares

    @cached_property
    def _answers(self) -> Mapping[Side, Answers]:
        graph = self.opened
        parts = [graph.triples().astype(np.int64)]
        for other in self._known_graphs:
            entities = graph.entities.ids(list(other.entities)).astype(np.int64)
            relations = graph.relation_names.ids(list(other.relation_names)).astype(np.int64)
            named = np.stack((entities[other.heads], relations[other.relations], entities[other.tails]), axis=1)
            parts.append(named[(named >= 0).all(axis=1)])
        true, counts = np.concatenate(parts), (graph.entity_count, graph.relation_count)
        return {side: Answers.of(true, side, entity_count=counts[0], relation_count=counts[1]) for side in SIDES}

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "opened" and not name.startswith("_")}


def _opened(graph: KnowledgeGraph | str) -> KnowledgeGraph:
    return KnowledgeGraph.open(graph) if isinstance(graph, str) else graph


def described_triples(
    graph: str,
    *,
    tokenizer: Tokenizer,
    config: EncoderConfig,
    language: str = "en",
    types: int = 0,
    entity_length: int = 64,
    relation: Relation = "table",
    negatives: int = 1,
    known: Sequence[str] = (),
    seed: int = 0,
) -> DescribedTriples:
    """Returns a corpus for the objective `knowledge_embedding`. Registered as ``described_triples``.

    Args:
        graph: folder of the graph whose triples are learned.
        language: of the texts; see `EntityTextOptions`.
        types: at most so many types are told of an entity. None by default: often they are triples of the graph too.
        entity_length: tokens of a text; longer ones are cut.
        relation: what the objective's option of that name says.
        negatives: corrupted heads of a triple, and as many corrupted tails (KEPLER: 1); 0 where others of the batch do.
        known: folders of further graphs whose triples are no negatives.
        seed: of the corrupted entities.

    Raises:
        InputError: a number below what makes sense.
        CheckpointError: when read, if no graph is there.
        FormatError: when read, if no triple has words for both of its entities.
    """
    for name, value, least in (("negatives", negatives, 0), ("entity_length", entity_length, 5)):
        if value < least:
            raise InputError(f"expected {least} or more, found {value}", field=name, remedy="Give a larger number.")
    return DescribedTriples(
        graph,
        tokenizer,
        texts=EntityTextOptions(language=language, types=types, neighbors=0),
        length=min(entity_length, config.longest),
        relation=relation,
        negatives=negatives,
        known=known,
        seed=seed,
    )
