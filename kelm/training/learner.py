"""The only module that DDP, FSDP and compile ever see: one call a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from kelm.batch import Batch
from kelm.model.encoder import Encoder
from kelm.objectives.base import Losses, Objective

__all__ = ["Learner"]


class Learner(nn.Module):
    """An encoder with the objectives that train it, by name."""

    def __init__(self, encoder: Encoder, objectives: Sequence[Objective[Any]]) -> None:
        super().__init__()
        self.encoder = encoder
        named = {objective.name: objective for objective in objectives}
        for objective in objectives:
            objective.join(named)
        self.objectives = nn.ModuleDict(named)

    def forward(self, batch: Batch) -> Losses:
        """Returns the losses as sums (see `batch.units`), the extensions' own included."""
        stream = self.encoder.encode(batch)
        objective = self.objectives[batch.objective]
        assert isinstance(objective, Objective)
        return {**objective.loss(batch, stream), **stream.losses}
