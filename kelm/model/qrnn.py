"""The quasi-recurrent network of MultiFiT: matrix products over all tokens at once, and a recurrence without a matrix.

    z, f, o = tanh, σ, σ of W [x_t; x_{t-1}] + b          above the first layer of W x_t + b
    c_t     = f_t ∘ c_{t-1} + (1 - f_t) ∘ z_t             h_t = o_t ∘ c_t          ("fo-pooling")

    tokens -> words -(dropout)-> layer 0 -(dropout)-> ... -> layer n-1 -(dropout)-> states as wide as the words

It stands where the Transformer's embeddings and layers do (`EncoderConfig.family` "qrnn"). Texts that share a row do
not see each other: before the first token of each, x and c are zero.
Source: Bradbury et al., 2017, equations 1, 2 and 4, and 6 (zoneout), as Eisenschlos et al., 2019 (MultiFiT) use them;
the dropouts are those of Merity et al., 2018 (AWD-LSTM), sections 2 and 4.
Differs from MultiFiT: a text is read as a whole, so no state is carried from one batch to the next; a classifier reads
the states after the output dropout, where MultiFiT's has a dropout of its own of the same share.
"""

from __future__ import annotations

from math import isqrt
from typing import Any

import torch
from torch import nn
from torch.autograd import Function
from torch.nn.functional import linear

from kelm.batch import Batch
from kelm.model.config import EncoderConfig
from kelm.model.extension import Stream
from kelm.typing import Bool, Float, Int, Tensor

__all__ = ["QRNNLayer", "QRNNWords", "forget_mult", "locked_dropout"]

_GRAIN = 2**16  # a share is rounded to so many parts


class QRNNWords(nn.Module):
    """The table of word vectors, of which whole words are dropped in training; no positions, types or norm."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        options = config.qrnn_options
        self.share = options.scale * options.embedding_dropout
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.reset()

    def reset(self) -> None:
        """Draws the weights anew, as AWD-LSTM's."""
        nn.init.uniform_(self.word_embeddings.weight, -0.1, 0.1)

    def forward(self, vectors: Float[Tensor, "row token width"], batch: Batch) -> Float[Tensor, "row token width"]:
        if not (self.training and self.share):
            return vectors
        return vectors * _dropping((self.word_embeddings.num_embeddings, 1), self.share, vectors)[batch.tokens]


class QRNNLayer(nn.Module):
    """Quasi-recurrent layer number `index` as a `Step`, with the dropout of what it reads.

    The first reads words and the last gives states as wide as they are; the last also drops features of what it gives,
    and gives zero at padding.
    """

    def __init__(self, config: EncoderConfig, index: int) -> None:
        super().__init__()
        options, last = config.qrnn_options, index == config.num_hidden_layers - 1
        inputs = config.hidden_size if index == 0 else config.intermediate_size
        self.hidden = config.hidden_size if last else config.intermediate_size
        self.window = options.window if index == 0 else 1
        self.zoneout, self.weight_dropout = options.zoneout, options.scale * options.weight_dropout
        self.read_dropout = options.scale * (options.input_dropout if index == 0 else options.hidden_dropout)
        self.output_dropout = options.scale * options.output_dropout if last else None
        self.gates = nn.Linear(self.window * inputs, 3 * self.hidden)  # rows: z, f, o

    def reset(self) -> None:
        """Draws the weights anew, as PyTorch's."""
        self.gates.reset_parameters()

    def forward(self, stream: Stream) -> Stream:
        document = stream.batch.visibility.document
        opens = torch.ones_like(document, dtype=torch.bool)
        opens[:, 1:] = document[:, 1:] != document[:, :-1]
        hidden = self.step(locked_dropout(stream.hidden, document, self._share(self.read_dropout)), opens)
        if self.output_dropout is not None:
            hidden = locked_dropout(hidden, document, self._share(self.output_dropout))
            hidden = hidden.masked_fill(document[..., None] < 0, 0)
        return stream.having(hidden=hidden)

    def step(
        self, states: Float[Tensor, "row token inputs"], opens: Bool[Tensor, "row token"]
    ) -> Float[Tensor, "row token hidden"]:
        """Returns h; `opens` is true at the first token of each text."""
        seen = [states]
        for _ in range(self.window - 1):
            seen.append(_before(seen[-1]).masked_fill(opens[..., None], 0))
        gates = linear(torch.cat(seen, -1), self._weights(), self.gates.bias)
        z, rest = gates.split([self.hidden, 2 * self.hidden], -1)
        f, o = rest.sigmoid().chunk(2, -1)
        if self.training and self.zoneout:
            f = f.masked_fill(~_kept(f.shape, self.zoneout, f.device), 1)
        hidden: Tensor = o * forget_mult(z.tanh(), f, opens=opens).to(o.dtype)
        return hidden

    def _share(self, share: float) -> float:
        return share if self.training else 0.0

    def _weights(self) -> Float[Tensor, "gate inputs"]:
        weights = self.gates.weight
        share = self._share(self.weight_dropout)
        return weights * _dropping(weights.shape, share, weights) if share else weights


def forget_mult(
    z: Float[Tensor, "row token width"],
    f: Float[Tensor, "row token width"],
    start: Float[Tensor, "row width"] | None = None,
    opens: Bool[Tensor, "row token"] | None = None,
) -> Float[Tensor, "row token width"]:
    """Returns c_t = f_t ∘ c_{t-1} + (1 - f_t) ∘ z_t, in float32 at least.

    Args:
        f: from 0 to 1.
        start: the state before the first token; None: zero.
        opens: where the state before a token is zero, whatever came before it.

    Source: Bradbury et al., 2017, equation 4.
    Cost: linear in the tokens, about 2·√tokens steps one after another.
    """
    exact = torch.promote_types(torch.promote_types(z.dtype, f.dtype), torch.float32)
    decay, drive = f.to(exact), (1 - f.to(exact)) * z
    if opens is not None:
        decay = decay.masked_fill(opens[..., None], 0)
    if start is None:
        return _Recurrence.apply(decay, drive)  # type: ignore[no-any-return]
    first = start.to(exact)[:, None]  # as a token before the first
    states: Tensor = _Recurrence.apply(torch.cat([torch.zeros_like(first), decay], 1), torch.cat([first, drive], 1))
    return states[:, 1:]


class _Recurrence(Function):
    """c_t = a_t ∘ c_{t-1} + b_t, and backwards in time its gradient: g_t = ∂c_t + a_{t+1} ∘ g_{t+1}."""

    @staticmethod
    def forward(decay: Tensor, drive: Tensor) -> Tensor:
        return _recur(decay, drive)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        decay, states = ctx.saved_tensors
        drive: Tensor = _Recurrence.apply(_before(decay.flip(1)), gradient.flip(1)).flip(1)
        return drive * _before(states), drive


def _recur(decay: Float[Tensor, "row token width"], drive: Float[Tensor, "row token width"]) -> Tensor:
    """Returns c_t = decay_t ∘ c_{t-1} + drive_t, in blocks: within all at once, then from one to the next.

        c_t = (c_t as if its block began at zero) + (product of the block's decays up to t) ∘ (c before the block)

    Products of numbers from 0 to 1 may become zero, where what they carry no longer counts; nothing is divided.
    """
    tokens = decay.shape[1]
    block = max(1, isqrt(tokens))
    carried, states = decay.clone(), drive.clone()
    for place in range(1, block):  # the place-th token of every block; the last block may be shorter
        here, before = slice(place, None, block), slice(place - 1, tokens - 1, block)
        states[:, here].addcmul_(decay[:, here], states[:, before])
        carried[:, here].mul_(carried[:, before])
    for first in range(block, tokens, block):
        here = slice(first, first + block)
        states[:, here].addcmul_(carried[:, here], states[:, first - 1 : first])
    return states


def _before(states: Float[Tensor, "row token width"]) -> Float[Tensor, "row token width"]:
    """Returns what stands one token earlier, and zero at the first."""
    return torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], 1)


def locked_dropout(
    states: Float[Tensor, "row token width"], document: Int[Tensor, "row token"], share: float
) -> Float[Tensor, "row token width"]:
    """Returns the states with a share of their features dropped, the same for all tokens of a text.

    Source: Gal and Ghahramani, 2016 ("variational"); Merity et al., 2018, section 4.2.
    """
    if not share:
        return states
    texts = int(document.max()) + 1  # of the fullest row: few masks are drawn, not one a token
    masks = _dropping((len(states), max(1, texts), states.shape[-1]), share, states)
    rows = torch.arange(len(states), device=states.device)[:, None]
    return states * masks[rows, document.clamp(min=0)]


def _dropping(shape: tuple[int, ...], share: float, like: Tensor) -> Tensor:
    """Returns a mask: 0 with probability `share`, else 1 / (1 - share)."""
    return _kept(shape, share, like.device).to(like.dtype) / (1 - share)


def _kept(shape: tuple[int, ...], share: float, device: torch.device) -> Bool[Tensor, "..."]:
    """Returns where nothing is dropped. Each random number serves four places: on a CPU, drawing them is what costs."""
    count = torch.Size(shape).numel()
    drawn = torch.empty(-(-count // 4), dtype=torch.int64, device=device).random_(-(2**63), None)
    return (drawn.view(torch.int16)[:count] >= round(share * _GRAIN) - _GRAIN // 2).view(shape)
