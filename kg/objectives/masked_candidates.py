"""Masked language modelling in which what is masked cannot be looked up either (KnowBert; Peters et al., 2019, 3.4).

    the [MASK] of [MASK] is old          spans that meet a masked word:
         bank of england                 80 % all candidates masked    10 % others, at random    10 % as they are

Otherwise a candidate would say which word is hidden. Differs from the original code: a span shares one fate however
many of its words are masked; random candidates are drawn from the whole table. The linker is not taught by a span whose
candidates are not its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from kelm.batch import Batch, Encoded, Targets
from kelm.errors import KelmError
from kelm.model.config import EncoderConfig
from kelm.model.encoder import Encoder
from kelm.model.extension import Stream
from kelm.objectives.base import Losses, Objective
from kelm.objectives.mlm import MaskedLanguageModel, MaskedLanguageModelCollate
from kelm.objectives.next_sentence import NextSentenceHead
from kelm.text.tokenizer import Tokenizer
from kg.linking.candidate_spans import HIDDEN, NONE, KnowledgeSpans, Spans

__all__ = ["MaskedCandidates", "MaskedCandidatesCollate", "corrupt_candidates"]

_MOST_RANDOM = 5  # candidates of a span whose candidates are drawn


def corrupt_candidates(
    spans: Spans, met: np.ndarray, random: Mapping[int, np.random.Generator], count: int, hidden: float, replaced: float
) -> Spans:
    """Returns the spans as the model sees them.

    Args:
        met: whether a masked token lies in each span.
        random: the generator of each text by its number.
        count: rows of the entity table, from which others are drawn.
        hidden, replaced: shares of the spans that are met.
    """
    entity, prior, gold = (column.numpy().copy() for column in (spans.entity, spans.prior, spans.gold))
    for place in np.flatnonzero(met).tolist():
        source = random[int(spans.text[place])]
        fate = source.random()
        if fate >= hidden + replaced:
            continue
        gold[place] = NONE
        if fate < hidden:
            entity[place][entity[place] != NONE] = HIDDEN
            continue
        some = min(int(source.integers(1, _MOST_RANDOM + 1)), entity.shape[1])
        entity[place], prior[place] = NONE, 0.0
        entity[place, :some] = source.integers(0, count, some)
        drawn = source.random(some).astype(np.float32)
        prior[place, :some] = -np.sort(-drawn / drawn.sum())
    values = (torch.from_numpy(column) for column in (entity, prior, gold))
    return replace(spans, **dict(zip(("entity", "prior", "gold"), values, strict=True)))


@dataclass(frozen=True)
class MaskedCandidatesCollate:
    """Masks words, packs, and hides what the masked words may name.

    Attributes:
        words: masks the words.
        counts: rows of each knowledge base's table.
        hidden, replaced: shares of the spans that meet a masked word.
    """

    words: MaskedLanguageModelCollate
    counts: tuple[tuple[str, int], ...]
    hidden: float
    replaced: float
    objective: str

    def __call__(self, texts: Sequence[Encoded], seed: int) -> Batch:
        batch = self.words(texts, seed)
        masked = np.zeros(batch.tokens.shape, bool)
        targets = batch[Targets]
        masked[targets.row.numpy(), targets.token.numpy()] = True
        before = np.concatenate([np.zeros((len(masked), 1), np.int64), masked.cumsum(1)], axis=1)
        counts, changed = dict(self.counts), {}
        for number, (base, spans) in enumerate(batch[KnowledgeSpans].of.items()):
            row = spans.row.numpy()
            met = before[row, spans.last.numpy() + 1] > before[row, spans.first.numpy()]
            random = {
                at: np.random.default_rng((seed, texts[at].number, 1, number))  # 1: apart from the words' randomness
                for at in np.unique(spans.text.numpy()[met]).tolist()
            }
            changed[base] = corrupt_candidates(spans, met, random, counts.get(base, 1), self.hidden, self.replaced)
        known = KnowledgeSpans(changed)
        units = {**known.units, self.objective: len(targets.label)}
        return batch.having(known, objective=self.objective, units=units)


class MaskedCandidates(Objective[Encoded]):
    """KnowBert's pre-training: masked words with masked candidates, and if asked next sentence prediction.

    The linking loss of spans whose entity is known is the extension's (`knowledge_attention`).

    Args:
        tokenizer: tells the mask, padding and special tokens; only asked here, not kept.
        encoder: tells the knowledge bases and the size of their tables; not kept.
        hidden, replaced: shares of the spans that meet a masked word (paper: .8, .1).
        next_sentence: predict as well whether the second of two sentences follows the first (paper: yes); the texts
            then need the part `NextSentence`.
        mlm: options of the masked language model.

    Raises:
        KelmError: the encoder has no extension `knowledge_attention`.
    """

    def __init__(
        self,
        config: EncoderConfig,
        *,
        tokenizer: Tokenizer,
        encoder: Encoder,
        hidden: float = 0.8,
        replaced: float = 0.1,
        next_sentence: bool = False,
        mlm: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        bases = (encoder.config.extensions or {}).get("knowledge_attention", {}).get("bases")
        if not bases:
            raise KelmError(
                "masked_candidates: the encoder has no extension knowledge_attention. Add it, or train with mlm."
            )
        if min(hidden, replaced) < 0 or hidden + replaced > 1:
            raise KelmError(
                f"masked_candidates: hidden {hidden} and replaced {replaced} are no shares of a whole. Take .8 and .1."
            )
        self.name = "masked_candidates"
        self.mlm = MaskedLanguageModel(config, tokenizer=tokenizer, **(mlm or {}))
        self.next_sentence: nn.Module | None = NextSentenceHead(config) if next_sentence else None
        counts = tuple((name, max(1, options["entities"])) for name, options in bases.items())
        self.collate = MaskedCandidatesCollate(self.mlm.collate, counts, hidden, replaced, self.name)

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        losses = {self.name: self.mlm.loss(batch, stream)[self.mlm.name]}
        if isinstance(self.next_sentence, NextSentenceHead):
            losses["next_sentence"] = self.next_sentence.loss(batch, stream)
        return losses
