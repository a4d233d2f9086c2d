"""The vocabulary head of BERT and RoBERTa, run at target positions only.

    logits = norm(gelu(dense(state))) · Eᵀ + bias            E: the word embeddings (tied)
           = state · Eᵀ + bias                               of a recurrent network (Merity et al., 2018)

Of 512 tokens 15 % are targets; over a vocabulary of 250,000 that is most of a training step's time and memory.
Source: Devlin et al., 2019, section 3.1; tied weights: Press and Wolf, 2017.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear
from torch.utils.checkpoint import checkpoint
from transformers.activations import ACT2FN

from kelm.model.config import EncoderConfig
from kelm.typing import Float, Int, Tensor

__all__ = ["VocabularyHead"]

LOGITS_AT_ONCE = 2**26  # 256 MiB in float32; more targets than fit run in chunks


class VocabularyHead(nn.Module):
    """Scores every word of the vocabulary at given states."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.recurrent = config.recurrent
        if self.recurrent:
            return
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        # RoBERTa's head is always gelu, whatever the encoder's activation.
        self.activation = ACT2FN[config.hidden_act if config.family == "bert" else "gelu"]
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        nn.init.normal_(self.dense.weight, std=config.initializer_range)
        nn.init.zeros_(self.dense.bias)

    def transform(self, states: Float[Tensor, "target width"]) -> Float[Tensor, "target width"]:
        if self.recurrent:
            return states
        normed: Tensor = self.layer_norm(self.activation(self.dense(states)))
        return normed

    def logits(
        self, states: Float[Tensor, "target width"], vocabulary: Float[Tensor, "word width"]
    ) -> Float[Tensor, "target word"]:
        """Returns the score of every word at each state. Cost: targets x words floats."""
        return linear(self.transform(states), vocabulary, self.bias)

    def loss(
        self,
        states: Float[Tensor, "target width"],
        labels: Int[Tensor, "target"],
        vocabulary: Float[Tensor, "word width"],
        blocks: Sequence[slice] = (),
    ) -> Float[Tensor, ""]:
        """Returns the summed cross-entropy of the labels.

        Args:
            blocks: of the vocabulary: a label is told from the words of its block only; without: from all.

        Cost: three arrays of at most `LOGITS_AT_ONCE` numbers at a time (logits, their logarithmic softmax, its
        gradient); beyond that the logits are computed twice.
        """
        transformed = self.transform(states)
        if not blocks:
            return self._loss(transformed, labels, vocabulary, self.bias)
        losses = []
        for block in blocks:
            here = (labels >= block.start) & (labels < block.stop)
            losses.append(
                self._loss(transformed[here], labels[here] - block.start, vocabulary[block], self.bias[block])
            )
        return torch.stack(losses).sum()

    def _loss(self, transformed: Tensor, labels: Tensor, vocabulary: Tensor, bias: Tensor) -> Tensor:
        size = max(1, LOGITS_AT_ONCE // len(vocabulary))
        if len(labels) <= size:
            return _summed_loss(transformed, labels, vocabulary, bias)
        parts = [
            checkpoint(_summed_loss, some, wanted, vocabulary, bias, use_reentrant=False)
            for some, wanted in zip(transformed.split(size), labels.split(size), strict=True)
        ]
        return torch.stack(parts).sum()

    @torch.no_grad()
    def losses(
        self,
        states: Float[Tensor, "target width"],
        labels: Int[Tensor, "target"],
        vocabulary: Float[Tensor, "word width"],
    ) -> Float[Tensor, "target"]:
        """Returns the cross-entropy of each label, to measure it; there is no gradient."""
        size = max(1, LOGITS_AT_ONCE // len(vocabulary))
        parts = zip(self.transform(states).split(size), labels.split(size), strict=True)
        return torch.cat(
            [cross_entropy(linear(some, vocabulary, self.bias), wanted, reduction="none") for some, wanted in parts]
        )


def _summed_loss(states: Tensor, labels: Tensor, vocabulary: Tensor, bias: Tensor) -> Tensor:
    return cross_entropy(linear(states, vocabulary, bias), labels, reduction="sum")
