"""Triples in delimited text: one a line, in any order of columns.

    Q64<TAB>P17<TAB>Q183        `columns` names the order, or the columns by the header

`.csv` files are read by the rules of CSV (commas, quotes); all others split at tabs and know no quotes. `commas` says
it of a file whose name does not.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Int32

from kelm.errors import FormatError, UnknownName, closest
from kg.graph import GraphBuilder, KnowledgeGraph, Report
from kg.io.columns import add_tables
from kg.io.journal import Journal, Progress
from kg.io.source import lines, suffix, written

__all__ = ["COLUMNS", "add", "feed", "ids", "read", "rows", "triples", "write", "write_rows"]

COLUMNS = ("head", "relation", "tail")
_REMEDY = "Correct the line, or allow bad lines to be skipped (skip_bad, --skip-bad)."


def read(
    path: str | Path,
    *,
    columns: Sequence[str] = COLUMNS,
    header: bool = False,
    skip_bad: int = 0,
) -> KnowledgeGraph:
    """Returns the graph of a file of triples; see `feed`."""
    builder = GraphBuilder()
    feed(builder, path, columns=columns, header=header, skip_bad=skip_bad)
    return builder.build()


def feed(
    builder: GraphBuilder,
    path: str | Path,
    *,
    columns: Sequence[str] = COLUMNS,
    header: bool = False,
    commas: bool | None = None,
    skip_bad: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Adds the triples of a file to `builder`. Blank lines are left out, and so are lines that start
    with # and have another number of columns.

    Args:
        columns: what each column holds: head, relation and tail once each, "-" for a column to ignore. Or which
            column of the header holds what: "head=subject", "relation=predicate", "tail=object".
        header: the first line names the columns, in place of `columns`.
        commas: whether this is CSV; by the file's name if None.
        skip_bad: how many bad lines to leave out before one raises.

    Raises:
        FormatError: names file, line, field and remedy.
    """
    journal = Journal(path, "tsv", skip_bad=skip_bad, progress=progress)
    if _is_csv(path, commas):
        for number, triple in triples(path, journal, columns=columns, header=header, commas=True):
            add(builder, journal, number, triple)
    else:
        _feed_tabs(builder, journal, columns, header)
    report = journal.report()
    builder.reports.append(report)
    return report


def ids(
    path: str | Path,
    graph: KnowledgeGraph,
    *,
    columns: Sequence[str] = COLUMNS,
    header: bool = False,
    skip_bad: int = 0,
) -> Int32[np.ndarray, "triple 3"]:
    """Returns the triples of a file as ids of `graph`: a held-out split, or negatives.

    Raises:
        UnknownName: the file names an entity or relation that the graph does not have.
        FormatError: as `feed`.
    """
    journal = Journal(path, "tsv", skip_bad=skip_bad)
    names = list(triples(path, journal, columns=columns, header=header))
    vocabularies = (graph.entities, graph.relation_names, graph.entities)
    found = np.stack(
        [vocabulary.ids([triple[place] for _, triple in names]) for place, vocabulary in enumerate(vocabularies)],
        axis=1,
    )
    for row in np.flatnonzero((found < 0).any(axis=1)):
        number, triple = names[row]
        place = int(np.argmin(found[row]))
        kind = ("entity", "relation", "entity")[place]
        journal.bad(
            UnknownName(
                f'no {kind} of the graph is called "{triple[place]}"',
                field=COLUMNS[place],
                remedy=f"{vocabularies[place].closest(triple[place])} {_REMEDY}",
            ),
            line=number,
            reason=f"unknown {kind}",
        )
    return found[(found >= 0).all(axis=1)]


def add(builder: GraphBuilder, journal: Journal, number: int, triple: tuple[str, str, str]) -> bool:
    """Adds the triple of line `number` and counts it; False if a name was empty and the journal allowed that."""
    try:
        builder.triple(*triple)
    except FormatError as error:
        journal.bad(error, line=number, reason="empty name")
        return False
    journal.counts["triples"] += 1
    return True


def _feed_tabs(builder: GraphBuilder, journal: Journal, columns: Sequence[str], header: bool) -> None:
    layout, after = _layout(columns), 0
    if header or layout is None:
        first = Journal(journal.source, journal.kind, skip_bad=journal.skip_bad)
        after, layout = _headed(rows(journal.source, first, commas=False), columns, journal.source)
    for number, fields in add_tables(builder, journal, places=layout.places, width=layout.width, after=after):
        if len(fields) == layout.width:  # a blank name
            add(builder, journal, number, layout.triple(fields))
        else:
            _refuse(journal, number, fields, layout)
    _count_others(journal, layout)


def triples(
    path: str | Path,
    journal: Journal,
    *,
    columns: Sequence[str] = COLUMNS,
    header: bool = False,
    commas: bool | None = None,
) -> Iterator[tuple[int, tuple[str, str, str]]]:
    """Yields line number and triple of each line with the right number of columns; `journal` takes the others."""
    layout, lines = _layout(columns), rows(path, journal, commas=commas)
    if header or layout is None:
        _, layout = _headed(lines, columns, path)
    for number, fields in lines:
        if len(fields) == layout.width:
            yield number, layout.triple(fields)
        else:
            _refuse(journal, number, fields, layout)
    _count_others(journal, layout)


def _count_others(journal: Journal, layout: _Layout) -> None:
    for name in layout.others:
        journal.drop(f'column "{name}"', journal.counts["triples"])


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where head, relation and tail stand among `width` columns, and what an error says of these.

    `others` are columns of a header that nobody asked for, nor said to ignore.
    """

    places: tuple[int, int, int]
    width: int
    told: str
    others: tuple[str, ...] = ()

    def triple(self, fields: Sequence[str]) -> tuple[str, str, str]:
        head, relation, tail = self.places
        return fields[head], fields[relation], fields[tail]


def _layout(columns: Sequence[str]) -> _Layout | None:
    """Returns the layout of columns in a given order; None if they go by their names in the header."""
    if _chosen(columns):
        return None
    return _Layout(_places(columns), len(columns), f"{len(columns)} columns ({', '.join(columns)})")


def _headed(rows: Iterator[tuple[int, list[str]]], columns: Sequence[str], path: str | Path) -> tuple[int, _Layout]:
    """Returns the number of the header's line, which is the next of `rows`, and the layout that it gives."""
    line, fields = next(rows, (0, []))
    places = _header_places(fields, _chosen(columns), path, line) if fields else (0, 1, 2)
    others = tuple(name for place, name in enumerate(fields) if place not in places)
    return line, _Layout(places, len(fields) or len(COLUMNS), f"{len(fields)} columns", others)


def _refuse(journal: Journal, number: int, fields: Sequence[str], layout: _Layout) -> None:
    """Counts a line with another number of columns: a comment, or a bad line."""
    if fields[0].startswith("#"):
        journal.drop("comment")
        return
    error = FormatError(f"expected {layout.told}, found {len(fields)}", remedy=_REMEDY)
    journal.bad(error, line=number, reason="wrong column count")


def _is_csv(path: str | Path, commas: bool | None) -> bool:
    return suffix(path) == ".csv" if commas is None else commas


def rows(path: str | Path, journal: Journal, *, commas: bool | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yields number and fields of each line that is not blank; `commas` as in `feed`."""
    if _is_csv(path, commas):
        yield from _csv_rows(path, journal)
        return
    for number, text in lines(path, journal):
        if text.strip():
            yield number, text.split("\t")


def _csv_rows(path: str | Path, journal: Journal) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader((f"{text}\n" for _, text in lines(path, journal, line_ends=False)), strict=True)
    while True:
        first = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            journal.bad(FormatError(f"this is not CSV: {error}", remedy=_REMEDY), line=first, reason="not CSV")
            continue
        if any(field.strip() for field in fields):
            yield first, fields


def _places(columns: Sequence[str]) -> tuple[int, int, int]:
    """Returns the places of head, relation and tail among `columns`."""
    strange = [column for column in columns if column not in (*COLUMNS, "-")]
    if strange:
        raise FormatError(f'no column is called "{strange[0]}"', remedy=closest(strange[0], (*COLUMNS, "-")))
    if any(columns.count(column) != 1 for column in COLUMNS):
        raise FormatError(
            f"expected head, relation and tail once each, found {', '.join(columns)}", remedy='Mark others with "-".'
        )
    return columns.index("head"), columns.index("relation"), columns.index("tail")


_HEADINGS = {
    **dict.fromkeys(("head", "h", "subject", "s", "source", "from"), "head"),
    **dict.fromkeys(("relation", "r", "predicate", "p", "property", "edge"), "relation"),
    **dict.fromkeys(("tail", "t", "object", "o", "target", "to"), "tail"),
}


def _chosen(columns: Sequence[str]) -> dict[str, str]:
    """Returns what each named column holds, of ``["head=subject", ...]``; nothing if columns go by their order."""
    if not any("=" in column for column in columns):
        return {}
    roles = {name: role for role, _, name in (column.partition("=") for column in columns)}
    if sorted(roles.values()) != sorted(COLUMNS) or not all(map(str.strip, roles)):
        raise FormatError(
            f"expected a column each for head, relation and tail, found {', '.join(columns)}",
            field="columns",
            remedy="Example: head=subject,relation=predicate,tail=object.",
        )
    return roles


def _header_places(fields: Sequence[str], chosen: dict[str, str], path: str | Path, line: int) -> tuple[int, int, int]:
    names = [field.strip() for field in fields]
    if chosen:
        for name in chosen:
            if names.count(name) != 1:
                problem = f'expected one column "{name}" in the header, found {", ".join(names)}'
                raise FormatError(problem, path=path, line=line, field=chosen[name], remedy=closest(name, names))
        return _places([chosen.get(name, "-") for name in names])
    named = [_HEADINGS.get(name.lower(), "-") for name in names]
    try:
        return _places(named)
    except FormatError as error:
        raise FormatError(
            f"expected a header with head, relation and tail, found {', '.join(fields)}",
            path=path,
            line=line,
            remedy="Name the columns head, relation, tail (or subject, predicate, object), or read without a header.",
        ) from error


def write(
    graph: KnowledgeGraph,
    path: str | Path,
    *,
    columns: Sequence[str] = COLUMNS,
    header: bool = False,
    commas: bool | None = None,
) -> None:
    """Writes the triples, one a line; as CSV if `commas` says so, or the name ends in .csv (perhaps compressed).

    Raises:
        FormatError: a name holds a tab or a line end, which TSV cannot write; or the file cannot be written.
    """
    places = _places(columns)
    rows = _ordered(graph.names(), places, len(columns))
    write_rows(chain([columns] if header else [], rows), path, commas=commas)


def write_rows(rows: Iterable[Sequence[str]], path: str | Path, *, commas: bool | None = None) -> None:
    """Writes rows of fields; arguments and errors as `write`."""
    with written(path) as file:
        _write_rows(file, path, rows, commas=_is_csv(path, commas))


def _ordered(triples: Iterable[tuple[str, str, str]], places: tuple[int, int, int], width: int) -> Iterator[list[str]]:
    for triple in triples:
        row = [""] * width
        for place, name in zip(places, triple, strict=True):
            row[place] = name
        yield row


def _write_rows(file: IO[bytes], path: str | Path, rows: Iterable[Sequence[str]], *, commas: bool) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    if commas:
        csv.writer(text).writerows(rows)  # ends lines as RFC 4180 has them, and quotes those characters
    else:
        for row in rows:
            if any(character in field for field in row for character in "\t\n\r"):
                raise FormatError(
                    f"{tuple(row)} holds a tab or a line end, which TSV cannot write",
                    path=path,
                    remedy="Write .csv or N-Triples, or rename it.",
                )
            text.write("\t".join(row) + "\n")
    text.flush()
    text.detach()
