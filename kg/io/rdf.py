"""RDF files: N-Triples, Turtle, N-Quads, TriG, RDF/XML and JSON-LD, plain or compressed.

    rdf.read("graph.nt.gz")     rdf.write(graph, "graph.ttl")

What becomes a triple, a type, a label or an attribute is said in `kg.io.terms`. N-Triples has a reader of its own
(`kg.io.ntriples`), the others go through pyoxigraph, which gives up a file at its first error and keeps a whole file of
JSON-LD in memory. A context of JSON-LD stands in the file: none is fetched from elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from kelm.errors import FormatError, closest
from kg.graph import GraphBuilder, KnowledgeGraph, Report
from kg.io import ntriples, oxigraph, terms
from kg.io.journal import Journal, Progress
from kg.io.source import suffix, written

__all__ = ["feed", "read", "write"]

_PREFIXES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}


def read(
    path: str | Path,
    *,
    syntax: str | None = None,
    languages: Collection[str] | None = None,
    base: str | None = None,
    skip_bad: int = 0,
) -> KnowledgeGraph:
    """Returns the graph of an RDF file; see `feed`. `languages` are those whose labels are kept; all if None."""
    builder = GraphBuilder(languages=languages)
    feed(builder, path, syntax=syntax, base=base, skip_bad=skip_bad)
    return builder.build()


def feed(
    builder: GraphBuilder,
    path: str | Path,
    *,
    syntax: str | None = None,
    base: str | None = None,
    skip_bad: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Adds the statements of an RDF file to `builder`.

    Args:
        syntax: ".nt", ".ttl", ".nq", ".trig", ".rdf", ".owl" or ".jsonld"; by the file's name if None.
        base: the IRI against which relative IRIs count.
        skip_bad: bad lines to leave out before one raises; of use in N-Triples only, where a line stands alone.

    Raises:
        FormatError: names file, line and remedy.
    """
    syntax = _syntax(path, syntax)
    if syntax == ".nt":
        return ntriples.feed(builder, path, skip_bad=skip_bad, progress=progress)
    journal = Journal(path, syntax.lstrip("."), skip_bad=skip_bad, progress=progress)
    scope = f"-{len(builder.reports)}" if builder.reports else ""
    for statement in oxigraph.parse(path, oxigraph.FORMATS[syntax], journal, base=base):
        terms.add(builder, journal, terms.named(statement, scope=scope))
    report = journal.report()
    builder.reports.append(report)
    return report


def write(graph: KnowledgeGraph, path: str | Path, *, syntax: str | None = None) -> None:
    """Writes triples, types, labels and attributes as `kg.io.terms` says; reading the file gives an equal graph.

    Entities in no triple that have no type, label or attribute are lost, as RDF cannot say that something exists.

    Raises:
        FormatError: the file cannot be written, or the syntax cannot hold the graph (see `kg.io.oxigraph.write`).
    """
    syntax = _syntax(path, syntax)
    try:
        with written(path) as file:
            oxigraph.write(terms.statements(graph), file, oxigraph.FORMATS[syntax], prefixes=_PREFIXES)
    except FormatError as error:
        raise FormatError(error.problem, path=path, remedy=error.remedy) from error


def _syntax(path: str | Path, syntax: str | None) -> str:
    found = suffix(path) if syntax is None else syntax
    if found not in oxigraph.FORMATS:
        raise FormatError(f'no RDF syntax is called "{found}"', path=path, remedy=closest(found, oxigraph.FORMATS))
    return found
