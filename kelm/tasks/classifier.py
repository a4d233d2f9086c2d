"""The head of a classifier: scores from the states that a task reads.

norm -> dropout -> tanh(dense) -> dropout -> scores        norm, tanh(dense) and its dropout only if asked for
"""

from __future__ import annotations

import torch
from torch import nn

from kelm.model.config import EncoderConfig
from kelm.typing import Float, Tensor

__all__ = ["Classifier"]


class Classifier(nn.Module):
    """A linear layer, with a hidden one before it if asked for.

    Args:
        width: of what it reads.
        scores: how many it gives.
        hidden: width of the tanh layer; 0: none.
        norm: read what it reads at one scale, for states that no norm has ended (a QRNN's).
    """

    def __init__(
        self,
        config: EncoderConfig,
        width: int,
        scores: int,
        *,
        hidden: int = 0,
        dropout: float = 0.1,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if norm else None
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(width, hidden) if hidden else None
        self.scores = nn.Linear(hidden or width, scores)
        for layer in (self.dense, self.scores):
            if layer is not None:
                nn.init.normal_(layer.weight, std=config.initializer_range)
                nn.init.zeros_(layer.bias)

    def forward(self, features: Float[Tensor, "item width"]) -> Float[Tensor, "item score"]:
        features = self.dropout(features if self.norm is None else self.norm(features))
        if self.dense is not None:
            features = self.dropout(torch.tanh(self.dense(features)))
        scores: Tensor = self.scores(features)
        return scores
