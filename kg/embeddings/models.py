"""Which interactions kelm trains itself, by the names that recipes use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from kg.embeddings.bilinear import RESCAL, ComplEx, DistMult, TuckER
from kg.embeddings.conve import ConvE
from kg.embeddings.interactions import Interaction, TransE
from kg.embeddings.rotate import RotatE

__all__ = ["MODELS", "ModelOptions"]


class ModelOptions(Protocol):
    """What a recipe says about its interaction."""

    @property
    def norm(self) -> Literal[1, 2]:
        """TransE's distance."""

    @property
    def relation_width(self) -> int:
        """TuckER's length of a relation's vector, 0 for the entities' width."""

    @property
    def batch_norm(self) -> bool:
        """Whether models that have norms use them."""

    @property
    def image_height(self) -> int:
        """ConvE's height of an entity's picture, 0 to choose it."""

    @property
    def filters(self) -> int:
        """ConvE's number of kernels."""

    @property
    def kernel(self) -> int:
        """The height and width of ConvE's kernels."""


MODELS: Mapping[str, Callable[[ModelOptions], Interaction]] = {
    "complex": lambda options: ComplEx(),
    "conve": lambda options: ConvE(options.image_height, options.filters, options.kernel, options.batch_norm),
    "distmult": lambda options: DistMult(),
    "rescal": lambda options: RESCAL(),
    "rotate": lambda options: RotatE(),
    "transe": lambda options: TransE(options.norm),
    "tucker": lambda options: TuckER(options.relation_width, options.batch_norm),
}
