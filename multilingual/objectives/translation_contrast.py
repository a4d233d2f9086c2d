"""Contrast of sentences and their translations: tell the translation from many other sentences (InfoXLM's XlCo).

    x, y   --encoder-->         q = W state(x)      W: a matrix that both share; state: the first token's, or the mean
    x, y   --its slow copy-->   k = W' state(y)     of all, after a layer, two thirds up

    loss = -log exp(q k / t) / sum over k' of exp(q k' / t)      k': k, the other pairs' keys of the batch, the queue's

Both ways: x by y, y by x. The slow copy and W' follow encoder and W, theta' = m theta' + (1 - m) theta, after each
update of the weights, and have no gradient. The queue holds the keys of the steps before, of all processes, the same in
each; a key of the sentence itself or of its translation, by their tokens, is no negative. Copy and queue are saved with
the heads, so that a resumed run goes on exactly.
Source: Chi et al., 2021 (InfoXLM), section 3.3 and the original code; He et al., 2020 (MoCo). Differs: the batch's own
keys are negatives, too; one batch gives both directions; mixing of pairs is left out; the queue starts empty, where the
original waits until it is full.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import ClassVar, Literal, get_args

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from kelm.batch import Batch, Encoded, Part, Texts
from kelm.errors import InputError, closest
from kelm.model import Encoder
from kelm.model.config import EncoderConfig
from kelm.model.extension import Stream
from kelm.model.pooling import span_means
from kelm.objectives.base import Losses, Objective
from kelm.text.assembly import Template
from kelm.text.tokenizer import Tokenizer, check_fits
from kelm.training import device
from kelm.training.bounds import COUNT, MEMORY, POSITIVE
from kelm.typing import Float, Int, Tensor
from multilingual.pairs import both_sides, sides

__all__ = ["Said", "State", "TranslationContrast", "TranslationContrastCollate", "said"]

State = Literal["first", "mean"]
_KEYS = "translation_contrast"  # the slow copy's states, in `Stream.side`


@dataclass(frozen=True, slots=True)
class Said(Part):
    """What each text of a batch says, as a number: equal tokens, equal numbers, not negative."""

    indices: ClassVar = {"text": "text"}
    text: Int[Tensor, "text"]
    number: Int[Tensor, "text"]


@dataclass(frozen=True, slots=True)
class TranslationContrastCollate:
    """Takes pairs apart: first sides, then second ones.

    Attributes:
        room: tokens of a row that several texts share; None: one text a row. `BatchStream` sets it.
    """

    template: Template
    pad: int
    objective: str = "translation_contrast"
    room: int | None = None

    def __call__(self, texts: Sequence[Encoded], seed: int) -> Batch:
        """Returns the batch; nothing in it is random.

        Raises:
            InputError: a text is no pair.
        """
        taken = [sides(text, self.template) for text in texts]
        batch = both_sides(taken, room=self.room, pad=self.pad, objective=self.objective)
        numbers = torch.tensor([said(pair[side]) for side in (0, 1) for pair in taken], dtype=torch.long)
        batch = batch.having(Said(torch.arange(len(numbers)), numbers))
        return batch.having(units={**batch.units, self.objective: 2 * len(texts)})


def said(text: Encoded) -> int:
    """Returns the number of what a text says."""
    return int.from_bytes(blake2b(text.tokens.tobytes(), digest_size=8).digest(), "little") >> 1


class TranslationContrast(Objective[Encoded]):
    """Contrast with a slow copy of the encoder and a queue.

    Args:
        encoder: is copied.
        layer: whose states are compared, from 1; None: two thirds of the layers (8 of 12), rounded.
        state: of a sentence: "first", as in the paper, or the "mean" of its tokens.
        queue: keys that are held; the paper's 131,072 are 400 MB at width 768.
        temperature: t; the paper's 0.2.
        momentum: m; the paper's 0.9999 for 200,000 steps, less for fewer.
        normed: vectors have length one; the original's do not.

    Raises:
        InputError: no such state, or a number is out of range.
        VocabularyMismatch: the tokenizer and the model have different vocabularies.
    """

    collate: TranslationContrastCollate
    queue: Tensor
    numbers: Tensor
    place: Tensor
    waiting: Tensor
    waiting_numbers: Tensor

    def __init__(
        self,
        config: EncoderConfig,
        *,
        tokenizer: Tokenizer,
        encoder: Encoder,
        layer: int | None = None,
        state: State = "first",
        queue: int = 8192,
        temperature: float = 0.2,
        momentum: float = 0.999,
        normed: bool = False,
    ) -> None:
        super().__init__()
        check_fits(tokenizer, config)
        self.name = "translation_contrast"
        self.layer = max(1, round(2 * config.num_hidden_layers / 3)) if layer is None else layer
        if state not in (known := get_args(State)):
            raise InputError(f'"{state}" is none of {", ".join(known)}', field="state", remedy=closest(state, known))
        if not 1 <= self.layer <= config.num_hidden_layers:
            remedy = f"Give 1 to {config.num_hidden_layers}."
            raise InputError(f"there is no layer {layer}", field="layer", remedy=remedy)
        COUNT.check(queue, "queue")
        POSITIVE.check(temperature, "temperature")
        MEMORY.check(momentum, "momentum")
        self.state, self.temperature, self.momentum, self.normed = state, temperature, momentum, normed
        self.project = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        nn.init.normal_(self.project.weight, std=config.hidden_size**-0.5)
        self.slow = copy.deepcopy(encoder).requires_grad_(False)
        self.slow_project = copy.deepcopy(self.project).requires_grad_(False)
        self.register_buffer("queue", torch.zeros(queue, config.hidden_size))
        self.register_buffer("numbers", torch.full((queue,), -1, dtype=torch.long))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))
        self.register_buffer("waiting", self.queue[:0], persistent=False)  # this step's keys
        self.register_buffer("waiting_numbers", self.numbers[:0], persistent=False)
        self.collate = TranslationContrastCollate(tokenizer.template, tokenizer.pad)

    def read(self, encoder: Encoder, batch: Batch) -> Stream:
        with torch.no_grad():
            slow = self.slow.eval().encode(batch, layers=self.layer).hidden
        stream = encoder.encode(batch, layers=self.layer)
        return stream.having(side={**stream.side, _KEYS: slow})

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        queries = self._vectors(batch, stream.hidden, self.project)
        with torch.no_grad():
            keys = self._vectors(batch, stream.side[_KEYS], self.slow_project)
        number = batch[Said].number
        if self.training:
            size = len(self.queue)
            self.waiting = torch.cat([self.waiting, keys.to(self.queue.dtype)])[-size:]
            self.waiting_numbers = torch.cat([self.waiting_numbers, number])[-size:]
        theirs, translation = _swapped(keys), _swapped(number)  # of each text its translation's
        among, numbers = torch.cat([theirs, self.queue.to(theirs.dtype)]), torch.cat([translation, self.numbers])
        right = torch.arange(len(queries), device=queries.device)
        left_out = (numbers == number[:, None]) | (numbers == translation[:, None]) | (numbers < 0)
        left_out[right, right] = False
        logits = (queries @ among.T / self.temperature).float().masked_fill(left_out, -torch.inf)
        return {self.name: cross_entropy(logits, right, reduction="sum")}

    def updated(self, encoder: Encoder) -> None:
        for slow, fast in ((self.slow, encoder), (self.slow_project, self.project)):
            for own, theirs in zip(slow.parameters(), fast.parameters(), strict=True):
                own.lerp_(theirs.detach(), 1 - self.momentum)
        whole = self.waiting.isfinite().all(1)  # a step that was left out has left its keys here
        self._keep(device.joined(self.waiting[whole]), device.joined(self.waiting_numbers[whole]))
        self.waiting, self.waiting_numbers = self.queue[:0], self.numbers[:0]

    def _vectors(
        self, batch: Batch, states: Float[Tensor, "row token width"], project: nn.Module
    ) -> Float[Tensor, "text width"]:
        texts = batch[Texts]
        if self.state == "first":
            chosen = states[texts.row, texts.first]
        else:
            chosen = span_means(states, texts.row, texts.first, texts.last)
        vectors: Tensor = project(chosen)
        return normalize(vectors, dim=-1) if self.normed else vectors

    def _keep(self, keys: Float[Tensor, "text width"], numbers: Int[Tensor, "text"]) -> None:
        """Puts keys with the numbers of their texts into the queue in the place of the oldest."""
        size = len(self.queue)
        at = (self.place + torch.arange(len(keys[-size:]), device=keys.device)) % size
        self.queue.index_copy_(0, at, keys[-size:])
        self.numbers.index_copy_(0, at, numbers[-size:])
        self.place.copy_((self.place + len(at)) % size)


def _swapped(values: Tensor) -> Tensor:
    """Returns second sides' values, then first sides'."""
    half = len(values) // 2
    return torch.cat([values[half:], values[:half]])
