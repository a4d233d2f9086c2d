"""The only module that DDP, FSDP and compile ever see: one call a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from kelm.batch import Batch
from kelm.model.encoder import Encoder
from kelm.model.extension import Stream
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
        stream = self.read(batch)
        return {**self._objective(batch).loss(batch, stream), **stream.losses}

    def read(self, batch: Batch) -> Stream:
        """Returns what the encoder makes of a batch, read as its objective reads."""
        return self._objective(batch).read(self.encoder, batch)

    @torch.no_grad()
    def updated(self) -> None:
        """Tells the objectives that the weights have been updated."""
        for objective in self.objectives.values():
            assert isinstance(objective, Objective)
            objective.updated(self.encoder)

    def _objective(self, batch: Batch) -> Objective[Any]:
        objective = self.objectives[batch.objective]
        assert isinstance(objective, Objective)
        return objective
