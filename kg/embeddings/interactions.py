"""How well a relation joins two entities: TransE (Bordes et al., 2013).

    score(h, r, t) = -‖h + r - t‖_p,   p = 1 or 2            a question's query:  h + r  for tails,  t - r  for heads

so both sides are one distance between a query and a candidate. Scores are defined in float32 in this order of
operations, which is PyKEEN's; two entities with equal vectors always tie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from kelm.errors import InputError
from kg.embeddings.answers import Side

__all__ = ["TransE"]

_SMALLEST = 1e-6  # squared distances of training are at least this: the root's slope stays finite


@dataclass(frozen=True, slots=True)
class TransE:
    """Relations as translations.

    Args:
        norm: p of the distance. The paper's own choice by validation is 1 or 2.

    Source: Bordes et al. (2013), equation 1 and section 2.
    """

    norm: Literal[1, 2] = 1

    def __post_init__(self) -> None:
        if self.norm not in (1, 2):
            raise InputError(f"TransE has norm 1 or 2, not {self.norm}", field="norm", remedy="Choose 1 or 2.")

    def queries(
        self, given: Float[Tensor, "row width"], relations: Float[Tensor, "row width"], side: Side
    ) -> Float[Tensor, "row width"]:
        """Returns the point that a perfect answer at `side` would have."""
        return given + relations if side == "tail" else given - relations

    def spread(
        self, gradient: Float[Tensor, "row width"], side: Side
    ) -> tuple[Float[Tensor, "row width"], Float[Tensor, "row width"]]:
        """Returns the gradients of the given entity and of the relation, given that of the query."""
        return gradient, gradient if side == "tail" else -gradient

    def scores(
        self, queries: Float[Tensor, "row width"], candidates: Float[Tensor, "row width"]
    ) -> Float[Tensor, "row"]:
        """Returns each query's score of its candidate: minus their distance. This defines equality of scores."""
        distances: Tensor = torch.linalg.vector_norm(queries - candidates, ord=self.norm, dim=-1)
        return -distances

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
