"""The layout of fastText's model files: enough to tell a whole file from a cut one before fastText opens it.

    magic, version | 12 numbers, t | sizes, words and labels, pruned n-grams | input matrix | output matrix

fastText checks only the first eight bytes. Of a file that is cut amid the weights it fills the rest with whatever is
in memory; by its source, one that is cut amid the words is read for ever.
Source: `FastText::saveModel`, `Args::save`, `Dictionary::save` and the matrices' `save` of fastText 0.9.3.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Protocol

__all__ = ["Damaged", "check_model"]

_MAGIC, _NEWEST = 793712314, 12
_SUPERVISED = 3
_CENTROIDS = 256  # of a product quantizer, for each dimension


class Damaged(Exception):
    """What is wrong with a model file, as half a sentence."""


class _Bytes(Protocol):
    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes: ...
    def find(self, part: bytes, start: int, /) -> int: ...


class _Reader:
    def __init__(self, data: _Bytes) -> None:
        self.data, self.at = data, 0

    def read(self, form: str) -> tuple[int, ...]:
        start = self.at
        self.skip(struct.calcsize(f"<{form}"))
        return struct.unpack(f"<{form}", self.data[start : self.at])

    def skip(self, count: int) -> None:
        if count < 0:
            raise Damaged("holds a negative size")
        self.at += count
        if self.at > len(self.data):
            raise Damaged(f"is cut: {len(self.data)} bytes of at least {self.at}")

    def skip_word(self) -> None:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise Damaged("is cut amid its words")
        self.at = end + 1


def check_model(path: Path) -> None:
    """Checks that a file is a whole model of fastText's for classification, dense (`.bin`) or quantized (`.ftz`).

    The weights themselves are not looked at. Cost: one pass over the words; weights are skipped.

    Raises:
        Damaged: it is not.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise Damaged("is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            reader = _Reader(data)
            _skip_head(reader)
            _skip_words(reader)
            (quantized,) = reader.read("?")
            _skip_matrix(reader, bool(quantized))
            (quantized_output,) = reader.read("?")
            _skip_matrix(reader, bool(quantized and quantized_output))
            if reader.at != len(data):
                raise Damaged(f"is {len(data) - reader.at} bytes too long")


def _skip_head(reader: _Reader) -> None:
    magic, version = reader.read("ii")
    if magic != _MAGIC:
        raise Damaged("is no model of fastText's")
    if version > _NEWEST:
        raise Damaged(f"is of version {version} of the format; up to {_NEWEST} is known")
    model = reader.read("12i")[7]
    if model != _SUPERVISED:
        raise Damaged("holds word vectors, not a classifier")
    reader.read("d")


def _skip_words(reader: _Reader) -> None:
    entries, _, _, _, pruned = reader.read("iiiqq")
    for _ in range(entries):
        reader.skip_word()
        reader.skip(9)  # its count and its kind
    reader.skip(8 * max(pruned, 0))  # -1: none


def _skip_matrix(reader: _Reader, quantized: bool) -> None:
    if not quantized:
        rows, columns = reader.read("qq")
        reader.skip(4 * rows * columns)
        return
    norms, rows, _, codes = reader.read("?qqi")
    reader.skip(codes)
    _skip_quantizer(reader)
    if norms:
        reader.skip(rows)
        _skip_quantizer(reader)


def _skip_quantizer(reader: _Reader) -> None:
    width, *_ = reader.read("4i")
    reader.skip(4 * width * _CENTROIDS)
