"""The percentile bootstrap: how sure a figure over independent items is (Efron and Tibshirani, 1993, chapter 13).

    items  --drawn with replacement, as many as there are, `draws` times-->  sums  -->  figures  -->  an interval

Items are what is independent: triples, documents. What belongs to one item is drawn together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

__all__ = ["Paired", "interval", "paired", "resampled"]

_DRAWN = 1 << 23  # most numbers of a block of samples


@dataclass(frozen=True, slots=True)
class Paired:
    """A difference with its 95 % interval; `p` is how often a sample says the opposite, twice (two-sided)."""

    difference: float
    low: float
    high: float
    p: float

    def __str__(self) -> str:
        return f"{self.difference:+.3f} [{self.low:+.3f}, {self.high:+.3f}], p = {self.p:.3f}"


def resampled(
    values: Float64[np.ndarray, "item figure"], random: np.random.Generator, draws: int
) -> Float64[np.ndarray, "draw figure"]:
    """Returns the sums over samples of the items with replacement.

    Cost: draws × items numbers, in blocks.
    """
    count = len(values)
    size = max(1, _DRAWN // count)
    blocks = [
        random.multinomial(count, np.full(count, 1 / count), size=min(size, draws - start)) @ values
        for start in range(0, draws, size)
    ]
    return np.concatenate(blocks)


def interval(figures: Float64[np.ndarray, "draw"], confidence: float = 0.95) -> tuple[float, float]:
    """Returns the edges between which the share `confidence` of the samples' figures lies.

    >>> interval(np.arange(101.0), 0.9)
    (5.0, 95.0)
    """
    low, high = np.quantile(figures, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def paired(
    score: Callable[[Int64[np.ndarray, "item"]], tuple[float, float]],
    items: int,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Paired:
    """Returns by how much one of two systems is better than the other, and how sure that is (Koehn, 2004).

    Both are scored on the same samples of the items.

    Args:
        score: both scores on a sample of items, given by their numbers, some of them several times.
        items: how many there are.
    """
    random = np.random.default_rng(seed)
    ours, theirs = score(np.arange(items))
    drawn = np.array([score(random.integers(items, size=items)) for _ in range(draws)])
    differences = drawn[:, 0] - drawn[:, 1]
    worse = min(float(np.mean(differences <= 0)), float(np.mean(differences >= 0)))
    low, high = interval(differences)
    return Paired(ours - theirs, low, high, min(1.0, max(2 * worse, 1 / draws)))
