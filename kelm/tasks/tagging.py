"""Tagging: one tag for each word, such as the entity that it belongs to or its part of speech.

    words     Bonn    lies    on    the    Rhine
    tokens    bon ##n lies    on    the    rhi ##ne
    read       ^      ^       ^      ^      ^             the first sub-token of each word
    tags      B-LOC   O       O      O     B-LOC

Source: Devlin et al., 2019, section 5.3 (named entity recognition).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from kelm.batch import Batch, Encoded, Texts
from kelm.data.labels import label_names
from kelm.data.tagged_words import Words, WordTags
from kelm.model.config import EncoderConfig
from kelm.model.extension import Stream
from kelm.objectives.base import Losses
from kelm.tasks.base import Scores, Task
from kelm.tasks.classifier import Classifier
from kelm.tasks.collate import LabelCollate
from kelm.tasks.entities import OUTSIDE, entity_scores, type_of
from kelm.typing import Float, Tensor

__all__ = ["TagCollate", "Tagging"]

_UNREAD = -100  # what the loss leaves out


@dataclass(frozen=True)
class TagCollate(LabelCollate):
    """Packs; the loss counts by word that can be read."""

    def units(self, texts: Sequence[Encoded]) -> int:
        return sum(int((text[Words].token >= 0).sum()) for text in texts)


class Tagging(Task[Encoded, list[str]]):
    """One tag for each word of a text; words that were cut off are answered with "O", and score like all others.

    Args:
        tags: their names, in the order of `WordTags.tag`, or a file with a name a line.
        room: tokens a row may hold; several short texts then share one.
    """

    main_score = "f1"

    def __init__(
        self,
        config: EncoderConfig,
        *,
        tags: Sequence[str] | str,
        dropout: float = 0.1,
        room: int | None = None,
    ) -> None:
        super().__init__()
        self.name = "tagging"
        self.tags = label_names(tags, "tag")
        self.classifier = Classifier(config, config.hidden_size, len(self.tags), dropout=dropout)
        self.collate = TagCollate(config.pad_token_id, self.name, self.tags, room)

    def logits(self, batch: Batch, stream: Stream) -> Float[Tensor, "word tag"]:
        """Returns the scores of each word's tags; those of words without a token mean nothing."""
        words = batch[Words]
        scores: Tensor = self.classifier(stream.hidden[words.row, words.token.clamp(min=0)])
        return scores

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        wanted = torch.where(batch[Words].token < 0, _UNREAD, batch[WordTags].tag)
        return {self.name: cross_entropy(self.logits(batch, stream), wanted, reduction="sum", ignore_index=_UNREAD)}

    def predict(self, batch: Batch, stream: Stream) -> list[list[str]]:
        words, best = batch[Words], self.logits(batch, stream).argmax(-1)
        answers: list[list[str]] = [[] for _ in range(len(batch[Texts].row))]
        for text, token, number in zip(words.text.tolist(), words.token.tolist(), best.tolist(), strict=True):
            answers[text].append(OUTSIDE if token < 0 else self.tags[number])
        return answers

    def gold(self, texts: Sequence[Encoded]) -> list[list[str]]:
        return [[self.tags[number] for number in text[WordTags].tag.tolist()] for text in texts]

    def score(self, gold: Sequence[list[str]], predicted: Sequence[list[str]]) -> Scores:
        """Returns precision, recall and F1 of entities, of each type of the tags as well, and the accuracy of tags."""
        return entity_scores(gold, predicted, {type_of(tag) for tag in self.tags if tag != OUTSIDE})
