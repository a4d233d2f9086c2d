"""Between characters, tokens and words: where a stretch of text lies in its tokens, and back.

text     W a s h i n g t o n   i s        characters [0, 10) name a city
tokens   [CLS] Wash ##ing ##ton is [SEP]  -> tokens [1, 4)
spans    -1,-1 0,4  4,7   7,10  11,13 -1,-1
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kelm.batch import Encoded
from kelm.typing import Bool, Int

__all__ = ["locate", "ragged", "trimmed", "word_numbers"]

# Scripts that put no space between words: there, a piece of its own counts as a word.
_SPACELESS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x312F),  # radicals, CJK punctuation, Hiragana, Katakana, Bopomofo
    (0x31A0, 0x4DBF),  # more Bopomofo and Katakana, CJK extension A
    (0x4E00, 0x9FFF),  # CJK
    (0xF900, 0xFAFF),  # CJK compatibility
    (0xFF66, 0xFF9F),  # half-width Katakana
    (0x20000, 0x323AF),  # CJK extensions B to H
)
_SPACES = np.array([code for code in range(0x3001) if chr(code).isspace()], dtype=np.uint32)


def locate(text: Encoded, starts: Sequence[int], ends: Sequence[int]) -> Int[np.ndarray, "stretch 2"]:
    """Returns for each stretch of characters [start, end) the tokens [first, end) that it touches.

    -1, -1 where no token touches it (it was cut off, or is blank). A word piece touched in part counts.
    In a pair, characters are those of `Encoded.text`, both texts together.

    >>> encoded = Encoded("ab c", *map(np.array, ([0, 5, 6, 7, 1], [[-1, -1], [0, 1], [1, 2], [3, 4], [-1, -1]],
    ...                                           [-1, 0, 0, 1, -1], [0, 0, 0, 0, 0])))
    >>> locate(encoded, [0, 3, 2], [2, 4, 3]).tolist()
    [[1, 3], [3, 4], [-1, -1]]
    """
    here = np.flatnonzero(text.spans[:, 1] > text.spans[:, 0])
    begins, stops = text.spans[here, 0], text.spans[here, 1]  # both ascend: tokens follow the text
    first = np.searchsorted(stops, np.asarray(starts, dtype=np.int64), side="right")
    after = np.searchsorted(begins, np.asarray(ends, dtype=np.int64), side="left")
    found = np.full((len(starts), 2), -1, dtype=np.int64)
    some = first < after
    found[some, 0], found[some, 1] = here[first[some]], here[after[some] - 1] + 1
    return found


def word_numbers(
    begins: Bool[np.ndarray, "token"], special: Bool[np.ndarray, "token"], counts: Int[np.ndarray, "text"]
) -> Int[np.ndarray, "token"]:
    """Returns the number of each token's word, counted from 0 in each text; -1 for special tokens.

    Args:
        begins: a word begins at this token.
        special: tokens like [MASK] that stand in the text itself.
        counts: tokens of each text; the texts lie one after another.
    """
    new = begins | special
    new[1:] |= special[:-1]
    firsts = (counts.cumsum() - counts)[counts > 0]
    new[firsts] = True
    numbers = new.cumsum()
    numbers -= np.repeat(numbers[firsts], counts[counts > 0])
    return np.where(special, -1, numbers)


def spaceless(piece: str) -> bool:
    """Whether a piece is written in a script that puts no space between words, judged by its first letter."""
    code = ord(piece[0]) if piece else 0
    return code >= _SPACELESS[0][0] and any(low <= code <= high for low, high in _SPACELESS)


def ragged(starts: Int[np.ndarray, "text"], counts: Int[np.ndarray, "text"]) -> Int[np.ndarray, "token"]:
    """Returns start, start + 1, ... start + count - 1 of each text, one after another.

    >>> ragged(np.array([10, 20]), np.array([3, 2])).tolist()
    [10, 11, 12, 20, 21]
    """
    return np.repeat(starts - (counts.cumsum() - counts), counts) + np.arange(counts.sum())


def trimmed(
    spans: Int[np.ndarray, "token 2"], texts: Sequence[str], counts: Int[np.ndarray, "text"]
) -> Int[np.ndarray, "token 2"]:
    """Returns the spans without white space at their ends, -1, -1 where nothing is left.

    Args:
        spans: of all texts, one after another, each text's counted from its own first character.
    """
    lengths = np.array([len(text) for text in texts])
    characters = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    blank = np.append(np.isin(characters, _SPACES), False)
    base = np.repeat(lengths.cumsum() - lengths, counts)
    start, end = spans[:, 0].astype(np.int64), spans[:, 1].astype(np.int64)
    while (move := (start < end) & blank[base + start]).any():
        start += move
    while (move := (start < end) & blank[base + end - 1]).any():
        end -= move
    empty = start >= end
    return np.stack([np.where(empty, -1, start), np.where(empty, -1, end)], axis=1)
