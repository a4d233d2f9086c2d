"""Columns of a chunk of bytes: what the readers share that look at whole chunks at once.

    chunk    Q64\\tP17\\tQ183\\nQ64\\tP1376\\tQ183\\n          starts [0, 4, 8, 13 ...]   stops [3, 7, 12, 16 ...]
    numbers  [0, 1, 2, 0, 3, 2]                             each distinct string is decoded and numbered once

Strings are numbered by a hash table in C++ (pyarrow).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Int32, Int64

from kg.graph import GraphBuilder
from kg.io.journal import Journal
from kg.io.source import chunks, decoded

__all__ = ["add_tables", "numbers"]

_TAB, _LINE = b"\t\n"
_BLANK = -1  # in place of the number of a name without a visible character


def numbers(
    chunk: bytes,
    starts: Int64[np.ndarray, "span"],
    stops: Int64[np.ndarray, "span"],
    number: Callable[[list[str]], list[int]],
) -> Int32[np.ndarray, "span"]:
    """Returns for each string between `starts` and `stops` its number, which `number` gives to the distinct ones.

    Spans come in order and do not overlap: then strings and the gaps between them make one Arrow column.
    """
    import pyarrow

    count = len(starts)
    if not count:
        return np.zeros(0, np.int32)
    offsets = np.stack((starts, stops), axis=1).reshape(-1).astype(np.int32)
    column = pyarrow.StringArray.from_buffers(2 * count - 1, pyarrow.py_buffer(offsets), pyarrow.py_buffer(chunk))
    coded = column.take(pyarrow.array(np.arange(0, 2 * count - 1, 2))).dictionary_encode()
    table = np.array(number(coded.dictionary.to_pylist()), np.int32)
    return np.asarray(table[coded.indices.to_numpy()])


def add_tables(
    builder: GraphBuilder,
    journal: Journal,
    *,
    places: tuple[int, int, int],
    width: int,
    after: int = 0,
) -> Iterator[tuple[int, list[str]]]:
    """Adds the triples of a file between tabs and yields number and fields of the lines that are none.

    Those have another number of columns, or a name without a visible character; lines that are blank are left out.

    Args:
        places: which columns hold head, relation and tail.
        width: how many columns a line has.
        after: number of the last line to leave out, a header's.

    Raises:
        FormatError: the file cannot be read, or a line is not UTF-8 (unless the journal allows it).
    """
    for first, chunk in chunks(journal.source, journal):
        try:
            chunk.decode()
        except UnicodeDecodeError:
            chunk = decoded(chunk, first, journal).encode()
        buffer = np.frombuffer(chunk, np.uint8)
        ends, tabs = np.flatnonzero(buffer == _LINE), np.flatnonzero(buffer == _TAB)
        starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))
        tab = np.searchsorted(tabs, starts)
        fits = np.diff(tab, append=len(tabs)) == width - 1
        fits[: max(0, after - first + 1)] = False
        rows = np.flatnonzero(fits)
        bounds = np.concatenate(
            (starts[rows, None] - 1, tabs[tab[rows, None] + np.arange(width - 1)], ends[rows, None]), 1
        )
        taken = np.sort(places)
        spans = (bounds[:, taken] + 1).reshape(-1), bounds[:, taken + 1].reshape(-1)
        names = numbers(chunk, *spans, lambda names: _numbered(builder, names)).reshape(-1, 3)
        sound = (names >= 0).all(axis=1)
        builder.triple_rows.extend(names[:, np.searchsorted(taken, places)][sound])
        journal.counts["triples"] += int(sound.sum())
        fits[rows[~sound]] = False
        yield from _others(chunk, fits, starts, ends, first, after)


def _numbered(builder: GraphBuilder, names: list[str]) -> list[int]:
    visible = [name for name in names if name.strip()]
    found = builder.names.numbers(visible)
    if len(visible) == len(names):
        return found
    known = dict(zip(visible, found, strict=True))
    return [known.get(name, _BLANK) for name in names]


def _others(
    chunk: bytes,
    fits: Bool[np.ndarray, "line"],
    starts: Int64[np.ndarray, "line"],
    ends: Int64[np.ndarray, "line"],
    first: int,
    after: int,
) -> Iterator[tuple[int, list[str]]]:
    for row in np.flatnonzero(~fits).tolist():
        text = chunk[starts[row] : ends[row]].decode()
        if first + row > after and text.strip():
            yield first + row, text.split("\t")
