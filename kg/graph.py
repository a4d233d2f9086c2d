"""A knowledge graph in columns: triples of ids, vocabularies, names by language, types, neighbors.

    heads      [0, 0, 2]     int32, one entry a triple          entities        0 "Q64"   1 "Q183"   2 "Q1055"
    relations  [0, 1, 0]                                        relation_names  0 "P17"   1 "P1376"
    tails      [1, 1, 1]                                        labels          "Berlin"@en, "베를린"@ko ...

A graph is a value: nothing changes it. `where`, `without` and `union` return another; `GraphBuilder` and
the readers in `kg.io` make one. Neighbors are found through compressed sparse rows in time proportional to the degree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Bool, Int, Int32

from kelm.errors import CheckpointError
from kg.adjacency import Adjacency
from kg.collector import ENTITY, RELATION, TYPE, Collector
from kg.keys import first_rows, row_keys
from kg.labels import Attributes, Labels, Types
from kg.parts import Parts
from kg.report import UNWANTED, Report
from kg.storage import open_columns, save_columns
from kg.vocabulary import Vocabulary

__all__ = ["Adjacency", "GraphBuilder", "KnowledgeGraph", "Labels", "Report", "Types", "Vocabulary"]


@dataclass(frozen=True, eq=False)
class KnowledgeGraph:
    """Distinct triples over two vocabularies, with names, types and literals.

    Attributes:
        heads, relations, tails: the triples' ids, distinct, in the order they were first seen.
        entities: names of the entities by id. Some may be in no triple.
        relation_names: names of the relations by id.
        labels: labels and aliases of entities, relations and types by language.
        types: types of each entity.
        attributes: literals that are no labels.
        reports: what the readers made of each source.

    >>> graph = KnowledgeGraph.from_triples(
    ...     [("Q64", "P1376", "Q183"), ("Q64", "P17", "Q183")], labels={"en": {"Q64": ["Berlin", "Berlin, Germany"]}}
    ... )
    >>> len(graph), graph.entity_count, graph.label(0), graph.aliases(0, "en")
    (2, 2, 'Berlin', ['Berlin', 'Berlin, Germany'])
    """

    heads: Int32[np.ndarray, "triple"]
    relations: Int32[np.ndarray, "triple"]
    tails: Int32[np.ndarray, "triple"]
    entities: Vocabulary
    relation_names: Vocabulary
    labels: Labels
    types: Types
    attributes: Attributes
    reports: tuple[Report, ...] = field(default=())

    @property
    def entity_count(self) -> int:
        """Number of entities, also of those in no triple."""
        return len(self.entities)

    @property
    def relation_count(self) -> int:
        """Number of relations, also of those in no triple."""
        return len(self.relation_names)

    def __len__(self) -> int:
        return len(self.heads)

    def __eq__(self, other: object) -> bool:
        """Whether all but the reports is the same, ids and order included."""
        return isinstance(other, KnowledgeGraph) and self.fingerprint() == other.fingerprint()

    def __hash__(self) -> int:
        return hash(self.fingerprint())

    def __repr__(self) -> str:
        return (
            f"KnowledgeGraph({len(self):,} triples, {self.entity_count:,} entities, {self.relation_count:,} relations, "
            f"{len(self.labels):,} labels in {len(self.labels.languages)} languages)"
        )

    def triples(self) -> Int32[np.ndarray, "triple 3"]:
        """Returns head, relation and tail of every triple as one array (a copy)."""
        return np.stack((self.heads, self.relations, self.tails), axis=1)

    def names(self) -> Iterable[tuple[str, str, str]]:
        """Yields every triple as names."""
        entities, relations = list(self.entities), list(self.relation_names)
        for head, relation, tail in zip(*(c.tolist() for c in (self.heads, self.relations, self.tails)), strict=True):
            yield entities[head], relations[relation], entities[tail]

    def label(self, entity: int, language: str = "en") -> str | None:
        """Returns the entity's preferred label, or None; see `aliases` for entities that have aliases only."""
        return self.labels.entities.label(entity, language)

    def aliases(self, entity: int, language: str = "en") -> list[str]:
        """Returns all the entity's names in `language`: the preferred label first, then aliases as read."""
        return self.labels.entities.names(entity, language)

    def relation_label(self, relation: int, language: str = "en") -> str | None:
        """Returns the relation's preferred label, or None."""
        return self.labels.relations.label(relation, language)

    def relation_aliases(self, relation: int, language: str = "en") -> list[str]:
        """Returns all the relation's names in `language`, the preferred label first."""
        return self.labels.relations.names(relation, language)

    def type_label(self, kind: int, language: str = "en") -> str | None:
        """Returns the preferred label of a type (an id of `types.names`), or None."""
        return self.labels.types.label(kind, language)

    def neighbors(self, entity: int) -> tuple[Int32[np.ndarray, "triple"], Int32[np.ndarray, "triple"]]:
        """Returns relations and tails of the triples that leave `entity`. Cost: its degree."""
        rows = self.leaving.triples(entity)
        return self.relations[rows], self.tails[rows]

    def incoming(self, entity: int) -> tuple[Int32[np.ndarray, "triple"], Int32[np.ndarray, "triple"]]:
        """Returns relations and heads of the triples that reach `entity`. Cost: its degree."""
        rows = self.reaching.triples(entity)
        return self.relations[rows], self.heads[rows]

    @cached_property
    def leaving(self) -> Adjacency:
        """Triples by head. Cost: one sort when first used, none for a graph that was opened from a folder."""
        return Adjacency.of(self.heads, self.entity_count)

    @cached_property
    def reaching(self) -> Adjacency:
        """Triples by tail; cost as `leaving`."""
        return Adjacency.of(self.tails, self.entity_count)

    def where(self, mask: Bool[np.ndarray, "triple"]) -> KnowledgeGraph:
        """Returns the graph of the triples where `mask` is True; vocabularies, labels and types stay."""
        if len(mask) != len(self):
            raise ValueError(f"expected a mask of {len(self)} triples, found {len(mask)} entries.")
        return replace(self, heads=self.heads[mask], relations=self.relations[mask], tails=self.tails[mask])

    def without(self, triples: Int[np.ndarray, "triple 3"]) -> KnowledgeGraph:
        """Returns the graph less these triples (ids; those it does not have are ignored), vocabularies unchanged."""
        return self.where(~_found(self.triples(), triples))

    def contains(self, triples: Int[np.ndarray, "triple 3"]) -> Bool[np.ndarray, "triple"]:
        """Returns for each of these triples (ids) whether the graph has it. Cost: one sort of the graph."""
        return _found(triples, self.triples())

    def with_triples(self, triples: Int[np.ndarray, "triple 3"]) -> KnowledgeGraph:
        """Returns the graph that has these triples (ids) and no others; vocabularies, labels and types stay."""
        heads, relations, tails = np.reshape(triples, (-1, 3)).astype(np.int32).T
        first = first_rows(row_keys(heads, relations, tails))
        return replace(self, heads=heads[first], relations=relations[first], tails=tails[first])

    def union(self, other: KnowledgeGraph) -> KnowledgeGraph:
        """Returns the graph of both. Ids of `self` stay; where both have a preferred label, that of `self` stays."""
        return GraphBuilder().graph(self).graph(other).build()

    @classmethod
    def from_triples(
        cls,
        triples: Iterable[tuple[str, str, str]],
        *,
        labels: Mapping[str, Mapping[str, str | Sequence[str]]] | None = None,
        types: Mapping[str, Iterable[str]] | None = None,
    ) -> KnowledgeGraph:
        """Returns the graph of named triples.

        Args:
            triples: head, relation, tail.
            labels: by language, then by name of an entity, relation or type: its label, or a list of its label and
                then its aliases. A name in no triple becomes an entity.
            types: type names by entity.

        Raises:
            FormatError: an empty name, or a label without a visible character.
        """
        builder = GraphBuilder()
        for head, relation, tail in triples:
            builder.triple(head, relation, tail)
        for entity, kinds in (types or {}).items():
            for kind in kinds:
                builder.type(entity, kind)
        for language, named in (labels or {}).items():
            for name, texts in named.items():
                for rank, text in enumerate([texts] if isinstance(texts, str) else texts):
                    builder.label_any(name, language, text, preferred=rank == 0)
        return builder.build()

    def fingerprint(self) -> str:
        """Returns a SHA-256 over ids, order and strings: equal if and only if all but the reports is equal."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return self._parts().fingerprint()

    def _parts(self) -> Parts:
        return Parts(*(getattr(self, name) for name in Parts._fields))

    def save(self, folder: str | Path) -> None:
        """Writes the graph to `folder`, aside first and then renamed; a graph that is there is replaced.

        Raises:
            CheckpointError: the folder holds something else or cannot be written. Nothing half-written remains.
        """
        parts = self._parts()
        columns = parts.columns() | parts.orders()
        for side in ("leaving", "reaching"):
            adjacency: Adjacency = getattr(self, side)
            columns |= {f"{side}.offsets": adjacency.offsets, f"{side}.order": adjacency.order}
        save_columns(folder, columns, {**parts.facts(), "fingerprint": self.fingerprint()})

    @classmethod
    def open(cls, folder: str | Path, *, verify: bool = True) -> KnowledgeGraph:
        """Returns the graph saved in `folder`, memory-mapped.

        Args:
            verify: compare checksums, which reads the files once (about a second a gigabyte); without it only their
                sizes are compared and opening costs nothing.

        Raises:
            CheckpointError: no graph is there, or a file of it is missing, cut or changed.
        """
        columns, facts = open_columns(folder, verify=verify)
        try:
            graph = cls(**Parts.of(columns, facts)._asdict())
            for side in ("leaving", "reaching"):  # fills the cached property
                graph.__dict__[side] = Adjacency(columns[f"{side}.offsets"], columns[f"{side}.order"])
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise CheckpointError(f"{folder}: the manifest lacks {error}. Build the graph again.") from error
        return graph


def _found(asked: Int[np.ndarray, "triple 3"], known: Int[np.ndarray, "other 3"]) -> Bool[np.ndarray, "triple"]:
    """Returns for each triple of `asked` whether it is in `known`."""
    both = np.concatenate((np.reshape(known, (-1, 3)), np.reshape(asked, (-1, 3)))).astype(np.int64)
    both -= both.min(initial=0)  # keys count from 0, and an unknown name's id is -1
    keys = row_keys(*both.T)
    return np.isin(keys[len(both) - len(asked) :], keys[: len(both) - len(asked)])


class GraphBuilder(Collector):
    """Makes a graph of statements in any order: what the readers feed.

    >>> builder = GraphBuilder(languages=["en"])
    >>> builder.triple("Q64", "P17", "Q183")
    >>> builder.label("Q64", "en", "Berlin")
    >>> builder.label("Q64", "ko", "베를린")
    >>> builder.build().labels.languages
    ('en',)
    """

    def graph(self, graph: KnowledgeGraph) -> Self:
        """Adds a whole graph; in an empty builder, its ids stay."""
        numbers = {
            kind: np.fromiter((self.names[name] for name in names), np.int32, len(names))
            for kind, names in ((ENTITY, graph.entities), (RELATION, graph.relation_names), (TYPE, graph.types.names))
        }
        for kind, number in numbers.items():
            self.kept_rows.extend(np.stack((number, np.full_like(number, kind)), axis=1))
        entity, relation = numbers[ENTITY], numbers[RELATION]
        self.triple_rows.extend(np.stack((entity[graph.heads], relation[graph.relations], entity[graph.tails]), axis=1))
        owners = np.repeat(entity, np.diff(graph.types.offsets))
        self.type_rows.extend(np.stack((owners, numbers[TYPE][graph.types.values]), axis=1))
        kept = self._labels_of(graph.labels, numbers)
        self._attributes_of(graph.attributes, entity)
        self.reports.extend(graph.reports)
        if kept < len(graph.labels):
            dropped = {UNWANTED: len(graph.labels) - kept}
            self.reports.append(Report("graph as read so far", "graph", lines=len(graph), labels=kept, dropped=dropped))
        return self

    def _labels_of(self, labels: Labels, numbers: Mapping[int, Int32[np.ndarray, "name"]]) -> int:
        """Adds the labels in wanted languages and returns how many these are."""
        wanted = [
            (kind, self.language(code), table, table.rows(code))
            for kind, table in ((ENTITY, labels.entities), (RELATION, labels.relations), (TYPE, labels.types))
            for code in table.languages
            if self.language(code) >= 0
        ]
        used = np.zeros(len(labels.entities.texts), bool)
        for _, _, table, rows in wanted:
            used[table.text[rows]] = True
        strings = list(labels.entities.texts)
        texts = np.zeros(len(strings), np.int32)
        texts[used] = np.fromiter((self.texts[strings[row]] for row in np.flatnonzero(used)), np.int32)
        for kind, language, table, rows in wanted:
            owner = numbers[kind][table.owner[rows]]
            same = (np.full_like(owner, kind), np.full_like(owner, language))
            self.label_rows.extend(np.stack((owner, *same, table.preferred[rows], texts[table.text[rows]]), axis=1))
        return sum(rows.stop - rows.start for *_, rows in wanted)

    def _attributes_of(self, attributes: Attributes, entity: Int32[np.ndarray, "name"]) -> None:
        pools = (
            (self.names, attributes.properties),
            (self.values, attributes.values),
            (self.qualifiers, attributes.qualifiers),
        )
        property, value, qualifier = (np.fromiter((pool[text] for text in texts), np.int32) for pool, texts in pools)
        self.attribute_rows.extend(
            np.stack(
                (
                    entity[attributes.entity],
                    property[attributes.property],
                    value[attributes.value],
                    qualifier[attributes.qualifier],
                ),
                axis=1,
            )
        )

    def build(self) -> KnowledgeGraph:
        """Returns the graph of all that was added; the builder can go on afterwards."""
        return KnowledgeGraph(**self.parts()._asdict())
