"""One Transformer layer (attention and feed-forward network, each with add & norm), in parts that can be entered.

                BERT, RoBERTa, XLM-R                               XLM-R XL and XXL
    attend      words = norm(hidden + dense(attention(hidden)))    words = hidden + dense(attention(norm(hidden)))
    expand      inner = dense(words)                               inner = dense(norm(words))
    contract    hidden = norm(words + dense(activation(inner)))    hidden = words + dense(activation(inner))

Source: Devlin et al., 2019; Vaswani et al., 2017; norms first: Xiong et al., 2020; Goyal et al., 2021 (XLM-R XL).
Parameters are named as in Hugging Face's BERT and XLM-RoBERTa-XL.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.activations import ACT2FN

from kelm.model.config import EncoderConfig
from kelm.model.extension import Stream
from kelm.typing import Float, Tensor

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

__all__ = ["Layer", "NormsFirst", "attention"]


@cache
def _flex_attention() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention) if torch.cuda.is_available() else flex_attention


def attention(
    queries: Float[Tensor, "row head token size"],
    keys: Float[Tensor, "row head token size"],
    values: Float[Tensor, "row head token size"],
    mask: Tensor | BlockMask | None,
    dropout: float = 0.0,
) -> Float[Tensor, "row head token size"]:
    """Returns softmax(QKᵀ/√size)V over the tokens that `mask` shows.

    A boolean mask or None runs PyTorch's scaled dot-product attention, a `BlockMask` FlexAttention.
    """
    if mask is None or isinstance(mask, Tensor):
        return scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=dropout)
    result: Tensor = _flex_attention()(queries, keys, values, block_mask=mask)
    return result


class Projections(nn.Module):
    """HF's `attention.self`: queries, keys, values and the attention between them."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.dropout = config.attention_probs_dropout_prob
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, hidden: Float[Tensor, "row token width"], mask: Tensor | BlockMask | None
    ) -> Float[Tensor, "row token width"]:
        shape = (*hidden.shape[:-1], self.heads, -1)
        queries, keys, values = (
            project(hidden).view(shape).transpose(1, 2) for project in (self.query, self.key, self.value)
        )
        context = attention(queries, keys, values, mask, self.dropout if self.training else 0.0)
        return context.transpose(1, 2).reshape(hidden.shape)


class AddAndNorm(nn.Module):
    """HF's `...output`: norm(residual + dropout(dense(x)))."""

    def __init__(self, config: EncoderConfig, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, inner: Tensor, residual: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(residual + self.dropout(self.dense(inner)))
        return normed


class Add(nn.Module):
    """XLM-R XL's `...output`: residual + dropout(dense(x)); what is normed is read and not given."""

    def __init__(self, config: EncoderConfig, width: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inner: Tensor, residual: Tensor) -> Tensor:
        added: Tensor = residual + self.dropout(self.dense(inner))
        return added


class Attention(nn.Module):
    """HF's `attention`: a namespace of `self` and `output`."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.self = Projections(config)
        self.output = AddAndNorm(config, config.hidden_size)

    def forward(self, hidden: Tensor, mask: Tensor | BlockMask | None) -> Tensor:
        attended: Tensor = self.output(self.self(hidden, mask), hidden)
        return attended


class NormedAttention(nn.Module):
    """XLM-R XL's `attention`: it norms what it reads."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.self = Projections(config)
        self.output = Add(config, config.hidden_size, config.hidden_dropout_prob)
        self.self_attn_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor, mask: Tensor | BlockMask | None) -> Tensor:
        attended: Tensor = self.output(self.self(self.self_attn_layer_norm(hidden), mask), hidden)
        return attended


class Intermediate(nn.Module):
    """HF's `intermediate`: the first half of the feed-forward network, before its activation."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)

    def forward(self, words: Tensor) -> Tensor:
        inner: Tensor = self.dense(words)
        return inner


class Layer(nn.Module):
    """A whole layer as a `Step`; an innermost extension may call its parts one by one instead."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention = self._attention(config)
        self.intermediate = Intermediate(config)
        self.activation = ACT2FN[config.hidden_act]
        self.output = self._output(config)

    def _attention(self, config: EncoderConfig) -> nn.Module:
        return Attention(config)

    def _output(self, config: EncoderConfig) -> nn.Module:
        return AddAndNorm(config, config.intermediate_size)

    def attend(self, stream: Stream) -> Float[Tensor, "row token width"]:
        """Returns the states after self-attention, add and norm."""
        words: Tensor = self.attention(stream.hidden, stream.mask)
        return words

    def expand(self, words: Float[Tensor, "row token width"]) -> Float[Tensor, "row token inner"]:
        """Returns the feed-forward network's inner values, before the activation."""
        inner: Tensor = self.intermediate(words)
        return inner

    def contract(
        self, active: Float[Tensor, "row token inner"], words: Float[Tensor, "row token width"]
    ) -> Float[Tensor, "row token width"]:
        """Returns the layer's output from the activated inner values and the residual."""
        hidden: Tensor = self.output(active, words)
        return hidden

    def forward(self, stream: Stream) -> Stream:
        words = self.attend(stream)
        return stream.having(hidden=self.contract(self.activation(self.expand(words)), words))


class NormsFirst(Layer):
    """A layer of XLM-R XL and XXL."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def _attention(self, config: EncoderConfig) -> nn.Module:
        return NormedAttention(config)

    def _output(self, config: EncoderConfig) -> nn.Module:
        return Add(config, config.intermediate_size, dropout=0.0)  # HF's has none here

    def expand(self, words: Float[Tensor, "row token width"]) -> Float[Tensor, "row token inner"]:
        inner: Tensor = self.intermediate(self.LayerNorm(words))
        return inner
