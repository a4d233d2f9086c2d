"""Masked language modelling: guess hidden tokens from both sides.

    the [MASK] ran  --encoder-->  states  --head, at targets only-->  -log p("man")        summed over targets

Source: Devlin et al., 2019, section 3.1; masking as in `kelm.objectives.masking`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch

from kelm.batch import Batch, Encoded, Targets, Texts, pack
from kelm.errors import InputError
from kelm.model.config import EncoderConfig
from kelm.model.extension import Stream
from kelm.model.heads import VocabularyHead
from kelm.objectives.base import Losses, Objective
from kelm.objectives.masking import Kind, Masking
from kelm.objectives.masking import rarity as weights_of
from kelm.objectives.next_sentence import NextSentenceHead
from kelm.text.tokenizer import Tokenizer, check_fits
from kelm.typing import Int

__all__ = ["MaskedLanguageModel", "MaskedLanguageModelCollate", "targets_at"]


def targets_at(batch: Batch, places: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> Targets:
    """Returns the targets of a packed batch: of its first texts, places within and tokens to be found there."""
    texts, asked = batch[Texts], len(places)
    counts = torch.tensor([len(some) for some in places], dtype=torch.long)
    token = torch.from_numpy(np.concatenate(places)) + texts.first[:asked].repeat_interleave(counts)
    return Targets(texts.row[:asked].repeat_interleave(counts), token, torch.from_numpy(np.concatenate(labels)))


@dataclass(frozen=True, slots=True)
class MaskedLanguageModelCollate:
    """Masks each text by its own randomness, then packs.

    Attributes:
        room: tokens of a row that several texts share; None: one text a row. `BatchStream` sets it.
    """

    masking: Masking
    pad: int
    objective: str = "mlm"
    room: int | None = None

    def __call__(self, texts: Sequence[Encoded], seed: int) -> Batch:
        return self.masked(texts, seed)[0]

    def masked(self, texts: Sequence[Encoded], seed: int) -> tuple[Batch, list[Int[np.ndarray, "target"]]]:
        """Returns the batch, and of each text the places of its targets."""
        masked = self.masking(texts, seed)
        seen = [some for some, _ in masked]
        batch = pack(texts, pad=self.pad, objective=self.objective, room=self.room, tokens=seen)
        places = [some for _, some in masked]
        labels = [text.tokens[some] for text, some in zip(texts, places, strict=True)]
        targets = targets_at(batch, places, labels)
        return batch.having(targets, units={**batch.units, self.objective: len(targets.label)}), places


class MaskedLanguageModel(Objective[Encoded]):
    """Masked language modelling. Its head is saved with it and exported by ``encoder.to_hf(path, head=mlm.head)``.

    Args:
        tokenizer: tells the mask, padding and special tokens; only asked here, not kept.
        rate, kind, mask_share, random_share, stop, longest: see `Masking`; the defaults are BERT's.
        rarity, counts: choose tokens by count ** -rarity, see `kelm.objectives.masking.rarity`; 0.5 is XLM's.
        next_sentence: ask as well whether the second of two texts follows the first (BERT); the corpus must say it, as
            `monolingual_text` with ``follows`` does.
        blocks: of equal size, into which the vocabulary falls behind its special tokens: a hidden token is told from
            the words of its block only, as if each block had a head of its own. For words apart (``kelm vocab apart``).

    Raises:
        VocabularyMismatch: the tokenizer and the model have different vocabularies.
        InputError: rarity without counts or counts without rarity, and see `rarity`.
    """

    NAME: ClassVar = "mlm"
    collate: MaskedLanguageModelCollate

    def __init__(
        self,
        config: EncoderConfig,
        *,
        tokenizer: Tokenizer,
        rate: float = 0.15,
        kind: Kind = "token",
        mask_share: float = 0.8,
        random_share: float = 0.1,
        stop: float = 0.2,
        longest: int = 10,
        rarity: float = 0.0,
        counts: str | None = None,
        next_sentence: bool = False,
        blocks: int = 1,
    ) -> None:
        super().__init__()
        check_fits(tokenizer, config)
        if (rarity > 0) != (counts is not None):
            raise InputError("rarity and counts go together", field="counts", remedy="Give both, or neither.")
        self.name = self.NAME
        self.head = VocabularyHead(config)
        masking = Masking(
            mask=tokenizer.mask,
            vocabulary=tokenizer.vocabulary_size,
            special=tuple(sorted(tokenizer.special)),
            rate=rate,
            kind=kind,
            mask_share=mask_share,
            random_share=random_share,
            stop=stop,
            longest=longest,
            weights=None if counts is None else weights_of(counts, rarity, tokenizer.vocabulary_size),
            blocks=blocks,
        )
        first = len(masking.special)
        places = [first + number * masking.block for number in range(blocks + 1)]
        self.blocks = [slice(*ends) for ends in pairwise(places)] if blocks > 1 else []
        self.next_sentence = NextSentenceHead(config) if next_sentence else None
        self.collate = MaskedLanguageModelCollate(masking, tokenizer.pad, self.name)

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        targets = batch[Targets]
        states = stream.hidden[targets.row, targets.token]
        losses = {self.name: self.head.loss(states, targets.label, stream.vocabulary, self.blocks)}
        if self.next_sentence is not None:
            losses["next_sentence"] = self.next_sentence.loss(batch, stream)
        return losses
