"""A part of RDF files, chosen by a SPARQL query.

    SELECT ?s ?p ?o WHERE { ?s a <http://example.org/City> . ?s ?p ?o }      subject, predicate, object in this order
    CONSTRUCT { ?s <http://example.org/in> ?o } WHERE { ... }                or statements made anew

All files are asked together, named graphs as one. What a statement becomes is said in `kg.io.terms`.
Cost: the files' statements are held in memory, about 600 bytes each.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from kelm.errors import FormatError
from kg.graph import GraphBuilder, KnowledgeGraph, Report
from kg.io import oxigraph, terms
from kg.io.journal import Journal, Progress
from kg.io.source import suffix

__all__ = ["feed", "query_text", "read"]


def read(*paths: str | Path, query: str, languages: Collection[str] | None = None, skip_bad: int = 0) -> KnowledgeGraph:
    """Returns the graph of what a query finds in files; see `feed`."""
    builder = GraphBuilder(languages=languages)
    feed(builder, paths, query=query, skip_bad=skip_bad)
    return builder.build()


def query_text(given: str) -> str:
    """Returns a query: what was given if it has a brace, as every query does, else the text of the file of that name.

    Raises:
        FormatError: it is a name, and no such file can be read.
    """
    if "{" in given:
        return given
    try:
        return Path(given).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        remedy = "Name a UTF-8 file that exists, or write the query itself."
        raise FormatError(f"the query cannot be read ({error})", path=given, remedy=remedy) from error


def feed(
    builder: GraphBuilder,
    paths: Sequence[str | Path],
    *,
    query: str,
    syntax: str | None = None,
    skip_bad: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Adds what a query finds in RDF files to `builder`.

    Args:
        query: a SELECT of three variables, or a CONSTRUCT, in SPARQL 1.1.
        syntax: of the files, as in `kg.io.rdf.feed`; by their names if None.
        skip_bad: answers that are no statement, such as a literal as subject, to leave out before one raises.

    Raises:
        FormatError: a file or the query is broken, or a file is no RDF.
    """
    kinds: dict[str | Path, str] = {}
    for path in paths:
        found = suffix(path) if syntax is None else f".{syntax.lower().removeprefix('.')}"
        if found not in oxigraph.FORMATS:
            remedy = f"A query chooses from RDF: {', '.join(oxigraph.FORMATS)}."
            raise FormatError(f'"{found}" is no RDF syntax', path=path, remedy=remedy)
        kinds[path] = oxigraph.FORMATS[found]
    loading = [Journal(path, "rdf", progress=progress) for path in kinds]
    journal = Journal("query", "sparql", skip_bad=skip_bad)
    for statement in oxigraph.answers(oxigraph.store(kinds, loading), query, journal):
        terms.add(builder, journal, terms.named(statement))
    report = journal.report()
    builder.reports.extend([*(one.report() for one in loading), report])
    return report
