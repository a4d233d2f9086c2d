"""networkx graphs, both ways.

graph.add_edge("Q64", "Q183", "P17")         a triple is an edge whose key is the relation
node["labels"]   {"en": ["Berlin"]}          preferred labels; node["aliases"] likewise; node["types"] a list
node["attributes"]   (property, text, language, datatype) each; any other text or number of a node is one as well
graph.graph["relations"]["P17"]["labels"]    the same for relations, graph.graph["types"] for types

Attributes of edges and of the graph, and values that are no literal, are counted in the report.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from kelm.errors import FormatError
from kg.graph import GraphBuilder, KnowledgeGraph, Report
from kg.io.journal import Journal
from kg.labels import Attribute, LabelTable

if TYPE_CHECKING:
    import networkx

__all__ = ["feed", "from_networkx", "to_networkx"]

_SOURCE = "networkx graph"
_ABOUT = ("relations", "types")  # what the graph's own attributes say
_KNOWN = ("labels", "aliases", "types", "attributes")  # what a node's say
_XSD = "http://www.w3.org/2001/XMLSchema#"


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
        FormatError: an edge names no relation, two nodes have one name, names or types have another form than
            `to_networkx` gives them, or the graph has no directions.
    """
    if not source.is_directed():
        raise FormatError("expected a directed graph", path=_SOURCE, remedy="Call its to_directed(), or use a DiGraph.")
    journal = Journal(_SOURCE, "networkx")
    about = {kind: _form(source.graph.get(kind, {}), Mapping, kind) for kind in _ABOUT}
    for key in source.graph:
        journal.drop(f'attribute "{key}" of the graph', key not in _ABOUT)
    for name, data in about["relations"].items():
        builder.relation(str(name))
        _describe(builder.relation_label, str(name), _form(data, Mapping, name), journal)
    seen: set[str] = set()
    for node, data in source.nodes(data=True):
        if (name := str(node)) in seen:
            problem = f'two nodes are called "{name}"'
            raise FormatError(problem, path=_SOURCE, remedy="Rename one: nodes go by their texts.")
        seen.add(name)
        _node(builder, name, data, journal)
    for name, data in about["types"].items():
        _describe(builder.type_label, str(name), _form(data, Mapping, name), journal)
    for head, tail, key, data in _edges(source):
        journal.line += 1
        named = data.get(relation, key)
        if not isinstance(named, str):
            raise FormatError(
                f'the edge from "{head}" to "{tail}" names no relation',
                path=_SOURCE,
                line=journal.line,
                remedy=f'Give it an attribute "{relation}", or say which attribute names the relation.',
            )
        builder.triple(str(head), named, str(tail))
        journal.counts["triples"] += 1
        for name in data:
            journal.drop(f'attribute "{name}" of an edge', name != relation)
    report = journal.report()
    builder.reports.append(report)
    return report


def _edges(source: networkx.DiGraph[Any]) -> Any:
    if source.is_multigraph():
        return source.edges(keys=True, data=True)  # type: ignore[call-overload]  # a MultiDiGraph's signature
    return ((head, tail, None, data) for head, tail, data in source.edges(data=True))


def _node(builder: GraphBuilder, name: str, data: Mapping[str, Any], journal: Journal) -> None:
    builder.entity(name)
    _describe(builder.label, name, data, journal)
    for kind in _form(data.get("types", ()), Collection, name):
        builder.type(name, str(kind))
        journal.counts["types"] += 1
    attributes = []
    for one in _form(data.get("attributes", ()), Collection, name):
        if not (isinstance(one, tuple | list) and len(one) == 4 and all(isinstance(part, str) for part in one)):
            raise _strange(one, name, "property, text, language and datatype")
        attributes.append(Attribute(*one))
    for key, value in data.items():
        if key not in _KNOWN:
            if (literal := _literal(value)) is None:
                journal.drop(f'attribute "{key}" of a node that is no literal')
            else:
                attributes.append(Attribute(str(key), literal[0], "", literal[1]))
    for property, text, language, datatype in attributes:
        builder.attribute(name, property, text, language=language, datatype=datatype)
    journal.counts["attributes"] += len(attributes)


def _literal(value: object) -> tuple[str, str] | None:
    """Returns text and datatype of a value of Python or NumPy; None if it is neither text nor number."""
    if isinstance(value, str):
        return value, ""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower(), f"{_XSD}boolean"
    if isinstance(value, Integral):
        return str(int(value)), f"{_XSD}integer"
    return (repr(float(value)), f"{_XSD}double") if isinstance(value, Real) else None


def _describe(add: Any, name: str, data: Mapping[str, Any], journal: Journal) -> None:
    for kind in ("labels", "aliases"):
        for language, texts in _form(data.get(kind, {}), Mapping, name).items():
            for text in [texts] if isinstance(texts, str) else _form(texts, Collection, name):
                if not (isinstance(text, str) and isinstance(language, str)):
                    raise _strange(text, name, "text by language")
                journal.label(add(name, language, text, preferred=kind == "labels"))


def _form(value: Any, form: type, name: object) -> Any:
    """Returns a value that has the form of a mapping or a collection; what else it is, is an error."""
    if not isinstance(value, form) or isinstance(value, str):
        raise _strange(value, name, f"a {form.__name__}")
    return value


def _strange(value: object, name: object, expected: str) -> FormatError:
    remedy = "See kg.io.networkx for the form of names, types and attributes."
    return FormatError(f"expected {expected}, found {value!r}", path=_SOURCE, field=str(name), remedy=remedy)
