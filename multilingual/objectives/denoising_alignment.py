"""Denoising word alignment: a hidden word points at its translation, which the encoder itself has found (XLM-Align).

    the cat ran   die Katze lief     clean  -> states after a layer -> links by transport: cat-Katze
    the [M] ran   die Katze lief     masked -> states h             -> q = Q h([M]),  k_j = K h(j) of the other side

    loss = -log softmax_j(q k_j / sqrt(width)) at the linked j, and that of the hidden word itself, as in `tlm`

Links are found without a gradient and without dropout, at each step by the encoder as it then is. A hidden word without
a link has no pointer; of several links the most similar one counts.
Source: Chi et al., 2021 (XLM-Align), sections 3.1 and 3.2, and the original code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from kelm.batch import Batch, Targets, Texts
from kelm.errors import InputError
from kelm.model import Encoder
from kelm.model.config import EncoderConfig
from kelm.model.extension import Stream
from kelm.objectives.base import Losses, Objective
from kelm.objectives.masking import Kind
from kelm.objectives.mlm import MaskedLanguageModel, MaskedLanguageModelCollate
from kelm.text.tokenizer import Tokenizer
from kelm.typing import Bool, Float, Int, Tensor
from multilingual.objectives.translation_lm import Layout, TranslationLanguageModel, TranslationLanguageModelCollate
from multilingual.word_alignment import token_links

__all__ = ["DenoisingAlignment"]

_CLEAN = "denoising_alignment"  # the states of the clean pairs, in `Stream.side`


@dataclasses.dataclass(frozen=True, slots=True)
class _Collate(TranslationLanguageModelCollate):
    """As of `tlm`, with as many pointers as words are hidden."""

    def __call__(self, texts: Any, seed: int) -> Batch:
        batch = TranslationLanguageModelCollate.__call__(self, texts, seed)
        count = batch.units["denoising_alignment"]
        return batch.having(units={**batch.units, "words": count})


class DenoisingAlignment(TranslationLanguageModel):
    """Pointers to translations beside hidden words of pairs. Its head is that of the objective `mlm`.

    Args:
        layer: whose states are linked, from 1; None: five sixths of the layers (10 of 12), rounded.
        rounds: of transport and of the search for links.
        layout: "running" as in the paper, or "restart".
        rate, kind, mask_share, random_share: see `Masking`.

    Raises:
        InputError: there is no such layer or layout.
        VocabularyMismatch: the tokenizer and the model have different vocabularies.
    """

    def __init__(
        self,
        config: EncoderConfig,
        *,
        tokenizer: Tokenizer,
        layer: int | None = None,
        rounds: int = 2,
        layout: Layout = "running",
        rate: float = 0.15,
        kind: Kind = "token",
        mask_share: float = 0.8,
        random_share: float = 0.1,
    ) -> None:
        options: dict[str, Any] = {"rate": rate, "mask_share": mask_share, "random_share": random_share}
        super().__init__(config, tokenizer=tokenizer, layout=layout, kind=kind, **options)
        self.layer = max(1, round(5 * config.num_hidden_layers / 6)) if layer is None else layer
        if not 1 <= self.layer <= config.num_hidden_layers:
            remedy = f"Give 1 to {config.num_hidden_layers}."
            raise InputError(f"there is no layer {layer}", field="layer", remedy=remedy)
        self.name, self.rounds = "denoising_alignment", rounds
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        for linear in (self.query, self.key):
            nn.init.normal_(linear.weight, std=config.initializer_range)
            nn.init.zeros_(linear.bias)
        self.register_buffer("special", torch.zeros(config.vocab_size, dtype=torch.bool), persistent=False)
        self.special[list(tokenizer.special)] = True
        masked = MaskedLanguageModelCollate(self.collate.masked.masking, tokenizer.pad, self.name)
        self.collate = _Collate(masked, layout, self.collate.before)

    special: Tensor

    def join(self, others: Mapping[str, Objective[Any]]) -> None:
        if isinstance(other := others.get("mlm"), MaskedLanguageModel):
            self.head = other.head

    def read(self, encoder: Encoder, batch: Batch) -> Stream:
        training = encoder.training
        with torch.no_grad():
            whole = dataclasses.replace(batch, tokens=_clean(batch))
            clean = encoder.eval().encode(whole, layers=self.layer).hidden
        encoder.train(training)
        stream = encoder.encode(batch)
        return stream.having(side={**stream.side, _CLEAN: clean})

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        targets, row = batch[Targets], batch[Texts].row[:, None]
        hidden = torch.zeros_like(batch.tokens, dtype=torch.bool)
        hidden[targets.row, targets.token] = True
        one, other = self._sides(batch)
        links = self._links(stream.side[_CLEAN], row, one, other)
        pointers = stream.hidden.sum() * 0
        for here, there, likeness in ((one, other, links), (other, one, links.mT)):
            told = likeness.isfinite().any(2) & hidden[row, here.token]
            queries, keys = self.query(stream.hidden[row, here.token]), self.key(stream.hidden[row, there.token])
            scores = (queries @ keys.mT).float() * queries.shape[-1] ** -0.5
            scores = scores.masked_fill(~there.real[:, None], -torch.inf)
            pointers = pointers + cross_entropy(scores[told], likeness.argmax(2)[told], reduction="sum")
        states = stream.hidden[targets.row, targets.token]
        return {self.name: pointers, "words": self.head.loss(states, targets.label, stream.vocabulary)}

    def _sides(self, batch: Batch) -> tuple[_Side, _Side]:
        """Returns where the words of each pair's sides are."""
        texts, width = batch[Texts], batch.tokens.shape[1]
        token = torch.arange(width, device=batch.tokens.device).expand(len(texts.row), -1)
        inside = (token >= texts.first[:, None]) & (token <= texts.last[:, None])
        words = inside & ~self.special[_clean(batch)[texts.row]]
        first, second = (_side(words & (batch.segments[texts.row] == number)) for number in (0, 1))
        return first, second

    @torch.no_grad()
    def _links(
        self, clean: Float[Tensor, "row place width"], row: Int[Tensor, "pair one"], one: _Side, other: _Side
    ) -> Float[Tensor, "pair token other"]:
        """Returns how alike linked words are, and minus infinity for those that are not linked."""
        first, second = clean[row, one.token].float(), clean[row, other.token].float()
        seen = one.real[:, :, None] & other.real[:, None]
        linked = token_links(first, second, "transport", seen=seen, rounds=self.rounds)
        with torch.autocast(clean.device.type, enabled=False):
            return (first @ second.mT).masked_fill(~linked, -torch.inf)


class _Side(NamedTuple):
    """Places of words in their rows, of each pair as many as the longest side has; `real`: a word is there."""

    token: Int[Tensor, "pair token"]
    real: Bool[Tensor, "pair token"]


def _side(chosen: Bool[Tensor, "pair place"]) -> _Side:
    most = max(1, int(chosen.sum(1).max()))
    token = torch.argsort(~chosen, dim=1, stable=True)[:, :most]
    return _Side(token, chosen.gather(1, token))


def _clean(batch: Batch) -> Int[Tensor, "row token"]:
    """Returns the tokens with the hidden words in their places."""
    targets = batch[Targets]
    return batch.tokens.index_put((targets.row, targets.token), targets.label)
