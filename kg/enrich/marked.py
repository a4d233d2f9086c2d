"""Texts with marked mentions: a pair whose relation is asked for, or one mention whose types are.

    [CLS] [HD] the bridge [HD] over [TL] the Rhine [TL] [SEP]     Pairs         head 2, tail 7, relation 3
    [CLS] the bridge over [ENT] the Rhine [ENT] [SEP]             TypedMentions mention 5, types 0 1 0

Source: Zhang et al., 2019, section 3.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from kelm.batch import Encoded, Part
from kelm.typing import Bool, Int, Tensor
from kg.enrich.markers import Markers, Span, mark

__all__ = ["Pairs", "TypedMentions", "mark_mention", "mark_pair"]


@dataclass(frozen=True, slots=True)
class Pairs(Part):
    """The two entities that each text is asked about.

    Attributes:
        head, tail: first token of each mention; `head_marker`, `tail_marker`: the marker before it.
        relation: the right answer's number; -1 where it is not known.
    """

    indices: ClassVar = {
        "row": "row",
        "text": "text",
        "head": "token",
        "tail": "token",
        "head_marker": "token",
        "tail_marker": "token",
    }
    row: Int[Tensor, "pair"]
    text: Int[Tensor, "pair"]
    head: Int[Tensor, "pair"]
    tail: Int[Tensor, "pair"]
    head_marker: Int[Tensor, "pair"]
    tail_marker: Int[Tensor, "pair"]
    relation: Int[Tensor, "pair"]


@dataclass(frozen=True, slots=True)
class TypedMentions(Part):
    """The mention that each text is asked about.

    Attributes:
        mention: its first token; `marker`: the marker before it.
        types: a column for every type, True where it holds; no column where the types are not known.
    """

    indices: ClassVar = {"row": "row", "text": "text", "mention": "token", "marker": "token"}
    row: Int[Tensor, "text"]
    text: Int[Tensor, "text"]
    mention: Int[Tensor, "text"]
    marker: Int[Tensor, "text"]
    types: Bool[Tensor, "text type"]


def mark_pair(
    text: Encoded, head: Span, tail: Span, markers: Markers, *, relation: int = -1, hidden: int | None = None
) -> Encoded:
    """Returns the text with [HD] and [TL] around its two mentions and the part `Pairs`.

    Args:
        head, tail: tokens of the mentions, first and last included.
        hidden: a token that replaces the words of both mentions (the mask), so that only context and graph can tell.
    """
    marked, (new_head, new_tail) = mark(text, [head, tail], [markers.head, markers.tail], hidden=hidden)
    numbers = (0, 0, new_head[0], new_tail[0], new_head[0] - 1, new_tail[0] - 1, relation)
    return marked.having(Pairs(*(torch.tensor([number]) for number in numbers)))


def mark_mention(
    text: Encoded, mention: Span, markers: Markers, *, types: Sequence[bool] = (), hidden: int | None = None
) -> Encoded:
    """Returns the text with [ENT] around the mention and the part `TypedMentions`; for `hidden` see `mark_pair`."""
    marked, (place,) = mark(text, [mention], [markers.entity], hidden=hidden)
    zero, first = torch.zeros(1, dtype=torch.long), torch.tensor([place[0]])
    holds = torch.tensor([list(types)], dtype=torch.bool)
    return marked.having(TypedMentions(row=zero, text=zero, mention=first, marker=first - 1, types=holds))
