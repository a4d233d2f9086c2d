"""MultiFiT's quasi-recurrent network against an LSTM of equal widths, as AWD-LSTM has them: a whole training step.

    ours   words -> 4 QRNN layers (400, 1552, 1552, 1552, 400) -> softmax over 15,000 words -> backward, AdamW
    peer   words -> 4 nn.LSTM layers of the same widths        -> the same

Rows are full, so that nothing is padding; dropouts are off on both sides. The value is tokens a second. The rows are 50
of 70 tokens, as MultiFiT reads in pretraining, and 4 of 400, as long texts are classified.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from benchmarks.measure import Row, compare, threads
from kelm.batch import Encoded, Targets, pack
from kelm.model import Encoder, EncoderConfig, VocabularyHead, presets
from kelm.objectives.mlm import targets_at

__all__ = ["NAMES", "rows"]

NAMES = ("qrnn",)
THREADS = 2
SHAPES = {"50 rows of 70": (50, 70), "4 rows of 400": (4, 400)}


class _Peer(nn.Module):
    """AWD-LSTM's stack without its dropouts, with a tied softmax."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        inner, count = config.intermediate_size, config.num_hidden_layers
        widths = [config.hidden_size, *[inner] * (count - 1), config.hidden_size]
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.layers = nn.ModuleList(
            nn.LSTM(inputs, hidden, batch_first=True) for inputs, hidden in itertools.pairwise(widths)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        states = self.words(tokens)
        for layer in self.layers:
            states, _ = layer(states)
        logits = linear(states[:, :-1], self.words.weight, self.bias)
        return cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def rows(name: str | None = None, *, quick: bool = False) -> list[Row]:
    """Returns a row for each shape of a batch."""
    shapes = {"2 rows of 9": (2, 9)} if quick else SHAPES
    with threads(THREADS):
        return [_row(told, *shape, quick=quick) for told, shape in shapes.items()]


def _row(told: str, count: int, length: int, *, quick: bool) -> Row:
    sizes = {"hidden_size": 8, "intermediate_size": 12, "vocab_size": 100} if quick else {}
    config = EncoderConfig(**{**presets.fields("multifit"), **sizes, "qrnn": {"scale": 0.0}})
    tokens = np.random.default_rng(0).integers(1, config.vocab_size, (count, length))
    place = np.arange(length)
    texts = [Encoded("", row, np.stack([place, place + 1], 1), place, np.zeros_like(place)) for row in tokens]
    batch = pack(texts, pad=0, causal=True)
    batch = batch.having(targets_at(batch, [place[:-1]] * count, [row[1:] for row in tokens]))
    encoder, head, peer = Encoder(config).train(), VocabularyHead(config), _Peer(config).train()
    ours = [*encoder.parameters(), *head.parameters()]
    optimizers = [torch.optim.AdamW(some, fused=True) for some in (ours, list(peer.parameters()))]

    def step_ours() -> float:
        stream, asked = encoder.encode(batch), batch[Targets]
        loss = head.loss(stream.hidden[asked.row, asked.token], asked.label, stream.vocabulary) / len(asked.label)
        return _updated(loss, optimizers[0], tokens.size)

    def step_peer() -> float:
        return _updated(peer(batch.tokens), optimizers[1], tokens.size)

    made = compare(step_ours, step_peer, repeats=3 if quick else 5, memory=False)
    return made.row("qrnn", "torch nn.LSTM", unit="tokens/s", setting=told, parameters=sum(one.numel() for one in ours))


def _updated(loss: Tensor, optimizer: torch.optim.Optimizer, tokens: int) -> float:
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(tokens)
