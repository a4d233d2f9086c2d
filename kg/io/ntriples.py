"""N-Triples at the speed of memory: whole chunks at once, by the places of their special characters.

    <http://e/a> <http://e/p> "x"@en .      special: < > space " ^ \\ { } | ` and the controls
    <          > <          > "        \n   a line whose special characters form one of four patterns is read from them

Every other line (escapes, blank nodes, comments, unusual spacing, errors) goes to pyoxigraph, so that what is accepted
is what the W3C grammar accepts. Each distinct string is decoded, checked and named once (`kg.io.columns`).

Source: https://www.w3.org/TR/n-triples/
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int32, Int64, UInt8

from kelm.errors import FormatError
from kg.collector import WHATEVER, Collector, Pool, Rows
from kg.graph import GraphBuilder, Report
from kg.io import oxigraph, terms
from kg.io.columns import numbers
from kg.io.journal import Journal, Progress
from kg.io.source import chunks, decoded
from kg.labels import language_code
from kg.report import UNWANTED

__all__ = ["feed"]

_SPECIAL = bytes(code <= 0x20 or chr(code) in '<>"{}|^`\\' for code in range(256))
_OPEN, _CLOSE, _SPACE, _QUOTE, _ESCAPE, _LINE, _DOT, _CARET = b'<> "\\\n.^'
_PREFIX = (_OPEN, _CLOSE, _SPACE, _OPEN, _CLOSE, _SPACE)  # specials of subject and predicate
_UNREADABLE, _UNWANTED, _BLANK = -1, -2, -3  # in place of the number of a string
_LANGUAGE = re.compile(r"[a-z]{1,8}(-[a-z0-9]{1,8})*")  # others go to the grammar's own reader
_REMEDY = "Correct the line, or allow bad lines to be skipped (skip_bad, --skip-bad)."


def feed(builder: GraphBuilder, path: str | Path, *, skip_bad: int = 0, progress: Progress | None = None) -> Report:
    """Adds the statements of an N-Triples file to `builder`, as `kg.io.terms` says.

    Raises:
        FormatError: names file, line and remedy.
    """
    journal = Journal(path, "ntriples", skip_bad=skip_bad, progress=progress)
    reading = _Reading(builder, journal)
    for first, chunk in chunks(path, journal):
        reading.read(chunk, first)
    report = journal.report()
    builder.reports.append(report)
    return report


class _Shape(NamedTuple):
    """The special characters of a chunk: their places and codes, and which of them each line has."""

    buffer: UInt8[np.ndarray, "byte"]
    places: Int64[np.ndarray, "special"]
    codes: UInt8[np.ndarray, "special"]
    first: Int64[np.ndarray, "line"]
    last: Int64[np.ndarray, "line"]  # its line end

    @classmethod
    def of(cls, chunk: bytes) -> _Shape:
        places = np.flatnonzero(np.frombuffer(chunk.translate(_SPECIAL), bool))
        buffer = np.frombuffer(chunk, np.uint8)
        codes = buffer[places]
        last = np.flatnonzero(codes == _LINE)
        return cls(buffer, places, codes, np.concatenate((np.zeros(1, np.int64), last[:-1] + 1)), last)

    def touching(self, left: Int64[np.ndarray, "line"], count: int = 1) -> Bool[np.ndarray, "line"]:
        """Whether the special characters `left` and the `count` after it stand side by side."""
        return np.asarray(self.places[left + count] == self.places[left] + count)


class _Spans(NamedTuple):
    """Lines that a pattern matched, and where their strings start and stop (less brackets and quotes).

    `starts` and `stops` have columns subject, predicate, object and qualifier (``@en``, ``^^<...>`` or nothing).
    """

    lines: Int64[np.ndarray, "line"]
    literal: Bool[np.ndarray, "line"]
    starts: Int64[np.ndarray, "line 4"]
    stops: Int64[np.ndarray, "line 4"]


def _spans(shape: _Shape) -> _Spans:
    """Returns the lines that are ``<s> <p> <o> .`` or ``<s> <p> "text" .``, with a language or a datatype perhaps."""
    codes, places, first, last = shape.codes, shape.places, shape.first, shape.last
    fits = last - first >= 9
    first, last = first[fits], last[fits]
    numbers = np.flatnonzero(fits)
    start = places[first]
    line_start = np.concatenate((np.zeros(1, np.int64), places[shape.last[:-1]] + 1))[fits]
    fits = start == line_start
    for offset, code in enumerate(_PREFIX):
        fits &= codes[first + offset] == code
    for offset in (1, 2, 4, 5):
        fits &= shape.touching(first + offset)
    fits &= (codes[last - 1] == _SPACE) & (places[last - 1] == places[last] - 2)
    fits &= shape.buffer[places[last] - 1] == _DOT
    iri = fits & (last - first == 9) & (codes[first + 6] == _OPEN) & (codes[first + 7] == _CLOSE)
    iri &= shape.touching(first + 7)
    closing = np.zeros_like(first)
    literal = fits & (codes[first + 6] == _QUOTE)
    quoted = np.flatnonzero(literal)
    literal[quoted], closing[quoted] = _closing_quotes(shape, first[quoted], last[quoted])
    chosen = iri | literal
    first, last, closing, literal = first[chosen], last[chosen], closing[chosen], literal[chosen]
    end = np.where(literal, closing, first + 7)
    opening = places[first[:, None] + (0, 3, 6)]
    starts = np.concatenate((opening, places[end][:, None]), axis=1) + 1
    stops = np.stack((places[first + 1], places[first + 4], places[end], places[last - 1]), axis=1)
    return _Spans(numbers[chosen], literal, starts, stops)


def _closing_quotes(
    shape: _Shape, first: Int64[np.ndarray, "line"], last: Int64[np.ndarray, "line"]
) -> tuple[Bool[np.ndarray, "line"], Int64[np.ndarray, "line"]]:
    """Returns which lines hold one literal without escapes, and the special character that closes it."""
    codes, places = shape.codes, shape.places
    quotes = np.flatnonzero(codes == _QUOTE)
    row = np.searchsorted(quotes, first)
    closing = quotes[np.minimum(row + 1, len(quotes) - 1)] if len(quotes) else np.zeros_like(first)
    fits = np.searchsorted(quotes, last) - row == 2
    escapes = np.flatnonzero(codes == _ESCAPE)
    if len(escapes):
        fits &= np.searchsorted(escapes, first) == np.searchsorted(escapes, last)
    between = last - 2 - closing  # special characters between the closing quote and the last space
    at = shape.buffer[np.minimum(places[closing] + 1, len(shape.buffer) - 1)]
    plain = (between == 0) & ((places[last - 1] == places[closing] + 1) | (at == ord("@")))
    after = np.minimum(closing + 5, last)  # "^^<...> : the fifth is the last space
    typed = (between == 4) & (places[after - 2] == places[closing] + 3) & shape.touching(after - 1)
    for offset, code in ((4, _CARET), (3, _CARET), (2, _OPEN), (1, _CLOSE)):
        typed &= codes[after - offset] == code
    return fits & (plain | typed), closing


class _Reading:
    """Reads chunks into a builder; remembers the strings that earlier chunks had."""

    def __init__(self, builder: GraphBuilder, journal: Journal) -> None:
        self.builder, self.journal = builder, journal
        self._names: dict[str, int] = {}
        self._qualifiers = Pool()
        self._meanings: list[tuple[int, int]] = []  # language and qualifier of the builder, by our qualifier
        self._type, self._alias = builder.names[terms.TYPE], builder.names[terms.ALIAS]
        self._labeling = [self._alias, *(builder.names[iri] for iri in terms.LABELS)]
        self._scope = f"-{len(builder.reports)}" if builder.reports else ""  # another file's _:b is another node

    def read(self, chunk: bytes, first: int) -> None:
        """Adds the statements of `chunk`, whose first line has the number `first`."""
        try:
            self._read(chunk, first)
        except UnicodeDecodeError:  # found before anything was added or counted
            self._read(decoded(chunk, first, self.journal).encode(), first)

    def _read(self, chunk: bytes, first: int) -> None:
        shape = _Shape.of(chunk)
        spans = _spans(shape)
        names = np.zeros((len(spans.lines), 3), np.int32)
        named = np.stack((*(np.ones_like(spans.literal),) * 2, ~spans.literal), axis=1)
        names[named] = numbers(chunk, spans.starts[:, :3][named], spans.stops[:, :3][named], self._name)
        qualifier = np.zeros(len(spans.lines), np.int32)
        places = spans.starts[spans.literal, 3], spans.stops[spans.literal, 3]
        qualifier[spans.literal] = numbers(chunk, *places, self._qualifier)
        readable = (names >= 0).all(axis=1) & (qualifier >= 0)
        spans = _Spans(*(column[readable] for column in spans))
        slow = np.ones(len(shape.last), bool)
        slow[spans.lines] = False
        texts = _texts(chunk, np.flatnonzero(slow), shape.places[shape.last])
        quick = self._rows(chunk, spans, names[readable], qualifier[readable])
        self._extend(quick, self._slowly(texts, first))

    def _name(self, iris: list[str]) -> list[int]:
        """Returns the numbers of the IRIs' names; the grammar's own reader decides on those that do not look sound."""
        new = [iri for iri in iris if iri not in self._names]
        if terms.are_plain(new):
            self._names.update(zip(new, self.builder.names.numbers(new), strict=True))
        for iri in new:
            if iri not in self._names:
                self._names[iri] = self.builder.names[terms.name(iri)] if terms.is_iri(iri) else _UNREADABLE
        return [self._names[iri] for iri in iris]

    def _qualifier(self, qualifiers: list[str]) -> list[int]:
        """Returns the numbers of what may follow a literal's closing quote."""
        for qualifier in qualifiers:
            if qualifier not in self._qualifiers:
                self._qualifiers[qualifier]
                self._meanings.append(self._meaning(qualifier))
        numbers = (self._qualifiers[qualifier] for qualifier in qualifiers)
        return [number if self._meanings[number][1] >= 0 else _UNREADABLE for number in numbers]

    def _meaning(self, qualifier: str) -> tuple[int, int]:
        builder, typed = self.builder, qualifier.startswith("^^<")
        if typed and qualifier[3:-1] != terms.STRING:
            datatype = qualifier[3:-1]
            return _UNREADABLE, builder.qualifiers[f"^^{terms.name(datatype)}"] if terms.is_iri(
                datatype
            ) else _UNREADABLE
        code = "" if typed or not qualifier else language_code(qualifier[1:])
        if code and not _LANGUAGE.fullmatch(code):
            return _UNREADABLE, _UNREADABLE
        language = builder.language(code)
        return language if language >= 0 else _UNWANTED, builder.qualifiers[f"@{code}" if code else ""]

    def _text(self, texts: list[str]) -> list[int]:
        visible = [text for text in texts if text.strip()]
        numbers = self.builder.texts.numbers(visible)
        if len(visible) == len(texts):
            return numbers
        known = dict(zip(visible, numbers, strict=True))
        return [known.get(text, _BLANK) for text in texts]

    def _rows(
        self, chunk: bytes, spans: _Spans, names: Int32[np.ndarray, "line 3"], qualifier: Int32[np.ndarray, "line"]
    ) -> list[_Numbered]:
        """Returns the rows of triples, types, labels and attributes (see `Collector`) with the lines they stand in."""
        subject, predicate, object = names.T
        meanings = np.array(self._meanings or [(0, 0)], np.int32)
        language, kind = meanings[qualifier].T
        typed = ~spans.literal & (predicate == self._type)
        label = spans.literal & np.isin(predicate, self._labeling) & (language != _UNREADABLE)
        attribute = spans.literal & ~label
        unwanted = label & (language == _UNWANTED)
        label &= ~unwanted
        texts = numbers(chunk, spans.starts[label, 2], spans.stops[label, 2], self._text)
        values = numbers(chunk, spans.starts[attribute, 2], spans.stops[attribute, 2], self.builder.values.numbers)
        self.journal.drop(UNWANTED, int(unwanted.sum()))
        self.journal.drop("blank label", int((texts < 0).sum()))
        visible = np.flatnonzero(label)[texts >= 0]
        preferred = predicate[visible] != self._alias
        role = np.full(len(visible), WHATEVER)
        chosen = (
            (np.flatnonzero(~spans.literal & ~typed), (subject, predicate, object)),
            (np.flatnonzero(typed), (subject, object)),
        )
        tables = [
            _Numbered(spans.lines[rows], np.stack([column[rows] for column in columns], 1)) for rows, columns in chosen
        ]
        named = subject[visible], role, language[visible], preferred, texts[texts >= 0]
        described = subject[attribute], predicate[attribute], values, kind[attribute]
        tables.append(_Numbered(spans.lines[visible], np.stack(named, axis=1)))
        tables.append(_Numbered(spans.lines[attribute], np.stack(described, axis=1)))
        for name, table in zip(_TABLES, tables, strict=True):
            self.journal.counts[name] += len(table.lines)
        return tables

    def _slowly(self, texts: dict[int, str], first: int) -> list[_Numbered]:
        """Returns the same for the lines that no pattern matched."""
        scratch = self.builder.scratch()
        lines: tuple[list[int], ...] = ([], [], [], [])
        for row, said in zip(texts, oxigraph.lines(list(texts.values()), self.journal), strict=True):
            if isinstance(said, SyntaxError):
                error = FormatError(oxigraph.reason(said), remedy=_REMEDY)
                self.journal.bad(error, line=first + row, reason="not N-Triples")
            elif said is not None:
                terms.add(scratch, self.journal, terms.named(said, scope=self._scope))
                for numbers, table in zip(lines, _tables(scratch), strict=True):
                    if len(table) > len(numbers):
                        numbers.append(row)
        blocks = (np.stack(list(table.columns()), axis=1) for table in _tables(scratch))
        return [_Numbered(np.array(numbers, np.int64), block) for numbers, block in zip(lines, blocks, strict=True)]

    def _extend(self, quick: list[_Numbered], slow: list[_Numbered]) -> None:
        """Adds the rows in the order of their lines."""
        for table, left, right in zip(_tables(self.builder), quick, slow, strict=True):
            if not len(right.lines):
                table.extend(left.rows)
                continue
            order = np.argsort(np.concatenate((left.lines, right.lines)), kind="stable")
            table.extend(np.concatenate((left.rows, right.rows))[order])


def _texts(chunk: bytes, rows: Int64[np.ndarray, "other"], ends: Int64[np.ndarray, "line"]) -> dict[int, str]:
    """Returns those of the lines `rows` that are not blank and no comment."""
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))[rows]
    return {
        row: text
        for row, start, stop in zip(rows.tolist(), starts.tolist(), ends[rows].tolist(), strict=True)
        if (text := chunk[start:stop].decode().strip(" \t")) and not text.startswith("#")
    }


class _Numbered(NamedTuple):
    """Rows of a table of the builder, and the line in which each stands."""

    lines: Int64[np.ndarray, "row"]
    rows: Int[np.ndarray, "row column"]


_TABLES = ("triples", "types", "labels", "attributes")


def _tables(collector: Collector) -> tuple[Rows, ...]:
    return collector.triple_rows, collector.type_rows, collector.label_rows, collector.attribute_rows
