"""The door to pyoxigraph: RDF syntaxes to statements and back.

Source: https://pyoxigraph.readthedocs.io; grammars of the W3C's RDF 1.1 recommendations.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from xml.parsers import expat

from kelm.errors import FormatError
from kg.io import guard
from kg.io.journal import Journal
from kg.io.source import chunks
from kg.io.terms import STRING, Literal, Statement

if TYPE_CHECKING:
    import pyoxigraph

__all__ = ["FORMATS", "answers", "lines", "parse", "quads", "reason", "store", "write"]

FORMATS = {
    ".nt": "N_TRIPLES",
    ".nq": "N_QUADS",
    ".ttl": "TURTLE",
    ".trig": "TRIG",
    ".rdf": "RDF_XML",
    ".owl": "RDF_XML",
    ".jsonld": "JSON_LD",
}
_QUERY = "Example: SELECT ?s ?p ?o WHERE { ?s a <http://example.org/City> . ?s ?p ?o }."
_NOT_XML = "It takes no control characters, and relations only whose IRIs end in a name. Write .ttl or .nt."
_BLOCK, _LINE_END = 1 << 20, ord("\n")  # bytes
_PLACE = re.compile(
    r"Parser error at line \d+ (?:columns? \d+|between columns? \d+ and (?:line \d+ )?(?:column )?\d+): "
)


def parse(path: str | Path, syntax: str, journal: Journal, *, base: str | None = None) -> Iterator[Statement]:
    """Yields the statements of a file in one of the `FORMATS`, those of named graphs too.

    Blank nodes are numbered in the order they occur, since those without a name in the file get a random one.

    Raises:
        FormatError: the file does not follow the syntax, or cannot be read.
    """
    blank: dict[str, str] = {}
    for quad in quads(path, syntax, journal, base=base):
        _account(quad, journal)
        if statement := _statement(quad):
            yield _renamed(statement, blank)


def quads(path: str | Path, syntax: str, journal: Journal, *, base: str | None = None) -> Iterator[pyoxigraph.Quad]:
    """Yields pyoxigraph's quads of a file; errors as `parse`."""
    import pyoxigraph

    stream = _Stream(path, syntax, journal)
    try:
        yield from pyoxigraph.parse(cast(IO[bytes], stream), format=_format(syntax), base_iri=base)
    except SyntaxError as error:
        raise _readable(error, path, stream.line) from error
    except MemoryError as error:  # not the machine's: the parsers give up at tokens of 8 or 16 MiB
        problem = f"a name or text is longer than the parser takes ({error})"
        raise FormatError(problem, path=path, remedy="Shorten it, or write the file as N-Triples.") from error
    except ValueError as error:  # the base is no IRI
        raise FormatError(f"{error}", path=path, remedy="Give an absolute IRI as base.") from error


def store(paths: Mapping[str | Path, str], journals: Iterable[Journal]) -> pyoxigraph.Store:
    """Returns the statements of files in an in-memory store that can be asked.

    Args:
        paths: files, each with one of the `FORMATS`.
        journals: one for each; statements are counted as what only a query sees.

    Raises:
        FormatError: as `parse`.
    """
    import pyoxigraph

    found, count = pyoxigraph.Store(), itertools.count()
    for (path, syntax), journal in zip(paths.items(), journals, strict=True):
        blank: dict[pyoxigraph.BlankNode, pyoxigraph.BlankNode] = {}  # another file's _:b is another node
        before = len(found)
        found.bulk_extend(_apart(quad, blank, count) for quad in quads(path, syntax, journal))
        journal.drop("statement that only the query sees", len(found) - before)
    return found


def _apart(
    quad: pyoxigraph.Quad, blank: dict[pyoxigraph.BlankNode, pyoxigraph.BlankNode], count: Iterator[int]
) -> pyoxigraph.Quad:
    """Returns the quad with the blank nodes at its ends numbered in the order they occur."""
    import pyoxigraph

    subject, object = quad.subject, quad.object
    for end in (subject, object):
        if isinstance(end, pyoxigraph.BlankNode) and end not in blank:
            blank[end] = pyoxigraph.BlankNode(f"b{next(count)}")
    if isinstance(subject, pyoxigraph.BlankNode):
        subject = blank[subject]
    if isinstance(object, pyoxigraph.BlankNode):
        object = blank[object]
    return pyoxigraph.Quad(subject, quad.predicate, object, quad.graph_name)


def answers(asked: pyoxigraph.Store, query: str, journal: Journal) -> Iterator[Statement]:
    """Yields what a SELECT of three variables (subject, predicate, object) or a CONSTRUCT finds.

    Raises:
        FormatError: the query is broken or of another kind, or an answer is no statement (unless allowed).
    """
    import pyoxigraph

    try:
        found = asked.query(query, use_default_graph_as_union=True)
        if isinstance(found, pyoxigraph.QueryBoolean):
            raise FormatError("expected SELECT or CONSTRUCT, found ASK", path=journal.source, remedy=_QUERY)
        if isinstance(found, pyoxigraph.QuerySolutions) and len(found.variables) != 3:
            names = ", ".join(map(str, found.variables))
            raise FormatError(f"expected three variables, found {names or 'none'}", path=journal.source, remedy=_QUERY)
        for row in found:
            journal.line += 1
            subject, predicate, object = row
            sound = isinstance(subject, pyoxigraph.NamedNode | pyoxigraph.BlankNode)
            if None in (subject, predicate, object):
                journal.drop("answer with an unbound variable")
            elif not (sound and isinstance(predicate, pyoxigraph.NamedNode)):
                error = FormatError(f"{subject} {predicate} {object} is no statement", remedy=_QUERY)
                journal.bad(error, reason="answer that is no statement")
            elif statement := _statement(pyoxigraph.Quad(subject, predicate, object)):
                yield statement
            else:
                journal.drop("triple about a triple")
    except SyntaxError as error:
        raise FormatError(f"this is not SPARQL: {error.msg}", path=journal.source, remedy=_QUERY) from error
    except (OSError, ValueError, RuntimeError) as error:  # SERVICE of another host, say
        raise FormatError(f"the query failed: {error}", path=journal.source, remedy=_QUERY) from error


def _account(quad: pyoxigraph.Quad, journal: Journal) -> None:
    """Counts what of a quad has no place in the graph."""
    import pyoxigraph

    if not isinstance(quad.graph_name, pyoxigraph.DefaultGraph):
        journal.drop("name of the graph that a statement is in")
    if isinstance(quad.subject, pyoxigraph.Triple) or isinstance(quad.object, pyoxigraph.Triple):
        journal.drop("triple about a triple")
    if isinstance(quad.object, pyoxigraph.Literal) and getattr(quad.object, "direction", None):
        journal.drop("direction of a text")


def lines(texts: list[str], journal: Journal) -> list[Statement | SyntaxError | None]:
    """Returns what each line of N-Triples says: a statement, None (not a triple of names), or what is wrong with it."""
    import pyoxigraph

    found: list[pyoxigraph.Quad | SyntaxError] = []
    if not any(map(guard.is_deep, texts)):
        try:
            found = [*pyoxigraph.parse("\n".join(texts), format=_format("N_TRIPLES"))]
        except SyntaxError:
            found = []
    if len(found) != len(texts):
        found = [_line(text) for text in texts]
    for one in found:
        if not isinstance(one, SyntaxError):
            _account(one, journal)
    return [one if isinstance(one, SyntaxError) else _statement(one) for one in found]


def _line(text: str) -> pyoxigraph.Quad | SyntaxError:
    import pyoxigraph

    if guard.is_deep(text):
        return SyntaxError(f"triples of triples nest more than {guard.DEEPEST} deep")
    try:
        (quad,) = pyoxigraph.parse(text, format=_format("N_TRIPLES"))
    except SyntaxError as error:
        return error
    except ValueError:  # no triple, or several
        return SyntaxError("expected one triple a line")
    found: pyoxigraph.Quad = quad
    return found


def reason(error: SyntaxError) -> str:
    """Returns what is wrong, without the place."""
    return _PLACE.sub("", str(error.msg))


def _readable(error: SyntaxError, path: str | Path, line: int) -> FormatError:
    column = f" (column {error.offset})" if error.offset else ""
    return FormatError(
        f"{reason(error)}{column}",
        path=path,
        line=error.lineno or line,
        remedy="Correct the line, or name the format if this is another one.",
    )


def _format(syntax: str) -> pyoxigraph.RdfFormat:
    import pyoxigraph

    found: pyoxigraph.RdfFormat = getattr(pyoxigraph.RdfFormat, syntax)
    return found


def _statement(quad: pyoxigraph.Quad) -> Statement | None:
    import pyoxigraph

    subject, predicate, object = quad.subject, quad.predicate, quad.object
    if isinstance(subject, pyoxigraph.Triple) or isinstance(object, pyoxigraph.Triple):
        return None
    left = subject.value if isinstance(subject, pyoxigraph.NamedNode) else f"_:{subject.value}"
    if isinstance(object, pyoxigraph.NamedNode):
        return Statement(left, predicate.value, object.value)
    if isinstance(object, pyoxigraph.BlankNode):
        return Statement(left, predicate.value, f"_:{object.value}")
    datatype = "" if object.language or object.datatype.value == STRING else object.datatype.value
    return Statement(left, predicate.value, Literal(object.value, object.language or "", datatype))


def _renamed(statement: Statement, blank: dict[str, str]) -> Statement:
    subject, predicate, object = statement
    if subject.startswith("_:"):
        subject = blank.setdefault(subject, f"_:b{len(blank)}")
    if isinstance(object, str) and object.startswith("_:"):
        object = blank.setdefault(object, f"_:b{len(blank)}")
    return Statement(subject, predicate, object)


class _Stream(io.RawIOBase):
    """The decompressed bytes of a file, as pyoxigraph reads them; errors of the file pass through.

    RDF/XML is handed over line by line, since its errors have no place: it is `line` then, the last one handed over.
    """

    def __init__(self, path: str | Path, syntax: str, journal: Journal) -> None:
        self._chunks = self._guarded(path, syntax, chunks(path, journal, size=_BLOCK, line_ends=False))
        self._by_line = syntax == "RDF_XML"
        self._rest, self._place = b"", 0
        self.line = 0

    @staticmethod
    def _guarded(path: str | Path, syntax: str, whole: guard.Chunks) -> guard.Chunks:
        if syntax == "JSON_LD":
            return guard.json(whole, path)
        if syntax == "RDF_XML":
            return guard.xml(whole, path)
        return guard.terms(whole, path, chunks(path, Journal(path, "guard"), size=_BLOCK, line_ends=False))

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while self._place == len(self._rest):
            _, chunk = next(self._chunks, (0, None))
            if chunk is None:
                return b""
            self._rest, self._place = chunk, 0
        stop = len(self._rest) if size < 0 else min(self._place + size, len(self._rest))
        if self._by_line:
            self.line += self._place == 0 or self._rest[self._place - 1] == _LINE_END
            stop = min(stop, self._rest.find(b"\n", self._place) + 1)
        taken, self._place = self._rest[self._place : stop], stop
        return taken


def write(statements: Iterable[Statement], file: IO[bytes], syntax: str, *, prefixes: dict[str, str]) -> None:
    """Writes statements in one of the `FORMATS`.

    Raises:
        FormatError: the syntax cannot hold a statement: a language that is no tag, or for RDF/XML a control character
            or a relation whose IRI does not end in a name.
    """
    import pyoxigraph

    output = cast(IO[bytes], _WellFormed(file)) if syntax == "RDF_XML" else file
    try:
        pyoxigraph.serialize(map(_triple, statements), output=output, format=_format(syntax), prefixes=prefixes)
    except expat.ExpatError as error:
        raise FormatError(f"RDF/XML cannot hold this graph ({error})", remedy=_NOT_XML) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise FormatError(f"RDF/XML cannot hold this graph ({error})", remedy=_NOT_XML) from error


class _WellFormed(io.RawIOBase):
    """Passes XML on to a file if it is well-formed; pyoxigraph writes whatever characters and names there are."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._parser = file, expat.ParserCreate(namespace_separator=" ")

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        safe = bytes(content).replace(b"\r", b"&#13;")  # a reader of XML would take it for the end of a line
        self._parser.Parse(safe)
        self._file.write(safe)
        return len(content)


def _triple(statement: Statement) -> pyoxigraph.Triple:
    import pyoxigraph

    subject, predicate, object = statement
    if isinstance(object, str):
        right: pyoxigraph.NamedNode | pyoxigraph.BlankNode | pyoxigraph.Literal = _node(object)
    elif object.language:
        right = _text(object.text, object.language)
    elif object.datatype:
        right = pyoxigraph.Literal(object.text, datatype=pyoxigraph.NamedNode(object.datatype))
    else:
        right = pyoxigraph.Literal(object.text)
    return pyoxigraph.Triple(_node(subject), pyoxigraph.NamedNode(predicate), right)


def _text(text: str, language: str) -> pyoxigraph.Literal:
    import pyoxigraph

    try:
        return pyoxigraph.Literal(text, language=language)
    except ValueError as error:
        problem = f'RDF takes no language called "{language}" ({error})'
        raise FormatError(problem, remedy='Use a tag such as "en" or "zh-hans", or write a table.') from error


def _node(term: str) -> pyoxigraph.NamedNode | pyoxigraph.BlankNode:
    import pyoxigraph

    return pyoxigraph.BlankNode(term[2:]) if term.startswith("_:") else pyoxigraph.NamedNode(term)
