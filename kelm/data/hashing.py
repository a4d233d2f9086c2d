"""Numbers to numbers that look random, one to one and the same everywhere: the finalizer of splitmix64.

Source: Steele, Lea and Flood, 2014, Fast splittable pseudorandom number generators.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt64

__all__ = ["GOLDEN", "mixed"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # added between draws of one stream


def mixed(numbers: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    """Returns each number's hash.

    >>> mixed(np.array([1, 2], np.uint64)).tolist()
    [6238072747940578789, 15839785061582574730]
    """
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: UInt64[np.ndarray, "..."] = numbers ^ (numbers >> np.uint64(31))
    return found
