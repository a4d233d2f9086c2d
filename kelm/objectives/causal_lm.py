"""Causal language modelling: guess each token from those before it.

    <s> the man ran  --encoder, causal-->  states  --head-->  the man ran </s>        -log p, summed

Source: Radford et al., 2018, section 3.1, equation 1; for XLM's CLM, Conneau and Lample, 2019, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kelm.batch import Batch, Encoded, Targets, pack
from kelm.model.config import EncoderConfig
from kelm.model.extension import Stream
from kelm.model.heads import VocabularyHead
from kelm.objectives.base import Losses, Objective
from kelm.objectives.mlm import targets_at
from kelm.text.tokenizer import Tokenizer, check_fits

__all__ = ["CausalLanguageModel", "CausalLanguageModelCollate"]


@dataclass(frozen=True, slots=True)
class CausalLanguageModelCollate:
    """Packs texts causally; every token but a text's first is the label of the place before it."""

    pad: int
    objective: str = "causal_lm"
    room: int | None = None

    def __call__(self, texts: Sequence[Encoded], seed: int) -> Batch:
        batch = pack(texts, pad=self.pad, objective=self.objective, room=self.room, causal=True)
        targets = targets_at(batch, [np.arange(len(text) - 1) for text in texts], [text.tokens[1:] for text in texts])
        return batch.having(targets, units={**batch.units, self.objective: len(targets.label)})


class CausalLanguageModel(Objective[Encoded]):
    """Causal language modelling with a tied vocabulary head.

    Raises:
        VocabularyMismatch: the tokenizer and the model have different vocabularies.
    """

    collate: CausalLanguageModelCollate

    def __init__(self, config: EncoderConfig, *, tokenizer: Tokenizer) -> None:
        super().__init__()
        check_fits(tokenizer, config)
        self.name = "causal_lm"
        self.head = VocabularyHead(config)
        self.collate = CausalLanguageModelCollate(tokenizer.pad)

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        targets = batch[Targets]
        states = stream.hidden[targets.row, targets.token]
        return {self.name: self.head.loss(states, targets.label, stream.vocabulary)}
