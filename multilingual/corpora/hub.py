"""Texts of the library `datasets` where files of a language, or of a pair of languages, are named.

    files = { sw = "hf:wikimedia/wikipedia:20231101.sw" }    name, configuration, part; the last two may be left out
    files = { en-sw = "hf:Helsinki-NLP/opus-100:en-sw" }     a column "translation" with both languages, or two columns

What is fetched lies in memory-mapped files and is never loaded whole. A folder of Parquet or JSON files is a name, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kelm.data.sources import Dataset
from kelm.errors import InputError
from kelm.training.construct import loaded

__all__ = ["hub_pairs", "hub_texts", "is_hub"]

_PREFIX = "hf:"


def is_hub(path: str) -> bool:
    """Tells whether a path names a dataset."""
    return path.startswith(_PREFIX)


def hub_texts(path: str, field: str = "text") -> Dataset:
    """Opens the texts of a dataset.

    Args:
        field: the column of the texts.

    Raises:
        InputError: more than a name, a configuration and a part.
        RecipeError: it cannot be opened.
        FormatError: it has no such column.
    """
    return Dataset(_loaded(path), field=field)


def hub_pairs(path: str, languages: Sequence[str]) -> Dataset:
    """Opens the pairs of a dataset: a column "translation" with a text by language, or a column a language.

    Raises: as `hub_texts`.
    """
    held = _loaded(path)
    sides = [f"translation.{code}" if "translation" in held.column_names else code for code in languages]
    return Dataset(held, field=sides[0], pair=sides[1])


def _loaded(path: str) -> Any:
    parts = path.removeprefix(_PREFIX).split(":")
    if len(parts) > 3 or not parts[0]:
        raise InputError(f'"{path}" names no dataset', field="files", remedy='Write "hf:NAME:CONFIGURATION:PART".')
    name, config, split = [*parts, "", ""][:3]
    return loaded(name, config=config or None, split=split or "train", streaming=False)
