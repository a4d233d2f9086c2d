"""Texts with further columns, from JSON lines or from tables, as the file's name says.

train.jsonl   {"text": "a fine film", "label": "positive"}      columns are keys
train.tsv     label<TAB>text                                    columns are names of a header, or numbers from 0
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kelm.data.corpus import Corpus, Cursor, Shard, Text, digest
from kelm.data.sources import JsonLines, Table
from kelm.errors import FormatError, InputError, closest

__all__ = ["Column", "Selected", "columns", "is_json"]

Column = int | str


def is_json(path: str) -> bool:
    """Whether a file's name says that it holds JSON lines.

    >>> is_json("part-*.jsonl.gz"), is_json("train.tsv")
    (True, False)
    """
    return ".jsonl" in Path(path).suffixes


def columns(
    path: str,
    *,
    text: Column,
    pair: Column | None = None,
    keep: Sequence[Column] = (),
    header: bool | None = None,
    only: Mapping[str, Any] | None = None,
) -> Corpus[Text]:
    """Returns a corpus of the texts in a file; `Text.fields` holds the columns to keep.

    Args:
        path: JSON lines if ".jsonl" is in its name, else a table (see `kelm.data.sources.Table`); plain or compressed,
            or a pattern such as ``"part-*.jsonl"``.
        header: of tables: the first line names the columns; by default so if a column is given by name.
        only: what columns have to hold; other lines are left out.

    Raises:
        FormatError: there is no such file or column.
        InputError: a key of JSON lines is given by number.
    """
    wanted = dict(only or {})
    kept = list(dict.fromkeys([*keep, *wanted]))
    if is_json(path):
        keys = [_key(column) for column in kept]
        corpus: Corpus[Text] = JsonLines(path, field=_key(text), pair=None if pair is None else _key(pair), keep=keys)
    else:
        wanted = {name: str(value) for name, value in wanted.items()}
        corpus = Table(path, text=text, pair=pair, keep=kept, header=header)
    return Selected(corpus, wanted) if wanted else corpus


def _key(column: Column) -> str:
    if isinstance(column, str):
        return column
    raise InputError(f"JSON lines have no column {column}", remedy="Give the key, in quotes.")


class Selected(Corpus[Text]):
    """The texts of a corpus whose fields hold what is wanted; numbers stay as they are.

    Raises:
        FormatError: when read as a whole, if there is no such text; names the field and the values that occur.
    """

    def __init__(self, corpus: Corpus[Text], only: Mapping[str, Any]) -> None:
        self.corpus, self.only = corpus, dict(only)

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Text, Cursor]]:  # noqa: B008
        seen: dict[str, set[str]] = {field: set() for field in self.only}
        found, origin = False, ""
        for text, cursor in self.corpus.stream(shard, start):
            if all(text.fields[field] == value for field, value in self.only.items()):
                found = True
                yield text, cursor
            elif not found:
                origin = text.origin
                for field in self.only:
                    seen[field].add(str(text.fields[field]))
        if not found and origin and start is None and shard.count == 1:
            raise self._nothing(seen, origin)

    def _nothing(self, seen: Mapping[str, set[str]], origin: str) -> FormatError:
        absent = [field for field, value in self.only.items() if str(value) not in seen[field]]
        field = next(iter([*absent, *self.only]))
        problem, remedy = f"no line has {self.only[field]!r} there", closest(str(self.only[field]), seen[field])
        return FormatError(problem, path=origin.rpartition(":")[0], field=field, remedy=remedy)

    def fingerprint(self) -> str:
        return digest("Selected", self.corpus.fingerprint(), self.only)
