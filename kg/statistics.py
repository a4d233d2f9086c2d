"""What a graph is like, in counts: size, degrees, relations, names by language, repetitions.

Answers the questions one asks before training: are there hubs, does one relation make up half of it, in which languages
can text be linked, does a relation leak the inverse of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, Int32

from kg.graph import KnowledgeGraph
from kg.keys import row_keys

__all__ = ["Coverage", "Degrees", "RelationCount", "Statistics", "statistics"]


@dataclass(frozen=True, slots=True)
class Degrees:
    """How many triples an entity has at one end (or at both): over all entities, those without any included."""

    mean: float
    median: float
    ninetieth: float  # nine of ten entities have at most as many
    most: int
    most_entity: str

    @classmethod
    def of(cls, degrees: Int[np.ndarray, "entity"], graph: KnowledgeGraph) -> Degrees:
        """Returns the summary of one degree an entity."""
        if not len(degrees):
            return cls(0.0, 0.0, 0.0, 0, "")
        top = int(np.argmax(degrees))
        median, ninetieth = np.quantile(degrees, (0.5, 0.9)).tolist()
        return cls(float(degrees.mean()), median, ninetieth, int(degrees[top]), graph.entities[top])


@dataclass(frozen=True, slots=True)
class RelationCount:
    """How often a relation occurs, and between how many heads and tails."""

    name: str
    label: str
    triples: int
    heads: int
    tails: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much has a name in a language: entities with a label, entities with a label or an alias, relations."""

    language: str
    labeled: int
    named: int
    names: int
    relations: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """What `statistics` counted.

    Attributes:
        lonely: entities in no triple.
        components: weakly connected components, each lonely entity one of them; `largest` the entities of the largest.
        typed: entities with a type; `types` the number of types.
        loops: triples whose head is their tail.
        mirrored: triples whose reverse, by the same relation, is there as well.
        parallel: triples between two entities that another relation joins in the same direction.
        read: triples that the readers gave, before repetitions went; None where that is not known.
        ambiguous: names that more than one entity has in one language.
        relation_counts: most frequent first.
        coverage: by language, most entities first.
    """

    triples: int
    entities: int
    relations: int
    lonely: int
    components: int
    largest: int
    typed: int
    types: int
    attributes: int
    loops: int
    mirrored: int
    parallel: int
    read: int | None
    ambiguous: int
    leaving: Degrees
    reaching: Degrees
    degree: Degrees
    relation_counts: tuple[RelationCount, ...]
    coverage: tuple[Coverage, ...]

    @property
    def repeated(self) -> int | None:
        """Triples that were read more than once."""
        return None if self.read is None else self.read - self.triples

    def as_json(self) -> Mapping[str, Any]:
        """Returns the counts as a value that `json.dumps` takes."""
        return {**asdict(self), "repeated": self.repeated}


def statistics(graph: KnowledgeGraph) -> Statistics:
    """Returns the counts of a graph. Cost: a few sorts of its triples and labels."""
    heads, relations, tails = graph.heads, graph.relations, graph.tails
    leaving = np.bincount(heads, minlength=graph.entity_count)
    reaching = np.bincount(tails, minlength=graph.entity_count)
    forward = row_keys(heads, relations, tails)
    both = row_keys(*(np.concatenate(ends) for ends in ((heads, tails), (relations, relations), (tails, heads))))
    loops = heads == tails
    pairs, times = np.unique(row_keys(heads, tails), return_counts=True)
    components = _components(graph)
    read = sum(report.triples for report in graph.reports)
    return Statistics(
        triples=len(graph),
        entities=graph.entity_count,
        relations=graph.relation_count,
        lonely=int(((leaving + reaching) == 0).sum()),
        components=len(components),
        largest=int(components.max(initial=0)),
        typed=int((np.diff(graph.types.offsets) > 0).sum()),
        types=len(graph.types.names),
        attributes=len(graph.attributes),
        loops=int(loops.sum()),
        mirrored=int((np.isin(both[len(forward) :], both[: len(forward)]) & ~loops).sum()),
        parallel=int(times[times > 1].sum()) if len(pairs) else 0,
        read=read if read >= len(graph) else None,
        ambiguous=_ambiguous(graph),
        leaving=Degrees.of(leaving, graph),
        reaching=Degrees.of(reaching, graph),
        degree=Degrees.of(leaving + reaching, graph),
        relation_counts=_relation_counts(graph),
        coverage=_coverage(graph),
    )


def _components(graph: KnowledgeGraph) -> Int[np.ndarray, "component"]:
    """Returns the number of entities of each weakly connected component."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones, shape = np.ones(len(graph), np.int8), (graph.entity_count, graph.entity_count)
    if not graph.entity_count:
        return np.zeros(0, np.int64)
    _, component = connected_components(coo_array((ones, (graph.heads, graph.tails)), shape=shape), directed=False)
    return np.bincount(component)


def _relation_counts(graph: KnowledgeGraph) -> tuple[RelationCount, ...]:
    count = np.bincount(graph.relations, minlength=graph.relation_count)
    heads, tails = (_distinct(graph.relations, ends, graph.relation_count) for ends in (graph.heads, graph.tails))
    return tuple(
        RelationCount(
            graph.relation_names[relation],
            graph.relation_label(relation) or "",
            int(count[relation]),
            int(heads[relation]),
            int(tails[relation]),
        )
        for relation in np.argsort(-count, kind="stable").tolist()
    )


def _distinct(
    relations: Int32[np.ndarray, "triple"], ends: Int32[np.ndarray, "triple"], relation_count: int
) -> Int[np.ndarray, "relation"]:
    """Returns how many different entities stand at one end of each relation."""
    _, rows = np.unique(row_keys(relations, ends), return_index=True)
    return np.bincount(relations[rows], minlength=relation_count)


def _coverage(graph: KnowledgeGraph) -> tuple[Coverage, ...]:
    entities, relations = graph.labels.entities, graph.labels.relations
    counted = []
    for language in graph.labels.languages:
        rows = entities.rows(language)
        counted.append(
            Coverage(
                language,
                labeled=int(entities.preferred[rows].sum()),
                named=len(np.unique(entities.owner[rows])),
                names=rows.stop - rows.start,
                relations=len(np.unique(relations.owner[relations.rows(language)])),
            )
        )
    return tuple(sorted(counted, key=lambda one: (-one.named, one.language)))


def _ambiguous(graph: KnowledgeGraph) -> int:
    """Returns how many names are shared; rows are distinct, so a text twice in a language has two owners."""
    table = graph.labels.entities
    return sum(
        int((np.unique(table.text[table.rows(language)], return_counts=True)[1] > 1).sum())
        for language in table.languages
    )
