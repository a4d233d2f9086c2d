"""Where texts come from: plain text, JSON lines, tab-separated tables, Hugging Face datasets.

    TextFiles("articles/*.txt.gz")        JsonLines("posts.jsonl", field="body")
    Table("pairs.tsv", text=0, pair=1)    Dataset(load_dataset(..., streaming=True), field="text")

Files are read line by line, plain or compressed, and never whole (`kelm.data.files`). Texts are numbered through all
files; a shard parses only its own.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kelm.data.corpus import Corpus, Cursor, Shard, Text, digest
from kelm.data.files import LONGEST_LINE, Line, fingerprint, read
from kelm.errors import FormatError, InputError, closest

if TYPE_CHECKING:
    from datasets import Dataset as MappedDataset
    from datasets import IterableDataset

__all__ = ["Dataset", "Files", "JsonLines", "Parse", "Paths", "Table", "TextFiles", "stretches"]

Paths = str | Path | Sequence[str | Path]
Parse = Callable[[list[Line], int, str], Text]


class Files(Corpus[Text]):
    """What all file formats share: order of the files, numbers, shards and cursors.

    A cursor is ``[file, line, byte, number]``: continue in that file, after that line and byte, at that number.

    Args:
        paths: a path, a pattern such as ``"articles/*.txt.gz"`` (read in alphabetical order), or several of them.

    Raises:
        FormatError: no file is meant.
    """

    def __init__(self, paths: Paths) -> None:
        several = [paths] if isinstance(paths, str | Path) else paths
        self.paths = [found for path in several for found in _found(Path(path))]
        if not self.paths:
            raise FormatError("no file is given", remedy="Name at least one existing file.")

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Text, Cursor]]:  # noqa: B008
        first, line, byte, number = start or (0, 0, 0, 0)
        for file in range(first, len(self.paths)):
            path = self.paths[file]
            parse = self._parser(path)
            for lines in self._grouped(read(path, number=line, byte=byte), path):
                if shard.owns(number):
                    last = lines[-1]
                    yield parse(lines, number, f"{path}:{lines[0].number}"), [file, last.number, last.end, number + 1]
                number += 1
            line = byte = 0

    def _grouped(self, lines: Iterator[Line], path: Path) -> Iterator[list[Line]]:
        """Yields the lines of each text; blank lines belong to none."""
        return ([line] for line in lines if line.text and not line.text.isspace())

    @abstractmethod
    def _parser(self, path: Path) -> Parse:
        """Returns what makes a text of its lines, number and origin; may read the beginning of the file."""

    def fingerprint(self) -> str:
        return digest(type(self).__name__, self._options(), *map(fingerprint, self.paths))

    def _options(self) -> list[Any]:
        """Returns the options on which the texts depend."""
        return []


class _Parser:
    """Makes a text of its lines; subclassed by each format."""

    def __call__(self, lines: list[Line], number: int, origin: str) -> Text:
        return Text("\n".join(line.text for line in lines), number=number, origin=origin)


def _found(path: Path) -> list[Path]:
    wild = [place for place, part in enumerate(path.parts) if any(sign in part for sign in "*?[")]
    if not wild or path.exists():
        return [path]
    found = sorted(Path(*path.parts[: wild[0]]).glob("/".join(path.parts[wild[0] :])))
    if not found:
        raise FormatError("no file has such a name", path=path, remedy="Check the folder and the pattern.")
    return found


def stretches(lines: Iterator[Line], path: Path) -> Iterator[list[Line]]:
    """Yields the lines between blank ones.

    Raises:
        FormatError: a stretch has more characters than a line may have.
    """
    stretch: list[Line] = []
    size = 0
    for line in lines:
        if line.text and not line.text.isspace():
            stretch.append(line)
            size += len(line.text)
            if size > LONGEST_LINE:
                raise FormatError(
                    f"from here on {LONGEST_LINE:,} characters come without a blank line",
                    path=path,
                    line=stretch[0].number,
                    remedy="Put blank lines between documents, or between sentences.",
                )
        elif stretch:
            yield stretch
            stretch, size = [], 0
    if stretch:
        yield stretch


class TextFiles(Files):
    """Plain text: every line is a text, or with `documents` every stretch of lines between blank ones."""

    def __init__(self, paths: Paths, *, documents: bool = False) -> None:
        super().__init__(paths)
        self.documents = documents

    def _grouped(self, lines: Iterator[Line], path: Path) -> Iterator[list[Line]]:
        return stretches(lines, path) if self.documents else super()._grouped(lines, path)

    def _parser(self, path: Path) -> _Parser:
        return _Parser()

    def _options(self) -> list[Any]:
        return [self.documents]


class JsonLines(Files):
    """One JSON object a line.

    Args:
        field, pair: the keys of the text and of the second text.
        keep: further keys that go into `Text.fields`.
    """

    def __init__(self, paths: Paths, *, field: str = "text", pair: str | None = None, keep: Sequence[str] = ()) -> None:
        super().__init__(paths)
        self.field, self.pair, self.keep = field, pair, tuple(keep)

    def _parser(self, path: Path) -> _Parser:
        return _JsonParser(path, self.field, self.pair, self.keep)

    def _options(self) -> list[Any]:
        return [self.field, self.pair, self.keep]


class _JsonParser(_Parser):
    def __init__(self, path: Path, field: str, pair: str | None, keep: tuple[str, ...]) -> None:
        self.path, self.field, self.pair, self.keep = path, field, pair, keep

    def __call__(self, lines: list[Line], number: int, origin: str) -> Text:
        line = lines[0]
        try:
            record = json.loads(line.text)
        except (ValueError, RecursionError) as error:
            raise FormatError(
                f"this is no JSON ({error})", path=self.path, line=line.number, remedy="Give one object a line."
            ) from None
        if not isinstance(record, dict):
            raise FormatError(
                f"expected an object, found {type(record).__name__}",
                path=self.path,
                line=line.number,
                remedy=f'Give lines such as {{"{self.field}": "..."}}.',
            )
        text = self._string(record, self.field, line.number)
        pair = None if self.pair is None else self._string(record, self.pair, line.number)
        kept = {key: self._value(record, key, line.number) for key in self.keep}
        return Text(text, pair, number, origin, kept)

    def _value(self, record: dict[str, Any], key: str, line: int) -> Any:
        if key not in record:
            raise FormatError(
                "the object lacks it", path=self.path, line=line, field=key, remedy=closest(key, map(str, record))
            )
        return record[key]

    def _string(self, record: dict[str, Any], key: str, line: int) -> str:
        value = self._value(record, key, line)
        if not isinstance(value, str):
            found = type(value).__name__
            raise FormatError(
                f"expected a string, found {found}",
                path=self.path,
                line=line,
                field=key,
                remedy=f'Give the value in quotes: {{"{key}": "..."}}; or leave the line out.',
            )
        return value


class Table(Files):
    """Tab-separated columns without quoting. Every line has as many columns as the first.

    Args:
        text, pair: the columns of the text and of the second text, by number from 0, or by name in the header.
        keep: further columns that go into `Text.fields`, under the name or number given.
        header: the first line of each file names the columns; by default so if a column is given by name.
    """

    def __init__(
        self,
        paths: Paths,
        *,
        text: int | str = 0,
        pair: int | str | None = None,
        keep: Sequence[int | str] = (),
        header: bool | None = None,
    ) -> None:
        super().__init__(paths)
        self.text, self.pair, self.keep = text, pair, tuple(keep)
        named = any(isinstance(column, str) for column in (text, pair, *keep))
        self.header = named if header is None else header
        if named and not self.header:
            raise InputError("columns are given by name", remedy="Say header=True, or give their numbers from 0.")

    def _grouped(self, lines: Iterator[Line], path: Path) -> Iterator[list[Line]]:
        return ([line] for line in lines if line.text and not (self.header and line.number == 1))

    def _parser(self, path: Path) -> _Parser:
        first = next(read(path)).text.split("\t")
        columns = {
            column: self._place(column, first, path)
            for column in (self.text, self.pair, *self.keep)
            if column is not None
        }
        return _TableParser(path, len(first), columns, self)

    def _place(self, column: int | str, first: list[str], path: Path) -> int:
        if isinstance(column, str):
            if column not in first:
                raise FormatError("no such column", path=path, line=1, field=column, remedy=closest(column, first))
            return first.index(column)
        if not 0 <= column < len(first):
            raise FormatError(
                f"there are {len(first)} columns",
                path=path,
                line=1,
                field=str(column),
                remedy=f"Give a number from 0 to {len(first) - 1}; columns are separated by tabs.",
            )
        return column

    def _options(self) -> list[Any]:
        return [self.text, self.pair, self.keep, self.header]


class _TableParser(_Parser):
    def __init__(self, path: Path, width: int, places: dict[int | str, int], table: Table) -> None:
        self.path, self.width, self.places, self.table = path, width, places, table

    def __call__(self, lines: list[Line], number: int, origin: str) -> Text:
        cells = lines[0].text.split("\t")
        if len(cells) != self.width:
            raise FormatError(
                f"expected {self.width} columns as in line 1, found {len(cells)}",
                path=self.path,
                line=lines[0].number,
                remedy="Separate columns by single tabs, and replace tabs inside a text by spaces.",
            )
        of, table = self.places, self.table
        pair = None if table.pair is None else cells[of[table.pair]]
        kept = {str(column): cells[of[column]] for column in table.keep}
        return Text(cells[of[table.text]], pair, number, origin, kept)


class Dataset(Corpus[Text]):
    """A dataset of the library `datasets`, held or streaming. A cursor is the number of the next row.

    Args:
        field, pair: columns of the text and of the second text; "translation.en" is what a column of mappings holds.
        keep: further columns that go into `Text.fields`.

    Cost: a streaming dataset is read from its start to continue in its middle, as the library does it.
    """

    def __init__(
        self,
        dataset: MappedDataset | IterableDataset,
        *,
        field: str = "text",
        pair: str | None = None,
        keep: Sequence[str] = (),
    ) -> None:
        self.dataset: Any = dataset
        self.field, self.pair, self.keep = field, pair, tuple(keep)
        known = dataset.column_names
        for column in (field, pair, *keep):
            if column is not None and known is not None and _column(column, known) not in known:
                raise FormatError("the dataset has no such column", field=column, remedy=closest(column, known))

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Text, Cursor]]:  # noqa: B008
        number = start or 0
        for row in self._rows(number):
            if shard.owns(number):
                yield self._text(row, number), number + 1
            number += 1

    def _rows(self, first: int) -> Iterable[Any]:
        if not hasattr(self.dataset, "select"):  # streaming
            rows: Iterable[Any] = self.dataset.skip(first) if first else self.dataset
            return rows
        if first >= len(self.dataset):
            return []
        known = self.dataset.column_names
        columns = [_column(column, known) for column in (self.field, self.pair, *self.keep) if column is not None]
        chosen = self.dataset.select_columns(list(dict.fromkeys(columns)))
        held: Iterable[Any] = chosen.select(range(first, len(chosen)))
        return held

    def _text(self, row: Any, number: int) -> Text:
        origin = f"row {number + 1}"
        for column in (self.field, self.pair):
            if column is not None and not isinstance(value := _cell(row, column), str):
                found = "nothing" if value is None else type(value).__name__
                raise FormatError(
                    f"expected a string, found {found}",
                    line=number + 1,
                    field=column,
                    remedy="Choose a column of texts, or leave out the rows that have none.",
                )
        pair = None if self.pair is None else _cell(row, self.pair)
        return Text(_cell(row, self.field), pair, number, origin, {key: _cell(row, key) for key in self.keep})

    def fingerprint(self) -> str:
        info = self.dataset.info
        own = getattr(self.dataset, "_fingerprint", None)  # of a held one: a hash of its table and its history
        named = [info.builder_name, info.config_name, str(info.version), str(self.dataset.split)]
        return digest("Dataset", own or named, self.field, self.pair, self.keep)


def _column(name: str, known: Sequence[str]) -> str:
    """Returns the column that holds what is called by a name: itself, or that of mappings before the point."""
    return name if name in known else name.partition(".")[0]


def _cell(row: Mapping[str, Any], name: str) -> Any:
    column, point, key = name.partition(".")
    if name in row or not point:
        return row.get(name)
    held = row.get(column)
    return held.get(key) if isinstance(held, Mapping) else None
