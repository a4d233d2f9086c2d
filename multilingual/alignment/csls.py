"""Words by their translations: is the nearest word of the other language one that a dictionary gives?

    of      von             a line of the file: a word and one of its translations
    of      aus

Precision at k: the share of the dictionary's words with a right one among the k nearest, by the cosine or by CSLS,
which does not favor hubs (`multilingual.alignment.neighbors`).
Source: Conneau et al., 2018 (Word translation without parallel data), sections 2.3 and 3.1; there the other words are a
language's 200,000 most frequent ones, here those given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from kelm.data.files import read
from kelm.errors import FormatError, InputError
from multilingual.alignment.neighbors import Measure, crowding, nearest, unit

__all__ = ["Translations", "read_dictionary", "word_precision"]

Translations = Mapping[str, Sequence[str]]


def read_dictionary(path: str | Path) -> dict[str, list[str]]:
    """Returns the translations of each word, case folded, in the order of the file.

    Raises:
        FormatError: a line has no two columns, or the file no line. Columns are separated by tabs, or by blanks where
            no tab is.
    """
    found: dict[str, list[str]] = {}
    for line in read(path):
        if not line.text.strip():
            continue
        cells = [cell.strip() for cell in (line.text.split("\t") if "\t" in line.text else line.text.split())]
        if len(cells) != 2 or not all(cells):
            raise FormatError(
                f"expected a word and its translation, found {len(cells)} columns",
                path=path,
                line=line.number,
                remedy="Write both with a tab between.",
            )
        word, translation = (cell.casefold() for cell in cells)
        known = found.setdefault(word, [])
        if translation not in known:
            known.append(translation)
    if not found:
        raise FormatError("it has no word", path=path, remedy="Write a word, a tab and its translation in each line.")
    return found


def word_precision(
    words: Float[np.ndarray, "word width"],
    others: Float[np.ndarray, "other width"],
    right: Sequence[Sequence[int]],
    *,
    measure: Measure = "csls",
    k: int = 10,
    at: int = 1,
) -> float:
    """Returns the share of words with a right one among their `at` nearest others.

    Args:
        right: numbers of each word's translations among the others.
        k: neighbors of CSLS; of smaller sets all.

    Raises:
        InputError: no word, or as many words as `right` has not.
    """
    if not len(words) or len(words) != len(right):
        raise InputError(
            f"found {len(words)} words and {len(right)} of their translations",
            field="words",
            remedy="Give the translations of each word.",
        )
    asked, among = unit(words), unit(others)
    crowded = None if measure == "cosine" else crowding(asked, among, min(k, len(asked), len(among)))
    found = nearest(asked, among, measure=measure, crowded=crowded, most=min(at, len(among)))
    return float(np.mean([not set(row.tolist()).isdisjoint(some) for row, some in zip(found, right, strict=True)]))
