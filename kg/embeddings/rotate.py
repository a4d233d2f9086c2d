"""Relations as rotations of the complex plane: RotatE (Sun et al., 2019).

    score(h, r, t) = -‖h ∘ e^(iθ) - t‖        query  h ∘ e^(iθ)  for tails,  t ∘ e^(-iθ)  for heads

A rotation keeps lengths, so the distance to the query is the same from either side. Differs from the paper's code: the
norm is the Euclidean one over all numbers, as in PyKEEN, where the code sums the moduli; that would be no matrix
product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kg.embeddings.answers import Side
from kg.embeddings.bilinear import as_complex, as_pairs, check_even
from kg.embeddings.interactions import ALONE, Comparison, Interaction
from kg.embeddings.noise import SILENT, Noise

__all__ = ["RotatE"]


@dataclass(frozen=True, slots=True)
class RotatE(Interaction):
    """Relations as angles θ, one for each complex number of an entity.

    Source: Sun et al. (2019), equation 3.
    """

    complex = True

    @property
    def comparison(self) -> Comparison:
        """How a query and a candidate are compared: by distance."""
        return "l2"

    def relation_width(self, width: int) -> int:
        """Returns half of `width`, which has to be even."""
        check_even(width)
        return width // 2

    def queries(
        self,
        given: Float[Tensor, "row width"],
        relations: Float[Tensor, "relation number"],
        links: Int64[Tensor, "row"],
        side: Side,
        shared: Mapping[str, Tensor] = ALONE,
        noise: Noise = SILENT,
    ) -> Float[Tensor, "row width"]:
        """Returns the given entity, turned."""
        angles = noise.relations(relations[links])
        turns = torch.complex(angles.cos(), angles.sin())
        turns = turns if side == "tail" else turns.conj()
        return noise.queries(as_pairs(as_complex(noise.entities(given)) * turns))

    def scores(
        self, queries: Float[Tensor, "row width"], candidates: Float[Tensor, "row width"]
    ) -> Float[Tensor, "row"]:
        """Returns minus the distances, by complex numbers: PyKEEN's order of operations, and so its ties."""
        distances: Tensor = torch.linalg.vector_norm(as_complex(queries - candidates), dim=-1)
        return -distances

    def relation_moduli(self, relations: Float[Tensor, "row number"]) -> Float[Tensor, "row part"]:
        """Returns none: an angle has no size to keep small."""
        return relations[:, :0]
