"""Texts become tokens: a corpus of `Text` read by a tokenizer is a corpus of `Encoded`.

    Text --tokenize, in chunks--> Encoded --enrich, in chunks--> Encoded       a long text: cut | split | refused

What the source says about a text (a label, the place of a mention) is turned into parts by `attach`. What else is to be
known of it (mentions of a graph, branches) an enricher adds to any corpus of encoded texts (`Enriched`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np

from kelm.batch import Encoded
from kelm.data.corpus import Corpus, Cursor, Shard, Text, digest
from kelm.errors import KelmError, TextTooLong
from kelm.text.assembly import Template
from kelm.text.tokenizer import Tokenizer

__all__ = ["Attach", "Enriched", "Enricher", "Long", "Reader", "windows"]

Attach = Callable[[Encoded, Text], Encoded]
Long = Literal["cut", "split", "refuse"]
_WINDOWS = 40  # bits: a window's number is its text's, plus its place among the text's windows shifted by this


class Reader(Corpus[Encoded]):
    """Reads a corpus with a tokenizer.

    A text without a single real token gives nothing. The number of an encoded text is its text's, so randomness drawn
    by it does not depend on the shard; later windows of a split text have numbers of their own.

    Args:
        length: tokens that a text may have, special ones included; at most what the model has positions for.
        attach: makes parts of what the source says (`Text.fields`).
        long: what happens to a longer text: it is cut, split into windows at word borders, or refused.
        both: a pair gives nothing if one of its sides has no real token: it is blank, or of marks without a width.
        chunk: texts that are tokenized together; the result does not depend on it.

    Raises:
        TextTooLong: when read, with ``long="refuse"``, or with ``long="split"`` for a pair.
    """

    def __init__(
        self,
        corpus: Corpus[Text],
        tokenizer: Tokenizer,
        length: int,
        *,
        attach: Attach | None = None,
        long: Long = "cut",
        both: bool = False,
        chunk: int = 256,
    ) -> None:
        if long not in get_args(Long):
            raise KelmError(f'Reader: long="{long}" is not one of {", ".join(get_args(Long))}.')
        self.corpus, self.tokenizer, self.length = corpus, tokenizer, length
        self.attach, self.long, self.both, self.chunk = attach, long, both, chunk

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Encoded, Cursor]]:  # noqa: B008
        before, skip = (None, 0) if start is None else (start["text"], start["windows"])
        source = self.corpus.stream(shard, before)
        while chunk := list(islice(source, self.chunk)):
            for (text, after), encoded in zip(chunk, self._read([text for text, _ in chunk]), strict=True):
                for place in range(skip, len(encoded)):
                    last = place + 1 == len(encoded)
                    cursor = {"text": after if last else before, "windows": 0 if last else place + 1}
                    yield self._attached(encoded[place], text, place), cursor
                before, skip = after, 0

    def _attached(self, encoded: Encoded, text: Text, place: int) -> Encoded:
        encoded = encoded.having(number=text.number + (place << _WINDOWS), origin=text.origin)
        return encoded if self.attach is None else self.attach(encoded, text)

    def _read(self, texts: list[Text]) -> Iterator[list[Encoded]]:
        """Yields the windows of each text, one in most cases; none if it is blank."""
        length = self.length if self.long == "cut" else None
        singles = [text.text for text in texts if text.pair is None]
        pairs = [(text.text, text.pair) for text in texts if text.pair is not None]
        single = iter(self.tokenizer.encode(singles, length=length))
        both = iter(self.tokenizer.encode([first for first, _ in pairs], [pair for _, pair in pairs], length=length))
        for text in texts:
            encoded = next(single if text.pair is None else both)
            real = encoded.words >= 0
            if not real.any() or (self.both and text.pair is not None and len(set(encoded.segments[real])) < 2):
                yield []
            elif len(encoded) <= self.length:
                yield [encoded]
            else:
                yield self._divided(encoded, text)

    def _divided(self, encoded: Encoded, text: Text) -> list[Encoded]:
        if self.long == "refuse" or text.pair is not None:
            way = 'long="cut"' if text.pair is not None else 'long="cut" or long="split"'
            raise TextTooLong(
                f"{text.origin}: {len(encoded)} tokens, and the model reads {self.length}. "
                f"Shorten the text, or give the reader {way}."
            )
        return windows(encoded, self.length, self.tokenizer.template)

    def times_read(self, passes: int, cursor: Cursor | None) -> Mapping[str, float]:
        return self.corpus.times_read(passes, None if cursor is None else cursor["text"])

    def fingerprint(self) -> str:
        attach = [] if self.attach is None else [_named(self.attach)]
        how = [self.length, self.long, *(["both"] if self.both else [])]
        return digest(self.corpus.fingerprint(), self.tokenizer.fingerprint(), *how, attach)


@runtime_checkable
class Enricher(Protocol):
    """Adds to encoded texts, or gives their words other tokens. An entry point of the group ``kelm.enrichers``.

    Picklable, so that data workers can carry it. What becomes of a text does not depend on the others.
    """

    def __call__(self, texts: Sequence[Encoded]) -> list[Encoded]:
        """Returns the texts, changed, in their order."""
        ...

    def fingerprint(self) -> str:
        """Returns a digest of what decides about the result."""
        ...


class Enriched(Corpus[Encoded]):
    """What a corpus gives, enriched, some texts at a time.

    Args:
        chunk: texts that are enriched together; the result does not depend on it.
    """

    def __init__(self, corpus: Corpus[Encoded], enrichers: Sequence[Enricher], *, chunk: int = 256) -> None:
        self.corpus, self.enrichers, self.chunk = corpus, tuple(enrichers), chunk

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[Encoded, Cursor]]:  # noqa: B008
        source = self.corpus.stream(shard, start)
        while chunk := list(islice(source, self.chunk)):
            texts = [text for text, _ in chunk]
            for enricher in self.enrichers:
                texts = enricher(texts)
            yield from zip(texts, (cursor for _, cursor in chunk), strict=True)

    def times_read(self, passes: int, cursor: Cursor | None) -> Mapping[str, float]:
        return self.corpus.times_read(passes, cursor)

    def together(self, item: Encoded) -> Any:
        return self.corpus.together(item)

    def fingerprint(self) -> str:
        return digest("Enriched", self.corpus.fingerprint(), [one.fingerprint() for one in self.enrichers])


def _named(change: Any) -> str:
    """Returns what tells a function from another: its own fingerprint if it has one, else its name."""
    if callable(getattr(change, "fingerprint", None)):
        return str(change.fingerprint())
    named = change if hasattr(change, "__qualname__") else type(change)
    return f"{named.__module__}:{named.__qualname__}"


def windows(encoded: Encoded, length: int, template: Template) -> list[Encoded]:
    """Returns a long text as texts of at most `length` tokens, each between special tokens, divided between words.

    A word that is longer than a window is divided too. Spans count in the whole text.

    >>> text = Encoded("a b c", *map(np.array, ([0, 5, 6, 7, 1], [[-1, -1], [0, 1], [2, 3], [4, 5], [-1, -1]],
    ...                                         [-1, 0, 1, 2, -1], [0, 0, 0, 0, 0])))
    >>> [part.tokens.tolist() for part in windows(text, 4, Template((0,), (1,), (1,)))]
    [[0, 5, 6, 1], [0, 7, 1]]
    """
    first, end = len(template.before), len(encoded) - len(template.after)
    room = length - template.specials(pair=False)
    around = np.arange(first), np.arange(end, len(encoded))
    parts = []
    while first < end:
        stop = min(first + room, end)
        border = stop
        while stop < end and border > first and encoded.words[border] == encoded.words[border - 1] >= 0:
            border -= 1
        stop = border if border > first else stop
        chosen = np.concatenate([around[0], np.arange(first, stop), around[1]])
        columns = {name: getattr(encoded, name)[chosen] for name in ("tokens", "spans", "words", "segments")}
        parts.append(Encoded(encoded.text, **columns))
        first = stop
    return parts
