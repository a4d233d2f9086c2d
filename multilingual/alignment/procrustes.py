"""The rotation that brings one set of vectors nearest to another, of the same things.

    W = argmin over orthogonal W of ‖XW - Y‖_F = UVᵀ,  U S Vᵀ the singular value decomposition of XᵀY

If it helps on pairs that it was not fitted to, both sets have the same shape and lie turned against each other.
Source: Schönemann, 1966; for words of two languages: Smith et al., 2017, section 2.2; for layers of language models:
Wu et al., 2020 (Emerging cross-lingual structure), section 5.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64

from kelm.errors import InputError

__all__ = ["orthogonal_map"]


def orthogonal_map(
    source: Float[np.ndarray, "row width"], target: Float[np.ndarray, "pair other"]
) -> Float64[np.ndarray, "width width"]:
    """Returns W: ``source @ W`` is as near to `target` as a rotation or reflection brings it; row i to row i.

    With fewer rows than columns many W are as near; which one is taken in the directions that no row has is arbitrary.

    Raises:
        InputError: the sides have different shapes, or no row.

    >>> orthogonal_map(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[0.0, 3.0], [1.0, 0.0]])).round(6).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    if source.shape != target.shape or not len(source):
        raise InputError(
            f"found {source.shape} and {target.shape}", field="vectors", remedy="Give pairs of one width in each row."
        )
    left, _, right = np.linalg.svd(source.astype(np.float64).T @ target.astype(np.float64))
    turned: Float64[np.ndarray, "width width"] = left @ right
    return turned
