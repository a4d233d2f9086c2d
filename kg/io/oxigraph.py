"""The door to pyoxigraph: RDF syntaxes to statements and back.

Source: https://pyoxigraph.readthedocs.io; grammars of the W3C's RDF 1.1 recommendations.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from kelm.errors import FormatError
from kg.io.journal import Journal
from kg.io.source import chunks
from kg.io.terms import STRING, Literal, Statement

if TYPE_CHECKING:
    import pyoxigraph

__all__ = ["FORMATS", "lines", "parse", "reason", "write"]

FORMATS = {
    ".nt": "N_TRIPLES",
    ".nq": "N_QUADS",
    ".ttl": "TURTLE",
    ".trig": "TRIG",
    ".rdf": "RDF_XML",
    ".owl": "RDF_XML",
}
_PLACE = re.compile(
    r"Parser error at line \d+ (?:columns? \d+|between columns? \d+ and (?:line \d+ )?(?:column )?\d+): "
)


def parse(path: str | Path, syntax: str, journal: Journal, *, base: str | None = None) -> Iterator[Statement]:
    """Yields the statements of a file in one of the `FORMATS`, those of named graphs too.

    Blank nodes are numbered in the order they occur, since those without a name in the file get a random one.

    Raises:
        FormatError: the file does not follow the syntax, or cannot be read.
    """
    import pyoxigraph

    blank: dict[str, str] = {}
    try:
        for quad in pyoxigraph.parse(cast(IO[bytes], _Stream(path, journal)), format=_format(syntax), base_iri=base):
            statement = _statement(quad)
            if statement is None:
                journal.drop("triple about a triple")
            else:
                yield _renamed(statement, blank)
    except SyntaxError as error:
        raise _readable(error, path) from error


def lines(texts: list[str]) -> list[Statement | SyntaxError | None]:
    """Returns what each line of N-Triples says: a statement, None (not a triple of names), or what is wrong with it."""
    import pyoxigraph

    whole = "\n".join(texts)
    try:
        found = [_statement(quad) for quad in pyoxigraph.parse(whole, format=_format("N_TRIPLES"))]
    except SyntaxError:
        found = []
    if len(found) == len(texts):
        return list(found)
    return [_line(text) for text in texts]


def _line(text: str) -> Statement | SyntaxError | None:
    import pyoxigraph

    try:
        (quad,) = pyoxigraph.parse(text, format=_format("N_TRIPLES"))
    except SyntaxError as error:
        return error
    except ValueError:  # no triple, or several
        return SyntaxError("expected one triple a line")
    return _statement(quad)


def reason(error: SyntaxError) -> str:
    """Returns what is wrong, without the place."""
    return _PLACE.sub("", str(error.msg))


def _readable(error: SyntaxError, path: str | Path) -> FormatError:
    column = f" (column {error.offset})" if error.offset else ""
    return FormatError(
        f"{reason(error)}{column}",
        path=path,
        line=error.lineno,
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
    """The decompressed bytes of a file, as pyoxigraph reads them; errors of the file pass through."""

    def __init__(self, path: str | Path, journal: Journal) -> None:
        self._chunks = chunks(path, journal, size=1 << 20, line_ends=False)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            _, chunk = next(self._chunks, (0, None))
            if chunk is None:
                return b""
            self._rest = chunk
        taken, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return taken


def write(statements: Iterable[Statement], file: IO[bytes], syntax: str, *, prefixes: dict[str, str]) -> None:
    """Writes statements in one of the `FORMATS`."""
    import pyoxigraph

    terms = map(_triple, statements)
    pyoxigraph.serialize(terms, output=file, format=_format(syntax), prefixes=prefixes)


def _triple(statement: Statement) -> pyoxigraph.Triple:
    import pyoxigraph

    subject, predicate, object = statement
    if isinstance(object, str):
        right: pyoxigraph.NamedNode | pyoxigraph.BlankNode | pyoxigraph.Literal = _node(object)
    elif object.language:
        right = pyoxigraph.Literal(object.text, language=object.language)
    elif object.datatype:
        right = pyoxigraph.Literal(object.text, datatype=pyoxigraph.NamedNode(object.datatype))
    else:
        right = pyoxigraph.Literal(object.text)
    return pyoxigraph.Triple(_node(subject), pyoxigraph.NamedNode(predicate), right)


def _node(term: str) -> pyoxigraph.NamedNode | pyoxigraph.BlankNode:
    import pyoxigraph

    return pyoxigraph.BlankNode(term[2:]) if term.startswith("_:") else pyoxigraph.NamedNode(term)
