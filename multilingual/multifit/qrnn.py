"""The quasi-recurrent network of MultiFiT: matrix products over all tokens at once, and a recurrence without a matrix.

    z, f, o = tanh, σ, σ of W [x_t; x_{t-1}] + b          above the first layer of W x_t + b
    c_t     = f_t ∘ c_{t-1} + (1 - f_t) ∘ z_t             h_t = o_t ∘ c_t          ("fo-pooling")

    tokens -> words -(dropout)-> layer 0 -(dropout)-> ... -> layer n-1 -> states as wide as the words

Texts that share a row do not see each other: before the first token of each, x and c are zero.
Source: Bradbury et al., 2017, equations 1, 2 and 4, and 6 (zoneout), as Eisenschlos et al., 2019 (MultiFiT) use them;
the dropouts are those of Merity et al., 2018 (AWD-LSTM), sections 2 and 4.
Differs from MultiFiT: a text is read as a whole, so no state is carried from one batch to the next.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import isqrt
from typing import Any, Self

import torch
from torch import nn
from torch.autograd import Function
from torch.nn.functional import linear

from kelm.batch import Batch
from kelm.errors import InputError
from kelm.typing import Bool, Float, Int, Tensor

__all__ = ["QRNN", "QRNNConfig", "QRNNLayer", "forget_mult", "locked_dropout"]

_GRAIN = 2**16  # a share is rounded to so many parts


@dataclass(frozen=True, slots=True, kw_only=True)
class QRNNConfig:
    """The shape of a `QRNN`; the defaults are MultiFiT's (its code, `multifit_paper_version`, with 1552 for 1550).

    Attributes:
        vocab_size: words of the vocabulary.
        embedding: width of the word vectors and of the last layer, so that they can be the softmax's weights.
        hidden: width of the other layers.
        window: tokens that the first layer sees at once; the others see one.
        zoneout: share of the forget gates that stay open in training, by token.
        output_dropout: share of the last states' features that `QRNN.drop_output` drops, by text.
        hidden_dropout, input_dropout: the same between the layers and before the first.
        embedding_dropout: share of the vocabulary's words that are dropped wherever they stand.
        weight_dropout: share of each gate matrix's weights.

    Raises:
        InputError: a size below 1, or a share that is not from 0 to below 1.
    """

    vocab_size: int
    embedding: int = 400
    hidden: int = 1552
    layers: int = 4
    window: int = 2
    zoneout: float = 0.0
    output_dropout: float = 0.25
    hidden_dropout: float = 0.1
    input_dropout: float = 0.2
    embedding_dropout: float = 0.02
    weight_dropout: float = 0.15

    def __post_init__(self) -> None:
        for name in ("vocab_size", "embedding", "hidden", "layers", "window"):
            _check_count(name, getattr(self, name))
        for name in ("zoneout", *_dropouts()):
            _check_share(name, getattr(self, name))

    def scaled(self, by: float) -> Self:
        """Returns the configuration with all five dropouts multiplied (fastai's `drop_mult`).

        MultiFiT's are 0 for pretraining, 0.3 for fine-tuning and 0.5 for classification.

        >>> QRNNConfig(vocab_size=15_000).scaled(0.5).output_dropout
        0.125
        """
        return replace(self, **{name: getattr(self, name) * by for name in _dropouts()})

    @property
    def widths(self) -> tuple[int, ...]:
        """What goes into each layer, and what comes out of the last."""
        return (self.embedding, *(self.hidden for _ in range(self.layers - 1)), self.embedding)


class QRNN(nn.Module):
    """A stack of quasi-recurrent layers over word vectors.

    >>> qrnn = QRNN(QRNNConfig(vocab_size=15_000))  # doctest: +SKIP
    >>> states = qrnn(batch)                        # doctest: +SKIP
    >>> logits = linear(qrnn.drop_output(states, batch), qrnn.vocabulary, bias)  # doctest: +SKIP
    """

    def __init__(self, config: QRNNConfig) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Embedding(config.vocab_size, config.embedding)
        nn.init.uniform_(self.words.weight, -0.1, 0.1)  # as AWD-LSTM's
        self.layers = nn.ModuleList(
            QRNNLayer(inputs, hidden, config.window if index == 0 else 1, config.zoneout, config.weight_dropout)
            for index, (inputs, hidden) in enumerate(zip(config.widths[:-1], config.widths[1:], strict=True))
        )

    @property
    def vocabulary(self) -> Float[Tensor, "word width"]:
        """The word vectors without dropout, for a tied softmax."""
        return self.words.weight

    def forward(self, batch: Batch) -> Float[Tensor, "row token width"]:
        """Returns the last layer's states: zero at padding, and before `drop_output`.

        Raises:
            InputError: the texts have injected branches, which have no place in one reading order.
        """
        if batch.visibility.branch is not None:
            raise InputError(
                "the texts have injected branches and a recurrent network reads one token after another",
                field="visibility",
                remedy="Leave out the enricher that injects them (sentence_tree).",
            )
        document = batch.visibility.document
        opens = torch.ones_like(document, dtype=torch.bool)
        opens[:, 1:] = document[:, 1:] != document[:, :-1]
        states = locked_dropout(self._embed(batch.tokens), document, self._share(self.config.input_dropout))
        for index, layer in enumerate(self.layers):
            if index:
                states = locked_dropout(states, document, self._share(self.config.hidden_dropout))
            states = layer(states, opens)
        return states.masked_fill(~batch.real[..., None], 0)

    def drop_output(self, states: Float[Tensor, "row token width"], batch: Batch) -> Float[Tensor, "row token width"]:
        """Returns the states as the softmax reads them: in training with the output dropout, else as they are.

        MultiFiT's classifier reads them without and gives the same share to the dropout of its own first layer.
        """
        return locked_dropout(states, batch.visibility.document, self._share(self.config.output_dropout))

    def _share(self, share: float) -> float:
        return share if self.training else 0.0

    def _embed(self, tokens: Int[Tensor, "row token"]) -> Float[Tensor, "row token width"]:
        vectors: Tensor = self.words(tokens)
        share = self._share(self.config.embedding_dropout)
        if not share:
            return vectors
        return vectors * _dropping((self.config.vocab_size, 1), share, vectors)[tokens]


class QRNNLayer(nn.Module):
    """One quasi-recurrent layer.

    Args:
        window: tokens that the gates see: the token itself, first, and those before it.
        zoneout: share of the forget gates that are set to 1 in training, so that the state stays (equation 6).
        weight_dropout: share of the gates' weights that are dropped in training, the same for the whole batch.

    Raises:
        InputError: a size below 1, or a share that is not from 0 to below 1.
    """

    def __init__(
        self, inputs: int, hidden: int, window: int = 1, zoneout: float = 0.0, weight_dropout: float = 0.0
    ) -> None:
        super().__init__()
        for name, count in (("inputs", inputs), ("hidden", hidden), ("window", window)):
            _check_count(name, count)
        _check_share("zoneout", zoneout)
        _check_share("weight_dropout", weight_dropout)
        self.hidden, self.window, self.zoneout, self.weight_dropout = hidden, window, zoneout, weight_dropout
        self.gates = nn.Linear(window * inputs, 3 * hidden)  # rows: z, f, o

    def forward(
        self, states: Float[Tensor, "row token width"], opens: Bool[Tensor, "row token"]
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

    def _weights(self) -> Float[Tensor, "gate inputs"]:
        weights = self.gates.weight
        if not (self.training and self.weight_dropout):
            return weights
        return weights * _dropping(weights.shape, self.weight_dropout, weights)


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


def _dropouts() -> tuple[str, ...]:
    return tuple(column.name for column in fields(QRNNConfig) if column.name.endswith("_dropout"))


def _check_count(name: str, value: Any) -> None:
    if type(value) is not int or value < 1:
        raise InputError(f"expected a whole number from 1, found {value!r}", field=name, remedy="Give one.")


def _check_share(name: str, value: Any) -> None:
    if type(value) not in (int, float) or not 0 <= value < 1:
        raise InputError(
            f"expected a share from 0 to below 1, found {value!r}", field=name, remedy="MultiFiT's are 0 to 0.25."
        )
