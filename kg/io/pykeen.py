"""PyKEEN's triples factories, both ways. Ids stay the same; PyKEEN has no place for labels and types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kg.graph import GraphBuilder, KnowledgeGraph

if TYPE_CHECKING:
    from pykeen.triples import TriplesFactory

__all__ = ["from_pykeen", "to_pykeen"]


def to_pykeen(graph: KnowledgeGraph) -> TriplesFactory:
    """Returns the triples as a `TriplesFactory` with the graph's ids. Labels, types and attributes stay behind."""
    from pykeen.triples import TriplesFactory

    return TriplesFactory(
        mapped_triples=graph.triples().astype(np.int64),
        entity_to_id={name: number for number, name in enumerate(graph.entities)},
        relation_to_id={name: number for number, name in enumerate(graph.relation_names)},
    )


def from_pykeen(factory: TriplesFactory) -> KnowledgeGraph:
    """Returns the graph of a `TriplesFactory`, with its ids. Inverse triples that it would create are left out."""
    builder = GraphBuilder()
    for name, _ in sorted(factory.entity_to_id.items(), key=lambda item: item[1]):
        builder.entity(name)
    for name, _ in sorted(factory.relation_to_id.items(), key=lambda item: item[1]):
        builder.relation(name)
    return builder.build().with_triples(factory.mapped_triples.numpy())
