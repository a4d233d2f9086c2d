"""All numbers of a model that is trained by autograd, by name.

entities        entity width            relations   relation number, twice as many with inverse relations
candidates      entity                  biases, where the interaction has them
core, kernels, given.weight ...         what the interaction shares; statistics of norms are among them
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from kg.embeddings.noise import STATISTICS

if TYPE_CHECKING:
    from kg.embeddings.recipe import EmbeddingRecipe

__all__ = ["BIASES", "first_values", "is_learned", "shared_of"]

BIASES = "candidates"
_TABLES = ("entities", "relations")


def first_values(
    recipe: EmbeddingRecipe, entity_count: int, relation_count: int, random: torch.Generator
) -> dict[str, Tensor]:
    """Returns the values before any training."""
    interaction = recipe.interaction()
    links = relation_count * (2 if recipe.reciprocal else 1)
    numbers = interaction.relation_width(recipe.width)
    values = {"entities": _table(recipe, entity_count, recipe.width, random)}
    if recipe.model.lower() == "rotate":  # angles, over the whole circle
        values["relations"] = torch.empty(links, numbers).uniform_(-math.pi, math.pi, generator=random)
    else:
        values["relations"] = _table(recipe, links, numbers, random)
    if recipe.normalize:
        values["entities"] /= values["entities"].norm(dim=1, keepdim=True).clamp(min=1e-8)
    if interaction.biased:
        values[BIASES] = torch.zeros(entity_count)
    return values | interaction.shared(recipe.width, random)


def _table(recipe: EmbeddingRecipe, rows: int, numbers: int, random: torch.Generator) -> Float[Tensor, "row number"]:
    scale = recipe.start_scale
    if recipe.start == "uniform":
        return torch.empty(rows, numbers).uniform_(-scale, scale, generator=random)
    deviation = scale * math.sqrt(2 / (rows + numbers)) if recipe.start == "xavier" else scale
    return torch.empty(rows, numbers).normal_(0, deviation, generator=random)


def is_learned(name: str) -> bool:
    """Whether a gradient moves what has this name; the rest is measured."""
    return not name.endswith(STATISTICS)


def shared_of(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns what is neither entities nor relations."""
    return {name: value for name, value in values.items() if name not in _TABLES}
