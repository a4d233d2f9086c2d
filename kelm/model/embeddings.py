"""From word vectors to the first hidden states: + position + type, norm, dropout (Devlin et al., 2019)."""

from __future__ import annotations

from torch import nn

from kelm.batch import Batch
from kelm.model.config import EncoderConfig
from kelm.typing import Float, Tensor

__all__ = ["Embeddings"]


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
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, vectors: Float[Tensor, "row token width"], batch: Batch) -> Float[Tensor, "row token width"]:
        segments = batch.segments.clamp(
            max=self.token_type_embeddings.num_embeddings - 1
        )  # RoBERTa's table has one row
        total = vectors + self.token_type_embeddings(segments) + self.position_embeddings(batch.positions + self.offset)
        states: Tensor = self.dropout(self.LayerNorm(total))
        return states
