"""networkx graphs, both ways.

graph.add_edge("Q64", "Q183", "P17")         a triple is an edge whose key is the relation
node["labels"]   {"en": ["Berlin"]}          preferred labels; node["aliases"] likewise; node["types"] a list
graph.graph["relations"]["P17"]["labels"]    the same for relations, graph.graph["types"] for types
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kelm.errors import FormatError
from kg.graph import GraphBuilder, KnowledgeGraph, Report
from kg.io.journal import Journal
from kg.labels import LabelTable

if TYPE_CHECKING:
    import networkx

__all__ = ["feed", "from_networkx", "to_networkx"]


def to_networkx(graph: KnowledgeGraph) -> networkx.MultiDiGraph[str]:
    """Returns the graph as a `MultiDiGraph` over names; `from_networkx` gives the same facts and entity ids."""
    import networkx

    result: networkx.MultiDiGraph[str] = networkx.MultiDiGraph()
    names = _names(graph.labels.entities)
    types = list(graph.types.names)
    for entity, name in enumerate(graph.entities):
        data: dict[str, Any] = dict(names.get(entity, {}))
        if len(kinds := graph.types.of(entity)):
            data["types"] = [types[kind] for kind in kinds.tolist()]
        if attributes := graph.attributes.of(entity):
            data["attributes"] = [tuple(attribute) for attribute in attributes]
        result.add_node(name, **data)
    for head, relation, tail in graph.names():
        result.add_edge(head, tail, relation)
    for kind, table, vocabulary in (
        ("relations", graph.labels.relations, graph.relation_names),
        ("types", graph.labels.types, graph.types.names),
    ):
        names = _names(table)
        result.graph[kind] = {name: names.get(number, {}) for number, name in enumerate(vocabulary)}
    return result


def _names(table: LabelTable) -> dict[int, dict[str, dict[str, list[str]]]]:
    """Returns for each owner its labels and aliases by language."""
    names: dict[int, dict[str, dict[str, list[str]]]] = {}
    for label in table.each():
        kind = "labels" if label.preferred else "aliases"
        names.setdefault(label.owner, {}).setdefault(kind, {}).setdefault(label.language, []).append(label.text)
    return names


def from_networkx(source: networkx.DiGraph[Any], *, relation: str = "relation") -> KnowledgeGraph:
    """Returns the graph of a `DiGraph` or `MultiDiGraph`; see `feed`."""
    builder = GraphBuilder()
    feed(builder, source, relation=relation)
    return builder.build()


def feed(builder: GraphBuilder, source: networkx.DiGraph[Any], *, relation: str = "relation") -> Report:
    """Adds a networkx graph to `builder`. Nodes that are no strings are named by `str`.

    Args:
        relation: the edge attribute that names the relation; without it the edge's key does, if it is a string.

    Raises:
        FormatError: an edge names no relation, or the graph has no directions.
    """
    if not source.is_directed():
        raise FormatError(
            "expected a directed graph", path="networkx graph", remedy="Call its to_directed(), or use a DiGraph."
        )
    journal = Journal("networkx graph", "networkx")
    for name, data in source.graph.get("relations", {}).items():
        builder.relation(str(name))
        _describe(builder.relation_label, str(name), data, journal)
    for name, data in source.nodes(data=True):
        builder.entity(str(name))
        _describe(builder.label, str(name), data, journal)
        for kind in data.get("types", ()):
            builder.type(str(name), str(kind))
            journal.counts["types"] += 1
        for property, text, language, datatype in data.get("attributes", ()):
            builder.attribute(str(name), property, text, language=language, datatype=datatype)
            journal.counts["attributes"] += 1
    for name, data in source.graph.get("types", {}).items():
        _describe(builder.type_label, str(name), data, journal)
    for head, tail, key, data in _edges(source):
        journal.line += 1
        named = data.get(relation, key)
        if not isinstance(named, str):
            raise FormatError(
                f'the edge from "{head}" to "{tail}" names no relation',
                path="networkx graph",
                line=journal.line,
                remedy=f'Give it an attribute "{relation}", or say which attribute names the relation.',
            )
        builder.triple(str(head), named, str(tail))
        journal.counts["triples"] += 1
    report = journal.report()
    builder.reports.append(report)
    return report


def _edges(source: networkx.DiGraph[Any]) -> Any:
    if source.is_multigraph():
        return source.edges(keys=True, data=True)  # type: ignore[call-overload]  # a MultiDiGraph's signature
    return ((head, tail, None, data) for head, tail, data in source.edges(data=True))


def _describe(add: Any, name: str, data: Mapping[str, Any], journal: Journal) -> None:
    for kind in ("labels", "aliases"):
        for language, texts in data.get(kind, {}).items():
            for text in [texts] if isinstance(texts, str) else texts:
                journal.label(add(name, language, text, preferred=kind == "labels"))
