"""A linker's names in a file: columns as safetensors, which open at once, or names as JSON lines, for hand and eye.

    {"format": "kelm-names", "version": 1, "options": {"min_length": 3, ...}}
    ["Paris", "Q90", 9.0, "en", 0]      alias, entity, weight, language ("": any), how often seen (0 if absent)

kelm writes the columns; it reads both. Nothing in either file can run code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from kelm.data.folders import file_aside
from kelm.errors import FormatError, InputError
from kg.linking.lexicon import Lexicon
from kg.linking.name_table import NameTable, check
from kg.linking.names import MOST_SEEN, AliasOptions, Name
from kg.linking.row_file import RowFile
from kg.vocabulary import TextColumn

__all__ = ["load", "save"]

_FORMAT, _VERSION = "kelm-names", 2
_LINES = RowFile(
    _FORMAT,
    1,
    f"the names of an alias linker and its options {', '.join(column.name for column in fields(AliasOptions))}",
    "Build the linker again from its graph and save it.",
)
_LEXICON = ("codes", "offsets", "keys", "owner", "buckets")
_TYPES = {
    **{"codes": "u4", "offsets": "i8", "keys": "u8", "owner": "i4", "buckets": "i4", "starts": "i8", "entity": "i4"},
    **{
        "weight": "f8",
        "seen": "i8",
        "language": "i2",
        "cased": "?",
        "capital": "?",
        "aliases": "u1",
        "alias_offsets": "i8",
    },
    **{"entities": "u1", "entity_offsets": "i8"},
}


def save(names: NameTable, path: str | Path) -> None:
    """Writes the columns, aside first, then renamed.

    Raises:
        CheckpointError: it cannot be written; what was there before is untouched.
    """
    lexicon = names.lexicon
    columns = {
        **{name: getattr(lexicon, name) for name in _LEXICON},
        **{
            name: getattr(names, name)
            for name in ("starts", "entity", "weight", "seen", "language", "cased", "capital")
        },
        **{"aliases": names.aliases.blob, "alias_offsets": names.aliases.offsets},
        **{"entities": names.entities.blob, "entity_offsets": names.entities.offsets},
    }
    header = {
        "format": _FORMAT,
        "version": str(_VERSION),
        "options": json.dumps(asdict(names.options)),
        "languages": json.dumps(names.codes),
        "base": str(lexicon.base),
    }
    with file_aside(Path(path)) as new:
        save_file({name: np.ascontiguousarray(column) for name, column in columns.items()}, new, header)


def load(path: str | Path) -> NameTable:
    """Reads what `save` wrote, or JSON lines.

    Raises:
        FormatError: the file is none of ours or is damaged; names the line of JSON lines.
    """
    try:
        with Path(path).open("rb") as file:
            beginning = file.read(9)
    except OSError:
        beginning = b""  # reading lines says what is wrong
    if beginning[5:9] != b"\0\0\0{":
        return _from_lines(path)
    try:
        with safe_open(path, framework="numpy") as file:
            header, columns = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _from_columns(header, columns)
    except (SafetensorError, InputError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, None, str(error)) from error


def _from_columns(header: dict[str, str], columns: dict[str, np.ndarray]) -> NameTable:
    """Returns the table; ValueError, KeyError or TypeError if the columns do not fit together."""
    if header["format"] != _FORMAT or int(header["version"]) != _VERSION:
        raise ValueError(f"format {header['format']!r}, version {header['version']!r}")
    for name, kind in _TYPES.items():
        if columns[name].dtype != np.dtype(kind) or columns[name].ndim != 1:
            raise ValueError(f"the column {name} is {columns[name].dtype}, not {np.dtype(kind)}")
    codes, offsets, keys, owner, buckets = (columns[name] for name in _LEXICON)
    lexicon = Lexicon(codes, offsets, keys, owner, buckets, int(header["base"]))
    names = NameTable(
        _options(json.loads(header["options"])),
        lexicon,
        columns["starts"],
        TextColumn(columns["aliases"], columns["alias_offsets"]),
        columns["entity"],
        TextColumn(columns["entities"], columns["entity_offsets"]),
        columns["weight"],
        columns["seen"],
        columns["language"],
        tuple(map(str, json.loads(header["languages"]))),
        columns["cased"],
        columns["capital"],
        {},
    )
    if wrong := next((name for name, sound in _checks(names) if not sound), None):
        raise ValueError(f"the column {wrong} does not fit the others")
    return names


def _checks(names: NameTable) -> Iterator[tuple[str, bool]]:
    """Yields what would otherwise fail amid a text, or find wrong names."""
    lexicon, rows, buckets = names.lexicon, len(names.entity), len(names.lexicon.buckets) - 1
    yield "offsets", _steps(lexicon.offsets, len(lexicon.codes)) and bool((np.diff(lexicon.offsets) > 0).all())
    yield "owner", len(lexicon.owner) == len(lexicon.keys) and _within(lexicon.owner, -1, len(lexicon))
    yield "keys", bool((lexicon.keys[1:] > lexicon.keys[:-1]).all())
    yield "buckets", buckets.bit_count() == 1 and _steps(lexicon.buckets, len(lexicon.keys))
    yield "base", 0 < lexicon.base < 1 << 64 and lexicon.base % 2 == 1
    yield "starts", len(names.starts) == len(lexicon) + 1 and _steps(names.starts, rows)
    yield "entity", _within(names.entity, 0, len(names.entities))
    yield "language", len(names.language) == rows and _within(names.language, 0, len(names.codes))
    yield "weight", len(names.weight) == rows and bool(((names.weight >= 0) & np.isfinite(names.weight)).all())
    yield "seen", len(names.seen) == rows and bool(((names.seen > 0) | ((names.seen == 0) & (names.weight > 0))).all())
    yield "cased", len(names.cased) == len(names.capital) == rows
    yield "aliases", len(names.aliases) == rows and _is_text(names.aliases)
    yield "entities", _is_text(names.entities)


def _steps(offsets: np.ndarray, end: int) -> bool:
    return len(offsets) > 0 and int(offsets[0]) == 0 and int(offsets[-1]) == end and bool((np.diff(offsets) >= 0).all())


def _within(values: np.ndarray, least: int, end: int) -> bool:
    return bool(((values >= least) & (values < end)).all())


def _is_text(column: TextColumn) -> bool:
    """Whether each string is UTF-8: the blob is, and none starts within a character."""
    column.blob.tobytes().decode()
    starts = column.offsets[column.offsets < len(column.blob)]
    return _steps(column.offsets, len(column.blob)) and bool(((column.blob[starts] & 0xC0) != 0x80).all())


def _from_lines(path: str | Path) -> NameTable:
    rows = _LINES.read(path)
    first, header = next(rows)
    try:
        options = _options(header["options"])
    except (InputError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, first, str(error)) from error
    return NameTable.of((_name(path, number, row) for number, row in rows), options)


def _options(given: dict[str, Any]) -> AliasOptions:
    return AliasOptions(**{**given, "stop": tuple(given["stop"])})


def _name(path: str | Path, number: int, row: Any) -> Name:
    try:
        alias, entity, weight, language, seen = (*row, 0) if len(row) == 4 else row
        name = Name(str(alias), str(entity), float(weight), str(language), seen)
    except OverflowError as error:
        remedy = "Weights are positive numbers: probabilities, degrees."
        problem = f"the weight {weight} is too large"
        raise FormatError(problem, path=path, line=number, field="weight", remedy=remedy) from error
    except (ValueError, TypeError) as error:
        raise _damaged(path, number, str(error)) from error
    if type(seen) is not int:
        remedy = f"Counts are whole numbers from 0 to {MOST_SEEN}."
        raise FormatError(f"found {seen!r}", path=path, line=number, field="seen", remedy=remedy)
    try:
        check(name)
    except FormatError as error:
        raise FormatError(error.problem, path=path, line=number, field=error.field, remedy=error.remedy) from None
    return name


def _damaged(path: str | Path, line: int | None, problem: str) -> FormatError:
    return replace(_LINES, version=_VERSION).damaged(path, line, problem)
