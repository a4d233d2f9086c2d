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
from typing import Any

import numpy as np
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
            clean = encoder.eval().encode(whole, trail=True).trail[self.layer]
        encoder.train(training)
        stream = encoder.encode(batch)
        return stream.having(side={**stream.side, _CLEAN: clean})

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        targets, texts = batch[Targets], batch[Texts]
        hidden = torch.zeros_like(batch.visibility.document, dtype=torch.bool)
        hidden[targets.row, targets.token] = True
        real = ~self.special[_clean(batch)]
        pointers = stream.hidden.sum() * 0
        for row, first, last in zip(texts.row.tolist(), texts.first.tolist(), texts.last.tolist(), strict=True):
            place = torch.arange(first, last + 1, device=hidden.device)
            place = place[real[row, place]]
            one, other = (place[batch.segments[row, place] == side] for side in (0, 1))
            pointers = pointers + self._pointers(stream, row, (one, other), hidden[row])
        states = stream.hidden[targets.row, targets.token]
        return {self.name: pointers, "words": self.head.loss(states, targets.label, stream.vocabulary)}

    def _pointers(
        self,
        stream: Stream,
        row: int,
        sides: tuple[Int[Tensor, "token"], Int[Tensor, "other"]],
        hidden: Bool[Tensor, "place"],
    ) -> Float[Tensor, ""]:
        """Returns the summed loss of a pair's pointers, both ways."""
        clean = [stream.side[_CLEAN][row, side].float().cpu().numpy() for side in sides]
        linked = token_links(clean[0], clean[1], "transport", rounds=self.rounds)
        likeness = np.where(linked, clean[0] @ clean[1].T, -np.inf)
        loss = stream.hidden.sum() * 0
        for here, there, scores in ((sides[0], sides[1], likeness), (sides[1], sides[0], likeness.T)):
            told = np.isfinite(scores).any(1)
            some = torch.from_numpy(told).to(here.device) & hidden[here]
            if len(there) and bool(some.any()):
                right = torch.from_numpy(np.argmax(scores, axis=1)).to(here.device)[some]
                queries, keys = self.query(stream.hidden[row, here[some]]), self.key(stream.hidden[row, there])
                pointed = (queries @ keys.T).float() * queries.shape[-1] ** -0.5
                loss = loss + cross_entropy(pointed, right, reduction="sum")
        return loss


def _clean(batch: Batch) -> Int[Tensor, "row token"]:
    """Returns the tokens with the hidden words in their places."""
    targets = batch[Targets]
    return batch.tokens.index_put((targets.row, targets.token), targets.label)
