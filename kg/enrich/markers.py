"""Marks spans of a text with tokens before and after, as ERNIE does for fine-tuning; optionally hides their words.

    [CLS] the bridge over the Rhine [SEP]   ->   [CLS] [HD] the bridge [HD] over [TL] the Rhine [TL] [SEP]
    hidden:                                      [CLS] [HD] [MASK]     [HD] over [TL] [MASK]    [TL] [SEP]

Works on tokens, so any tokenizer, any language and any part that counts tokens keeps its place.
Source: Zhang et al., 2019, section 3.5 ([HD], [TL], [ENT]).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from kelm.batch import Encoded
from kelm.errors import VocabularyMismatch
from kelm.text.tokenizer import Tokenizer
from kelm.typing import Int

__all__ = ["Markers", "Span", "mark", "tokens_of"]

Span = tuple[int, int]  # first and last token, both included
# What stands for a marker, in order of preference: its own piece, a spare one of BERT's, the original code's.
STAND_INS: Mapping[str, tuple[str, ...]] = {
    "head": ("[HD]", "[unused1]", "#"),
    "tail": ("[TL]", "[unused2]", "$"),
    "entity": ("[ENT]", "[unused3]", "。"),
}


@dataclass(frozen=True, slots=True)
class Markers:
    """The vocabulary ids of [HD], [TL] and [ENT]."""

    head: int
    tail: int
    entity: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Markers:
        """Returns the markers of a vocabulary, or what stands in for them.

        Raises:
            VocabularyMismatch: it has neither.
        """
        found = {}
        for name, pieces in STAND_INS.items():
            ids = [id for piece in pieces if (id := tokenizer.find(piece)) is not None]
            if not ids:
                raise VocabularyMismatch(f"the vocabulary has no marker for {name}; add one of {', '.join(pieces)}.")
            found[name] = ids[0]
        return cls(**found)


def tokens_of(text: Encoded, start: int, end: int) -> Span | None:
    """Returns the first and last token of the characters [start, end); None if they were cut off."""
    inside = np.flatnonzero((text.spans[:, 1] > start) & (text.spans[:, 0] < end) & (text.spans[:, 0] >= 0))
    return (int(inside[0]), int(inside[-1])) if len(inside) else None


def mark(
    text: Encoded, spans: Sequence[Span], markers: Sequence[int], *, hidden: int | None = None
) -> tuple[Encoded, list[Span]]:
    """Returns the text with a marker before and after each span, and where the spans are now.

    Args:
        spans: they may not overlap.
        markers: one a span.
        hidden: the token that stands for the words of every span, from its first character to its last; None leaves
            them.
    """
    order = sorted(range(len(spans)), key=lambda number: spans[number])
    source: list[int] = []  # the token that stands here; -1: a marker
    inserted: list[int] = []  # the id that stands here instead of the source's; -1: the source's own
    moved: list[Span] = [(0, 0)] * len(spans)
    reached = 0
    for number in order:
        first, last = spans[number]
        if first < reached:
            raise ValueError(f"mark: span {spans[number]} overlaps another.")
        source += [*range(reached, first), -1]
        inserted += [-1] * (first - reached) + [markers[number]]
        moved[number] = (len(source), len(source) + (last - first if hidden is None else 0))
        source += range(first, last + 1) if hidden is None else [first]
        inserted += [-1] * (last + 1 - first) if hidden is None else [hidden]
        source.append(-1)
        inserted.append(markers[number])
        reached = last + 1
    source += range(reached, len(text))
    inserted += [-1] * (len(text) - reached)
    marked = _rebuilt(text, np.array(source), np.array(inserted))
    if hidden is not None:
        for (first, last), (place, _) in zip(spans, moved, strict=True):
            marked.spans[place] = text.spans[first, 0], text.spans[last, 1]
    return marked, moved


def _rebuilt(text: Encoded, source: Int[np.ndarray, "token"], inserted: Int[np.ndarray, "token"]) -> Encoded:
    kept = source >= 0
    where = np.zeros(len(text), dtype=np.int64)  # old token -> new token; those hidden go to what hides them
    where[source[kept]] = np.flatnonzero(kept)
    where = np.maximum.accumulate(where)
    taken = np.where(kept, source, 0)
    return replace(
        text,
        tokens=np.where(inserted >= 0, inserted, text.tokens[taken]),
        spans=np.where(kept[:, None], text.spans[taken], -1),
        words=np.where(kept, text.words[taken], -1),
        segments=text.segments[np.maximum.accumulate(np.where(kept, source, 0))],
        parts={kind: part.placed(torch.from_numpy(where)) for kind, part in text.parts.items()},
    )
