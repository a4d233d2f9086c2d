"""Dropout from a random stream of its own, and batch normalization over named statistics (Ioffe and Szegedy, 2015).

    drop(x) = x · m / (1 - rate),  m ~ Bernoulli(1 - rate)
    norm(x) = weight · (x - mean) / √(variance + 1e-5) + bias       mean, variance: the batch's; running ones when asked

A `Noise` without a generator is silent: nothing is dropped and the running statistics are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

__all__ = ["SILENT", "STATISTICS", "Noise", "batch_norm", "first_norm"]

STATISTICS = (".mean", ".variance")  # endings of the names of what is measured, not learned


@dataclass(frozen=True, slots=True)
class Noise:
    """What is dropped in a step of training.

    Attributes:
        generator: the random stream; None outside training.
        entity, relation, query, feature: rates of the given entity, of the relation, of the query, and of what lies
            between in models with inner layers.
    """

    generator: torch.Generator | None = None
    entity: float = 0.0
    relation: float = 0.0
    query: float = 0.0
    feature: float = 0.0

    def entities(self, vectors: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Returns the vectors of the given entities, some numbers dropped."""
        return self._drop(vectors, self.entity)

    def relations(self, vectors: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Returns the relations' numbers, some dropped."""
        return self._drop(vectors, self.relation)

    def queries(self, vectors: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Returns the queries, some numbers dropped."""
        return self._drop(vectors, self.query)

    def maps(self, features: Float[Tensor, "row channel height width"]) -> Float[Tensor, "row channel height width"]:
        """Returns feature maps, some of them dropped whole (Tompson et al., 2015)."""
        return features * self._drop(features.new_ones((*features.shape[:2], 1, 1)), self.feature)

    def features(self, numbers: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Returns inner features, some dropped."""
        return self._drop(numbers, self.feature)

    def _drop(self, values: Tensor, rate: float) -> Tensor:
        if self.generator is None or not rate:
            return values
        kept = torch.empty_like(values).bernoulli_(1 - rate, generator=self.generator)
        return values * kept.div_(1 - rate)


SILENT = Noise()


def first_norm(name: str, size: int) -> dict[str, Float[Tensor, "channel"]]:
    """Returns the parameters and statistics of a batch norm before any training."""
    return {
        f"{name}.weight": torch.ones(size),
        f"{name}.bias": torch.zeros(size),
        f"{name}.mean": torch.zeros(size),
        f"{name}.variance": torch.ones(size),
    }


def batch_norm(
    values: Float[Tensor, "row *shape"], name: str, shared: Mapping[str, Tensor], noise: Noise
) -> Float[Tensor, "row *shape"]:
    """Returns normalized values; as they are where `shared` has no such norm. In training the statistics move."""
    if f"{name}.mean" not in shared:
        return values
    weight, bias, mean, variance = (shared[f"{name}.{part}"] for part in ("weight", "bias", "mean", "variance"))
    training = noise.generator is not None and len(values) > 1  # one row has no variance
    return functional.batch_norm(values, mean, variance, weight, bias, training=training)
