"""rdflib graphs, both ways, with the meaning that `kg.io.terms` gives to RDF."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kelm.errors import FormatError
from kg.graph import GraphBuilder, KnowledgeGraph, Report
from kg.io import terms
from kg.io.journal import Journal
from kg.io.terms import Literal, Statement

if TYPE_CHECKING:
    import rdflib
    from rdflib.term import Node

__all__ = ["feed", "from_rdflib", "to_rdflib"]


def from_rdflib(source: rdflib.Graph) -> KnowledgeGraph:
    """Returns the graph of an `rdflib.Graph` (or of all graphs of an `rdflib.Dataset`)."""
    builder = GraphBuilder()
    feed(builder, source)
    return builder.build()


def feed(builder: GraphBuilder, source: rdflib.Graph) -> Report:
    """Adds the statements of an rdflib graph, sorted: rdflib keeps a set, whose order changes from run to run.

    Raises:
        FormatError: rdflib holds something that RDF does not allow, such as a literal as subject.
    """
    journal = Journal(f"rdflib.{type(source).__name__}", "rdflib")
    for subject, predicate, object in sorted(_statements(source, journal)):
        journal.line += 1
        statement = Statement(_name(subject), str(predicate), _object(object))
        terms.add(builder, journal, terms.named(statement))
    report = journal.report()
    builder.reports.append(report)
    return report


def _statements(source: rdflib.Graph, journal: Journal) -> set[tuple[Node, Node, Node]]:
    """Returns the statements of a graph, or of all graphs of a dataset."""
    import rdflib
    from rdflib.graph import DATASET_DEFAULT_GRAPH_ID

    if isinstance(source, rdflib.ConjunctiveGraph):  # a Dataset is one; its triples() are those of the default graph
        found = set()
        for subject, predicate, object, context in source.quads((None, None, None, None)):
            name = getattr(context, "identifier", context)
            named = isinstance(name, rdflib.URIRef) and name != DATASET_DEFAULT_GRAPH_ID
            journal.drop("name of the graph that a statement is in", named)
            found.add((subject, predicate, object))
    else:
        found = set(source.triples((None, None, None)))
    names = (rdflib.URIRef, rdflib.BNode)
    for subject, predicate, object in found:
        sound = isinstance(subject, names) and isinstance(object, (*names, rdflib.Literal))
        if not (sound and isinstance(predicate, rdflib.URIRef)):
            problem = f"expected a statement of RDF, found {subject!r} {predicate!r} {object!r}"
            raise FormatError(problem, path=journal.source, remedy="Remove it from the graph.")
    return found


def _name(node: Node) -> str:
    import rdflib

    return f"_:{node}" if isinstance(node, rdflib.BNode) else str(node)


def _object(node: Node) -> str | Literal:
    import rdflib

    if not isinstance(node, rdflib.Literal):
        return _name(node)
    datatype = "" if node.language or node.datatype is None or str(node.datatype) == terms.STRING else node.datatype
    return Literal(str(node), node.language or "", str(datatype))


def to_rdflib(graph: KnowledgeGraph) -> rdflib.Graph:
    """Returns the graph as an `rdflib.Graph`; `from_rdflib` gives the same triples, types, labels and attributes."""
    import rdflib

    result = rdflib.Graph()
    for subject, predicate, object in terms.statements(graph):
        result.add((_node(subject), rdflib.URIRef(predicate), _term(object)))
    return result


def _node(name: str) -> rdflib.URIRef | rdflib.BNode:
    import rdflib

    return rdflib.BNode(name[2:]) if name.startswith("_:") else rdflib.URIRef(name)


def _term(object: str | Literal) -> rdflib.URIRef | rdflib.BNode | rdflib.Literal:
    import rdflib

    if isinstance(object, str):
        return _node(object)
    # normalize=False: rdflib would rewrite "01"^^xsd:integer as "1"
    return rdflib.Literal(object.text, lang=object.language or None, datatype=object.datatype or None, normalize=False)
