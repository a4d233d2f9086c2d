"""Denoising entity auto-encoder (dEA): tell which entity a mention names, from its token's final state.

    t = norm(gelu(W h))        logits = t · candidatesᵀ        loss = -log softmax(logits)[the mention's entity]

    a mention's entity on the way in:  5 %  another one       15 %  none       80 %  itself

Trained together with masked language modelling, and if asked next sentence prediction, on the same texts.
Differs from the original code: corruption is drawn per mention, not per position; the wrong entity comes from the whole
table and is never the right one; "no entity" is no candidate (`zero_candidate=True` brings it back, with logit 0).

Source: Zhang et al., 2019, section 3.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, gelu, pad

from kelm.batch import Batch, Encoded, Part
from kelm.errors import KelmError
from kelm.model.config import EncoderConfig
from kelm.model.encoder import Encoder
from kelm.model.extension import Stream
from kelm.objectives.base import Losses, Objective
from kelm.objectives.mlm import MaskedLanguageModel, MaskedLanguageModelCollate
from kelm.objectives.next_sentence import NextSentenceHead
from kelm.text.tokenizer import Tokenizer
from kelm.typing import Float, Int, Tensor
from kg.linking.base import Mentions

__all__ = ["AlignmentCollate", "AlignmentTargets", "Candidates", "EntityAlignment", "corrupt_entities"]


@dataclass(frozen=True, slots=True)
class AlignmentTargets(Part):
    """The mentions whose entity is to be told; `candidate` counts the rows of `Candidates`."""

    indices: ClassVar = {"row": "row", "token": "token"}
    row: Int[Tensor, "target"]
    token: Int[Tensor, "target"]
    candidate: Int[Tensor, "target"]


@dataclass(frozen=True, slots=True)
class Candidates(Part):
    """The distinct entities of the batch."""

    entity: Int[Tensor, "candidate"]


def corrupt_entities(
    entities: Int[np.ndarray, "mention"],
    random: np.random.Generator,
    *,
    count: int,
    replaced: float = 0.05,
    masked: float = 0.15,
) -> Int[np.ndarray, "mention"]:
    """Returns what the model gets to see: each linked mention's entity replaced, masked (-1) or kept.

    Args:
        entities: table rows; -1 stays -1.
        count: rows of the table, from which replacements are drawn; never the entity itself.
    """
    fate = random.random(len(entities))
    # One of the count - 1 others, all equally likely.
    others = (entities + random.integers(1, max(count, 2), len(entities))) % max(count, 1)
    corrupted = np.where(fate < replaced, others, np.where(fate < replaced + masked, -1, entities))
    return np.where(entities < 0, -1, corrupted)


@dataclass(frozen=True)
class AlignmentCollate:
    """Corrupts words and entities, gathers the candidates, packs.

    Attributes:
        words: masks the words.
        count: rows of the entity table.
        hide: share of the mentions whose words are all masked; those are no targets.
    """

    words: MaskedLanguageModelCollate
    count: int
    replaced: float
    masked: float
    hide: float
    objective: str

    def __call__(self, texts: Sequence[Encoded], seed: int) -> Batch:
        linked = [text[Mentions].entity.numpy() for text in texts]
        candidates, numbers = np.unique(np.concatenate([gold[gold >= 0] for gold in linked]), return_inverse=True)
        changed, seen = [], 0
        for text, gold in zip(texts, linked, strict=True):
            mentions, known = text[Mentions], gold >= 0
            random = np.random.default_rng((seed, text.number, 1))  # 1: apart from the words' randomness
            tokens = self._hidden(text, random)
            shown = corrupt_entities(gold, random, count=self.count, replaced=self.replaced, masked=self.masked)
            targets = AlignmentTargets(
                mentions.row[torch.from_numpy(known)],
                mentions.first[torch.from_numpy(known)],
                torch.from_numpy(numbers[seen : seen + int(known.sum())]),
            )
            seen += int(known.sum())
            changed.append(text.having(replace(mentions, entity=torch.from_numpy(shown)), targets, tokens=tokens))
        batch = self.words(changed, seed)
        units = {**batch.units, self.objective: seen}
        return batch.having(Candidates(torch.from_numpy(candidates)), objective=self.objective, units=units)

    def _hidden(self, text: Encoded, random: np.random.Generator) -> Int[np.ndarray, "token"]:
        """Returns the tokens with the words of some mentions masked."""
        mentions, tokens = text[Mentions], text.tokens.copy()
        for place in np.flatnonzero(random.random(len(mentions.first)) < self.hide):
            tokens[int(mentions.first[place]) : int(mentions.last[place]) + 1] = self.words.masking.mask
        return tokens


class EntityAlignment(Objective[Encoded]):
    """dEA with masked language modelling. Needs an extension that puts the entity table into `Stream.side["table"]`.

    Raises:
        KelmError: neither the encoder nor `entities` and `width` tell the size of the table.

    Args:
        tokenizer: tells the mask, padding and special tokens; only asked here, not kept.
        entities, width: rows and width of the entity table; those of the encoder's extension "ernie" if not given.
        encoder: only asked for the two, not kept.
        replaced, masked: shares of the mentions that get another entity, or none (paper: .05, .15).
        hide: share of the mentions whose words are all masked (paper: 0), so that entity and context must do.
        zero_candidate: as in the original code, "no entity" competes with logit 0.
        next_sentence: predict as well whether the second of two sentences follows the first (paper: yes); the texts
            then need the part `NextSentence`.
        mlm: options of the masked language model.
    """

    def __init__(
        self,
        config: EncoderConfig,
        *,
        tokenizer: Tokenizer,
        entities: int | None = None,
        width: int | None = None,
        encoder: Encoder | None = None,
        replaced: float = 0.05,
        masked: float = 0.15,
        hide: float = 0.0,
        zero_candidate: bool = False,
        next_sentence: bool = False,
        mlm: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if entities is None or width is None:
            entities, width = _table_size(encoder)
        self.name = "entity_alignment"
        self.zero_candidate = zero_candidate
        self.mlm = MaskedLanguageModel(config, tokenizer=tokenizer, **(mlm or {}))
        self.next_sentence = NextSentenceHead(config) if next_sentence else None
        self.dense = nn.Linear(config.hidden_size, width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        nn.init.normal_(self.dense.weight, std=config.initializer_range)
        nn.init.zeros_(self.dense.bias)
        self.collate = AlignmentCollate(self.mlm.collate, entities, replaced, masked, hide, self.name)

    def scores(
        self, states: Float[Tensor, "target width"], candidates: Float[Tensor, "candidate entity"]
    ) -> Float[Tensor, "target score"]:
        """Returns a logit for every candidate at each mention's state (equation 10)."""
        logits: Tensor = self.norm(gelu(self.dense(states))) @ candidates.T
        return pad(logits, (0, 1)) if self.zero_candidate else logits

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        targets, table = batch[AlignmentTargets], stream.side["table"]
        candidates = table[batch[Candidates].entity].to(stream.hidden.dtype)
        scores = self.scores(stream.hidden[targets.row, targets.token], candidates)
        # Texts without a linked mention: an empty sum, which cross_entropy does not take.
        aligned = cross_entropy(scores, targets.candidate, reduction="sum") if scores.numel() else scores.sum()
        losses = {**self.mlm.loss(batch, stream), self.name: aligned}
        return (
            losses
            if self.next_sentence is None
            else {**losses, "next_sentence": self.next_sentence.loss(batch, stream)}
        )


def _table_size(encoder: Encoder | None) -> tuple[int, int]:
    options = {} if encoder is None else (encoder.config.extensions or {}).get("ernie", {})
    if not options.get("entities"):
        raise KelmError(
            "entity_alignment: the encoder has no entity table. Give its extension ernie one (option `table`), "
            "or say `entities` and `width`."
        )
    return options["entities"], options["width"]
