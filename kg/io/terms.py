"""How RDF terms become parts of a graph, and back.

    <s> <p> <o>                                        a triple; names are the full IRIs, "_:b0" for a blank node
    <s> rdf:type <o>                                   a type
    <s> rdfs:label | skos:prefLabel "Berlin"@en        a label        of an entity, a relation or a type
    <s> skos:altLabel "Berlin, Germany"@en             an alias
    <s> <p> "1237"^^xsd:gYear                          an attribute

Names that are no IRIs ("Q64", "北京") are written as IRIs below `urn:kelm:entity:` and `urn:kelm:relation:`, and lose
them again when read. Where an entity and a relation have the same IRI, a label read belongs to both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote

from kelm.errors import FormatError
from kg.collector import Collector
from kg.graph import KnowledgeGraph
from kg.io.journal import Journal

__all__ = [
    "ALIAS",
    "LABELS",
    "STRING",
    "TYPE",
    "Literal",
    "Statement",
    "add",
    "iri",
    "is_iri",
    "name",
    "named",
    "statements",
]

TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
LABELS = ("http://www.w3.org/2000/01/rdf-schema#label", "http://www.w3.org/2004/02/skos/core#prefLabel")
ALIAS = "http://www.w3.org/2004/02/skos/core#altLabel"
STRING = "http://www.w3.org/2001/XMLSchema#string"

_ENTITY, _RELATION = "urn:kelm:entity:", "urn:kelm:relation:"
_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?#@!$&'()*+,;=-]*")
_PLAIN = re.compile(rf"(?:{_IRI.pattern}\n)*+{_IRI.pattern}")
_BLANK_NODE = re.compile(r"_:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")


class Literal(NamedTuple):
    """A literal's text, its language or "", and its datatype or "" (also for plain strings)."""

    text: str
    language: str = ""
    datatype: str = ""


class Statement(NamedTuple):
    """One RDF triple. IRIs are without brackets, blank nodes begin with "_:"."""

    subject: str
    predicate: str
    object: str | Literal


def name(iri: str) -> str:
    """Returns the graph's name of an IRI (or blank node)."""
    if iri.startswith("urn:kelm:"):
        for prefix in (_ENTITY, _RELATION):
            if iri.startswith(prefix):
                return unquote(iri.removeprefix(prefix))
    return iri


def iri(name: str, *, relation: bool = False) -> str:
    """Returns the IRI (or blank node) as which a name is written.

    >>> iri("http://example.org/Berlin"), iri("New York"), iri("P17", relation=True)
    ('http://example.org/Berlin', 'urn:kelm:entity:New%20York', 'urn:kelm:relation:P17')
    """
    if not name.startswith("urn:kelm:") and (is_iri(name) or (not relation and _BLANK_NODE.fullmatch(name))):
        return name
    return (_RELATION if relation else _ENTITY) + quote(name, safe="")


def are_plain(names: Sequence[str]) -> bool:
    """Whether all of `names` are absolute IRIs without anything that takes a second look, and none of ours."""
    text = "\n".join(names)
    return "urn:kelm:" not in text and _PLAIN.fullmatch(text) is not None


def is_iri(name: str) -> bool:
    """Whether `name` is an absolute IRI by RFC 3987."""
    if _IRI.fullmatch(name):
        return True
    if ":" not in name:
        return False
    from pyoxigraph import NamedNode

    try:
        NamedNode(name)  # by RFC 3987: other scripts, percent signs, bracketed addresses
    except ValueError:
        return False
    return True


def named(statement: Statement, *, scope: str = "") -> Statement:
    """Returns the statement with the graph's names; `scope` sets this file's blank nodes apart from another's."""
    subject, predicate, object = statement
    object = _scoped(object, scope) if isinstance(object, str) else object._replace(datatype=name(object.datatype))
    return Statement(_scoped(subject, scope), name(predicate), object)


def _scoped(term: str, scope: str) -> str:
    return term + scope if term.startswith("_:") else name(term)


def add(builder: Collector, journal: Journal, statement: Statement) -> None:
    """Adds one statement, with names of the graph, to `builder` and counts it."""
    subject, predicate, object = statement
    if isinstance(object, str):
        if predicate == TYPE:
            builder.type(subject, object)
            journal.counts["types"] += 1
        else:
            builder.triple(subject, predicate, object)
            journal.counts["triples"] += 1
    elif object.datatype or predicate not in (*LABELS, ALIAS):
        builder.attribute(subject, predicate, object.text, language=object.language, datatype=object.datatype)
        journal.counts["attributes"] += 1
    else:
        try:
            kept = builder.label_any(subject, object.language, object.text, preferred=predicate != ALIAS)
        except FormatError:  # an RDF literal may be blank; a name may not
            journal.drop("blank label")
        else:
            journal.label(kept)


def statements(graph: KnowledgeGraph) -> Iterator[Statement]:
    """Yields the graph as RDF: triples, types, labels, attributes."""
    entities = [iri(name) for name in graph.entities]
    relations = [iri(name, relation=True) for name in graph.relation_names]
    kinds = [iri(name) for name in graph.types.names]
    columns = (graph.heads.tolist(), graph.relations.tolist(), graph.tails.tolist())
    for head, relation, tail in zip(*columns, strict=True):
        yield Statement(entities[head], relations[relation], entities[tail])
    for entity, subject in enumerate(entities):
        for kind in graph.types.of(entity).tolist():
            yield Statement(subject, TYPE, kinds[kind])
    tables = ((graph.labels.entities, entities), (graph.labels.relations, relations), (graph.labels.types, kinds))
    for table, names in tables:
        for label in table.each():
            predicate = LABELS[0] if label.preferred else ALIAS
            yield Statement(names[label.owner], predicate, Literal(label.text, label.language))
    for entity, subject in enumerate(entities):
        for attribute in graph.attributes.of(entity):
            datatype = iri(attribute.datatype) if attribute.datatype else ""
            literal = Literal(attribute.text, attribute.language, datatype)
            yield Statement(subject, iri(attribute.property, relation=True), literal)
