"""How alike are the vectors of two languages? Linear CKA, and what an orthogonal map makes of them.

    CKA(X, Y) = |Yᵀ X|² / (|Xᵀ X| |Yᵀ Y|)      Frobenius norms; columns centered; 1 for a rotation, 0 for nothing alike
    W = argmin |X W - Y|, W orthogonal = U Vᵀ   of the singular value decomposition U S Vᵀ = Xᵀ Y

Row i of one side belongs to row i of the other: a sentence and its translation.
Sources: Kornblith et al., 2019, section 3 (equation 5); Schönemann, 1966; both as used by Conneau et al., 2020
(Emerging cross-lingual structure), section 5.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64

from kelm.errors import InputError

__all__ = ["linear_cka", "procrustes"]


def linear_cka(first: Float[np.ndarray, "row width"], second: Float[np.ndarray, "line other"]) -> float:
    """Returns linear CKA, from 0 to 1; nan where a side does not vary.

    Raises:
        InputError: different numbers of rows, or fewer than two.

    Cost: the smaller of rows and width, squared, is what is held.
    """
    _check(first, second)
    x, y = (side.astype(np.float64) - side.mean(0, dtype=np.float64) for side in (first, second))
    if max(x.shape[1], y.shape[1]) <= len(x):
        shared, own = np.linalg.norm(y.T @ x) ** 2, np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    else:  # the same by the products of rows
        grams = x @ x.T, y @ y.T
        shared, own = (grams[0] * grams[1]).sum(), np.linalg.norm(grams[0]) * np.linalg.norm(grams[1])
    return float(shared / own) if own > 0 else float("nan")


def procrustes(
    first: Float[np.ndarray, "row width"], second: Float[np.ndarray, "line other"]
) -> Float64[np.ndarray, "width width"]:
    """Returns the rotation W (or reflection) for which ``first @ W`` is nearest to `second`.

    Raises:
        InputError: the sides have different shapes, or fewer than two rows.
    """
    _check(first, second)
    if first.shape != second.shape:
        raise InputError(
            f"found {first.shape} and {second.shape}", field="vectors", remedy="Give vectors of one width."
        )
    left, _, right = np.linalg.svd(first.astype(np.float64).T @ second.astype(np.float64))
    found: Float64[np.ndarray, "width width"] = left @ right
    return found


def _check(first: np.ndarray, second: np.ndarray) -> None:
    if len(first) != len(second) or len(first) < 2:
        problem = f"found {len(first)} and {len(second)} rows"
        raise InputError(problem, field="vectors", remedy="Give the same number of both, two or more.")
