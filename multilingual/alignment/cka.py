"""Linear centered kernel alignment: how alike two sets of vectors of the same things are, whatever their axes.

    X, Y      n rows each, columns centered
    CKA = ‖YᵀX‖²_F / (‖XᵀX‖_F ‖YᵀY‖_F)                        by features: width x width
        = ⟨XXᵀ, YYᵀ⟩_F / (‖XXᵀ‖_F ‖YYᵀ‖_F)                     by rows (Gram): n x n

Both are the same number; the smaller squares are taken. 1: equal but for a rotation, one scale and a shift. Of few rows
and wide vectors it is high whatever they mean (n random rows of width d give about d / (n + d)), so compare like with
like.
Source: Kornblith et al., 2019 (Similarity of neural network representations revisited), equation 5 and section 3;
between languages, by layers: Wu et al., 2020 (Emerging cross-lingual structure), section 5.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64

from kelm.errors import InputError

__all__ = ["by_features", "by_rows", "linear_cka"]


def linear_cka(first: Float[np.ndarray, "row width"], second: Float[np.ndarray, "pair other"]) -> float:
    """Returns the alignment, from 0 to 1; row i of both is the same thing.

    Raises:
        InputError: different numbers of rows, fewer than two, or a side whose rows are all alike.

    Cost: n d² or n² d, memory min(n, d)².

    >>> round(linear_cka(np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([[1.0], [3.0], [2.0]])), 3)
    0.894
    """
    if len(first) != len(second) or len(first) < 2:
        raise InputError(
            f"found {len(first)} and {len(second)} rows", field="vectors", remedy="Give two or more rows, in pairs."
        )
    centered = [_centered(side) for side in (first, second)]
    wide = max(first.shape[1], second.shape[1])
    return (by_features if wide < len(first) else by_rows)(*centered)


def by_features(first: Float64[np.ndarray, "row width"], second: Float64[np.ndarray, "row other"]) -> float:
    """Returns the alignment of centered columns, from products of columns."""
    shared = np.linalg.norm(second.T @ first) ** 2
    return float(shared / (np.linalg.norm(first.T @ first) * np.linalg.norm(second.T @ second)))


def by_rows(first: Float64[np.ndarray, "row width"], second: Float64[np.ndarray, "row other"]) -> float:
    """Returns the alignment of centered columns, from products of rows."""
    one, other = first @ first.T, second @ second.T
    return float((one * other).sum() / (np.linalg.norm(one) * np.linalg.norm(other)))


def _centered(vectors: Float[np.ndarray, "row width"]) -> Float64[np.ndarray, "row width"]:
    exact = vectors.astype(np.float64)
    if not (exact != exact[0]).any():
        raise InputError("all rows are alike", field="vectors", remedy="Give vectors that differ.")
    centered: Float64[np.ndarray, "row width"] = exact - exact.mean(0)
    return centered
