"""Strings in columns: one UTF-8 blob and the offsets at which each string starts.

    blob     Q 4 2 Q 5 P o p u l a t i o n          bytes
    offsets  0     3   5                     15     int64, one more than there are strings

Two arrays can be memory-mapped, so a vocabulary of a hundred million names opens at once and takes no heap.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Self

import numpy as np
from jaxtyping import Int32, Int64, UInt8

from kelm.errors import UnknownName

__all__ = ["TextColumn", "Vocabulary"]

_NEIGHBORHOOD = 200  # names around the place where an unknown name would stand, searched for the closest
_SEARCHED_WHOLE = 5_000  # a vocabulary this small is searched whole for the closest names


class TextColumn:
    """Strings by row, read-only.

    Args:
        blob: the strings' UTF-8 bytes, one after the other.
        offsets: where each starts; the last entry is the blob's length.

    >>> column = TextColumn.of(["Berlin", "", "北京"])
    >>> len(column), column[2]
    (3, '北京')
    """

    def __init__(self, blob: UInt8[np.ndarray, "byte"], offsets: Int64[np.ndarray, "start"]) -> None:
        self.blob, self.offsets = blob, offsets

    @classmethod
    def of(cls, strings: Iterable[str]) -> Self:
        """Returns the column of `strings`, in their order."""
        encoded = [string.encode() for string in strings]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> str:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)} strings")
        return self._bytes(row).decode()

    def __iter__(self) -> Iterator[str]:
        data = self.blob.tobytes()
        return (data[start:stop].decode() for start, stop in pairwise(self.offsets.tolist()))

    def __reduce__(self) -> tuple[object, ...]:  # views do not pickle
        return type(self), (self.blob, self.offsets)

    @cached_property
    def _views(self) -> tuple[memoryview, memoryview]:
        return self.blob.data, self.offsets.data  # ten times faster to index than arrays

    def _bytes(self, row: int) -> bytes:
        blob, offsets = self._views
        return bytes(blob[offsets[row] : offsets[row + 1]])


class Vocabulary(TextColumn):
    """Distinct strings, each with its row number as id; looks up both ways.

    Args:
        blob: as in `TextColumn`.
        offsets: as in `TextColumn`.
        order: the rows in the order of their UTF-8 bytes, for look-ups; made when first needed if None.

    >>> names = Vocabulary.of(["Q42", "Q5"])
    >>> names[1], names.id("Q42"), names.find("Q7"), "Q5" in names
    ('Q5', 0, -1, True)
    """

    def __init__(
        self,
        blob: UInt8[np.ndarray, "byte"],
        offsets: Int64[np.ndarray, "start"],
        order: Int32[np.ndarray, "name"] | None = None,
    ) -> None:
        super().__init__(blob, offsets)
        if order is not None:
            self.order = order

    @cached_property
    def order(self) -> Int32[np.ndarray, "name"]:
        """The rows sorted by their UTF-8 bytes (which is the order of code points)."""
        data = self.blob.tobytes()
        encoded = [data[start:stop] for start, stop in pairwise(self.offsets.tolist())]
        return np.array(sorted(range(len(encoded)), key=encoded.__getitem__), np.int32)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self)}

    def id(self, name: str) -> int:
        """Returns the id of `name`.

        Raises:
            UnknownName: with the closest known names.
        """
        row = self.find(name)
        if row < 0:
            raise UnknownName(f'no name is "{name}" among {len(self):,}', remedy=self.closest(name))
        return row

    def find(self, name: str, default: int = -1) -> int:
        """Returns the id of `name`, or `default`. Cost: one binary search."""
        encoded = name.encode("utf-8", "surrogatepass")
        place = self._place(encoded)
        if place < len(self) and self._bytes(row := int(self.order[place])) == encoded:
            return row
        return default

    def ids(self, names: Sequence[str]) -> Int32[np.ndarray, "name"]:
        """Returns the ids of `names`, -1 for the unknown.

        Cost: a binary search each; for many names at once a dictionary of the whole vocabulary, which is kept.
        """
        known = self.__dict__.get("_rows")
        if known is None and 8 * len(names) > len(self):
            known = self._rows
        find = self.find if known is None else lambda name: known.get(name, -1)
        return np.fromiter(map(find, names), np.int32, len(names))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(name) >= 0

    def closest(self, name: str) -> str:
        """Returns ``Did you mean "Q42"?`` with up to three known names, or what is known when none is close."""
        if not len(self):
            return "None is known."
        first, last = 0, len(self)
        if last > _SEARCHED_WHOLE:  # comparing with all names would take minutes
            place = self._place(name.encode("utf-8", "surrogatepass"))
            first, last = max(0, place - _NEIGHBORHOOD), min(last, place + _NEIGHBORHOOD)
        near = difflib.get_close_matches(name, [self[int(row)] for row in self.order[first:last]], n=3)
        if near:
            return "Did you mean " + " or ".join(f'"{known}"' for known in near) + "?"
        return "Known are, for example: " + ", ".join(f'"{self[row]}"' for row in range(min(3, len(self)))) + "."

    def _place(self, encoded: bytes) -> int:
        """Returns how many names sort before `encoded`."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._bytes(int(self.order[middle])) < encoded:
                low = middle + 1
            else:
                high = middle
        return low
