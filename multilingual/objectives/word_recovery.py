"""Cross-lingual word recovery: put a sentence together from the words of its translation, and guess its own words.

    A_ij = w · [x_i ; y_j ; x_i ⊙ y_j]         x, y: input embeddings (word, position, language) of a pair
    x'_i = Σ_j softmax_j(A_ij) y_j             the encoder reads x' in the place of x, and nothing of x or y
    loss = Σ_i -log p(x_i | x')                over all words of x; nothing is masked

The third of w that meets x_i alone adds the same to all j and falls out of the softmax; the rest is a dot product with
the query w₃ ⊙ x_i + w₂, so nothing of size |x| |y| h is ever made. Special tokens of y are attended to, too.

The softmax's weights are real numbers that x_i decides about: a mixture of the same few y tells it, whatever y means,
so that words are recovered from dealt translations as well (a test shows it). With `hard` x'_i is the one likeliest
y_j, which tells no more of x_i than a choice among |y|; gradients are the softmax's (straight-through; Bengio et al.,
2013).
Source: Huang et al., 2019 (Unicoder), section 3.2. The embeddings are normed, as the original's encoder (XLM) has them.
Differs from the paper: special tokens are not to be guessed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import one_hot, scaled_dot_product_attention

from kelm.batch import Batch, Encoded, Targets
from kelm.model import Encoder
from kelm.model.config import EncoderConfig
from kelm.model.extension import Stream
from kelm.model.heads import VocabularyHead
from kelm.objectives.base import Losses, Objective
from kelm.objectives.mlm import MaskedLanguageModel, targets_at
from kelm.text.assembly import Template
from kelm.text.tokenizer import Tokenizer, check_fits
from kelm.typing import Bool, Float, Tensor
from multilingual.pairs import both_sides, sides

__all__ = ["RecoveryAttention", "WordRecovery", "WordRecoveryCollate"]


class RecoveryAttention(nn.Module):
    """Makes x' of x and y.

    Args:
        start: the mean of w₃ at first; 0 as usual, width ** -.5 begins with plain dot-product attention.
        hard: each word is made of one word of the translation; the paper's is made of all.
    """

    def __init__(self, config: EncoderConfig, *, start: float, hard: bool) -> None:
        super().__init__()
        self.hard = hard
        self.translation = nn.Parameter(torch.empty(config.hidden_size))
        self.product = nn.Parameter(torch.empty(config.hidden_size))
        nn.init.normal_(self.translation, std=config.initializer_range)
        nn.init.normal_(self.product, mean=start, std=config.initializer_range)

    def forward(
        self,
        source: Float[Tensor, "row token width"],
        target: Float[Tensor, "row other width"],
        seen: Bool[Tensor, "row token other"],
    ) -> Float[Tensor, "row token width"]:
        """Returns x'; `seen` says which words of y belong to the translation of each word of x."""
        query = source * self.product + self.translation
        if not self.hard:
            return scaled_dot_product_attention(query, target, target, attn_mask=seen, scale=1.0)
        weights = (query @ target.mT).masked_fill(~seen, torch.finfo(query.dtype).min).softmax(-1)
        chosen = one_hot(weights.argmax(-1), weights.shape[-1]).to(weights)
        made: Tensor = (chosen + weights - weights.detach()) @ target
        return made


@dataclass(frozen=True, slots=True)
class WordRecoveryCollate:
    """Takes pairs apart; all words of first sides are targets.

    Attributes:
        special: ids that are no targets, ascending.
        room: tokens of a row that several texts share; None: one text a row. `BatchStream` sets it.
    """

    template: Template
    pad: int
    special: tuple[int, ...]
    objective: str = "word_recovery"
    room: int | None = None

    def __call__(self, texts: Sequence[Encoded], seed: int) -> Batch:
        """Returns the batch; nothing in it is random.

        Raises:
            InputError: a text is no pair.
        """
        taken = [sides(text, self.template) for text in texts]
        batch = both_sides(taken, room=self.room, pad=self.pad, objective=self.objective)
        firsts = [first for first, _ in taken]
        places = [np.flatnonzero((text.words >= 0) & ~np.isin(text.tokens, self.special)) for text in firsts]
        targets = targets_at(batch, places, [text.tokens[some] for text, some in zip(firsts, places, strict=True)])
        return batch.having(targets, units={**batch.units, self.objective: len(targets.label)})


class WordRecovery(Objective[Encoded]):
    """Cross-lingual word recovery. Its head is that of the objective `mlm`, where a run has both.

    Extensions that act on layers see a batch without parts; those that act on embeddings see both sides.

    Args:
        start, hard: see `RecoveryAttention`.

    Raises:
        VocabularyMismatch: the tokenizer and the model have different vocabularies.
    """

    collate: WordRecoveryCollate

    def __init__(self, config: EncoderConfig, *, tokenizer: Tokenizer, start: float = 0.0, hard: bool = False) -> None:
        super().__init__()
        check_fits(tokenizer, config)
        self.name = "word_recovery"
        self.head = VocabularyHead(config)
        self.attention = RecoveryAttention(config, start=start, hard=hard)
        self.collate = WordRecoveryCollate(tokenizer.template, tokenizer.pad, tuple(sorted(tokenizer.special)))

    def join(self, others: Mapping[str, Objective[Any]]) -> None:
        if isinstance(other := others.get("mlm"), MaskedLanguageModel):
            self.head = other.head

    def read(self, encoder: Encoder, batch: Batch) -> Stream:
        return encoder.encode(batch, below=self.below)

    def below(self, stream: Stream) -> Stream:
        """Returns x' in the rows of x; the rows of y go no further."""
        rows = len(stream.hidden) // 2
        document = stream.batch.visibility.document
        here, there = document[:rows, :, None], document[rows:, None, :]
        made = self.attention(stream.hidden[:rows], stream.hidden[rows:], (here == there) | (here < 0))
        columns = {name: getattr(stream.batch, name)[:rows] for name in ("tokens", "positions", "segments")}
        visibility = stream.batch.visibility.map(lambda codes: codes[:rows])
        batch = dataclasses.replace(stream.batch, visibility=visibility, parts={}, **columns)
        mask = stream.mask[:rows] if isinstance(stream.mask, Tensor) else stream.mask and visibility.block_mask()
        return stream.having(hidden=made, batch=batch, mask=mask)

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        targets = batch[Targets]
        states = stream.hidden[targets.row, targets.token]
        return {self.name: self.head.loss(states, targets.label, stream.vocabulary)}
