"""Equal stretches of two rows of characters, to the letter, however many there are and however they overlap.

    characters    h a h a h a            rank of length 2    ha ah ha ah ha         0 1 0 1 0
                                         rank of length 4    haha ahah haha         0 1 0      of pairs (0, 0), (1, 1)

Few characters are compared one by one. Stretches that overlap so much that this would take long are compared by rank
(Karp, Miller & Rosenberg, 1972): equal stretches of length 2^k have equal ranks, those of length 2^(k+1) are pairs of
these, and two stretches of any length are equal if the longest power of two in them is, at their start and their end.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int, UInt32

__all__ = ["equal"]

_REPEATED = 16  # how often each character of the text may be compared one by one
_TOGETHER = 1 << 20  # characters compared at once


def equal(
    text: UInt32[np.ndarray, "character"],
    start: Int[np.ndarray, "stretch"],
    names: UInt32[np.ndarray, "letter"],
    place: Int[np.ndarray, "stretch"],
    length: Int[np.ndarray, "stretch"],
) -> Bool[np.ndarray, "stretch"]:
    """Returns whether text[start : start + length] is names[place : place + length], for each stretch.

    >>> text, names = (np.frombuffer(row.encode("utf-32-le"), np.uint32) for row in ("in Paris", "Paris|on"))
    >>> equal(text, np.array([3, 0]), names, np.array([0, 6]), np.array([5, 2])).tolist()
    [True, False]

    Cost: with n characters of text and m in the different names that are asked for, the longest l of them: at most 16 n
        comparisons, or else (n + m) log(n + m) log l, with some 60 bytes for each of the n + m.
    """
    if int(length.sum()) <= _REPEATED * len(text):
        return _by_letter(text, start, names, place, length)
    begins, which = np.unique(place, return_inverse=True)
    longest = np.zeros(len(begins), np.int64)
    np.maximum.at(longest, which, length)
    parts = [names[begin : begin + most] for begin, most in zip(begins.tolist(), longest.tolist(), strict=True)]
    moved = len(text) + np.cumsum(longest) - longest
    return _by_rank(np.concatenate((text, *parts)), start, moved[which], length)


def _by_letter(
    text: UInt32[np.ndarray, "character"],
    start: Int[np.ndarray, "stretch"],
    names: UInt32[np.ndarray, "letter"],
    place: Int[np.ndarray, "stretch"],
    length: Int[np.ndarray, "stretch"],
) -> Bool[np.ndarray, "stretch"]:
    same = np.ones(len(start), dtype=bool)
    through = np.cumsum(length)
    low = 0
    while low < len(start):
        before = int(through[low] - length[low])
        high = max(low + 1, int(np.searchsorted(through, before + _TOGETHER, side="right")))
        some = length[low:high]
        stretch = np.repeat(np.arange(low, high), some)
        step = np.arange(before, before + len(stretch)) - (through - length)[stretch]
        same[stretch[text[start[stretch] + step] != names[place[stretch] + step]]] = False
        low = high
    return same


def _by_rank(
    row: UInt32[np.ndarray, "character"],
    left: Int[np.ndarray, "stretch"],
    right: Int[np.ndarray, "stretch"],
    length: Int[np.ndarray, "stretch"],
) -> Bool[np.ndarray, "stretch"]:
    """Returns whether the stretches at `left` and `right` of one row are equal."""
    same = np.ones(len(left), dtype=bool)  # as nothing is to nothing
    rank, width = row.astype(np.int64), 1
    while (more := length >= width).any():
        now = np.flatnonzero(more & (length < 2 * width))
        rest = length[now] - width
        same[now] = (rank[left[now]] == rank[right[now]]) & (rank[left[now] + rest] == rank[right[now] + rest])
        if 2 * width > int(length.max()):
            break
        _, rank = np.unique((rank[:-width] << 32) | rank[width:], return_inverse=True)
        width *= 2
    return same
