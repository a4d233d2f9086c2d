"""Contrast of sentences and their translations: tell the translation from many other sentences (InfoXLM's XlCo).

    x, y   --encoder-->         q = W state(x)      W: a matrix that both share; state: the first token's, or the mean
    x, y   --its slow copy-->   k = W state(y)      of all, after a layer, two thirds up

    loss = -log exp(q k / t) / sum over k' of exp(q k' / t)      k': k, the other pairs' keys of the batch, the queue's

Both ways: x by y, y by x. The slow copy follows the encoder, theta' = m theta' + (1 - m) theta, at each batch, and has
no gradient; the queue holds the keys of the batches before; those of the same pair are no negatives. Copy and queue are
saved with the heads, so that a resumed run goes on exactly. Of several processes all have the first one's queue, as DDP
hands it to them.
Source: Chi et al., 2021 (InfoXLM), section 3.3 and the original code; He et al., 2020 (MoCo). Differs: the batch's own
keys are negatives, too; one batch gives both directions; mixing of pairs is left out.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from kelm.batch import Batch, Encoded, Part, Texts
from kelm.errors import InputError, closest
from kelm.model import Encoder
from kelm.model.config import EncoderConfig
from kelm.model.extension import Stream
from kelm.objectives.base import Losses, Objective
from kelm.text.assembly import Template
from kelm.text.tokenizer import Tokenizer, check_fits
from kelm.training.bounds import COUNT, MEMORY, POSITIVE
from kelm.typing import Float, Int, Tensor
from multilingual.pairs import both_sides, sides

__all__ = ["State", "TranslationContrast", "TranslationContrastCollate"]

State = Literal["first", "mean"]
_KEYS = "translation_contrast"  # the slow copy's states, in `Stream.side`


@dataclass(frozen=True, slots=True)
class PairNumbers(Part):
    """The number of the pair to which each text of a batch belongs."""

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
        numbers = torch.tensor([text.number for text in texts], dtype=torch.long).repeat(2)
        batch = batch.having(PairNumbers(torch.arange(len(numbers)), numbers))
        return batch.having(units={**batch.units, self.objective: 2 * len(texts)})


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
        self.register_buffer("queue", normalize(torch.randn(queue, config.hidden_size), dim=-1))
        self.register_buffer("numbers", torch.full((queue,), -1, dtype=torch.long))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))
        self.collate = TranslationContrastCollate(tokenizer.template, tokenizer.pad)

    def read(self, encoder: Encoder, batch: Batch) -> Stream:
        if self.training:
            self._follow(encoder)
        with torch.no_grad():
            slow = self.slow.eval().encode(batch, trail=True).trail[self.layer]
        stream = encoder.encode(batch, trail=True)
        return stream.having(side={**stream.side, _KEYS: slow})

    @torch.no_grad()
    def _follow(self, encoder: Encoder) -> None:
        for own, theirs in zip(self.slow.parameters(), encoder.parameters(), strict=True):
            own.lerp_(theirs.detach(), 1 - self.momentum)

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        queries = self._vectors(batch, stream.trail[self.layer])
        with torch.no_grad():
            keys = self._vectors(batch, stream.side[_KEYS]).detach()
        pairs = len(queries) // 2
        others = torch.cat([keys[pairs:], keys[:pairs]])  # of each text its translation's
        number, right = batch[PairNumbers].number, torch.arange(len(queries), device=queries.device)
        keys_before, numbers = torch.cat([others, self.queue.to(others.dtype)]), torch.cat([number, self.numbers])
        same = number[:, None] == numbers
        same[right, right] = False
        logits = (queries @ keys_before.T / self.temperature).float().masked_fill(same, -torch.inf)
        if self.training:
            self._keep(keys, number)
        return {self.name: cross_entropy(logits, right, reduction="sum")}

    def _vectors(self, batch: Batch, states: Float[Tensor, "row token width"]) -> Float[Tensor, "text width"]:
        texts = batch[Texts]
        if self.state == "first":
            chosen = states[texts.row, texts.first]
        else:
            token = torch.arange(states.shape[1], device=states.device)
            inside = (token >= texts.first[:, None]) & (token <= texts.last[:, None])
            weights = inside.to(states.dtype)
            chosen = torch.bmm(weights[:, None], states[texts.row]).squeeze(1) / weights.sum(1, keepdim=True)
        vectors: Tensor = self.project(chosen)
        return normalize(vectors, dim=-1) if self.normed else vectors

    @torch.no_grad()
    def _keep(self, keys: Float[Tensor, "text width"], numbers: Int[Tensor, "text"]) -> None:
        """Puts keys with the numbers of their pairs into the queue in the place of the oldest."""
        size = len(self.queue)
        some = keys[-size:].to(self.queue.dtype)
        at = (self.place + torch.arange(len(some), device=some.device)) % size
        self.queue = self.queue.index_copy(0, at, some)
        self.numbers = self.numbers.index_copy(0, at, numbers[-size:])
        self.place = (self.place + len(some)) % size
