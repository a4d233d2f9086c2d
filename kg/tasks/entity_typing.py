"""Entity typing: which of many types does the marked mention have in this sentence?

[CLS] ... [ENT] mention [ENT] ... [SEP]   ->   {person, artist}

Source: Zhang et al., 2019, sections 3.5 and 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from kelm.batch import Batch, Encoded, Part, Texts, pack
from kelm.model.config import EncoderConfig
from kelm.model.extension import Stream
from kelm.objectives.base import Losses
from kelm.tasks.base import Scores, Task
from kelm.typing import Bool, Float, Int, Tensor
from kg.enrich.markers import Markers, Span, mark

__all__ = ["EntityTyping", "TypedMentions", "TypingCollate", "mark_mention"]


@dataclass(frozen=True, slots=True)
class TypedMentions(Part):
    """The mention that each text is asked about. `types` has a column for every type, True where it holds."""

    indices: ClassVar = {"row": "row", "text": "text", "mention": "token"}
    row: Int[Tensor, "text"]
    text: Int[Tensor, "text"]
    mention: Int[Tensor, "text"]
    types: Bool[Tensor, "text type"]


def mark_mention(
    text: Encoded, mention: Span, markers: Markers, *, types: Sequence[bool], hidden: int | None = None
) -> Encoded:
    """Returns the text with [ENT] around the mention and the part `TypedMentions`."""
    marked, (place,) = mark(text, [mention], [markers.entity], hidden=hidden)
    zero = torch.zeros(1, dtype=torch.long)
    return marked.having(TypedMentions(zero, zero, torch.tensor([place[0]]), torch.tensor([list(types)])))


@dataclass(frozen=True)
class TypingCollate:
    """Packs; nothing is corrupted."""

    pad: int
    objective: str
    room: int | None = None

    def __call__(self, texts: Sequence[Encoded], seed: int) -> Batch:
        units = {self.objective: len(texts)}
        return pack(texts, pad=self.pad, objective=self.objective, room=self.room, units=units)


class EntityTyping(Task[Encoded, frozenset[str]]):
    """Any number of types for each marked mention; a type holds if its logit is above `threshold`.

    Args:
        types: their names, in the order of `TypedMentions.types`.
        room: tokens a row may hold; several short texts then share one.
    """

    main_score = "micro_f1"

    def __init__(
        self,
        config: EncoderConfig,
        *,
        types: Sequence[str],
        dropout: float = 0.1,
        threshold: float = 0.0,
        room: int | None = None,
    ) -> None:
        super().__init__()
        self.name = "entity_typing"
        self.types, self.threshold = tuple(types), threshold
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(config.hidden_size, len(self.types))
        nn.init.normal_(self.classifier.weight, std=config.initializer_range)
        nn.init.zeros_(self.classifier.bias)
        self.collate = TypingCollate(config.pad_token_id, self.name, room)

    def logits(self, batch: Batch, stream: Stream) -> Float[Tensor, "text type"]:
        texts = batch[Texts]
        which = batch[TypedMentions].text
        scores: Tensor = self.classifier(self.dropout(stream.hidden[texts.row[which], texts.first[which]]))
        return scores

    def loss(self, batch: Batch, stream: Stream) -> Losses:
        logits = self.logits(batch, stream)
        wanted = batch[TypedMentions].types.to(logits.dtype)
        return {self.name: binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(-1).sum()}

    def predict(self, batch: Batch, stream: Stream) -> list[frozenset[str]]:
        return [self._named(row) for row in (self.logits(batch, stream) > self.threshold).tolist()]

    def gold(self, texts: Sequence[Encoded]) -> list[frozenset[str]]:
        return [self._named(text[TypedMentions].types[0].tolist()) for text in texts]

    def _named(self, holds: Sequence[bool]) -> frozenset[str]:
        return frozenset(name for name, held in zip(self.types, holds, strict=True) if held)

    def score(self, gold: Sequence[frozenset[str]], predicted: Sequence[frozenset[str]]) -> Scores:
        """Returns strict accuracy, loose macro and loose micro scores (Ling and Weld, 2012)."""
        pairs = list(zip(gold, predicted, strict=True))
        hits = [len(right & said) for right, said in pairs]
        precisions = [hit / len(said) for hit, (_, said) in zip(hits, pairs, strict=True) if said]
        recalls = [hit / len(right) for hit, (right, _) in zip(hits, pairs, strict=True) if right]
        macro = _mean(precisions), _mean(recalls)
        micro = _share(sum(hits), sum(len(said) for _, said in pairs)), _share(sum(hits), sum(map(len, gold)))
        return {
            "accuracy": _mean([float(right == said) for right, said in pairs]),
            **{
                f"macro_{name}": value
                for name, value in zip(("precision", "recall", "f1"), _with_f1(*macro), strict=True)
            },
            **{
                f"micro_{name}": value
                for name, value in zip(("precision", "recall", "f1"), _with_f1(*micro), strict=True)
            },
        }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _with_f1(precision: float, recall: float) -> tuple[float, float, float]:
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else 0.0
