"""How well a relation joins two entities: what interactions have in common, and TransE (Bordes et al., 2013).

    every interaction    score = compare(query(given entity, relation), candidate),   compare = dot product or -distance
    TransE               score(h, r, t) = -‖h + r - t‖_p,  p = 1 or 2;   query:  h + r  for tails,  t - r  for heads

so the scores of all candidates are one matrix product (for p = 1, `cdist`). TransE's scores are defined in float32 in
this order of operations, which is PyKEEN's; two entities with equal vectors always tie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kelm.errors import InputError
from kg.embeddings.answers import Side
from kg.embeddings.noise import SILENT, Noise

__all__ = ["ALONE", "Comparison", "Interaction", "TransE"]

Comparison = Literal["dot", "l1", "l2"]
ALONE: Mapping[str, Tensor] = MappingProxyType({})  # nothing is shared
_SMALLEST = 1e-6  # squared distances of training are at least this: the root's slope stays finite


class Interaction:
    """A query and how it is compared; it holds no numbers, these are arguments.

    Attributes:
        two_sided: whether heads can be asked for directly. If not, the head of (h, r, t) is the tail of (t, r⁻¹, h),
            with a vector of its own for the inverse relation r⁻¹ (Lacroix et al., 2018, section 3.3).
        biased: whether each candidate has a number of its own that is added to its score.
        complex: whether vectors are complex numbers, stored as pairs (real, imaginary).
    """

    __slots__ = ()
    two_sided: bool = True
    biased: bool = False
    complex: bool = False

    @property
    def comparison(self) -> Comparison:
        """How a query and a candidate are compared."""
        return "dot"

    def relation_width(self, width: int) -> int:
        """Returns how many numbers a relation has, given the entities' `width`.

        Raises:
            InputError: the width does not suit.
        """
        return width

    def shared(self, width: int, random: torch.Generator) -> dict[str, Tensor]:
        """Returns the first values of what all relations share."""
        return {}

    def queries(
        self,
        given: Float[Tensor, "row width"],
        relations: Float[Tensor, "relation number"],
        links: Int64[Tensor, "row"],
        side: Side,
        shared: Mapping[str, Tensor] = ALONE,
        noise: Noise = SILENT,
    ) -> Float[Tensor, "row width"]:
        """Returns what is compared with the candidates for `side`.

        Args:
            given: the known entity of each question.
            relations: of the questions, each once.
            links: each question's place in `relations`.
            shared: what `Interaction.shared` gave, learned on.
            noise: what is dropped in training.
        """
        raise NotImplementedError

    def scores(
        self, queries: Float[Tensor, "row width"], candidates: Float[Tensor, "row width"]
    ) -> Float[Tensor, "row"]:
        """Returns each query's score of its candidate, without its bias. This defines equality of scores."""
        if self.comparison == "dot":
            return (queries * candidates).sum(-1)
        distances: Tensor = torch.linalg.vector_norm(queries - candidates, ord=int(self.comparison[1]), dim=-1)
        return -distances

    def all_scores(
        self, queries: Float[Tensor, "row width"], candidates: Float[Tensor, "candidate width"]
    ) -> Float[Tensor, "row candidate"]:
        """Returns every query's score of every candidate, without bias, by one matrix product; autograd can follow."""
        if self.comparison == "dot":
            return queries @ candidates.T
        if self.comparison == "l1":
            return -torch.cdist(queries, candidates, p=1.0)
        lengths = queries.square().sum(1)[:, None] + candidates.square().sum(1)[None]
        squares: Tensor = torch.addmm(lengths, queries, candidates.T, alpha=-2)
        return -squares.clamp(min=_SMALLEST).sqrt()

    def moduli(self, vectors: Float[Tensor, "row number"]) -> Float[Tensor, "row part"]:
        """Returns the absolute values of the numbers of entities, which norms are made of."""
        if not self.complex:
            return vectors.abs()
        squares: Tensor = vectors.square().unflatten(-1, (-1, 2)).sum(-1)
        return (squares + 1e-12).sqrt()

    def relation_moduli(self, relations: Float[Tensor, "row number"]) -> Float[Tensor, "row part"]:
        """Returns the same for relations."""
        return self.moduli(relations)


@dataclass(frozen=True, slots=True)
class TransE(Interaction):
    """Relations as translations.

    Args:
        norm: p of the distance. The paper's own choice by validation is 1 or 2.

    Source: Bordes et al. (2013), equation 1 and section 2.
    """

    norm: Literal[1, 2] = 1

    def __post_init__(self) -> None:
        if self.norm not in (1, 2):
            raise InputError(f"TransE has norm 1 or 2, not {self.norm}", field="norm", remedy="Choose 1 or 2.")

    @property
    def comparison(self) -> Comparison:
        """How a query and a candidate are compared: by distance."""
        return "l1" if self.norm == 1 else "l2"

    def queries(
        self,
        given: Float[Tensor, "row width"],
        relations: Float[Tensor, "relation number"],
        links: Int64[Tensor, "row"],
        side: Side,
        shared: Mapping[str, Tensor] = ALONE,
        noise: Noise = SILENT,
    ) -> Float[Tensor, "row width"]:
        """Returns the point that a perfect answer at `side` would have."""
        given, moves = noise.entities(given), noise.relations(relations[links])
        return noise.queries(given + moves if side == "tail" else given - moves)

    def spread(
        self, gradient: Float[Tensor, "row width"], side: Side
    ) -> tuple[Float[Tensor, "row width"], Float[Tensor, "row width"]]:
        """Returns the gradients of the given entity and of the relation, given that of the query."""
        return gradient, gradient if side == "tail" else -gradient

    def distances(
        self, queries: Float[Tensor, "row width"], candidates: Float[Tensor, "candidate width"]
    ) -> Float[Tensor, "row candidate"]:
        """Returns all distances, as one matrix product for norm 2 (rounded more coarsely than `scores`)."""
        if self.norm == 1:
            return torch.cdist(queries, candidates, p=1.0)
        lengths = queries.square().sum(1)[:, None] + candidates.square().sum(1)[None]
        return torch.addmm(lengths, queries, candidates.T, alpha=-2).clamp_(min=_SMALLEST).sqrt_()

    def pull(
        self,
        slopes: Float[Tensor, "row candidate"],
        distances: Float[Tensor, "row candidate"],
        queries: Float[Tensor, "row width"],
        candidates: Float[Tensor, "candidate width"],
    ) -> tuple[Float[Tensor, "row width"], Float[Tensor, "candidate width"]]:
        """Returns the gradients of queries and candidates, given the loss's slope at each of `distances`.

        For norm 2, with W = slopes / distances:  queries · rowsum W - W candidates, and the transpose.
        """
        if self.norm == 1:
            aside = torch.ops.aten._cdist_backward
            return (
                aside(slopes, queries, candidates, 1.0, distances),
                aside(slopes.T.contiguous(), candidates, queries, 1.0, distances.T.contiguous()),
            )
        weights = slopes / distances
        return (
            torch.addmm(weights.sum(1)[:, None] * queries, weights, candidates, alpha=-1),
            torch.addmm(weights.sum(0)[:, None] * candidates, weights.T, queries, alpha=-1),
        )

    def pair_distances(
        self, queries: Float[Tensor, "row width"], answers: Float[Tensor, "row width"]
    ) -> tuple[Float[Tensor, "row"], Float[Tensor, "row width"]]:
        """Returns each row's distance and its gradient with respect to the query (minus that for the answer)."""
        difference = queries - answers
        if self.norm == 1:
            return difference.abs().sum(1), difference.sign()
        lengths = difference.square().sum(1).clamp_(min=_SMALLEST).sqrt_()
        return lengths, difference / lengths[:, None]
