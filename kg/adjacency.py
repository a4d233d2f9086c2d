"""Which triples leave, or reach, each entity: compressed sparse rows over the triples' numbers.

heads    [0, 2, 0]
offsets  [0, 2, 2, 3]      entity 0: order[0:2], entity 1: order[2:2], entity 2: order[2:3]
order    [0, 2, 1]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Int32, Int64

__all__ = ["Adjacency"]


@dataclass(frozen=True, slots=True, eq=False)
class Adjacency:
    """Triples by the entity at one of their ends.

    Attributes:
        offsets: where each entity's triples start in `order`, and the number of triples.
        order: numbers of triples, by entity and then as in the graph.
    """

    offsets: Int64[np.ndarray, "start"]
    order: Int32[np.ndarray, "triple"]

    @classmethod
    def of(cls, ends: Int32[np.ndarray, "triple"], entity_count: int) -> Self:
        """Returns the adjacency of triples that have these entities at one end. Cost: one sort."""
        offsets = np.zeros(entity_count + 1, np.int64)
        np.cumsum(np.bincount(ends, minlength=entity_count), out=offsets[1:])
        return cls(offsets, np.argsort(ends, kind="stable").astype(np.int32))

    def triples(self, entity: int) -> Int32[np.ndarray, "triple"]:
        """Returns the numbers of the entity's triples, ascending.

        Raises:
            IndexError: no entity has this id.
        """
        if not 0 <= entity < len(self.offsets) - 1:  # a negative id would silently mean another entity
            raise IndexError(f"no entity has id {entity}: the graph has {len(self.offsets) - 1}.")
        return self.order[self.offsets[entity] : self.offsets[entity + 1]]
