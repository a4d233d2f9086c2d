"""The nearest vectors of another set, by the cosine or by a score that does not favor hubs; in blocks.

    cosine    cos(x, y)
    ratio     cos(x, y) / (r(x) / 2 + r(y) / 2)
    csls      2 cos(x, y) - r(x) - r(y)                  r: the mean cosine with the k nearest of the other set

A hub, which is near to all, is no translation of any.
Source: Artetxe and Schwenk, 2019, equation 2 (ratio); Conneau et al., 2018 (Word translation without parallel data),
section 2.3 (CSLS, k = 10).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int64

from kelm.errors import InputError

__all__ = ["Crowding", "Measure", "crowding", "nearest", "unit"]

Measure = Literal["cosine", "ratio", "csls"]
BLOCK = 1024  # vectors whose scores are held at once


class Crowding(NamedTuple):
    """How near both sets' vectors are to the other set: r of each, see above."""

    asked: Float32[np.ndarray, "asked"]
    others: Float32[np.ndarray, "other"]

    @property
    def turned(self) -> Crowding:
        """The same, asked the other way round."""
        return Crowding(self.others, self.asked)


def unit(vectors: Float[np.ndarray, "vector width"]) -> Float32[np.ndarray, "vector width"]:
    """Returns the vectors with length 1; a vector of zeros stays."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Float32[np.ndarray, "vector width"] = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return scaled


def crowding(asked: Float32[np.ndarray, "asked width"], others: Float32[np.ndarray, "other width"], k: int) -> Crowding:
    """Returns r of unit vectors.

    Raises:
        InputError: a set has fewer than `k` vectors.

    Cost: as `nearest`, for each side.
    """
    most = min(len(asked), len(others))
    if not 1 <= k <= most:
        raise InputError(f"k is {k}", field="k", remedy=f"Give 1 to {most}.")
    return Crowding(_means(asked, others, k), _means(others, asked, k))


def _means(
    asked: Float32[np.ndarray, "asked width"], others: Float32[np.ndarray, "other width"], k: int
) -> Float32[np.ndarray, "asked"]:
    means = []
    for start in range(0, len(asked), BLOCK):
        cosines = asked[start : start + BLOCK] @ others.T
        means.append(np.partition(cosines, -k, axis=1)[:, -k:].mean(1))
    found: Float32[np.ndarray, "asked"] = np.concatenate(means)
    return found


def nearest(
    asked: Float32[np.ndarray, "asked width"],
    others: Float32[np.ndarray, "other width"],
    *,
    measure: Measure = "cosine",
    crowded: Crowding | None = None,
    most: int = 1,
) -> Int64[np.ndarray, "asked most"]:
    """Returns the numbers of the nearest others of each unit vector, the nearest first.

    Args:
        crowded: of the same vectors, for "ratio" and "csls".
        most: how many.

    Cost: time as the product of both numbers of vectors, memory in proportion to `others`.
    """
    found = np.empty((len(asked), most), np.int64)
    for start in range(0, len(asked), BLOCK):
        here = slice(start, start + BLOCK)
        scores = asked[here] @ others.T
        if measure != "cosine":
            assert crowded is not None
            mine, theirs = crowded.asked[here, None], crowded.others
            scores = 2 * scores / (mine + theirs) if measure == "ratio" else 2 * scores - mine - theirs
        if most == 1:
            found[here, 0] = scores.argmax(1)
            continue
        some = np.argpartition(-scores, min(most, scores.shape[1]) - 1, axis=1)[:, :most]
        order = np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1, kind="stable")
        found[here] = np.take_along_axis(some, order, axis=1)
    return found
