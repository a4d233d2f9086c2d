"""Which word of a sentence is which of its translation, from the states of both; many pairs at once.

    argmax    i-j if j is the best of i and i the best of j
    itermax   then again, with S_ij 0 where both have a link, α S_ij where one has, until `rounds` were made
    ot        S ← S / column sums, S ← S / row sums, `balancing` times (Sinkhorn); itermax of that

    S = (1 + cos) / 2 for argmax and itermax, max(dot product, 1e-6) for ot

States are of pieces: words are linked if any of their pieces are (`word_links`).
Source: Jalili Sabet et al., 2020 (SimAlign), sections 3.2 and 4.2: α = .9, two rounds, and no second one of sentences
of two pieces or if all pieces of one side are linked (its code); Chi et al., 2021 (XLM-Align), section 3.2 and its
code (ot).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch.nn.functional import normalize, one_hot

from kelm.typing import Bool, Float, Int, Tensor

__all__ = ["Method", "aligned", "argmax", "itermax", "similarity", "transported", "word_links"]

Method = Literal["argmax", "itermax", "ot"]


def similarity(
    first: Float[Tensor, "pair token width"], second: Float[Tensor, "pair other width"], *, dot: bool = False
) -> Float[Tensor, "pair token other"]:
    """Returns S, not negative; `dot`: by the dot product and not by the cosine."""
    if dot:
        return (first @ second.mT).clamp(min=1e-6)
    cosine: Tensor = normalize(first, dim=-1) @ normalize(second, dim=-1).mT
    return (cosine + 1) / 2


def argmax(
    scores: Float[Tensor, "pair token other"], seen: Bool[Tensor, "pair token other"]
) -> Bool[Tensor, "pair token other"]:
    """Returns the links that are the best of both.

    Args:
        seen: where both sides have a piece.
    """
    known = scores.masked_fill(~seen, -torch.inf)
    forward = one_hot(known.argmax(2), scores.shape[2]).bool()
    backward = one_hot(known.argmax(1), scores.shape[1]).bool().mT
    return forward & backward & seen


def itermax(
    scores: Float[Tensor, "pair token other"],
    seen: Bool[Tensor, "pair token other"],
    *,
    rounds: int = 2,
    alpha: float = 0.9,
) -> Bool[Tensor, "pair token other"]:
    """Returns the links of `rounds` rounds; scores are not negative."""
    found = argmax(scores, seen)
    first, second = seen.any(2), seen.any(1)
    long = (first.sum(1) > 2) & (second.sum(1) > 2)
    for _ in range(rounds - 1):
        free = first & ~found.any(2), second & ~found.any(1)
        going = long & free[0].any(1) & free[1].any(1)
        one, other = free[0].unsqueeze(2), free[1].unsqueeze(1)
        weights = torch.where(one & other, 1.0, alpha) * (one | other)
        new = argmax(scores * weights, seen) & (one | other) & going[:, None, None]
        if not bool(new.any()):
            break
        found = found | new
    return found


def transported(
    scores: Float[Tensor, "pair token other"], seen: Bool[Tensor, "pair token other"], *, balancing: int = 2
) -> Float[Tensor, "pair token other"]:
    """Returns scores whose rows sum to 1 and whose columns nearly do so: a plan that moves one side onto the other."""
    plan = scores * seen
    for _ in range(balancing):
        plan = plan / plan.sum(1, keepdim=True).clamp(min=1e-12)
        plan = plan / plan.sum(2, keepdim=True).clamp(min=1e-12)
    return plan


def aligned(
    first: Float[Tensor, "pair token width"],
    second: Float[Tensor, "pair other width"],
    seen: Bool[Tensor, "pair token other"],
    method: Method,
    *,
    rounds: int = 2,
    alpha: float = 0.9,
    balancing: int = 2,
) -> Bool[Tensor, "pair token other"]:
    """Returns the links between pieces by a method, from their states."""
    scores = similarity(first.float(), second.float(), dot=method == "ot")
    if method == "argmax":
        return argmax(scores, seen)
    if method == "ot":
        scores = transported(scores, seen, balancing=balancing)
    return itermax(scores, seen, rounds=rounds, alpha=alpha)


def word_links(
    links: Bool[np.ndarray, "token other"], first: Int[np.ndarray, "token"], second: Int[np.ndarray, "other"]
) -> frozenset[tuple[int, int]]:
    """Returns which words are linked: any of their pieces are.

    Args:
        first, second: number of the word to which each piece belongs; -1: to none.

    >>> links = np.array([[True, False, False], [False, False, True]])
    >>> sorted(word_links(links, np.array([0, 0]), np.array([0, 1, 1])))
    [(0, 0), (0, 1)]
    """
    found = [(first[one], second[other]) for one, other in zip(*links.nonzero(), strict=True)]
    return frozenset((int(one), int(other)) for one, other in found if one >= 0 and other >= 0)
