"""Rows of several integer columns as one integer each, so that rows can be compared, sorted and made distinct.

heads [2, 0, 2]   relations [1, 0, 1]   tails [5, 5, 5]   ->   [35, 5, 35]     (2 * 2 + 1) * 6 + 5 = 35
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, Int64

__all__ = ["first_rows", "row_keys"]

_LIMIT = 2**63 - 1


def row_keys(*columns: Int[np.ndarray, "row"]) -> Int64[np.ndarray, "row"]:
    """Returns one integer for each row, equal for equal rows only. Values count from 0.

    Cost: a multiplication and an addition for each column; a sort more where the product of their ranges passes 2**63.
    """
    keys = columns[0].astype(np.int64)
    if not len(keys):
        return keys
    size = int(keys.max()) + 1
    for column in columns[1:]:
        width = int(column.max()) + 1
        if size > _LIMIT // width:
            kinds, keys = np.unique(keys, return_inverse=True)
            keys, size = keys.astype(np.int64), len(kinds)
        keys = keys * width + column
        size *= width
    return keys


def first_rows(keys: Int64[np.ndarray, "row"]) -> Int64[np.ndarray, "distinct"]:
    """Returns the rows at which each key is first seen, ascending."""
    _, rows = np.unique(keys, return_index=True)
    return np.sort(rows).astype(np.int64, copy=False)
