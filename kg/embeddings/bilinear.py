"""Interactions that are linear in head, relation and tail: DistMult, ComplEx, RESCAL and TuckER.

    DistMult   ⟨h, r, t⟩ = Σ_k h_k r_k t_k                 query  h ∘ r        for either side
    ComplEx    Re⟨h, r, t̄⟩ over complex numbers            query  h ∘ r        for tails,  t ∘ r̄  for heads
    RESCAL     hᵀ R t                                      query  Rᵀ h         for tails,  R t    for heads
    TuckER     W ×₁ h ×₂ r ×₃ t,  R = W ×₂ r               query  norm(Rᵀ norm(h)), as RESCAL's

A complex vector is stored as pairs (real, imaginary): the real part of z·w̄ is the dot product of two such vectors, so
every one of these is a dot product of a query and a candidate.

Sources: Yang et al. (2015), equation 2; Trouillon et al. (2016), equation 9; Nickel et al. (2011), equation 2;
Balazevic et al. (2019), equation 2 and section 4.1 for the norms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor

from kelm.errors import InputError
from kg.embeddings.answers import Side
from kg.embeddings.interactions import ALONE, Interaction
from kg.embeddings.noise import SILENT, Noise, batch_norm, first_norm

__all__ = ["RESCAL", "ComplEx", "DistMult", "TuckER", "as_complex", "as_pairs", "check_even"]


def as_complex(vectors: Float[Tensor, "row width"]) -> Complex[Tensor, "row half"]:
    """Returns pairs of numbers as complex ones."""
    return torch.view_as_complex(vectors.unflatten(-1, (-1, 2)).contiguous())


def as_pairs(numbers: Complex[Tensor, "row half"]) -> Float[Tensor, "row width"]:
    """Returns complex numbers as pairs: the inverse of `as_complex`."""
    return torch.view_as_real(numbers).flatten(-2)


def check_even(width: int) -> None:
    """Raises an `InputError` for a width that no complex vector has."""
    if width % 2:
        raise InputError(
            f"complex vectors have an even width, not {width}", field="width", remedy=f"Choose {width + 1}."
        )


@dataclass(frozen=True, slots=True)
class DistMult(Interaction):
    """Relations as diagonal matrices; cannot tell the directions of a relation apart.

    Source: Yang et al. (2015), equation 2.
    """

    def queries(
        self,
        given: Float[Tensor, "row width"],
        relations: Float[Tensor, "relation number"],
        links: Int64[Tensor, "row"],
        side: Side,
        shared: Mapping[str, Tensor] = ALONE,
        noise: Noise = SILENT,
    ) -> Float[Tensor, "row width"]:
        """Returns h ∘ r (or t ∘ r)."""
        return noise.queries(noise.entities(given) * noise.relations(relations[links]))


@dataclass(frozen=True, slots=True)
class ComplEx(Interaction):
    """Relations as complex diagonal matrices.

    Source: Trouillon et al. (2016), equation 9.
    """

    complex = True

    def relation_width(self, width: int) -> int:
        """Returns `width`, which has to be even."""
        check_even(width)
        return width

    def queries(
        self,
        given: Float[Tensor, "row width"],
        relations: Float[Tensor, "relation number"],
        links: Int64[Tensor, "row"],
        side: Side,
        shared: Mapping[str, Tensor] = ALONE,
        noise: Noise = SILENT,
    ) -> Float[Tensor, "row width"]:
        """Returns h ∘ r, or t ∘ r̄ for heads."""
        entities, factors = as_complex(noise.entities(given)), as_complex(noise.relations(relations[links]))
        return noise.queries(as_pairs(entities * (factors if side == "tail" else factors.conj())))


@dataclass(frozen=True, slots=True)
class RESCAL(Interaction):
    """Relations as matrices, stored row by row.

    Source: Nickel et al. (2011), equation 2, without its tensor-factorization algorithm.
    Cost: width² numbers for each relation of a step. Dropout of relations is one mask for all questions of a relation.
    """

    def relation_width(self, width: int) -> int:
        """Returns width²."""
        return width * width

    def queries(
        self,
        given: Float[Tensor, "row width"],
        relations: Float[Tensor, "relation number"],
        links: Int64[Tensor, "row"],
        side: Side,
        shared: Mapping[str, Tensor] = ALONE,
        noise: Noise = SILENT,
    ) -> Float[Tensor, "row width"]:
        """Returns Rᵀ h, or R t for heads."""
        matrices = noise.relations(relations).unflatten(-1, (given.shape[-1], -1))
        return noise.queries(turned(noise.entities(given), matrices, links, side))


@dataclass(frozen=True, slots=True)
class TuckER(Interaction):
    """Relations as mixtures of matrices that all relations share: the Tucker decomposition.

    Args:
        relation_numbers: length of a relation's vector; 0 is the entities' width.
        normalized: batch norm of the given entity and of the query, as in the paper's code. Heads have to be asked
            through inverse relations then.

    Source: Balazevic et al. (2019), equation 2; norms and dropout: section 4.1.
    """

    relation_numbers: int = 0
    normalized: bool = True

    @property
    def two_sided(self) -> bool:  # type: ignore[override]
        """Whether heads can be asked for directly."""
        return not self.normalized

    def relation_width(self, width: int) -> int:
        """Returns the length of a relation's vector."""
        return self.relation_numbers or width

    def shared(self, width: int, random: torch.Generator) -> dict[str, Tensor]:
        """Returns the core, `given relation candidate`, uniform in -1 to 1 as in the paper's code, and the norms."""
        core = torch.empty(width, self.relation_width(width), width).uniform_(-1, 1, generator=random)
        if not self.normalized:
            return {"core": core}
        return {"core": core, **first_norm("given", width), **first_norm("query", width)}

    def queries(
        self,
        given: Float[Tensor, "row width"],
        relations: Float[Tensor, "relation number"],
        links: Int64[Tensor, "row"],
        side: Side,
        shared: Mapping[str, Tensor] = ALONE,
        noise: Noise = SILENT,
    ) -> Float[Tensor, "row width"]:
        """Returns the query; the norms are the identity where there are none."""
        entities = noise.entities(batch_norm(given, "given", shared, noise))
        core = shared["core"]
        flat = relations @ core.movedim(1, 0).flatten(1)
        matrices = noise.relations(flat).unflatten(-1, (core.shape[0], core.shape[2]))
        return noise.queries(batch_norm(turned(entities, matrices, links, side), "query", shared, noise))


def turned(
    vectors: Float[Tensor, "row width"],
    matrices: Float[Tensor, "relation width width"],
    links: Int64[Tensor, "row"],
    side: Side,
) -> Float[Tensor, "row width"]:
    """Returns each vector times its relation's matrix, Rᵀ h, or R t for heads: a matrix product for each relation."""
    order = links.argsort(stable=True)
    groups = vectors[order].split(torch.bincount(links, minlength=len(matrices)).tolist())
    parts = [group @ (matrix if side == "tail" else matrix.T) for group, matrix in zip(groups, matrices, strict=True)]
    return torch.cat(parts)[order.argsort()]
