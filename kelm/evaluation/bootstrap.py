"""The percentile bootstrap: how sure a figure over independent items is (Efron and Tibshirani, 1993, chapter 13).

    items  --drawn with replacement, as many as there are, `draws` times-->  sums  -->  figures  -->  an interval

Items are what is independent: triples, documents. What belongs to one item is drawn together.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

__all__ = ["interval", "resampled"]

_DRAWN = 1 << 23  # most numbers of a block of samples


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
