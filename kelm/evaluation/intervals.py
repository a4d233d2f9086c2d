"""Means over seeds with Student's t intervals; of two arms the difference is taken seed by seed.

[0.71, 0.69, 0.73]   -->   0.710 ± 0.050       95 % of such intervals hold the mean of all seeds
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Mean", "mean"]


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds and half the width of its 95 % interval (nan for a single seed)."""

    value: float
    half: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f}{self._spread()}"

    def signed(self) -> str:
        """Returns the mean as a difference is written: +0.120 ± 0.028."""
        return f"{self.value:+.3f}{self._spread()}"

    def _spread(self) -> str:
        return "" if math.isnan(self.half) else f" ± {self.half:.3f}"


def mean(values: Sequence[float]) -> Mean:
    """Returns the mean of independent values with Student's t interval."""
    n = len(values)
    average = sum(values) / n
    if n < 2:
        return Mean(average, math.nan, n)
    from scipy.stats import t

    spread = math.sqrt(sum((value - average) ** 2 for value in values) / (n - 1))
    return Mean(average, float(t.ppf(0.975, n - 1)) * spread / math.sqrt(n), n)
