"""From the pieces of texts to `Encoded`: special tokens around them, cutting, pairs.

    before A after        [CLS] a b c [SEP]            <s> a b c </s>
    before A between B after   [CLS] a [SEP] b c [SEP]      <s> a </s> </s> b c </s>

Every kind of tokenizer finds its pieces; this joins them, so that all kinds cut and pair alike. Texts lie flat, one
after another, in one array, which costs a few array operations for thousands of texts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kelm.batch import Encoded
from kelm.errors import KelmError
from kelm.text.spans import ragged, spaceless
from kelm.typing import Bool, Int

__all__ = ["Assembling", "Pieces", "Template", "begins_of", "begun", "table"]


@dataclass(frozen=True, slots=True)
class Template:
    """The special tokens around texts: ``before A after`` and ``before A between B after``."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]

    def specials(self, *, pair: bool) -> int:
        """Returns how many tokens it adds."""
        return len(self.before) + len(self.after) + (len(self.between) if pair else 0)


class Pieces(NamedTuple):
    """The tokens of many texts without special ones, flat, one text after another."""

    tokens: Int[np.ndarray, "token"]
    spans: Int[np.ndarray, "token 2"]
    words: Int[np.ndarray, "token"]
    counts: Int[np.ndarray, "text"]


class Assembling(ABC):
    """What both kinds share: a subclass finds the pieces, this sets special tokens, cuts and joins pairs."""

    template: Template

    @abstractmethod
    def _pieces(self, texts: list[str]) -> Pieces: ...

    def encode(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, length: int | None = None
    ) -> list[Encoded]:
        if not texts:
            return []
        first = self._pieces(list(texts))
        if pairs is None:
            return self._assembled(list(texts), first, None, _kept(first.counts, None, self._room(length, pair=False)))
        shift = np.array([len(text) + 1 for text in texts])
        second = self._pieces(list(pairs))
        spans = np.where(second.spans < 0, -1, second.spans + np.repeat(shift, second.counts)[:, None])
        together = [f"{text}\n{pair}" for text, pair in zip(texts, pairs, strict=True)]
        kept = _kept(first.counts, second.counts, self._room(length, pair=True))
        return self._assembled(together, first, second._replace(spans=spans), kept)

    def _room(self, length: int | None, *, pair: bool) -> int | None:
        if length is None:
            return None
        room = length - self.template.specials(pair=pair)
        if room < 1:
            raise KelmError(f"length {length} leaves no room beside {length - room} special tokens. Give more.")
        return room

    def _assembled(
        self,
        texts: list[str],
        first: Pieces,
        second: Pieces | None,
        kept: tuple[Int[np.ndarray, "text"], Int[np.ndarray, "text"]],
    ) -> list[Encoded]:
        template, (kept_first, kept_second) = self.template, kept
        before, after = len(template.before), len(template.after)
        between = len(template.between) if second is not None else 0
        sizes = before + kept_first + between + kept_second + after
        ends = sizes.cumsum()
        begins = ends - sizes
        tokens = np.empty(ends[-1], dtype=np.int64)
        spans, words = np.full((ends[-1], 2), -1, dtype=np.int64), np.full(ends[-1], -1, dtype=np.int64)
        segments = np.zeros(ends[-1], dtype=np.int64)
        _put(tokens, begins, template.before)
        there = _move((tokens, spans, words), begins + before, first, kept_first)
        if second is not None:
            _put(tokens, begins + before + kept_first, template.between)
            most = _most(words[there], kept_first)  # the second text's words count on
            second = second._replace(
                words=np.where(second.words < 0, -1, second.words + np.repeat(most + 1, second.counts))
            )
            there = _move((tokens, spans, words), ends - after - kept_second, second, kept_second)
            segments[there] = 1
            for place in range(1, after + 1):
                segments[ends - place] = 1
        _put(tokens, ends - after, template.after)
        return [
            Encoded(text, tokens[begin:end], spans[begin:end], words[begin:end], segments[begin:end])
            for text, begin, end in zip(texts, begins.tolist(), ends.tolist(), strict=True)
        ]


def _put(tokens: Int[np.ndarray, "token"], at: Int[np.ndarray, "text"], special: tuple[int, ...]) -> None:
    for offset, token in enumerate(special):
        tokens[at + offset] = token


def _move(
    into: tuple[np.ndarray, np.ndarray, np.ndarray],
    at: Int[np.ndarray, "text"],
    pieces: Pieces,
    kept: Int[np.ndarray, "text"],
) -> Int[np.ndarray, "token"]:
    """Copies the first `kept` pieces of each text to `at`; returns where they lie now."""
    there = ragged(at, kept)
    here = ragged(pieces.counts.cumsum() - pieces.counts, kept)
    for target, source in zip(into, (pieces.tokens, pieces.spans, pieces.words), strict=True):
        target[there] = source[here]
    return there


def _most(words: Int[np.ndarray, "token"], counts: Int[np.ndarray, "text"]) -> Int[np.ndarray, "text"]:
    """Returns the highest word number of each text, -1 where it has none."""
    most = np.full(len(counts), -1, dtype=np.int64)
    np.maximum.at(most, np.repeat(np.arange(len(counts)), counts), words)
    return most


def _kept(
    first: Int[np.ndarray, "text"], second: Int[np.ndarray, "text"] | None, room: int | None
) -> tuple[Int[np.ndarray, "text"], Int[np.ndarray, "text"]]:
    """Returns how many tokens of each text, and of each second text, stay: the longer of a pair is cut first."""
    if second is None:
        return first if room is None else np.minimum(first, room), np.zeros_like(first)
    if room is None:
        return first, second
    short, long = np.minimum(first, second), np.maximum(first, second)
    long = np.where(short + long > room, np.maximum(short, room - short), long)
    half = short + long > room
    short, long = np.where(half, room // 2, short), np.where(half, room // 2 + room % 2, long)
    return np.where(first > second, long, short), np.where(first > second, short, long)


def table(ids: Iterable[int], size: int) -> Bool[np.ndarray, "token"]:
    """Returns for each token of a vocabulary whether it is one of `ids`."""
    known = np.zeros(size, dtype=bool)
    known[list(ids)] = True
    return known


_INSIDE, _MARKED, _SPACELESS, _MARK = range(4)


def begins_of(pieces: Iterable[tuple[str, int]], size: int) -> Int[np.ndarray, "token"]:
    """Returns for each token 1 where a word begins with it ("▁a"), 2 in a script without spaces, 3 for "▁" alone.

    >>> begins_of([("▁the", 0), ("m", 1), ("日本", 2)], 3).tolist()
    [1, 0, 2]
    """
    codes = np.full(size, _INSIDE, dtype=np.int8)
    for piece, id in pieces:
        rest = piece.removeprefix("▁")
        codes[id] = _SPACELESS if spaceless(rest) else _INSIDE if rest == piece else _MARKED if rest else _MARK
    return codes


def begun(codes: Int[np.ndarray, "token"]) -> Bool[np.ndarray, "token"]:
    """Returns whether a word begins at each token, given the codes of `begins_of`.

    A piece of a script without spaces is a word, so another begins after it; a "▁" alone belongs to what follows.
    """
    begins = codes > _INSIDE
    begins[1:] |= codes[:-1] == _SPACELESS
    begins[1:] &= (codes[:-1] != _MARK) | (codes[1:] != _SPACELESS)
    return begins
