"""What a graph says, by names and without order: how tests compare graphs whose ids may differ."""

from __future__ import annotations

from typing import Any

from kg.graph import KnowledgeGraph

__all__ = ["facts"]


def facts(graph: KnowledgeGraph) -> dict[str, set[Any]]:
    """Returns triples, entities, labels, types and attributes as sets of tuples of names."""
    entities, relations, kinds = list(graph.entities), list(graph.relation_names), list(graph.types.names)
    labels: set[Any] = set()
    for names, table in (
        (entities, graph.labels.entities),
        (relations, graph.labels.relations),
        (kinds, graph.labels.types),
    ):
        labels |= {(names[label.owner], label.language, label.text, label.preferred) for label in table}
    return {
        "triples": set(graph.names()),
        "entities": set(entities),
        "relations": set(relations),
        "labels": labels,
        "types": {(name, kinds[kind]) for entity, name in enumerate(entities) for kind in graph.types.of(entity)},
        "attributes": {
            (name, attribute) for entity, name in enumerate(entities) for attribute in graph.attributes.of(entity)
        },
    }
