"""A sentence and its translation, read together, taken apart: each as if it were alone, both in one batch.

<s> a cat </s> </s> eine Katze </s>   --sides-->   <s> a cat </s>   +   <s> eine Katze </s>

rows 0 .. n-1     first sides         --both_sides-->   one batch, one pass of the encoder
rows n .. 2n-1    second sides        where a side lies in its row n rows above, its translation is the same text of it
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import pad as padded

from kelm.batch import Batch, Encoded, Part, Texts, pack, place
from kelm.errors import InputError, TextTooLong
from kelm.text.assembly import Template
from kelm.typing import Int, Tensor
from multilingual.languages import Languages

__all__ = ["beside", "both_sides", "sides"]


def sides(text: Encoded, template: Template) -> tuple[Encoded, Encoded]:
    """Returns both sides of a pair between the special tokens of a single text, each with its language if it is told.

    Raises:
        InputError: it is no pair.
    """
    words = text.words >= 0
    places = [np.flatnonzero(words & (text.segments == side)) for side in (0, 1)]
    if not all(len(side) for side in places):
        raise InputError(
            f"{text.origin or text.text[:40]!r} has no translation beside it",
            field="corpus",
            remedy="Read pairs: the corpus parallel_text, or a corpus with `pair`.",
        )
    first, second = (_alone(text, np.arange(side[0], side[-1] + 1), template) for side in places)
    return first, second


def _alone(text: Encoded, places: Int[np.ndarray, "token"], template: Template) -> Encoded:
    before, after = len(template.before), len(template.after)
    words = np.pad(text.words[places], (before, after), constant_values=-1)
    alone = Encoded(
        text.text,
        np.concatenate((template.before, text.tokens[places], template.after)).astype(np.int64),
        np.pad(text.spans[places], ((before, after), (0, 0)), constant_values=-1),
        words,
        np.zeros_like(words),
        number=text.number,
        origin=text.origin,
    )
    told = text.parts.get(Languages)
    if not isinstance(told, Languages):
        return alone
    inside = (told.first <= int(places[0])) & (int(places[0]) <= told.last)
    here = torch.zeros(int(inside.sum()), dtype=torch.long)
    return alone.having(Languages(here, here, here + len(alone) - 1, told.language[inside]))


def both_sides(pairs: Sequence[tuple[Encoded, Encoded]], *, room: int | None, **options: Any) -> Batch:
    """Returns a batch of first sides and, in as many rows below, second sides; n pairs are its texts 0 .. 2n-1.

    Args:
        room: tokens of a row that several texts share; None: one text a row.
        options: of `pack`.

    Raises:
        TextTooLong: a side has more than `room` tokens.
    """
    lengths = [max(len(first), len(second)) for first, second in pairs]
    for (first, _), length in zip(pairs, lengths, strict=True):
        if room is not None and length > room:
            raise TextTooLong(
                f"{first.origin or first.text[:40]!r}: {length} tokens do not fit a row of {room}. "
                "Cut texts when reading (corpus: length), or give rows more room (batch.room)."
            )
    rows = [[number] for number in range(len(pairs))] if room is None else place(lengths, room)
    above, below = (pack([pair[side] for pair in pairs], rows=rows, **options) for side in (0, 1))
    return beside(above, below, options["pad"])


def beside(above: Batch, below: Batch, pad: int) -> Batch:
    """Returns a batch of the rows of two without branches; texts and parts of the second are counted on."""
    rows, width = len(above.tokens), max(above.tokens.shape[1], below.tokens.shape[1])
    texts = len(above[Texts].row)

    def both(first: Tensor, second: Tensor, filling: int) -> Tensor:
        return torch.cat([padded(one, (0, width - one.shape[1]), value=filling) for one in (first, second)])

    document = both(above.visibility.document, below.visibility.document, -1)
    parts: dict[type[Part], Part] = {}
    for kind in dict.fromkeys([*above.parts, *below.parts]):
        there = ((above, 0, 0), (below, rows, texts))
        parts[kind] = kind.join([(batch.parts[kind], row, 0, text) for batch, row, text in there if kind in batch])
    return dataclasses.replace(
        above,
        tokens=both(above.tokens, below.tokens, pad),
        positions=both(above.positions, below.positions, 0),
        segments=both(above.segments, below.segments, 0),
        visibility=dataclasses.replace(above.visibility, document=document, full=bool((document == 0).all())),
        parts=parts,
        origins=above.origins + below.origins,
    )
