"""What a graph says of one entity, and which entity a person means.

found(graph, "Q64")  found(graph, "Berlin")      by its name, or by a label or an alias in any language
label_of([graph], "Q64", language="en")          its label there or in another language, in the first graph with one
describe(graph, entity, neighbors=5)             names, types, literals, neighbors by relation, with counts
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, Int32

from kelm.errors import InputError, UnknownName
from kg.graph import KnowledgeGraph
from kg.labels import Attribute, LabelTable
from kg.vocabulary import TextColumn

__all__ = ["Description", "Named", "Neighbors", "describe", "found", "label_of"]

_OFFERED = 5  # entities that an error offers when a label is ambiguous


@dataclass(frozen=True, slots=True)
class Named:
    """A name of the graph, and its label in the language asked for or else in another ("" if it has none)."""

    name: str
    label: str


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The triples of an entity with one relation: how many there are, and the first of their other ends."""

    relation: Named
    count: int
    shown: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """What a graph says of one entity.

    Attributes:
        names: labels and aliases by language, preferred ones first.
        attributes: literals that are no labels.
        leaving, reaching: neighbors by relation, most triples first.
    """

    entity: Named
    names: Mapping[str, Sequence[str]]
    types: tuple[Named, ...]
    attributes: tuple[Attribute, ...]
    leaving: tuple[Neighbors, ...]
    reaching: tuple[Neighbors, ...]

    def as_json(self) -> dict[str, Any]:
        """Returns the description as a value that `json.dumps` takes."""
        return {**asdict(self), "attributes": [attribute._asdict() for attribute in self.attributes]}


def found(graph: KnowledgeGraph, wanted: str) -> int:
    """Returns the entity with this name, or else the only one with this label or alias, whatever the language.

    Letters count as they are; only if no label is equal, upper and lower case are the same.

    Raises:
        UnknownName: nothing is called that; with the closest names.
        InputError: several entities are; with those that have most triples.
    """
    entity = graph.entities.find(wanted)
    if entity >= 0:
        return entity
    entities = _labeled(graph.labels.entities, wanted)
    if not len(entities):
        raise UnknownName(f'no entity has the name or the label "{wanted}"', remedy=graph.entities.closest(wanted))
    if len(entities) > 1:
        degrees = [len(graph.neighbors(one)[0]) + len(graph.incoming(one)[0]) for one in entities.tolist()]
        first = [entities[place] for place in np.argsort(-np.array(degrees), kind="stable")[:_OFFERED]]
        offered = ", ".join(graph.entities[int(one)] for one in first)
        raise InputError(f'"{wanted}" is a label of {len(entities):,} entities', remedy=f"Name one: {offered}.")
    return int(entities[0])


def _labeled(table: LabelTable, text: str) -> Int32[np.ndarray, "entity"]:
    """Returns the entities that a text names, ascending."""
    rows = _rows(table.texts, text)
    if not (owners := np.unique(table.owner[np.isin(table.text, rows)])).size:
        folded = text.casefold()
        rows = [row for row, known in enumerate(table.texts) if known.casefold() == folded]
        owners = np.unique(table.owner[np.isin(table.text, rows)])
    return owners


def _rows(texts: TextColumn, text: str) -> list[int]:
    """Returns the rows of a column that hold `text`. Cost: one search through its bytes."""
    blob, wanted, rows, place = texts.blob.tobytes(), text.encode("utf-8", "surrogatepass"), [], -1
    while wanted and (place := blob.find(wanted, place + 1)) >= 0:
        row = int(np.searchsorted(texts.offsets, place, side="right")) - 1
        if texts.offsets[row] == place and texts.offsets[row + 1] == place + len(wanted):
            rows.append(row)
    return rows


def describe(graph: KnowledgeGraph, entity: int, *, language: str = "en", neighbors: int = 5) -> Description:
    """Returns what the graph says of an entity.

    Args:
        language: of the labels of neighbors, relations and types where there are any; else another language's.
        neighbors: how many to name of each relation and direction; all are counted.

    Raises:
        IndexError: no entity has this id.
    """
    labels = graph.labels
    names = {code: kept for code in labels.entities.languages if (kept := labels.entities.names(entity, code))}
    types = ((graph.types.names[int(kind)], int(kind)) for kind in graph.types.of(entity))
    return Description(
        entity=Named(graph.entities[entity], _label(labels.entities, entity, language)),
        names=names,
        types=tuple(Named(name, _label(labels.types, kind, language)) for name, kind in types),
        attributes=tuple(graph.attributes.of(entity)),
        leaving=_neighbors(graph, *graph.neighbors(entity), language=language, shown=neighbors),
        reaching=_neighbors(graph, *graph.incoming(entity), language=language, shown=neighbors),
    )


def _neighbors(
    graph: KnowledgeGraph,
    relations: Int[np.ndarray, "triple"],
    others: Int[np.ndarray, "triple"],
    *,
    language: str,
    shown: int,
) -> tuple[Neighbors, ...]:
    grouped = []
    kinds, counts = np.unique(relations, return_counts=True)
    for place in np.argsort(-counts, kind="stable").tolist():
        relation = int(kinds[place])
        ends = others[relations == relation][:shown].tolist()
        grouped.append(
            Neighbors(
                Named(graph.relation_names[relation], _label(graph.labels.relations, relation, language)),
                int(counts[place]),
                tuple(Named(graph.entities[end], _label(graph.labels.entities, end, language)) for end in ends),
            )
        )
    return tuple(grouped)


def label_of(graphs: Sequence[KnowledgeGraph], name: str, *, language: str) -> str:
    """Returns the label, as in `Named`, that the first of the graphs which has one gives this entity; "" if none has.

    Cost: two searches in a graph; nothing is decoded but the label.
    """
    for graph in graphs:
        entity = graph.entities.find(name)
        if entity >= 0 and (label := _label(graph.labels.entities, entity, language)):
            return label
    return ""


def _label(table: LabelTable, owner: int, language: str) -> str:
    for code in (language, "", *table.languages):
        if (label := table.label(owner, code)) is not None:
            return label
    return ""
