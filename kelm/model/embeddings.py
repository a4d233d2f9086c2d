"""From word vectors to the first hidden states: + position + type, norm, dropout (Devlin et al., 2019)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding

from kelm.batch import Batch
from kelm.model.config import EncoderConfig
from kelm.typing import Float, Int, Tensor

__all__ = ["Embeddings", "look_up"]


class Embeddings(nn.Module):
    """The three tables and their norm; parameters are named as in Hugging Face's BERT and RoBERTa."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, pad = config.hidden_size, config.pad_token_id
        # RoBERTa's position table also reserves the padding id's row; HF gives it no gradient.
        reserved = None if config.family == "bert" else pad
        self.offset = config.position_offset
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=pad)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width, padding_idx=reserved)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = None if config.norms_first else nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, vectors: Float[Tensor, "row token width"], batch: Batch) -> Float[Tensor, "row token width"]:
        segments = batch.segments.clamp(
            max=self.token_type_embeddings.num_embeddings - 1
        )  # RoBERTa's table has one row
        total = vectors + self.token_type_embeddings(segments) + self.position_embeddings(batch.positions + self.offset)
        states: Tensor = self.dropout(total if self.LayerNorm is None else self.LayerNorm(total))
        return states


def look_up(
    table: nn.Embedding, tokens: Int[Tensor, "row token"]
) -> tuple[Float[Tensor, "row token width"], Float[Tensor, "word width"]]:
    """Returns the vectors of tokens, and the table as a vocabulary head should take it.

    A lookup's gradient is an array of the table's size, nearly all zeros, that is then added to the head's: over
    250,000 words half of a training step's time on a CPU. There only the rows of the tokens are added to the head's.
    """
    weight = table.weight
    plain = type(table) is nn.Embedding and weight.device.type == "cpu" and not torch.compiler.is_compiling()
    if not (plain and weight.requires_grad and torch.is_grad_enabled()):
        return table(tokens), weight
    vectors, vocabulary = _Shared.apply(weight, tokens, table.padding_idx)
    return vectors, vocabulary


class _Shared(torch.autograd.Function):
    """A table that is looked up and is the vocabulary too: both gradients meet in one step backward."""

    @staticmethod
    def forward(context: Any, weight: Tensor, tokens: Tensor, pad: int | None) -> tuple[Tensor, Tensor]:
        context.save_for_backward(tokens)
        context.pad, context.shape = pad, weight.shape
        context.set_materialize_grads(False)
        return embedding(tokens, weight), weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(context: Any, of_vectors: Tensor | None, of_vocabulary: Tensor | None) -> tuple[Any, None, None]:
        if of_vectors is None:
            return of_vocabulary, None, None
        (tokens,) = context.saved_tensors
        places = tokens.flatten()
        rows = of_vectors.flatten(0, -2)
        if context.pad is not None:
            rows = rows * (places != context.pad)[:, None]
        if of_vocabulary is None:
            return rows.new_zeros(context.shape).index_add_(0, places, rows), None, None
        return of_vocabulary.index_add(0, places, rows.to(of_vocabulary.dtype)), None, None
