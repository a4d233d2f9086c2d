"""Which texts go into a batch together, so that hardly a computed position is padding.

    bucketed   texts of nearly the same length share a batch, a text a row
    packed     several texts share a row of `room` tokens, first-fit decreasing over the whole pool

Both divide a pool of a few thousand texts evenly into batches of about `tokens` real tokens each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from kelm.batch import Batch, place
from kelm.errors import KelmError

__all__ = ["bucketed", "packed", "padding", "with_room"]


def bucketed(lengths: Sequence[int], tokens: int, random: np.random.Generator | None) -> list[list[int]]:
    """Returns the texts of each batch, of nearly equal length.

    Args:
        tokens: real tokens of a batch aimed at.
        random: shuffles which of the equally long texts go together, and the batches. None: batches are in the order
            of their first text.
    """
    sizes = np.asarray(lengths)
    ties = np.arange(len(sizes)) if random is None else random.permutation(len(sizes))
    order = np.lexsort((ties, sizes))
    count = max(1, round(sizes.sum() / tokens))
    middles = sizes[order].cumsum() - sizes[order] / 2
    batch_of = np.minimum((middles * count / max(sizes.sum(), 1)).astype(int), count - 1)
    borders = np.flatnonzero(np.diff(batch_of)) + 1
    return _ordered([batch.tolist() for batch in np.split(order, borders) if len(batch)], random)


def packed(lengths: Sequence[int], tokens: int, room: int, random: np.random.Generator | None) -> list[list[int]]:
    """Returns the texts of each batch, such that they fill rows of `room` tokens.

    A text longer than `room` is in a batch of its own rows' number; `kelm.batch.pack` refuses it by name.

    Args:
        tokens, random: as in `bucketed`; a batch has at least one row.
    """
    rows = place(lengths, room)
    order = np.arange(len(rows)) if random is None else random.permutation(len(rows))
    count = max(1, round(sum(lengths) / max(tokens, room)))
    batches = [[text for row in part for text in rows[row]] for part in np.array_split(order, count)]
    return _ordered([batch for batch in batches if batch], random)


def _ordered(batches: list[list[int]], random: np.random.Generator | None) -> list[list[int]]:
    if random is None:
        return sorted(batches, key=min)
    return [batches[number] for number in random.permutation(len(batches))]


def padding(batch: Batch) -> float:
    """Returns the share of a batch's positions that are padding."""
    return 1.0 - float(batch.real.float().mean())


def with_room(collate: Any, room: int | None) -> Any:
    """Returns a collate that packs rows of `room` tokens: its field `room`, or that of a collate inside it, is set.

    Raises:
        KelmError: the collate has no such field, so it cannot pack.
    """
    if room is None:
        return collate
    changed = _with_room(collate, room)
    if changed is None:
        raise KelmError(f'{type(collate).__name__} does not pack: it has no field "room". Leave room=None.')
    return changed


def _with_room(collate: Any, room: int) -> Any:
    if not dataclasses.is_dataclass(collate) or isinstance(collate, type):
        return None
    for column in dataclasses.fields(collate):
        if column.name == "room":
            return dataclasses.replace(collate, room=room)
        inner = _with_room(getattr(collate, column.name), room)
        if inner is not None:
            return dataclasses.replace(collate, **{column.name: inner})
    return None
