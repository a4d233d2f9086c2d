"""A tiny encoder, two objectives and a resumable stream: what the training tests train."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from kelm.batch import Batch, Encoded, Targets, pack
from kelm.model import Encoder, EncoderConfig, Stream, VocabularyHead
from kelm.objectives.base import Losses, Objective
from kelm.training.learner import Learner

WORDS, PAD, MASK, FIRST = 60, 0, 1, 3


class Guess(Objective[Any]):
    """Guesses masked words; `average` also adds a loss whose units the batch does not say, one a text."""

    def __init__(self, config: EncoderConfig, name: str = "guess", *, average: bool = False) -> None:
        super().__init__()
        self.name = name
        self.head = VocabularyHead(config)
        self.average = average

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        targets = batch[Targets]
        states = stream.hidden[targets.row, targets.token]
        losses = {self.name: self.head.loss(states, targets.label, stream.vocabulary)}
        if self.average:
            losses["size"] = stream.hidden[:, 0].square().mean(-1).sum()
        return losses


def learner(*names: str, dropout: float = 0.1, seed: int = 3, average: bool = False) -> Learner:
    torch.manual_seed(seed)
    config = EncoderConfig(
        vocab_size=WORDS,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return Learner(Encoder(config), [Guess(config, name, average=average) for name in names or ("guess",)])


class Texts:
    """A resumable stream over endless texts; process `rank` of `processes` reads every so many-th.

    Args:
        size: texts of a batch.
        ends: after so many batches.
        tick: called with the number of each batch that is about to be given.
    """

    def __init__(
        self,
        objective: str = "guess",
        *,
        size: int = 4,
        seed: int = 0,
        rank: int = 0,
        processes: int = 1,
        ends: int | None = None,
        tick: Callable[[int], None] = lambda number: None,
    ) -> None:
        self.objective, self.size, self.seed, self.ends, self.tick = objective, size, seed, ends, tick
        self.rank, self.processes = rank, processes
        self.number = 0

    def __iter__(self) -> Iterator[Batch]:
        while self.ends is None or self.number < self.ends:
            self.tick(self.number + 1)
            first = self.number * self.size * self.processes + self.rank
            numbers = [first + place * self.processes for place in range(self.size)]
            self.number += 1
            torch.rand(1)  # as a DataLoader does: reading moves the global random state
            yield self.batch(numbers)

    def batch(self, numbers: list[int]) -> Batch:
        texts = [text(number, self.seed) for number in numbers]
        count = sum(len(some[Targets].label) for some in texts)
        return pack(texts, pad=PAD, objective=self.objective, units={self.objective: count})

    def state(self) -> Mapping[str, int]:
        return {"number": self.number}

    def restore(self, state: Mapping[str, int]) -> None:
        self.number = state["number"]


def text(number: int, seed: int) -> Encoded:
    """Returns a text of ascending words, some of them masked: learnable, and of its own randomness."""
    draw = np.random.default_rng((seed, number))
    length = int(draw.integers(5, 12))
    words = FIRST + (draw.integers(50) + np.arange(length)) % 50
    masked = np.sort(draw.choice(length, size=int(draw.integers(1, 4)), replace=False))
    tokens = words.copy()
    tokens[masked] = MASK
    plain = np.zeros(length, dtype=np.int64)
    targets = Targets(torch.zeros(len(masked), dtype=torch.long), torch.tensor(masked), torch.tensor(words[masked]))
    return Encoded(
        text=f"text {number}",
        tokens=tokens,
        spans=np.full((length, 2), -1),
        words=np.arange(length),
        segments=plain,
        number=number,
        origin=f"made.txt:{number}",
    ).having(targets)


def weights(some: Learner) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in some.state_dict().items()}
