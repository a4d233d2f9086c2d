"""Which numbers an option of a recipe takes, and what to say of any other; nan is none, as it compares to nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

from kelm.errors import RecipeError

__all__ = ["COUNT", "FACTOR", "MEMORY", "NORM", "NOT_NEGATIVE", "PART", "POSITIVE", "SEED", "SHARE", "Bound"]


@dataclass(frozen=True, slots=True)
class Bound:
    """A condition on a number, in code and in words."""

    expected: str
    remedy: str
    holds: Callable[[float], bool]

    def check(self, value: float, field: str) -> None:
        """Does nothing for a number that is allowed.

        Raises:
            RecipeError: it is not; names `field`.

        >>> COUNT.check(1, "width")
        """
        if not self.holds(value):
            raise RecipeError(f"expected {self.expected}, found {value}", field=field, remedy=self.remedy)


POSITIVE = Bound("more than 0", "Give a positive, finite number.", lambda value: value > 0 and isfinite(value))
NORM = Bound("more than 0", "Give a positive number; inf does not clip.", lambda value: value > 0)
COUNT = Bound("at least 1", "Give a whole number from 1, or leave it out.", lambda value: value >= 1)
NOT_NEGATIVE = Bound("0 or more", "Give 0 or a positive, finite number.", lambda value: value >= 0 and isfinite(value))
FACTOR = Bound("more than 0 and at most 1", "Give 1 to turn it off, or 0.8 to 0.9.", lambda value: 0 < value <= 1)
MEMORY = Bound("0 or more and less than 1", "The usual betas are [0.9, 0.999].", lambda value: 0 <= value < 1)
SEED = Bound("0 to 2 ** 63 - 1", "Give 0 or a smaller whole number.", lambda value: 0 <= value < 2**63)
PART = Bound("0 to 1", "Give 0 for none, 1 for all.", lambda value: 0 <= value <= 1)
SHARE = Bound("0 or more and less than 1", "Give 0 to turn it off.", lambda value: 0 <= value < 1)
