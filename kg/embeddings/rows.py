"""Vectors whose rows learn one by one: Adam and Adagrad that touch only the rows of a step.

    Adam      m ← β₁m + (1-β₁)g   v ← β₂v + (1-β₂)g²   x ← x - rate · √(1-β₂ᵗ)/(1-β₁ᵗ) · m / (√v + ε)
    Adagrad   v ← v + g²                                x ← x - rate · g / (√v + ε)

The rows that a step does not name keep their moments too ("lazy", as in torch.optim.SparseAdam): a step costs the rows
of its batch, not those of the graph.

Sources: Kingma and Ba (2015), algorithm 1; Duchi et al. (2011).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["Rows"]

_FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-8


class Rows:
    """A matrix in training.

    Args:
        vectors: its first values; changed in place.
        optimizer: "adam" or "adagrad".
        normalize: whether the rows of a step are scaled to length 1 after it.
        regularization: weight of the squared length of a step's rows.
    """

    def __init__(
        self,
        vectors: Float[Tensor, "row width"],
        optimizer: Literal["adam", "adagrad"],
        *,
        normalize: bool = False,
        regularization: float = 0.0,
    ) -> None:
        self.vectors, self.optimizer = vectors, optimizer
        self.normalize, self.regularization = normalize, regularization
        self.first = torch.zeros_like(vectors) if optimizer == "adam" else torch.empty(0)
        self.second = torch.zeros_like(vectors)
        self.steps = 0

    def step(self, ids: Int64[Tensor, "occurrence"], gradients: Float[Tensor, "occurrence width"], rate: float) -> None:
        """Moves the rows `ids` against their gradients; those of a row that occurs repeatedly are summed."""
        rows, places = torch.unique(ids, return_inverse=True)
        values = self.vectors[rows]
        gradient = torch.zeros_like(values).index_add_(0, places, gradients)
        if self.regularization:
            gradient.add_(values, alpha=2 * self.regularization)
        self.steps += 1
        values.add_(
            self._adam(rows, gradient) if self.optimizer == "adam" else self._adagrad(rows, gradient), alpha=-rate
        )
        if self.normalize:
            values.div_(values.norm(dim=1, keepdim=True).clamp_(min=_EPSILON))
        self.vectors[rows] = values

    def moments(self) -> dict[str, Tensor]:
        """Returns what the optimizer remembers."""
        return {"first": self.first, "second": self.second, "steps": torch.tensor(self.steps)}

    def restore(self, moments: Mapping[str, Tensor]) -> None:
        """Takes what `moments` returned."""
        self.first, self.second, self.steps = moments["first"], moments["second"], int(moments["steps"])

    def _adam(self, rows: Int64[Tensor, "row"], gradient: Float[Tensor, "row width"]) -> Float[Tensor, "row width"]:
        first = self.first[rows].mul_(_FIRST).add_(gradient, alpha=1 - _FIRST)
        second = self.second[rows].mul_(_SECOND).addcmul_(gradient, gradient, value=1 - _SECOND)
        self.first[rows], self.second[rows] = first, second
        correction = (1 - _SECOND**self.steps) ** 0.5 / (1 - _FIRST**self.steps)
        return first.mul_(correction).div_(second.sqrt_().add_(_EPSILON))

    def _adagrad(self, rows: Int64[Tensor, "row"], gradient: Float[Tensor, "row width"]) -> Float[Tensor, "row width"]:
        second = self.second[rows].addcmul_(gradient, gradient)
        self.second[rows] = second
        return gradient.div_(second.sqrt_().add_(_EPSILON))
