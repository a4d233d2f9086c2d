"""Vectors of words as an `EntityTable`: of fastText's text files, or of an encoder's own pieces; and their look-up.

    table = read_vectors("crawl-300d-2M.vec", words)      table.save("vectors")      WordVectors("vectors")(["car"])

A word that is not there is looked up in lower case, then as the mean of its parts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from kelm.data.files import lines
from kelm.errors import FormatError
from kelm.model import Encoder
from kelm.text.tokenizer import Tokenizer
from kg.embeddings.table import EntityTable

__all__ = ["WordVectors", "piece_vectors", "read_vectors"]


@dataclass(frozen=True)
class WordVectors:
    """Looks up words. Crosses a queue as a path; the table is opened where it is used.

    Attributes:
        folder: of the table.
    """

    folder: str

    def __call__(self, words: Sequence[str]) -> Float32[np.ndarray, "word width"]:
        """Returns a vector of length 1 for each word, zeros where nothing is known of it.

        Raises:
            CheckpointError: no table is there.
        """
        found = np.zeros((len(words), self._table.width), np.float32)
        for row, word in enumerate(words):
            found[row] = self._vector(word)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return found / np.where(lengths > 0, lengths, np.float32(1.0))

    def _vector(self, word: str) -> Float32[np.ndarray, "width"]:
        for spelling in (word, word.casefold()):
            if (row := self._table.names.find(spelling)) >= 0:
                return np.array(self._table.vectors[row])
        parts = [part for part in re.split(r"[\s_-]+", word) if part and part != word]
        known = [vector for vector in map(self._vector, parts) if vector.any()]
        return np.stack(known).mean(0) if known else np.zeros(self._table.width, np.float32)

    @cached_property
    def _table(self) -> EntityTable:
        return EntityTable.open(self.folder)

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder}


def read_vectors(path: str | Path, words: Collection[str] | None = None) -> EntityTable:
    """Returns the vectors of a text file of fastText's, word2vec's or GloVe's form, plain or compressed.

    Args:
        words: those wanted, in any case, with their parts; None: all.

    Raises:
        FormatError: a line has another number of values than the first, or something that is no number.

    Cost: the wanted vectors in memory.
    """
    wanted = None if words is None else {part for word in words for part in _spellings(word)}
    found: dict[str, Float32[np.ndarray, "width"]] = {}
    width = 0
    for number, line in lines(path):
        fields = line.rstrip().split(" ")
        if number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
            width = int(fields[1])  # the file's own head line: words, width
            continue
        width = width or len(fields) - 1
        word = " ".join(fields[:-width])
        if len(fields) <= width or not word:
            raise _wrong(f"expected a word and {width} numbers, found {len(fields)} fields", path, number)
        if word in found or (wanted is not None and word not in wanted):
            continue
        try:
            found[word] = np.array(fields[-width:], np.float32)
        except ValueError as error:
            raise _wrong(f"a value is no number ({error})", path, number) from error
    vectors = np.stack(list(found.values())) if found else np.zeros((0, width), np.float32)
    return EntityTable.from_vectors(found, vectors, facts={"model": "word vectors", "file": Path(path).name})


def piece_vectors(words: Collection[str], tokenizer: Tokenizer, encoder: Encoder) -> EntityTable:
    """Returns the mean of the vectors of each word's pieces in the encoder's own embedding table.

    Words without a piece are left out.
    """
    texts = sorted(set(words))
    with torch.no_grad():
        table = encoder.embeddings.word_embeddings.weight.detach().float().cpu().numpy()
    pieces = [one.tokens[one.words >= 0] for one in tokenizer.encode(texts)]
    found = {text: table[tokens].mean(0) for text, tokens in zip(texts, pieces, strict=True) if len(tokens)}
    vectors = np.stack(list(found.values())) if found else np.zeros((0, table.shape[1]), np.float32)
    return EntityTable.from_vectors(found, vectors, facts={"model": "pieces of an encoder"})


def _spellings(word: str) -> set[str]:
    parts = {word, *re.split(r"[\s_-]+", word)}
    return {*parts, *(part.casefold() for part in parts)} - {""}


def _wrong(problem: str, path: str | Path, number: int) -> FormatError:
    return FormatError(problem, path=path, line=number, remedy="Give a text file of vectors, such as fastText's .vec.")
