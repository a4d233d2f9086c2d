"""A corpus is a stream that can be divided among processes and taken up again at any item.

    corpus.stream(Shard(0, 2))  ->  (item 0, cursor)  (item 2, cursor)  (item 4, cursor)  ...
    corpus.stream(Shard(0, 2), cursor after item 2)  ->  (item 4, cursor)  ...

A cursor is a JSON value; what it means is the corpus's own affair.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

__all__ = ["Corpus", "Cursor", "InMemory", "Shard", "Text", "digest"]

X = TypeVar("X")
Cursor = Any  # a JSON value


@dataclass(frozen=True, slots=True)
class Shard:
    """The part of a corpus that one process (or data worker) reads: items index, index + count, index + 2 count ..."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(f"Shard: expected 0 <= index < count, found index {self.index} of {self.count}.")

    def owns(self, number: int) -> bool:
        return number % self.count == self.index

    def split(self, parts: int) -> list[Shard]:
        """Returns this shard divided among `parts` workers.

        >>> Shard(1, 2).split(2)
        [Shard(index=1, count=4), Shard(index=3, count=4)]
        """
        return [Shard(self.index + self.count * part, self.count * parts) for part in range(parts)]


@dataclass(frozen=True, slots=True)
class Text:
    """One item of a text corpus.

    Attributes:
        pair: a second text, to be read together with the first.
        number: ordinal in its corpus, over all shards.
        origin: "file:line", for messages.
        fields: what else the source says about it: a label, an id, a language.
    """

    text: str
    pair: str | None = None
    number: int = 0
    origin: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


class Corpus(ABC, Generic[X]):
    """A stream of items. Registered by entry point in the group ``kelm.corpora``."""

    @abstractmethod
    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[X, Cursor]]:
        """Yields one pass over the shard: each item with the cursor that continues after it.

        Args:
            start: a cursor that the same corpus gave with the same shard.

        Raises:
            FormatError: the source is not what it should be.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Returns a digest of what the stream gives: equal digests, equal items."""

    def times_read(self, passes: int, cursor: Cursor | None) -> Mapping[str, float]:
        """Returns how often each part of a mixture was read, by its name, after some passes and at a cursor."""
        return {}

    def together(self, item: X) -> Any:
        """Returns what items that share a batch have in common; by default any may."""
        return None


class InMemory(Corpus[X]):
    """A corpus of given items: strings, `Text`s or anything with a `number`.

    Args:
        items: a string becomes a `Text`; each item's `number`, if it has one, is set to its place, and its `origin`,
            if it is empty, to "text 1", "text 2", ...
    """

    def __init__(self, items: Sequence[X | str]) -> None:
        self._items = [_numbered(item, number) for number, item in enumerate(items)]
        self._fingerprint: str | None = None

    def stream(self, shard: Shard = Shard(), start: Cursor | None = None) -> Iterator[tuple[X, Cursor]]:
        for number in range(start or shard.index, len(self._items), shard.count):
            yield self._items[number], number + shard.count

    def fingerprint(self) -> str:
        if self._fingerprint is None:
            hashed = hashlib.blake2b(digest_size=16)
            for item in self._items:
                _hash(item, hashed)
            self._fingerprint = hashed.hexdigest()
        return self._fingerprint


def _numbered(item: Any, number: int) -> Any:
    if isinstance(item, str):
        item = Text(item)
    if not (is_dataclass(item) and not isinstance(item, type) and hasattr(item, "number")):
        return item
    named: dict[str, Any] = {} if getattr(item, "origin", True) else {"origin": f"text {number + 1}"}
    return replace(item, number=number, **named)


def _hash(value: Any, hashed: Any) -> None:
    """Feeds a value to a hash: arrays and tensors by their bytes, everything that has parts by these."""
    if isinstance(value, np.ndarray) or hasattr(value, "numpy"):
        array = np.asarray(value)
        hashed.update(f"{array.dtype}{array.shape}".encode())
        hashed.update(np.ascontiguousarray(array).tobytes())
    elif is_dataclass(value) and not isinstance(value, type):
        hashed.update(type(value).__qualname__.encode())
        for part in fields(value):
            _hash(getattr(value, part.name), hashed)
    elif isinstance(value, Mapping):
        for key in value:
            _hash(key, hashed)
            _hash(value[key], hashed)
    elif isinstance(value, (list, tuple)):
        hashed.update(f"[{len(value)}".encode())
        for part in value:
            _hash(part, hashed)
    else:
        hashed.update(repr(value).encode("utf-8", "surrogatepass"))
        hashed.update(b"\0")


def digest(*values: Any) -> str:
    """Returns a short digest of JSON values, the same in every process."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
