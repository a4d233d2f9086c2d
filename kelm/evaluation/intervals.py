"""Means over seeds with Student's t intervals; of two arms the difference is taken seed by seed.

[0.71, 0.69, 0.73]   -->   0.710 ± 0.050       95 % of such intervals hold the mean of all seeds
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Mean", "arms_table", "mean"]


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


def arms_table(
    found: Mapping[tuple[str, int], Sequence[float | None]],
    heads: Sequence[str],
    *,
    arms: Sequence[str],
    over: Sequence[str],
    ours: str = "knowledge",
) -> list[str]:
    """Returns the lines of a Markdown table: means of each arm over its seeds, then differences paired by seed.

    Args:
        found: scores by arm and seed, in the order of `heads`; None and nan for one that an arm does not have.
        arms: in their order; those without scores are left out.
        over: the arms that `ours` is compared with.
    """
    lines = ["| arm | " + " | ".join(heads) + " |", "|---" * (1 + len(heads)) + "|"]
    for arm in arms:
        if of_arm := [scores for (name, _), scores in found.items() if name == arm]:
            cells = (_cell(column) for column in zip(*of_arm, strict=True))
            lines.append(f"| {arm} | " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |")
    for other in over:
        seeds = [seed for name, seed in found if name == other and (ours, seed) in found]
        if seeds:
            pairs = [zip(found[ours, seed], found[other, seed], strict=True) for seed in seeds]
            gains = [[None if one is None or two is None else one - two for one, two in pair] for pair in pairs]
            cells = (_cell(column) for column in zip(*gains, strict=True))
            told = " | ".join("" if cell is None else cell.signed() for cell in cells)
            lines.append(f"| {ours} - {other} | {told} |")
    return lines


def _cell(values: Sequence[float | None]) -> Mean | None:
    known = [value for value in values if value is not None and not math.isnan(value)]
    return mean(known) if len(known) == len(values) else None
